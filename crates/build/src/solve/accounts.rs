//! Names of users and groups, as the files of an image have them.

use std::fs::File;

use hull_sys::beneath::Root;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};

/// Bytes of `/etc/passwd` and `/etc/group` that are read.
const ACCOUNTS_BYTES_MAX: u64 = 1 << 20;

fn read_accounts(root: &Root, file: &str) -> String {
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut text = Vec::new();
    if let Ok(file) = root.open(file, flags, Mode::empty()) {
        let file = File::from(file);
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            let _ = file.take(ACCOUNTS_BYTES_MAX).read_to_end(&mut text);
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

pub(super) fn account(root: &Root, file: &str, name: &str) -> Result<u32> {
    if name.is_empty() {
        return Ok(0);
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        let invalid = || Error::invalid(format!("invalid user or group id {name:?}"), None);
        return name
            .parse::<u32>()
            .ok()
            .filter(|id| *id <= i32::MAX as u32)
            .ok_or_else(invalid);
    }
    let text = read_accounts(root, file);
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name)
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    });
    found.ok_or_else(|| {
        let kind = if file.ends_with("group") {
            "group"
        } else {
            "user"
        };
        Error::invalid(
            format!("unable to find {kind} {name}: no matching entries in /{file}"),
            None,
        )
    })
}

pub(super) fn primary_group(root: &Root, user: &str) -> Option<u32> {
    if user.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = read_accounts(root, "etc/passwd");
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == user)
            .then(|| fields.nth(2)?.parse().ok())
            .flatten()
    })
}
