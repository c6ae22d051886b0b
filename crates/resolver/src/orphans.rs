//! Which network namespaces have processes.

use std::{collections::HashSet, fs, io};

use hull_sys::netlink::namespace;

/// The namespaces that some process of the host is in, by what tells them apart.
pub(crate) fn inhabited() -> io::Result<HashSet<u64>> {
    let processes = fs::read_dir("/proc")?.flatten();
    let of_process = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let pid: u32 = name.to_str()?.parse().ok()?;
        // One that has ended meanwhile is in none.
        let namespace = fs::File::open(format!("/proc/{pid}/ns/net")).ok()?;
        namespace::identity(namespace).ok()
    };
    Ok(processes.filter_map(of_process).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_is_inhabited_and_one_without_a_process_is_not() {
        let all = inhabited().unwrap();
        let own = namespace::identity(namespace::current().unwrap()).unwrap();
        assert!(all.contains(&own));
        let (empty, ()) = namespace::create(|| Ok(())).unwrap();
        let empty = namespace::identity(empty).unwrap();
        assert!(!inhabited().unwrap().contains(&empty));
    }
}
