//! An archive, read member by member.

use std::io::{self, Read};
use std::path::PathBuf;

use crate::compression::decompress;
use crate::error::{Context as _, Error, Result};
use crate::tar::extract::clean;
use crate::tar::read::Reader;
use crate::tar::{Entry, EntryKind};

/// An archive being read, compressed or not. As a [`Read`], it gives the bytes of the current file.
pub struct Members<'a> {
    reader: Reader<Box<dyn Read + Send + 'a>>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Relative, without `.` and `..`; empty: the root itself.
    pub path: PathBuf,
    /// What it is.
    pub kind: MemberKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Seconds and nanoseconds.
    pub mtime: (i64, u32),
}

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberKind {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// Leads there.
    Symlink(Vec<u8>),
    /// The same file as an earlier member.
    HardLink(PathBuf),
    /// Something else: a device, a FIFO, or nothing known.
    Other,
}

impl<'a> Members<'a> {
    /// Begins to read.
    pub fn new(source: impl Read + Send + 'a) -> Result<Self> {
        let (_, plain) = decompress(source).context(|| "read the archive")?;
        Ok(Self {
            reader: Reader::new(plain),
        })
    }

    /// The next member; what is left of the current one is skipped. `None` at the end.
    pub fn next_member(&mut self) -> Result<Option<Member>> {
        self.reader.next()?.as_ref().map(member).transpose()
    }

    /// Whether there is a member, whatever it is: one that leads out is refused when it is taken.
    pub fn has_member(&mut self) -> Result<bool> {
        Ok(self.reader.next()?.is_some())
    }

    /// Reads what follows the last member, to the end.
    pub fn drain(&mut self) -> Result<()> {
        self.reader.drain()
    }
}

impl Read for Members<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

fn member(entry: &Entry) -> Result<Member> {
    let kind = match entry.kind {
        EntryKind::File if entry.segments.is_some() => {
            let name = String::from_utf8_lossy(&entry.path);
            let message =
                format!("{name:?} is stored with holes: pack it without (tar without -S)");
            return Err(Error::Tar(message));
        }
        EntryKind::File => MemberKind::File(entry.size),
        EntryKind::Directory => MemberKind::Directory,
        EntryKind::Symlink => MemberKind::Symlink(entry.link.clone()),
        EntryKind::HardLink => MemberKind::HardLink(clean(&entry.link)?),
        _ => MemberKind::Other,
    };
    Ok(Member {
        path: clean(&entry.path)?,
        kind,
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tar::{BLOCK, write::Writer};

    /// As Docker's client sends a context whose Dockerfile lies elsewhere.
    #[test]
    fn an_archive_may_end_right_behind_its_last_file() {
        let mut writer = Writer::new(Vec::new());
        writer.append_bytes("a", b"one").unwrap();
        writer.append_bytes("b", b"FROM x").unwrap();
        let whole = writer.finish().unwrap();
        let read = |bytes: usize| {
            let mut members = Members::new(&whole[..bytes])?;
            let mut names = Vec::new();
            while let Some(member) = members.next_member()? {
                names.push(member.path);
            }
            Ok::<_, Error>(names)
        };
        let end = 3 * BLOCK + b"FROM x".len();
        assert_eq!(read(end).unwrap(), [PathBuf::from("a"), PathBuf::from("b")]);
        for cut in [end - 1, end + 1, BLOCK - 1, BLOCK + 2] {
            let error = read(cut).unwrap_err().to_string();
            assert!(error.contains("unexpected EOF"), "{cut}: {error}");
        }
    }
}
