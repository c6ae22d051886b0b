//! Which devices a container may open or make: the OCI's list of rules as cgroups understand it.
//!
//! The list is read in order, later rules change what earlier ones said. What it comes to is a
//! [`DevicePolicy`]: all devices but some, or none but some. Cgroup v1 takes it as lines written to
//! `devices.deny` and `devices.allow`, cgroup v2 as an eBPF program.

use std::collections::BTreeMap;

use hull_oci::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

/// What a list of rules comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DevicePolicy {
    /// What holds for a device without an exception.
    allows: bool,
    exceptions: BTreeMap<Devices, Access>,
}

/// What a list comes to while it is being read.
#[derive(Default)]
struct Reader {
    policy: DevicePolicy,
    /// What was taken back again, and must not be covered by a wider exception.
    taken_back: BTreeMap<Devices, Access>,
}

/// One line for cgroup v1, in the order to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `devices.allow` or `devices.deny`.
    pub file: &'static str,
    /// `c 1:3 rwm`, or `a`.
    pub text: String,
}

/// The rules cannot be expressed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DeviceRuleError {
    /// Neither block nor character.
    #[error("device rule is for type {0}, only a, b and c have rules")]
    Type(String),
    /// Not letters of `rwm`.
    #[error("device rule has access {0:?}, only the letters rwm are known")]
    Access(String),
    /// No device has such a number.
    #[error("device rule has number {0}")]
    Number(i64),
    /// Neither cgroup version can take single devices out of many again.
    #[error("device rule denies {0}, which an earlier rule allows together with others")]
    Hole(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Devices {
    kind: Kind,
    /// `None`: every one.
    major: Option<u32>,
    minor: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Block,
    Character,
}

/// The kernel's `BPF_DEVCG_ACC_*` bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Access(u32);

impl DevicePolicy {
    /// Reads an OCI list.
    pub fn from_rules(rules: &[LinuxDeviceCgroup]) -> Result<Self, DeviceRuleError> {
        let mut reader = Reader::default();
        rules.iter().try_for_each(|rule| reader.apply(rule))?;
        reader.finish()
    }

    /// What to write to a fresh cgroup of v1.
    pub fn v1_lines(&self) -> Vec<Line> {
        let (first, others) = match self.allows {
            true => ("devices.allow", "devices.deny"),
            false => ("devices.deny", "devices.allow"),
        };
        let exceptions = self.exceptions.iter().map(|(devices, access)| Line {
            file: others,
            text: format!("{} {}", devices.text(), access.text()),
        });
        std::iter::once(Line {
            file: first,
            text: "a".to_owned(),
        })
        .chain(exceptions)
        .collect()
    }

    /// The program for a cgroup of v2: `struct bpf_cgroup_dev_ctx` in, 1 for yes or 0 for no out.
    pub fn v2_program(&self) -> Vec<u8> {
        let mut program = Vec::new();
        program.extend(PROLOGUE);
        for (devices, access) in &self.exceptions {
            program.extend(self.exception(*devices, *access));
        }
        program.extend([set(R0, i32::from(self.allows)), EXIT]);
        program
            .iter()
            .flat_map(|instruction| instruction.bytes())
            .collect()
    }

    /// Falls through where the exception does not apply.
    fn exception(&self, devices: Devices, access: Access) -> Vec<Ebpf> {
        let verdict = [set(R0, i32::from(!self.allows)), EXIT];
        // Built from the end, as each test skips all that follows.
        let mut tests = Vec::new();
        let mut skip = verdict.len() as i16;
        if access != Access::ALL {
            tests.push(match self.allows {
                // Deny if any denied access is asked for; allow if nothing else is.
                true => unless_any(R3, access.0 as i32, skip),
                false => if_any(R3, (Access::ALL.0 & !access.0) as i32, skip),
            });
            skip += if self.allows { 2 } else { 1 };
        }
        for (register, number) in [(R5, devices.minor), (R4, devices.major)] {
            if let Some(number) = number {
                tests.push(vec![if_not_equal(register, number as i32, skip)]);
                skip += 1;
            }
        }
        tests.push(vec![if_not_equal(R2, devices.kind.bpf(), skip)]);
        tests.into_iter().rev().flatten().chain(verdict).collect()
    }
}

impl Reader {
    fn apply(&mut self, rule: &LinuxDeviceCgroup) -> Result<(), DeviceRuleError> {
        let access = Access::parse(rule.access().as_deref().unwrap_or("rwm"))?;
        let (major, minor) = (number(rule.major())?, number(rule.minor())?);
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A if major.is_none() && minor.is_none() && access == Access::ALL => {
                *self = Self::default();
                self.policy.allows = rule.allow();
                return Ok(());
            }
            LinuxDeviceType::A => &[Kind::Block, Kind::Character],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C | LinuxDeviceType::U => &[Kind::Character],
            other => return Err(DeviceRuleError::Type(other.as_str().to_owned())),
        };
        for kind in kinds {
            let devices = Devices {
                kind: *kind,
                major,
                minor,
            };
            // An exception says the opposite of the default.
            let (gains, loses) = match rule.allow() == self.policy.allows {
                false => (&mut self.policy.exceptions, &mut self.taken_back),
                true => (&mut self.taken_back, &mut self.policy.exceptions),
            };
            for (_, lost) in loses
                .iter_mut()
                .filter(|(other, _)| devices.covers(**other))
            {
                *lost = lost.without(access);
            }
            let gained = gains.entry(devices).or_insert(Access(0));
            *gained = Access(gained.0 | access.0);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<DevicePolicy, DeviceRuleError> {
        for (devices, taken) in &self.taken_back {
            let covered = self
                .policy
                .exceptions
                .iter()
                .any(|(wider, access)| wider.covers(*devices) && access.0 & taken.0 != 0);
            if covered {
                return Err(DeviceRuleError::Hole(devices.text()));
            }
        }
        self.policy.exceptions.retain(|_, access| access.0 != 0);
        Ok(self.policy)
    }
}

impl Devices {
    fn covers(self, other: Self) -> bool {
        self.kind == other.kind
            && (self.major.is_none() || self.major == other.major)
            && (self.minor.is_none() || self.minor == other.minor)
    }

    fn text(self) -> String {
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            Kind::Block => 'b',
            Kind::Character => 'c',
        };
        format!("{kind} {}:{}", number(self.major), number(self.minor))
    }
}

impl Kind {
    fn bpf(self) -> i32 {
        match self {
            Self::Block => 1,
            Self::Character => 2,
        }
    }
}

impl Access {
    const MAKE: u32 = 1;
    const READ: u32 = 2;
    const WRITE: u32 = 4;
    const ALL: Self = Self(7);

    fn parse(text: &str) -> Result<Self, DeviceRuleError> {
        text.chars()
            .try_fold(0, |bits, letter| match letter {
                'r' => Some(bits | Self::READ),
                'w' => Some(bits | Self::WRITE),
                'm' => Some(bits | Self::MAKE),
                _ => None,
            })
            .map(Self)
            .ok_or_else(|| DeviceRuleError::Access(text.to_owned()))
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    fn text(self) -> String {
        [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MAKE, 'm')]
            .into_iter()
            .filter(|(bit, _)| self.0 & bit != 0)
            .map(|(_, letter)| letter)
            .collect()
    }
}

/// Absent and −1: every one.
fn number(number: Option<i64>) -> Result<Option<u32>, DeviceRuleError> {
    match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| DeviceRuleError::Number(number)),
    }
}

/// One eBPF instruction: code, registers (destination in the low half), offset, immediate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ebpf {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Ebpf {
    fn bytes(self) -> [u8; 8] {
        let [offset_0, offset_1] = self.offset.to_ne_bytes();
        let [i0, i1, i2, i3] = self.immediate.to_ne_bytes();
        [
            self.code,
            self.registers,
            offset_0,
            offset_1,
            i0,
            i1,
            i2,
            i3,
        ]
    }
}

const R0: u8 = 0;
/// The kind of device.
const R2: u8 = 2;
/// The access asked for.
const R3: u8 = 3;
/// The major number.
const R4: u8 = 4;
/// The minor number.
const R5: u8 = 5;

const EXIT: Ebpf = Ebpf {
    code: 0x95,
    registers: 0,
    offset: 0,
    immediate: 0,
};

/// R2 = kind, R3 = access (from halves of the first word), R4 = major, R5 = minor.
const PROLOGUE: [Ebpf; 6] = [
    load(R2, 0),
    Ebpf {
        code: 0x54,
        registers: R2,
        offset: 0,
        immediate: 0xffff,
    },
    load(R3, 0),
    Ebpf {
        code: 0x74,
        registers: R3,
        offset: 0,
        immediate: 16,
    },
    load(R4, 4),
    load(R5, 8),
];

/// `register = *(u32 *)(R1 + offset)`
const fn load(register: u8, offset: i16) -> Ebpf {
    Ebpf {
        code: 0x61,
        registers: register | 1 << 4,
        offset,
        immediate: 0,
    }
}

/// `register = immediate`
const fn set(register: u8, immediate: i32) -> Ebpf {
    Ebpf {
        code: 0xb4,
        registers: register,
        offset: 0,
        immediate,
    }
}

/// Skips if the register's 32 bits differ.
const fn if_not_equal(register: u8, immediate: i32, offset: i16) -> Ebpf {
    Ebpf {
        code: 0x56,
        registers: register,
        offset,
        immediate,
    }
}

/// Skips if any of the bits is set.
fn if_any(register: u8, bits: i32, offset: i16) -> Vec<Ebpf> {
    vec![Ebpf {
        code: 0x46,
        registers: register,
        offset,
        immediate: bits,
    }]
}

/// Skips if none of the bits is set.
fn unless_any(register: u8, bits: i32, offset: i16) -> Vec<Ebpf> {
    let over = Ebpf {
        code: 0x05,
        registers: 0,
        offset,
        immediate: 0,
    };
    vec![
        Ebpf {
            code: 0x46,
            registers: register,
            offset: 1,
            immediate: bits,
        },
        over,
    ]
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::fd::AsFd,
    };

    use proptest::prelude::*;

    use super::*;

    fn rules(json: serde_json::Value) -> Vec<LinuxDeviceCgroup> {
        serde_json::from_value(json).unwrap()
    }

    fn lines(json: serde_json::Value) -> Vec<String> {
        let policy = DevicePolicy::from_rules(&rules(json)).unwrap();
        policy
            .v1_lines()
            .iter()
            .map(|line| format!("{} {}", &line.file[8..], line.text))
            .collect()
    }

    /// Runs a program as the kernel does.
    fn run(program: &[u8], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let (instructions, _) = program.as_chunks::<8>();
        let mut registers = [0u32; 6];
        let mut at = 0usize;
        loop {
            let [code, register, o0, o1, i0, i1, i2, i3] = instructions[at];
            let offset = i16::from_ne_bytes([o0, o1]);
            let immediate = i32::from_ne_bytes([i0, i1, i2, i3]) as u32;
            let destination = usize::from(register & 15);
            at += 1;
            let mut jump = |holds: bool| at += if holds { offset as usize } else { 0 };
            match code {
                0x61 => {
                    registers[destination] =
                        [access << 16 | kind, major, minor][offset as usize / 4]
                }
                0x54 => registers[destination] &= immediate,
                0x74 => registers[destination] >>= immediate,
                0xb4 => registers[destination] = immediate,
                0x56 => jump(registers[destination] != immediate),
                0x46 => jump(registers[destination] & immediate != 0),
                0x05 => jump(true),
                0x95 => return registers[0] == 1,
                _ => panic!("instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn later_rules_change_earlier_ones() {
        let all = serde_json::json!([
            {"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "access": "m"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "r"},
            {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "wm"},
            {"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rw"},
            {"allow": false, "type": "b", "major": 8, "minor": 0, "access": "w"},
        ]);
        assert_eq!(
            lines(all),
            [
                "deny a",
                "allow b 8:0 r",
                "allow c *:* m",
                "allow c 1:3 rwm"
            ]
        );
    }

    #[test]
    fn everything_but_one_device() {
        let json = serde_json::json!([
            {"allow": true},
            {"allow": false, "type": "c", "major": 1, "minor": 1, "access": "rw"},
        ]);
        assert_eq!(lines(json.clone()), ["allow a", "deny c 1:1 rw"]);
        let program = DevicePolicy::from_rules(&rules(json)).unwrap().v2_program();
        assert!(!run(&program, 2, 2, 1, 1));
        assert!(!run(&program, 2, 3, 1, 1));
        assert!(run(&program, 2, 1, 1, 1));
        assert!(run(&program, 1, 2, 1, 1));
        assert!(run(&program, 2, 2, 1, 3));
    }

    #[test]
    fn a_hole_in_a_wider_rule_is_refused() {
        let list = rules(serde_json::json!([
            {"allow": false},
            {"allow": true, "type": "c"},
            {"allow": false, "type": "c", "major": 5, "minor": 1},
        ]));
        assert_eq!(
            DevicePolicy::from_rules(&list),
            Err(DeviceRuleError::Hole("c 5:1".to_owned()))
        );
    }

    #[test]
    fn a_wide_rule_overrides_the_narrow_ones_before_it() {
        let json = serde_json::json!([
            {"allow": false},
            {"allow": true, "type": "c", "major": 5, "minor": 1},
            {"allow": true, "type": "b", "major": 8, "minor": 1},
            {"allow": false, "type": "c", "major": 5, "access": "w"},
            {"allow": false, "type": "b", "major": 8, "minor": 0},
            {"allow": true, "type": "b"},
        ]);
        let expected = [
            "deny a",
            "allow b *:* rwm",
            "allow b 8:1 rwm",
            "allow c 5:1 rm",
        ];
        assert_eq!(lines(json), expected);
    }

    #[test]
    fn nonsense_is_refused() {
        for json in [
            serde_json::json!([{"allow": true, "access": "rx"}]),
            serde_json::json!([{"allow": true, "type": "p"}]),
            serde_json::json!([{"allow": true, "type": "c", "major": -2}]),
            serde_json::json!([{"allow": true, "type": "c", "major": 1i64 << 33}]),
        ] {
            assert!(
                DevicePolicy::from_rules(&rules(json.clone())).is_err(),
                "{json}"
            );
        }
    }

    proptest! {
        /// With nothing taken back, a program allows what some rule allows and nothing else.
        #[test]
        fn a_program_allows_what_its_rules_allow(
            list in proptest::collection::vec((any::<bool>(), -1i64..3, -1i64..3, 1u32..8), 0..8),
            asked in proptest::collection::vec((1u32..3, 1u32..8, 0u32..4, 0u32..4), 64),
            default in any::<bool>(),
        ) {
            let mut json = vec![serde_json::json!({"allow": default, "access": "rwm"})];
            json.extend(list.iter().map(|(block, major, minor, access)| serde_json::json!({
                "allow": !default, "type": if *block { "b" } else { "c" },
                "major": major, "minor": minor, "access": Access(*access).text(),
            })));
            let policy = DevicePolicy::from_rules(&rules(json.into())).unwrap();
            let program = policy.v2_program();
            for (kind, access, major, minor) in asked {
                let mut granted = BTreeMap::new();
                for (block, rule_major, rule_minor, bits) in &list {
                    if (kind == 1) == *block
                        && (*rule_major == -1 || *rule_major == i64::from(major))
                        && (*rule_minor == -1 || *rule_minor == i64::from(minor))
                    {
                        *granted.entry((*rule_major, *rule_minor)).or_insert(0) |= bits;
                    }
                }
                let expected = match default {
                    false => granted.values().any(|bits| access & !bits == 0),
                    true => granted.values().all(|bits| access & bits == 0),
                };
                prop_assert_eq!(run(&program, kind, access, major, minor), expected);
            }
        }
    }

    #[test]
    fn the_kernel_takes_programs_and_swaps_one_for_another() {
        let cgroup = TestCgroup::new();
        let directory = File::open(&cgroup.0).unwrap();
        for json in [
            serde_json::json!([{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}]),
            serde_json::json!([{"allow": true}, {"allow": false, "type": "b", "access": "w"}]),
            serde_json::json!([]),
        ] {
            let bytes = DevicePolicy::from_rules(&rules(json)).unwrap().v2_program();
            let program = hull_sys::bpf::Program::load_cgroup_device(&bytes).unwrap();
            hull_sys::bpf::replace_device_programs(directory.as_fd(), &program).unwrap();
            assert_eq!(
                hull_sys::bpf::device_program_count(directory.as_fd()).unwrap(),
                1
            );
        }
    }

    struct TestCgroup(std::path::PathBuf);

    impl TestCgroup {
        fn new() -> Self {
            let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
                .into_iter()
                .find(|path| fs::exists(format!("{path}/cgroup.procs")).unwrap())
                .unwrap();
            let path = format!("{unified}/hull-device-test-{}", std::process::id());
            fs::create_dir(&path).unwrap();
            Self(path.into())
        }
    }

    impl Drop for TestCgroup {
        fn drop(&mut self) {
            let _ = fs::remove_dir(&self.0);
        }
    }
}
