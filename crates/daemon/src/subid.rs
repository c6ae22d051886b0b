//! `--userns-remap`: which ids of the host a user may give to containers, as `/etc/subuid` and
//! `/etc/subgid` say.

use std::{fs, path::Path};

use hull_sys::idmap::{Mapping, Mappings};

/// Whom `default` means.
const DEFAULT_USER: &str = "dockremap";

/// Where ranges begin in files that have none, and how many ids one has.
const USUAL: (u32, u32) = (100_000, 65_536);

/// Users or groups: where they are listed, and where what they may give away is.
struct Kind {
    noun: &'static str,
    /// `NAME:x:ID:…`
    list: &'static str,
    /// `NAME-OR-ID:FIRST:COUNT`
    ranges: &'static str,
    /// What makes one.
    make: &'static str,
}

const USERS: Kind = Kind {
    noun: "user",
    list: "passwd",
    ranges: "subuid",
    make: "useradd --system --user-group --no-create-home --shell /usr/sbin/nologin",
};

const GROUPS: Kind = Kind {
    noun: "group",
    list: "group",
    ranges: "subgid",
    make: "groupadd --system",
};

/// The translation for `default`, `USER`, `USER:GROUP`, with names or numbers. `None`: root is to be
/// itself. `etc`: where the files are.
pub(crate) fn mappings(text: &str, etc: &Path) -> Result<Option<Mappings>, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) if !user.is_empty() && !group.is_empty() && !group.contains(':') => {
            (user, Some(group))
        }
        None => (text, None),
        Some(_) => {
            return Err(format!(
                "invalid user/group specification in userns-remap: {text:?}: USER or USER:GROUP"
            ));
        }
    };
    let user = if user == "default" {
        DEFAULT_USER
    } else {
        user
    };
    let found = USERS.find(user, etc)?;
    // Docker takes the group of the same name, or of the same number.
    let group = GROUPS.find(group.unwrap_or(user), etc)?;
    if found.0 == "root" {
        return Ok(None);
    }
    Ok(Some(Mappings {
        users: USERS.ranges_of(&found, etc)?,
        groups: GROUPS.ranges_of(&group, etc)?,
    }))
}

impl Kind {
    /// The name and the number of the one that has either.
    fn find(&self, wanted: &str, etc: &Path) -> Result<(String, u32), String> {
        let path = etc.join(self.list);
        let text = read(&path)?;
        let number = wanted.parse::<u32>().ok();
        let one = |line: &str| {
            let mut fields = line.split(':');
            let (name, id) = (fields.next()?, fields.nth(1)?.parse().ok()?);
            let is_it = number.map_or(name == wanted, |number| number == id);
            is_it.then(|| (name.to_owned(), id))
        };
        text.lines().find_map(one).ok_or_else(|| {
            let way = match number {
                Some(_) => String::new(),
                None => format!(": make it ({} {wanted})", self.make),
            };
            let (noun, path) = (self.noun, path.display());
            format!("userns-remap: there is no {noun} {wanted:?} in {path}{way}")
        })
    }

    /// The ids it may give away, one range behind the other, from 0 on.
    fn ranges_of(&self, (name, id): &(String, u32), etc: &Path) -> Result<Vec<Mapping>, String> {
        let path = etc.join(self.ranges);
        let text = read(&path)?;
        let mut ranges = Vec::new();
        let mut inside: u32 = 0;
        for line in text.lines().map(str::trim) {
            let Some((owner, range)) = line.split_once(':') else {
                continue;
            };
            if owner != name && *owner != id.to_string() {
                continue;
            }
            let invalid = || format!("userns-remap: invalid line in {}: {line:?}", path.display());
            let (outside, size) = parse(range).ok_or_else(invalid)?;
            ranges.push(Mapping {
                inside,
                outside,
                size,
            });
            inside = inside.checked_add(size).ok_or_else(invalid)?;
        }
        if ranges.is_empty() {
            let (first, count) = (free(&text), USUAL.1);
            return Err(format!(
                "userns-remap: no {} ranges found for {} {name:?}: add a line to {}, such as \
                 {name}:{first}:{count}",
                self.ranges,
                self.noun,
                path.display(),
            ));
        }
        Ok(ranges)
    }
}

/// `FIRST:COUNT`.
fn parse(range: &str) -> Option<(u32, u32)> {
    let (first, count) = range.split_once(':')?;
    let (first, count): (u32, u32) = (first.parse().ok()?, count.parse().ok()?);
    // The last number means "no id".
    (count > 0 && first.checked_add(count)? < u32::MAX).then_some((first, count))
}

/// Where nobody's range is yet.
fn free(text: &str) -> u32 {
    let ranges = text.lines().filter_map(|line| line.split_once(':'));
    let ends = ranges
        .filter_map(|(_, range)| parse(range.trim()))
        .map(|(first, count)| first + count);
    ends.max().unwrap_or(0).max(USUAL.0)
}

fn read(path: &Path) -> Result<String, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(format!(
            "userns-remap: cannot read {}: {error}",
            path.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, subuid: &str, subgid: &str) -> Result<Option<Mappings>, String> {
        let etc = tempfile::tempdir().unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/:/bin/sh\n\
                      dockremap:x:990:990::/:/bin/false\n";
        let group = "root:x:0:\nann:x:1000:\nstaff:x:50:ann\ndockremap:x:990:\n";
        for (name, text) in [
            ("passwd", passwd),
            ("group", group),
            ("subuid", subuid),
            ("subgid", subgid),
        ] {
            fs::write(etc.path().join(name), text).unwrap();
        }
        let place = format!("{}/", etc.path().display());
        mappings(text, etc.path()).map_err(|error| error.replace(&place, ""))
    }

    fn map(inside: u32, outside: u32, size: u32) -> Mapping {
        Mapping {
            inside,
            outside,
            size,
        }
    }

    #[test]
    fn ranges_are_those_of_the_user_and_of_the_group() {
        let subuid = "bob:1:2\nann:100000:65536\n990:500000:10\nann:300000:5\n";
        let subgid = "staff:700000:65536\nann:200000:65536\ndockremap:1000:7";
        let ids = asked("ann", subuid, subgid).unwrap().unwrap();
        assert_eq!(ids.users, [map(0, 100_000, 65536), map(65536, 300_000, 5)]);
        assert_eq!(ids.groups, [map(0, 200_000, 65536)]);
        for same in ["1000", "1000:1000", "ann:ann", "ann:1000"] {
            assert_eq!(asked(same, subuid, subgid).unwrap().as_ref(), Some(&ids));
        }
        for other in ["ann:staff", "1000:50"] {
            let groups = asked(other, subuid, subgid).unwrap().unwrap().groups;
            assert_eq!(groups, [map(0, 700_000, 65536)]);
        }
        let default = asked("default", subuid, subgid).unwrap().unwrap();
        assert_eq!(default.users, [map(0, 500_000, 10)]);
        assert_eq!(default.groups, [map(0, 1000, 7)]);
        assert_eq!(asked("root", "", "").unwrap(), None);
    }

    #[test]
    fn what_is_missing_is_named_with_the_line_to_add() {
        let fails = |text: &str, subuid: &str| asked(text, subuid, "").unwrap_err();
        assert_eq!(
            fails("ann", "bob:100000:65536\n"),
            "userns-remap: no subuid ranges found for user \"ann\": add a line to subuid, such as \
             ann:165536:65536"
        );
        assert_eq!(
            fails("ann", "ann:100000:65536\n"),
            "userns-remap: no subgid ranges found for group \"ann\": add a line to subgid, such as \
             ann:100000:65536"
        );
        assert!(fails("eve", "").contains("no user \"eve\" in passwd: make it (useradd"));
        assert!(fails("ann:wheel", "").contains("no group \"wheel\" in group: make it (groupadd"));
        assert!(fails("77", "").ends_with("no user \"77\" in passwd"));
        assert!(fails("ann", "ann:5:0\n").contains("invalid line in subuid: \"ann:5:0\""));
        assert!(fails("ann", "ann:4294967000:65536\n").contains("invalid line"));
        assert!(fails("a:b:c", "").contains("USER or USER:GROUP"));
    }
}
