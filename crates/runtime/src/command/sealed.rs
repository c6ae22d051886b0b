//! The file of this program must not be one a container can write.
//!
//! A process of a container that is still this program shows its file as `/proc/PID/exe`. Before
//! that can happen, the program executes itself once more: through a read-only mount of its own file
//! that is attached nowhere, or, where that cannot be made, from a sealed copy in memory.

use std::{
    ffi::CString,
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::Path,
};

use hull_sys::{
    files,
    mount::{self, Change, attr},
    process,
};
use rustix::fs::{StatVfsMountFlags, fstatvfs};

const EXECUTABLE: &str = "/proc/self/exe";

/// Returns in a process whose file nobody can write; the first time by way of an `execve`.
pub(super) fn ensure() -> Result<(), String> {
    let mut file = File::open(EXECUTABLE).map_err(|error| format!("open {EXECUTABLE}: {error}"))?;
    if files::is_sealed(file.as_fd()) || is_detached(&file) {
        return Ok(());
    }
    let copy = match read_only_mount() {
        Ok(mount) => mount,
        Err(_) => files::sealed_copy(c"hull-runtime", &mut file)
            .map_err(|error| format!("make a sealed copy of this program: {error}"))?,
    };
    let strings = |list: Vec<Vec<u8>>| list.into_iter().filter_map(|s| CString::new(s).ok());
    let args = std::env::args_os().map(OsStringExt::into_vec).collect();
    let env = std::env::vars_os().map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        name.into_vec()
    });
    let args: Vec<CString> = strings(args).collect();
    let env: Vec<CString> = strings(env.collect()).collect();
    let error = process::execute_file(copy.as_fd(), &args, &env);
    Err(format!("execute the sealed program: {error}"))
}

/// On a read-only mount without a place: nobody in any mount namespace can make it writable. A
/// detached file's path, as the kernel tells it, does not begin at our root.
fn is_detached(file: &File) -> bool {
    let read_only =
        fstatvfs(file).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
    read_only
        && std::fs::read_link(EXECUTABLE).is_ok_and(|path| {
            use std::os::unix::fs::MetadataExt;
            match (std::fs::metadata(&path), file.metadata()) {
                (Ok(there), Ok(here)) => (there.dev(), there.ino()) != (here.dev(), here.ino()),
                _ => true,
            }
        })
}

fn read_only_mount() -> std::io::Result<OwnedFd> {
    let tree = mount::copy_path(Path::new(EXECUTABLE), false)?;
    let change = Change {
        set: attr::RDONLY,
        propagation: Some(mount::Propagation::Private),
        ..Change::default()
    };
    mount::change(tree.as_fd(), false, &change)?;
    Ok(tree)
}

/// Whether every id is mapped to itself: then nobody made a user namespace around us.
pub(super) fn is_initial_user_namespace() -> bool {
    let map = files::read_text(Path::new("/proc/self/uid_map")).unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}
