//! What is mounted into a container besides its root.

use serde::{Deserialize, Serialize};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Where the content comes from.
    pub source: MountSource,
    /// An absolute path in the container.
    pub target: String,
    /// Read-only.
    pub read_only: bool,
    /// The mode text of `-v src:dst:MODE` as typed (`inspect` shows it), empty for `--mount`.
    pub mode: String,
    /// `default`, `consistent`, `cached`, `delegated`: kept for `inspect`, without effect on Linux.
    pub consistency: String,
    /// Whether it came from `-v` (and not `--mount`): `inspect` lists those elsewhere.
    pub from_bind_text: bool,
    /// How owners of a bind's or a volume's files are translated.
    #[serde(default)]
    pub idmap: Option<IdMap>,
}

/// How owners on the disk are seen in the container, and the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMap {
    /// The source's owner is the container's user; all others stay.
    Owner,
    /// Number by number. Who is in no range is nobody.
    Ranges {
        /// Users.
        users: Vec<IdRange>,
        /// Groups.
        groups: Vec<IdRange>,
    },
}

/// Some numbers in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one on the disk.
    pub host: u32,
    /// The first one in the container.
    pub container: u32,
    /// How many.
    pub count: u32,
}

/// The kernel takes no more ranges.
const RANGES_MAX: usize = 340;

impl std::str::FromStr for IdMap {
    type Err = String;

    /// `owner`, or `uids=HOST-CONTAINER-COUNT#…;gids=HOST-CONTAINER-COUNT#…`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "owner" {
            return Ok(Self::Owner);
        }
        let invalid = || {
            format!(
                "invalid idmap {text:?}: say \"owner\", or \
                 \"uids=HOST-CONTAINER-COUNT;gids=HOST-CONTAINER-COUNT\" (several ranges: joined \
                 by #)"
            )
        };
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for part in text.split(';') {
            let (kind, list) = part.split_once('=').ok_or_else(invalid)?;
            let ranges = match kind {
                "uids" => &mut users,
                "gids" => &mut groups,
                _ => return Err(invalid()),
            };
            for range in list.split('#') {
                ranges.push(IdRange::parse(range).ok_or_else(invalid)?);
            }
        }
        let fits = |ranges: &[IdRange]| {
            !ranges.is_empty() && ranges.len() <= RANGES_MAX && !overlap(ranges)
        };
        if !fits(&users) || !fits(&groups) {
            return Err(invalid());
        }
        Ok(Self::Ranges { users, groups })
    }
}

impl IdRange {
    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(str::parse::<u32>);
        let (host, container) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let count = numbers.next()?.ok()?;
        let ends = [host.checked_add(count)?, container.checked_add(count)?];
        (numbers.next().is_none() && count > 0 && ends.iter().all(|end| *end < u32::MAX)).then_some(
            Self {
                host,
                container,
                count,
            },
        )
    }
}

fn overlap(ranges: &[IdRange]) -> bool {
    let meet = |one: u32, other: u32, a: &IdRange, b: &IdRange| {
        one < other.saturating_add(b.count) && other < one.saturating_add(a.count)
    };
    ranges.iter().enumerate().any(|(at, a)| {
        ranges[..at]
            .iter()
            .any(|b| meet(a.host, b.host, a, b) || meet(a.container, b.container, a, b))
    })
}

impl std::fmt::Display for IdMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Ranges { users, groups } = self else {
            return f.write_str("owner");
        };
        let list = |ranges: &[IdRange]| {
            let one = |r: &IdRange| format!("{}-{}-{}", r.host, r.container, r.count);
            ranges.iter().map(one).collect::<Vec<_>>().join("#")
        };
        write!(f, "uids={};gids={}", list(users), list(groups))
    }
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute.
        path: String,
        /// How.
        options: BindOptions,
    },
    /// A volume; no name: an anonymous one.
    Volume {
        /// `None`: an anonymous one.
        name: Option<String>,
        /// How.
        options: VolumeOptions,
    },
    /// Memory.
    Tmpfs(TmpfsOptions),
    /// Another image's content, read-only.
    Image {
        /// The image's reference.
        reference: String,
        /// A path inside it; empty: its root.
        subpath: String,
    },
}

/// How a bind is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// How mounts made later travel.
    pub propagation: Option<Propagation>,
    /// Leave out what is mounted below the source.
    pub non_recursive: bool,
    /// Make the source as a directory when it is missing.
    pub create_source: bool,
    /// Read-only applies to the top mount alone.
    pub read_only_non_recursive: bool,
    /// Refuse where the kernel cannot make all of it read-only.
    pub read_only_force_recursive: bool,
}

/// How mounts made later travel between the host and the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "mount_namespaces(7) describes each")]
pub enum Propagation {
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

/// How a volume is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Do not fill an empty volume with the image's content.
    pub no_copy: bool,
    /// A path inside the volume; empty: its root.
    pub subpath: String,
    /// The labels of a volume made for this mount.
    pub labels: std::collections::BTreeMap<String, String>,
    /// The driver of a volume made for this mount; empty: `local`.
    pub driver: String,
    /// Its options.
    pub driver_options: std::collections::BTreeMap<String, String>,
}

/// A tmpfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TmpfsOptions {
    /// Bytes; 0: no limit.
    pub size_bytes: i64,
    /// Permission bits; 0: 1777.
    pub mode: u32,
    /// Further mount options: name, or name and value.
    pub options: Vec<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_ids_survive_the_way_in_and_out() {
        for text in [
            "owner",
            "uids=1000-0-1;gids=1000-0-1",
            "uids=0-100-5#5-0-2;gids=7-7-1",
        ] {
            assert_eq!(text.parse::<IdMap>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn maps_of_ids_that_make_no_sense_are_refused() {
        for bad in [
            "",
            "me",
            "uids=1-2-3",
            "uids=1-2;gids=1-2-3",
            "uids=1-2-0;gids=1-2-3",
            "uids=4294967295-0-1;gids=0-0-1",
            "uids=0-0-10#5-50-1;gids=0-0-1",
        ] {
            let error = bad.parse::<IdMap>().unwrap_err();
            assert!(error.contains("HOST-CONTAINER-COUNT"), "{bad}: {error}");
        }
    }
}
