//! Whether the kernel hands programs of another platform to an emulator.
//!
//! Entries of `binfmt_misc` are told by what they match, whatever they are called: packages of
//! distributions, images that install emulators, and administrators name them each in their own way.

use std::path::Path;

use hull_oci::Platform;

/// Where the kernel shows its entries.
const ENTRIES: &str = "/proc/sys/fs/binfmt_misc";

/// The word size (1: 32, 2: 64 bits), the byte order (1: little, 2: big end first) and the machine of an
/// architecture's ELF files.
const MACHINES: [(&str, u8, u8, u16); 12] = [
    ("386", 1, 1, 3),
    ("amd64", 2, 1, 62),
    ("arm", 1, 1, 40),
    ("arm64", 2, 1, 183),
    ("loong64", 2, 1, 258),
    ("mips", 1, 2, 8),
    ("mips64", 2, 2, 8),
    ("mips64le", 2, 1, 8),
    ("mipsle", 1, 1, 8),
    ("ppc64le", 2, 1, 21),
    ("riscv64", 2, 1, 243),
    ("s390x", 2, 2, 22),
];

/// Whether programs of the platform run here by an emulator.
pub(crate) fn has_emulator(platform: &Platform) -> bool {
    let Some(program) = beginning(&platform.architecture) else {
        return false;
    };
    let is_on = |text: &str| text.starts_with("enabled");
    let status = std::fs::read_to_string(Path::new(ENTRIES).join("status"));
    if !status.is_ok_and(|text| is_on(&text)) {
        return false;
    }
    let entries = std::fs::read_dir(ENTRIES).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|text| is_on(&text) && matches(&text, &program))
}

/// How a program of the architecture begins: the header of an ELF file, as far as entries look.
fn beginning(architecture: &str) -> Option<[u8; 20]> {
    let (_, word, order, machine) = MACHINES.iter().find(|known| known.0 == architecture)?;
    let number = |value: u16| match order {
        1 => value.to_le_bytes(),
        _ => value.to_be_bytes(),
    };
    let mut header = [0; 20];
    header[..4].copy_from_slice(b"\x7fELF");
    (header[4], header[5], header[6]) = (*word, *order, 1);
    header[16..18].copy_from_slice(&number(2));
    header[18..].copy_from_slice(&number(*machine));
    Some(header)
}

/// Whether an entry, as the kernel shows it, matches what begins so.
fn matches(entry: &str, program: &[u8]) -> bool {
    let field = |name: &str| {
        let mut lines = entry.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    let Some(magic) = field("magic").and_then(bytes) else {
        return false;
    };
    let mask = field("mask").and_then(bytes);
    let mask = mask.unwrap_or_else(|| vec![0xff; magic.len()]);
    let offset = field("offset").and_then(|text| text.trim().parse().ok());
    let wanted = magic.iter().zip(&mask).enumerate();
    !magic.is_empty()
        && wanted.into_iter().all(|(at, (byte, mask))| {
            let there = program.get(offset.unwrap_or(0) + at).copied().unwrap_or(0);
            there & mask == byte & mask
        })
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let hex = hex.trim();
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Debian's package and as images that install emulators register it.
    const ARM64: &str = "enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: OCF\noffset 0\n\
                         magic 7f454c460201010000000000000000000200b700\n\
                         mask ffffffffffffff00fffffffffffffffffeffffff\n";
    const S390X: &str = "enabled\ninterpreter /anywhere/emulate\nflags: F\noffset 0\n\
                         magic 7f454c4602020100000000000000000000020016\n\
                         mask ffffffffffffff00fffffffffffffffffffeffff\n";

    fn fits(entry: &str, architecture: &str) -> bool {
        matches(entry, &beginning(architecture).unwrap())
    }

    #[test]
    fn an_entry_is_told_by_what_it_matches() {
        assert!(fits(ARM64, "arm64") && fits(S390X, "s390x"));
        for other in ["amd64", "arm", "riscv64", "mips64le"] {
            assert!(!fits(ARM64, other) && !fits(S390X, other), "{other}");
        }
        assert!(!fits(ARM64, "s390x"));
    }

    #[test]
    fn what_is_no_entry_of_programs_matches_nothing() {
        let program = beginning("arm64").unwrap();
        for entry in [
            "",
            "enabled\nextension .py\n",
            "magic 4d5a\n",
            "magic 7f4\n",
            "magic \n",
        ] {
            assert!(!matches(entry, &program), "{entry}");
        }
        assert!(beginning("wasm").is_none());
    }
}
