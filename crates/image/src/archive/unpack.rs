//! Files into a container.

use std::io::Read;

use hull_sys::beneath::Root;
use hull_sys::idmap::Mappings;
use rustix::fs::FileType;

use super::Requested;
use super::stat::not_found;
use crate::compression::decompress;
use crate::dir::file_type;
use crate::error::{Context as _, Error, Result};
use crate::tar::extract::{Options, extract};

/// How to unpack.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// A directory and something else may not replace one another.
    pub no_overwrite_dir_non_dir: bool,
    /// Names that would be marks of removal in a layer are refused.
    pub refuses_marks: bool,
    /// Everything will belong to this user and group (`copyUIDGID`: the container's user).
    pub owner: Option<(u32, u32)>,
    /// The archive's entry for its own root is about the directory that it is unpacked into.
    pub describes_base: bool,
    /// Owners in the archive are those of a user namespace. The caller makes files as its root.
    pub owners: Option<Mappings>,
}

/// Unpacks a tar archive, compressed or not, into the directory `path`.
pub fn unpack(
    root: &Root,
    path: &str,
    source: impl Read + Send,
    options: UnpackOptions,
) -> Result<()> {
    let requested = Requested::parse(path);
    let stat = root.stat(requested.path.join("")).or_else(|error| {
        // ENOTDIR for a file: say it in Docker's words below.
        root.stat(&requested.path).map_err(|_| error)
    });
    let stat = stat.map_err(|source| not_found(path, source))?;
    if file_type(&stat) != FileType::Directory {
        return Err(Error::Invalid(
            "extraction point is not a directory".to_owned(),
        ));
    }
    let (_, plain) = decompress(source).context(|| "read the archive")?;
    let options = Options {
        base: requested.path,
        is_layer: false,
        refuses_marks: options.refuses_marks,
        keep_kinds: options.no_overwrite_dir_non_dir,
        owner: options.owner,
        describes_base: options.describes_base,
        owners: options.owners,
    };
    extract(root, options, plain)?;
    Ok(())
}
