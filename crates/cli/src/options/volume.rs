//! `--volume [source:]target[:options]`, and `--tmpfs target[:options]`.

use std::collections::BTreeMap;
use std::path::Path;

/// What `--volume` values become.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Volumes {
    /// With a source: bound as they stand.
    pub(crate) binds: Vec<String>,
    /// Without one: anonymous volumes.
    pub(crate) anonymous: Vec<String>,
}

/// What is wrong with a `--volume` value that no daemon need be asked about, in Docker's words.
pub(crate) fn check(text: &str) -> Result<(), String> {
    match text.len() {
        0 => Err("invalid empty volume spec".to_owned()),
        // To Docker this is a path, whatever stands in it.
        1 | 2 => Ok(()),
        _ if text.split(':').any(str::is_empty) => Err(format!(
            "invalid spec: {text}: empty section between colons"
        )),
        _ => Ok(()),
    }
}

/// Reads all `--volume` values. A source that starts with `.` or `~`-less relative marks is made
/// absolute from `directory`.
pub(crate) fn read(values: &[String], directory: &Path) -> Volumes {
    let mut volumes = Volumes::default();
    for text in values {
        match text.split_once(':') {
            None => volumes.anonymous.push(text.clone()),
            Some((source, rest)) if is_relative(source) => {
                volumes
                    .binds
                    .push(format!("{}:{rest}", absolute(source, directory)));
            }
            // An absolute path with options only, such as `/data:ro`, is still anonymous to Docker's
            // daemon, which refuses it; it gives the reason.
            Some(_) => volumes.binds.push(text.clone()),
        }
    }
    volumes
}

fn is_relative(source: &str) -> bool {
    source == "." || source == ".." || source.starts_with("./") || source.starts_with("../")
}

/// Joins and cleans, without looking at the disk.
pub(crate) fn absolute(source: &str, directory: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let joined = directory.join(source);
    let text = joined.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Reads all `--tmpfs` values.
pub(crate) fn tmpfs(values: &[String]) -> BTreeMap<String, String> {
    let split = |text: &String| {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        (target.to_owned(), options.to_owned())
    };
    values.iter().map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_sources_become_absolute_and_names_stay() {
        let values = ["data:/d", "./x:/x:ro", "../y:/y", "/anon", "/a:/b:rw,z"].map(str::to_owned);
        let volumes = read(&values, Path::new("/home/me"));
        assert_eq!(
            volumes.binds,
            ["data:/d", "/home/me/x:/x:ro", "/home/y:/y", "/a:/b:rw,z"]
        );
        assert_eq!(volumes.anonymous, ["/anon"]);
    }

    #[test]
    fn no_part_of_a_volume_is_empty() {
        for bad in ["", ":/x", "/x:", "a::b", ":/x:ro"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        for good in ["/x", ":", "a:/x", "./a:/x:ro,z"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn tmpfs_options_are_kept() {
        let map = tmpfs(&["/run:size=1m,mode=755".to_owned(), "/tmp".to_owned()]);
        assert_eq!(map["/run"], "size=1m,mode=755");
        assert_eq!(map["/tmp"], "");
    }
}
