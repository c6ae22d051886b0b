//! Where a copy goes, and under which name: `cp`'s rules, without looking at any disk.

/// What stands at an end of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Missing,
    File,
    Directory,
}

/// Where the archive is unpacked, and what its first name becomes there.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) directory: String,
    pub(super) rename: Option<Rename>,
}

/// The first component of the names in an archive, before and after.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rename {
    pub(super) from: String,
    pub(super) to: String,
}

/// Decides where a file or directory whose names begin with `base` goes.
///
/// # Errors
/// What cannot be, in Docker's words.
pub(super) fn decide(
    base: &str,
    source: Kind,
    target: &str,
    at_target: Kind,
) -> Result<Plan, String> {
    let is_directory_wanted = target.ends_with('/') || target.ends_with("/.") || target == ".";
    match (at_target, source) {
        (Kind::Directory, _) => Ok(Plan {
            directory: target.to_owned(),
            rename: None,
        }),
        (Kind::File, _) if is_directory_wanted => Err("not a directory".to_owned()),
        (Kind::File, Kind::Directory) => Err("cannot copy directory".to_owned()),
        (Kind::Missing, Kind::File) if is_directory_wanted => Err("no such directory".to_owned()),
        _ => {
            let (directory, name) = split(target);
            Ok(Plan {
                directory,
                rename: Some(Rename {
                    from: base.to_owned(),
                    to: name,
                }),
            })
        }
    }
}

/// Directory and last name of a path.
pub(super) fn split(path: &str) -> (String, String) {
    let trimmed = path.trim_end_matches("/.").trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((directory, name)) => (directory.to_owned(), name.to_owned()),
        None => (".".to_owned(), trimmed.to_owned()),
    }
}

/// What the names of an archive of `path` begin with: its last name, or `.` for its content.
pub(super) fn base(path: &str) -> String {
    if path.ends_with("/.") || path == "." {
        return ".".to_owned();
    }
    match split(path).1 {
        name if name.is_empty() => "/".to_owned(),
        name => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(
        source: Kind,
        target: &str,
        at_target: Kind,
    ) -> Result<(String, Option<String>), String> {
        decide("a", source, target, at_target)
            .map(|plan| (plan.directory, plan.rename.map(|rename| rename.to)))
    }

    #[test]
    fn an_existing_directory_takes_the_source_in() {
        assert_eq!(
            plan(Kind::File, "/d", Kind::Directory),
            Ok(("/d".into(), None))
        );
        assert_eq!(
            plan(Kind::Directory, "/d/", Kind::Directory),
            Ok(("/d/".into(), None))
        );
    }

    #[test]
    fn a_missing_target_becomes_the_source() {
        assert_eq!(
            plan(Kind::File, "/d/x", Kind::Missing),
            Ok(("/d".into(), Some("x".into())))
        );
        assert_eq!(
            plan(Kind::Directory, "/d/x/", Kind::Missing),
            Ok(("/d".into(), Some("x".into())))
        );
        assert_eq!(
            plan(Kind::File, "/d/x/", Kind::Missing),
            Err("no such directory".into())
        );
        assert_eq!(
            plan(Kind::File, "x", Kind::Missing),
            Ok((".".into(), Some("x".into())))
        );
    }

    #[test]
    fn a_file_is_replaced_by_a_file_only() {
        assert_eq!(
            plan(Kind::File, "/f", Kind::File),
            Ok(("/".into(), Some("f".into())))
        );
        assert_eq!(
            plan(Kind::Directory, "/f", Kind::File),
            Err("cannot copy directory".into())
        );
    }

    #[test]
    fn the_content_of_a_directory_has_no_base() {
        assert_eq!(base("/a/b/."), ".");
        assert_eq!(base("/a/b/"), "b");
        assert_eq!(base("/"), "/");
    }
}
