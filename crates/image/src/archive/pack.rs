//! Files out of a container.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use hull_sys::beneath::Root;
use hull_sys::idmap::Mappings;

use super::Requested;
use super::stat::not_found;
use crate::dir::Dir;
use crate::error::{Context as _, Result};
use crate::tar::pack::Packer;
use crate::tar::write::Writer;
use crate::tar::{Entry, EntryKind};

/// What an archive keeps beyond what every tool reads.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// Holes stay holes, in GNU's form.
    pub sparse: bool,
    /// Times are exact.
    pub nanoseconds: bool,
    /// Owners are written as a user namespace sees them, whose files these are.
    pub owners: Option<Mappings>,
}

/// Writes `path` with all below it as a tar archive. Its entries' names begin with the last
/// element of the path; `…/.` gives the content of a directory, under `./`.
pub fn pack(root: &Root, path: &str, out: impl Write) -> Result<()> {
    pack_with(root, path, out, PackOptions::default())
}

/// The same, and more of it is kept.
pub fn pack_with(root: &Root, path: &str, out: impl Write, options: PackOptions) -> Result<()> {
    let requested = Requested::parse(path);
    let mut writer = Writer::new(out);
    let mut packer = Packer::tree(&mut writer).keeping(options);
    if requested.is_directory && root.stat(requested.path.join("")).is_ok() {
        let directory = open(root, &requested.path, path)?;
        packer.entry(&directory, OsStr::new("."), requested.name.as_bytes())?;
    } else {
        let (parent, name) = match (requested.path.parent(), requested.path.file_name()) {
            (Some(parent), Some(name)) if !requested.is_directory => (parent, name),
            // `a/..`: a directory, and nothing to name it by.
            _ => (requested.path.as_path(), OsStr::new(".")),
        };
        let directory = open(root, parent, path)?;
        directory
            .stat(name)
            .map_err(|source| not_found(path, source))?;
        let as_name = if name == "." {
            OsStr::new(".")
        } else {
            OsStr::new(&requested.name)
        };
        packer.entry(&directory, name, as_name.as_bytes())?;
    }
    writer.finish()?;
    Ok(())
}

/// Writes the whole root as a tar archive: names without a leading `./`, the root itself not
/// listed.
pub fn export(root: &Root, out: impl Write) -> Result<()> {
    let directory = Dir::open_in(root, Path::new("")).context(|| "open the root directory")?;
    let mut writer = Writer::new(out);
    Packer::tree(&mut writer).content(&directory, b"")?;
    writer.finish()?;
    Ok(())
}

/// Writes whole roots, each into a directory of the archive; a nameless one is the archive itself.
pub fn export_all(roots: &[(String, Root)], out: impl Write) -> Result<()> {
    let mut writer = Writer::new(out);
    for (name, root) in roots {
        let directory = Dir::open_in(root, Path::new("")).context(|| "open the root directory")?;
        let mut prefix = String::new();
        if !name.is_empty() {
            prefix = format!("{name}/");
            writer.append(&Entry::new(prefix.as_str(), EntryKind::Directory))?;
        }
        Packer::tree(&mut writer).content(&directory, prefix.as_bytes())?;
    }
    writer.finish()?;
    Ok(())
}

fn open(root: &Root, path: &Path, requested: &str) -> Result<Dir> {
    Dir::open_in(root, path).map_err(|source| not_found(requested, source))
}
