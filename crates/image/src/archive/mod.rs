//! Files into and out of a container's root, as `docker cp` and `docker export` see them.
//!
//! The root is a [`Root`]: of a stopped container the snapshot's mount, of a running one the
//! directory `/proc/<pid>/root`. The container may rename and relink everything meanwhile; nothing
//! here leaves its root.

mod members;
mod pack;
mod stat;
mod unpack;

pub use crate::dir::is_portable_xattr;
pub use members::{Member, MemberKind, Members};
pub use pack::{PackOptions, export, export_all, pack, pack_with};
pub use stat::{PathStat, stat};
pub use unpack::{UnpackOptions, unpack};

use std::path::{Path, PathBuf};

/// A path as the API takes it, relative to the root, and what its end means.
struct Requested {
    /// Without slashes at its ends.
    path: PathBuf,
    /// `/` or `/.` at the end: the directory the path leads to, links followed.
    is_directory: bool,
    /// The last element as Docker names it: `.` for `…/.`, `/` for the root.
    name: String,
}

impl Requested {
    fn parse(text: &str) -> Self {
        let dot = text == "." || text.ends_with("/.");
        let is_directory = dot || text.is_empty() || text.ends_with('/');
        let path = text.trim_start_matches('/').trim_end_matches('/');
        let path = if dot {
            path.trim_end_matches('.').trim_end_matches('/')
        } else {
            path
        };
        let last = Path::new(path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let name = match last {
            _ if dot => ".".to_owned(),
            Some(name) => name,
            None => "/".to_owned(),
        };
        Self {
            path: PathBuf::from(path),
            is_directory,
            name,
        }
    }
}
