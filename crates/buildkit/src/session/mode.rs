//! File modes as Go writes them, which is how they travel.
//!
//! Go keeps kind and special bits at the upper end of 32 bits, not where Unix has them.

use rustix::fs::FileType;

const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const NAMED_PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;
const CHARACTER_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;
const IRREGULAR: u32 = 1 << 19;

const KIND: u32 = DIRECTORY | SYMLINK | DEVICE | NAMED_PIPE | SOCKET | CHARACTER_DEVICE | IRREGULAR;

/// Special bits, Go's and Unix's.
const SPECIAL: [(u32, u32); 3] = [(SET_UID, 0o4000), (SET_GID, 0o2000), (STICKY, 0o1000)];

/// The kind of a file by its travelling mode.
pub(super) fn kind(mode: u32) -> FileType {
    match mode & KIND {
        0 => FileType::RegularFile,
        DIRECTORY => FileType::Directory,
        SYMLINK => FileType::Symlink,
        NAMED_PIPE => FileType::Fifo,
        SOCKET => FileType::Socket,
        DEVICE => FileType::BlockDevice,
        bits if bits & CHARACTER_DEVICE != 0 => FileType::CharacterDevice,
        _ => FileType::Unknown,
    }
}

/// The lower twelve bits of a Unix mode.
pub(super) fn permissions(mode: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(go, _)| mode & go != 0);
    special.fold(mode & 0o777, |bits, (_, unix)| bits | unix)
}

/// A Unix mode in its travelling form. A socket travels as an empty file, as with BuildKit.
pub(super) fn travelling(unix: u32) -> u32 {
    let kind = match FileType::from_raw_mode(unix) {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => SYMLINK,
        FileType::Fifo => NAMED_PIPE,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHARACTER_DEVICE,
        FileType::RegularFile | FileType::Socket => 0,
        FileType::Unknown => IRREGULAR,
    };
    let special = SPECIAL.iter().filter(|(_, bit)| unix & bit != 0);
    special.fold(kind | unix & 0o777, |bits, (go, _)| bits | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_travel_there_and_back() {
        for (unix, expected) in [
            (0o100_644, FileType::RegularFile),
            (0o040_755, FileType::Directory),
            (0o041_777, FileType::Directory),
            (0o104_755, FileType::RegularFile),
            (0o120_777, FileType::Symlink),
            (0o010_600, FileType::Fifo),
            (0o060_660, FileType::BlockDevice),
            (0o020_666, FileType::CharacterDevice),
        ] {
            let mode = travelling(unix);
            assert_eq!(kind(mode), expected, "{unix:o}");
            assert_eq!(permissions(mode), unix & 0o7777, "{unix:o}");
        }
        assert_eq!(kind(travelling(0o140_755)), FileType::RegularFile);
    }
}
