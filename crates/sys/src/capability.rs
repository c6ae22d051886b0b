//! The privileges a thread holds, one bit each (`capabilities(7)`).
//!
//! A thread has five sets: what it uses (effective), what it may use (permitted), what survives an
//! `execve` of a file that asks for it (inheritable), what no `execve` can bring back once it is
//! gone (bounding), and what survives an `execve` without asking (ambient).
//!
//! All functions act on the calling thread and allocate nothing, so that they may be called between
//! fork and exec. The order that works: [`limit_bounding`], change the user with
//! [`keep_on_user_change`], [`set_thread`], [`set_ambient`].

#![expect(unsafe_code, reason = "libc has no safe capget, capset and prctl")]

use std::{fmt, io};

/// One privilege.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Capability(u8);

/// A set of privileges; the bit numbers are the kernel's.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

/// A thread's five sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ThreadCapabilities {
    /// In use.
    pub effective: CapabilitySet,
    /// May be used.
    pub permitted: CapabilitySet,
    /// Kept by an `execve` of a file that asks for it.
    pub inheritable: CapabilitySet,
    /// The most an `execve` can give.
    pub bounding: CapabilitySet,
    /// Kept by an `execve` of any file.
    pub ambient: CapabilitySet,
}

/// Every capability of Linux 6.18, by number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// How many there are. Written out because a length is no `u8` constant otherwise.
const COUNT: u8 = 41;

impl Capability {
    /// Takes a name in any case, with or without `CAP_`.
    pub fn from_name(name: &str) -> Option<Self> {
        let bare = match name.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
            _ => name,
        };
        (0..COUNT)
            .map(Self)
            .find(|capability| capability.name()[4..].eq_ignore_ascii_case(bare))
    }

    /// Takes the kernel's number.
    pub fn from_number(number: u8) -> Option<Self> {
        (number < COUNT).then_some(Self(number))
    }

    /// `CAP_CHOWN` and so on.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// All of them, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(Self)
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl CapabilitySet {
    /// None.
    pub const EMPTY: Self = Self(0);

    /// All that have a name here.
    pub const ALL: Self = Self((1 << COUNT) - 1);

    /// From the kernel's bits (the hex number in `/proc/<pid>/status`); unknown ones are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// The kernel's bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether it holds `capability`.
    pub const fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Puts one in.
    pub const fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// Takes one out.
    pub const fn remove(&mut self, capability: Capability) {
        self.0 &= !(1 << capability.0);
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one only.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether it holds none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// By number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::all().filter(move |capability| self.contains(*capability))
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        let mut set = Self::EMPTY;
        capabilities
            .into_iter()
            .for_each(|capability| set.insert(capability));
        set
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What this kernel knows: all that [`Capability`] names, or fewer on an older one.
pub fn supported() -> CapabilitySet {
    Capability::all()
        .filter(|capability| bounding_has(*capability).is_ok())
        .collect()
}

/// The calling thread's sets.
pub fn current() -> io::Result<ThreadCapabilities> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data::default(); 2];
    // SAFETY: both pointers refer to live memory of the layout that version 3 asks for.
    let code = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, &raw mut data) };
    check(code)?;
    Ok(ThreadCapabilities {
        effective: join(data[0].effective, data[1].effective),
        permitted: join(data[0].permitted, data[1].permitted),
        inheritable: join(data[0].inheritable, data[1].inheritable),
        bounding: Capability::all()
            .filter(|c| bounding_has(*c).unwrap_or(false))
            .collect(),
        ambient: Capability::all()
            .filter(|c| ambient_has(*c).unwrap_or(false))
            .collect(),
    })
}

/// Sets the effective, permitted and inheritable sets. The ambient set shrinks to what is in both
/// `permitted` and `inheritable`.
pub fn set_thread(
    effective: CapabilitySet,
    permitted: CapabilitySet,
    inheritable: CapabilitySet,
) -> io::Result<()> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| Data {
        effective: word(effective, shift),
        permitted: word(permitted, shift),
        inheritable: word(inheritable, shift),
    };
    let data = [half(0), half(32)];
    // SAFETY: both pointers refer to live memory of the layout that version 3 asks for.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, &raw const data) })
}

/// Drops all from the bounding set but `keep`. Needs `CAP_SETPCAP` if anything is to be dropped.
pub fn limit_bounding(keep: CapabilitySet) -> io::Result<()> {
    for capability in Capability::all().filter(|capability| !keep.contains(*capability)) {
        if matches!(bounding_has(capability), Ok(true)) {
            prctl(libc::PR_CAPBSET_DROP, capability.0.into(), 0)?;
        }
    }
    Ok(())
}

/// Makes the ambient set exactly `set`, which must be permitted and inheritable.
pub fn set_ambient(set: CapabilitySet) -> io::Result<()> {
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong,
        0,
    )?;
    for capability in set.iter() {
        let raise = libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong;
        prctl(libc::PR_CAP_AMBIENT, raise, capability.0.into())?;
    }
    Ok(())
}

/// Whether the permitted set outlives the next change from root to another user.
pub fn keep_on_user_change(keep: bool) -> io::Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}

/// Runs `job` on the calling thread without a privilege in use.
pub fn without<T>(privilege: Capability, job: impl FnOnce() -> T) -> io::Result<T> {
    /// Takes it up again, also when the job panics.
    struct Again(ThreadCapabilities);
    impl Drop for Again {
        fn drop(&mut self) {
            // What is permitted can be taken up at any time.
            let _ = set_thread(self.0.effective, self.0.permitted, self.0.inheritable);
        }
    }
    let before = current()?;
    let mut fewer = before.effective;
    fewer.remove(privilege);
    set_thread(fewer, before.permitted, before.inheritable)?;
    let _again = Again(before);
    Ok(job())
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 bits in two halves.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

fn join(low: u32, high: u32) -> CapabilitySet {
    CapabilitySet::from_bits(u64::from(high) << 32 | u64::from(low))
}

fn word(set: CapabilitySet, shift: u32) -> u32 {
    ((set.bits() >> shift) & u64::from(u32::MAX)) as u32
}

fn bounding_has(capability: Capability) -> io::Result<bool> {
    prctl(libc::PR_CAPBSET_READ, capability.0.into(), 0).map(|answer| answer == 1)
}

fn ambient_has(capability: Capability) -> io::Result<bool> {
    let is_set = libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, is_set, capability.0.into()).map(|answer| answer == 1)
}

fn prctl(option: libc::c_int, two: libc::c_ulong, three: libc::c_ulong) -> io::Result<libc::c_int> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used here take numbers only.
    let answer = unsafe { libc::prctl(option, two, three, zero, zero) };
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(answer)
    }
}

fn check(code: libc::c_long) -> io::Result<()> {
    if code < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_any_case_with_or_without_the_prefix() {
        for name in ["CAP_SYS_ADMIN", "sys_admin", "Sys_Admin", "cap_sys_admin"] {
            assert_eq!(
                Capability::from_name(name).map(Capability::number),
                Some(21),
                "{name}"
            );
        }
        for name in ["", "CAP_", "ALL", "CAP_CAP_CHOWN", "é"] {
            assert_eq!(Capability::from_name(name), None, "{name}");
        }
    }

    #[test]
    fn dockers_default_set_has_the_known_number() {
        let set: CapabilitySet = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID \
                                  SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
            .split_whitespace()
            .map(|name| Capability::from_name(name).unwrap())
            .collect();
        assert_eq!(set.bits(), 0xa804_25fb);
    }

    #[test]
    fn a_privilege_is_put_aside_for_a_while() {
        let chown = Capability::from_name("CHOWN").unwrap();
        let has = || current().unwrap().effective.contains(chown);
        let before = has();
        assert!(!without(chown, has).unwrap());
        assert_eq!(has(), before);
    }

    #[test]
    fn a_thread_can_give_up_everything() {
        std::thread::spawn(|| {
            let before = current().unwrap();
            let kept = before
                .permitted
                .intersection(CapabilitySet::from_bits(0b1001));
            limit_bounding(kept).unwrap();
            set_thread(kept, kept, kept).unwrap();
            set_ambient(kept).unwrap();
            let after = current().unwrap();
            let all = [
                after.effective,
                after.permitted,
                after.inheritable,
                after.ambient,
            ];
            assert!(all.iter().all(|set| *set == kept), "{after:?}");
            assert_eq!(after.bounding, kept.intersection(before.bounding));
            set_thread(
                CapabilitySet::EMPTY,
                CapabilitySet::EMPTY,
                CapabilitySet::EMPTY,
            )
            .unwrap();
            assert!(current().unwrap().ambient.is_empty());
        })
        .join()
        .unwrap();
    }
}
