//! The text of a file: a few megabytes at most, and nothing that is waited for.

use std::fs::{File, FileType, OpenOptions};
use std::io::{Error, Read, Result};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

/// Bytes a file may have: far more than a person writes.
pub const BYTES_MAX: u64 = 4 << 20;

/// What a shell names a pipe it has opened itself: `-f <(generate)`.
const INHERITED: [&str; 3] = ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"];

/// Reads a file.
///
/// # Errors
/// What is no file, is too long, or is not text.
pub(crate) fn read(path: &str) -> Result<String> {
    let is_inherited = INHERITED.iter().any(|prefix| path.starts_with(prefix));
    let check = |kind: FileType| match other_kind(kind) {
        Some("a pipe") if is_inherited => Ok(()),
        // `/dev/null` is a file of variables for some, and reads as empty.
        Some(_) if path == "/dev/null" => Ok(()),
        Some(other) => Err(Error::other(format!("it is {other}, and not a file"))),
        None => Ok(()),
    };
    // A socket cannot be opened at all, and opening a device may do something.
    check(std::fs::metadata(path)?.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    if !is_inherited {
        // A pipe that has come between would have the opening wait for its other end.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    check(file.metadata()?.file_type())?;
    bounded(file)
}

/// What a file system has besides files.
fn other_kind(kind: FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_dir() => Some("a directory"),
        kind if kind.is_fifo() => Some("a pipe"),
        kind if kind.is_socket() => Some("a socket"),
        kind if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        _ => None,
    }
}

fn bounded(file: File) -> Result<String> {
    let mut text = String::new();
    let length = file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    match length as u64 > BYTES_MAX {
        true => Err(Error::other(format!("it has more than {BYTES_MAX} bytes"))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &std::path::Path) -> String {
        read(path.to_str().unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_file_is_named_at_once() {
        let directory = std::env::temp_dir().join(format!("hull-kinds-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let pipe = directory.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let socket = directory.join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let long = directory.join("long");
        File::create(&long).unwrap().set_len(BYTES_MAX + 1).unwrap();
        assert_eq!(refusal(&pipe), "it is a pipe, and not a file");
        assert_eq!(refusal(&socket), "it is a socket, and not a file");
        assert_eq!(refusal(&directory), "it is a directory, and not a file");
        assert_eq!(refusal(&long), "it has more than 4194304 bytes");
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(
            refusal("/dev/zero".as_ref()),
            "it is a device, and not a file"
        );
        assert_eq!(read("/dev/null").unwrap(), "");
    }

    #[test]
    fn a_pipe_that_a_shell_opened_is_read() {
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"services: {}").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read(&path).unwrap(), "services: {}");
    }
}
