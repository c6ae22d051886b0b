//! System call numbers by name and architecture.
//!
//! The numbers stand in `syscalls.tsv`, gathered from the kernel's headers and libseccomp's tables.

use std::{collections::HashMap, sync::LazyLock};

use hull_oci::runtime::Arch;

/// An architecture whose calls can be told apart. All of them are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the architectures' own")]
pub enum Architecture {
    X86_64,
    X86,
    /// x86-64 with 32-bit pointers: seen by a filter as x86-64 with [`X32_BIT`] in the number.
    X32,
    Aarch64,
    Arm,
    Riscv64,
    Loongarch64,
}

/// Marks a number as x32's.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// The first of Arm's private calls, far above all others.
pub(super) const ARM_PRIVATE: u32 = 0x000f_0000;

const COLUMNS: usize = 7;

type Numbers = [Option<u32>; COLUMNS];

static TABLE: LazyLock<HashMap<&'static str, Numbers>> = LazyLock::new(|| {
    include_str!("syscalls.tsv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("name\t"))
        .filter_map(|line| {
            let mut fields = line.split('\t');
            let name = fields.next()?;
            let mut numbers = [None; COLUMNS];
            for (number, field) in numbers.iter_mut().zip(fields) {
                *number = field.parse().ok();
            }
            Some((name, numbers))
        })
        .collect()
});

impl Architecture {
    /// What this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// What this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;
    /// What this program was built for.
    #[cfg(target_arch = "riscv64")]
    pub const NATIVE: Self = Self::Riscv64;
    /// What this program was built for.
    #[cfg(target_arch = "loongarch64")]
    pub const NATIVE: Self = Self::Loongarch64;

    /// The profile's word. `None` for architectures without a table: no kernel that Hull runs on
    /// executes their programs.
    pub(super) fn from_oci(arch: Arch, native: Self) -> Option<Self> {
        match arch {
            Arch::ScmpArchNative => Some(native),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX86 => Some(Self::X86),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchArm => Some(Self::Arm),
            Arch::ScmpArchRiscv64 => Some(Self::Riscv64),
            Arch::ScmpArchLoongarch64 => Some(Self::Loongarch64),
            _ => None,
        }
    }

    /// What a filter sees in `seccomp_data.arch`: an ELF machine, with bits for 64-bit and
    /// little-endian.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
            Self::Riscv64 => 0xc000_00f3,
            Self::Loongarch64 => 0xc000_0102,
        }
    }

    /// Whether arguments are 32 bits wide.
    pub(super) fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::X32 | Self::Arm)
    }

    /// A call's number as a filter sees it.
    pub fn number(self, name: &str) -> Option<u32> {
        let number = TABLE.get(name)?[self.column()]?;
        Some(if self == Self::X32 {
            number | X32_BIT
        } else {
            number
        })
    }

    fn column(self) -> usize {
        match self {
            Self::X86_64 => 0,
            Self::X86 => 1,
            Self::X32 => 2,
            Self::Aarch64 => 3,
            Self::Arm => 4,
            Self::Riscv64 => 5,
            Self::Loongarch64 => 6,
        }
    }
}

/// Whether any architecture has a call of this name.
pub(super) fn is_known(name: &str) -> bool {
    TABLE.contains_key(name)
}

/// Every name, for tests.
#[cfg(test)]
pub(super) fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.keys().copied().collect();
    names.sort_unstable();
    names
}
