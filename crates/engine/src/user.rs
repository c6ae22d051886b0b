//! Who a container's process is: names looked up in the container's own `passwd` and `group`.
//!
//! Pure: texts in, numbers out. The texts come from an image and are hostile: the caller cuts them
//! at 1 MiB, and here only whole, well-formed lines count. A name that consists of digits is always
//! a number, so that an image's `passwd` cannot give `USER 1000` another meaning.

/// The highest user and group number that is not the kernel's word for "none" or near it.
const ID_MAX: u64 = (1 << 31) - 1;

/// No more of a text than this is looked at.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Who a process is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// The home directory; `/` for who is not in `passwd`.
    pub home: String,
}

/// The user or group does not exist. The texts are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// No such further group.
    #[error("Unable to find group {0}")]
    NoAddedGroup(String),
    /// A number that is none.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
}

/// Resolves `user`, `user:group`, `:group` or nothing (root), and further groups, by name or number.
pub fn resolve(who: &str, added: &[String], passwd: &str, group: &str) -> Result<User, UserError> {
    let (name, group_name) = who.split_once(':').unwrap_or((who, ""));
    let accounts: Vec<_> = lines(passwd).filter_map(Account::parse).collect();
    let groups: Vec<_> = lines(group).filter_map(Group::parse).collect();
    let account = match number(name)? {
        Some(uid) => accounts.iter().find(|account| account.uid == uid),
        None if name.is_empty() => accounts.iter().find(|account| account.uid == 0),
        None => {
            let found = accounts.iter().find(|account| account.name == name);
            Some(found.ok_or_else(|| UserError::NoUser(name.to_owned()))?)
        }
    };
    let mut user = User {
        uid: account.map_or(number(name)?.unwrap_or(0), |account| account.uid),
        gid: account.map_or(0, |account| account.gid),
        groups: Vec::new(),
        home: account.map_or("/", |account| account.home).to_owned(),
    };
    if user.home.is_empty() {
        user.home.push('/');
    }
    if !group_name.is_empty() {
        let found = group_number(group_name, &groups)?;
        user.gid = found.ok_or_else(|| UserError::NoGroup(group_name.to_owned()))?;
    } else if let Some(account) = account {
        let memberships = groups.iter().filter(|group| group.has(account.name));
        memberships.for_each(|group| user.join(group.gid));
    }
    for name in added {
        let found = group_number(name, &groups)?;
        user.join(found.ok_or_else(|| UserError::NoAddedGroup(name.clone()))?);
    }
    Ok(user)
}

impl User {
    fn join(&mut self, gid: u32) {
        if !self.groups.contains(&gid) {
            self.groups.push(gid);
        }
    }
}

struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

impl<'a> Account<'a> {
    /// Takes `name:password:uid:gid:comment:home:shell`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (number(fields.next()?).ok()??, number(fields.next()?).ok()??);
        let home = fields.nth(1).unwrap_or_default();
        (!name.is_empty()).then_some(Self {
            name,
            uid,
            gid,
            home,
        })
    }
}

impl<'a> Group<'a> {
    /// Takes `name:password:gid:member,member`.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let gid = number(fields.next()?).ok()??;
        (!name.is_empty()).then(|| Self {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    }

    fn has(&self, user: &str) -> bool {
        self.members.split(',').any(|member| member == user)
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end]
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Digits alone are a number: no sign, no `0x`. `None`: a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let value = text.parse::<u64>().ok().filter(|value| *value <= ID_MAX);
    value
        .and_then(|value| u32::try_from(value).ok())
        .map(Some)
        .ok_or(UserError::Range)
}

fn group_number(name: &str, groups: &[Group<'_>]) -> Result<Option<u32>, UserError> {
    Ok(match number(name)? {
        Some(gid) => Some(gid),
        None => groups
            .iter()
            .find(|group| group.name == name)
            .map(|group| group.gid),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
        # a comment\n\
        broken\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n\
        1000:x:7:7::/seven:/bin/sh\n\
        homeless:x:8:8:::\n\
        huge:x:4294967296:0::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\naudio:x:29:app\napp:x:1001:\n44:x:5:\n";

    fn who(text: &str) -> Result<User, String> {
        resolve(text, &[], PASSWD, GROUP).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_numbers_are_resolved() {
        for (text, uid, gid, groups, home) in [
            ("", 0, 0, &[10u32][..], "/root"),
            ("root", 0, 0, &[10], "/root"),
            ("app", 1000, 1001, &[10, 29], "/home/app"),
            ("1000", 1000, 1001, &[10, 29], "/home/app"),
            ("app:audio", 1000, 29, &[], "/home/app"),
            ("app:0", 1000, 0, &[], "/home/app"),
            ("4321", 4321, 0, &[], "/"),
            ("4321:1234", 4321, 1234, &[], "/"),
            ("4321:44", 4321, 44, &[], "/"),
            (":audio", 0, 29, &[], "/root"),
            ("2147483647", 2_147_483_647, 0, &[], "/"),
            ("homeless", 8, 8, &[], "/"),
            ("0000", 0, 0, &[10], "/root"),
        ] {
            let expected = User {
                uid,
                gid,
                groups: groups.to_vec(),
                home: home.to_owned(),
            };
            assert_eq!(who(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_number_is_a_name_and_what_is_too_large_is_refused() {
        let no_user =
            |name: &str| format!("unable to find user {name}: no matching entries in passwd file");
        for name in ["foo", "+0", "-1", "0x0", "1e3", "１", "huge", " 0"] {
            assert_eq!(who(name), Err(no_user(name)), "{name:?}");
        }
        let range = "uids and gids must be in range 0-2147483647";
        for text in [
            "4294967296",
            "2147483648",
            "99999999999999999999999",
            "0:4294967296",
        ] {
            assert_eq!(who(text), Err(range.to_owned()), "{text:?}");
        }
        let no_group = "unable to find group nope: no matching entries in group file";
        assert_eq!(who("app:nope"), Err(no_group.to_owned()));
    }

    #[test]
    fn further_groups_are_added_once() {
        let added = ["audio", "audio", "77"].map(str::to_owned);
        assert_eq!(
            resolve("app", &added, PASSWD, GROUP).unwrap().groups,
            [10, 29, 77]
        );
        let error = resolve("app", &["nope".to_owned()], PASSWD, GROUP).unwrap_err();
        assert_eq!(error.to_string(), "Unable to find group nope");
    }

    #[test]
    fn an_image_without_passwd_knows_root_and_numbers() {
        assert_eq!(resolve("", &[], "", "").unwrap().home, "/");
        assert_eq!(resolve("5:6", &[], "", "").unwrap().gid, 6);
        assert!(resolve("root", &[], "", "").is_err());
    }

    #[test]
    fn only_the_first_mebibyte_is_read() {
        let long = format!("{}\nlate:x:5:5::/:\n", "x".repeat(TEXT_BYTES_MAX));
        assert!(resolve("late", &[], &long, "").is_err());
    }
}
