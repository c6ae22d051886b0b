//! A compiled filter, and its form in a file.
//!
//! ```text
//! "hullbpf1"  flags: u32  count: u32  count × { code: u16, jt: u8, jf: u8, k: u32 }
//! ```
//! All numbers are little-endian.

use std::{io, os::fd::OwnedFd};

use hull_sys::seccomp::{self, Flags, Instruction};

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    instructions: Vec<Instruction>,
    flags: Flags,
    skipped_names: Vec<String>,
}

/// The bytes are no program of this version.
#[derive(Debug, thiserror::Error)]
#[error("the kept seccomp program is damaged or of another version")]
pub struct DamagedProgram;

const MAGIC: &[u8; 8] = b"hullbpf1";
const HEADER_BYTES: usize = 16;
const INSTRUCTION_BYTES: usize = 8;

impl Program {
    pub(super) fn new(
        instructions: Vec<Instruction>,
        flags: Flags,
        skipped_names: Vec<String>,
    ) -> Self {
        Self {
            instructions,
            flags,
            skipped_names,
        }
    }

    /// The instructions, in order.
    pub fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    /// How it is to be installed.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether some calls are answered by a listener, whose descriptor [`install`](Self::install)
    /// returns.
    pub fn needs_listener(&self) -> bool {
        self.flags.contains(Flags::NEW_LISTENER)
    }

    /// Names of the profile that no architecture knows. Empty for a program made
    /// [`from_bytes`](Self::from_bytes).
    pub fn skipped_names(&self) -> &[String] {
        &self.skipped_names
    }

    /// Installs it for the calling thread. Allocates nothing.
    pub fn install(&self) -> io::Result<Option<OwnedFd>> {
        seccomp::install(&self.instructions, self.flags)
    }

    /// The form to keep in a file.
    pub fn as_bytes(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + self.instructions.len() * INSTRUCTION_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.flags.bits().to_le_bytes());
        let count = u32::try_from(self.instructions.len())
            .expect("a program has at most 4096 instructions: checked when compiled and read");
        bytes.extend_from_slice(&count.to_le_bytes());
        for instruction in &self.instructions {
            bytes.extend_from_slice(&instruction.code.to_le_bytes());
            bytes.extend_from_slice(&[instruction.jump_true, instruction.jump_false]);
            bytes.extend_from_slice(&instruction.k.to_le_bytes());
        }
        bytes
    }

    /// Takes what [`as_bytes`](Self::as_bytes) gave. The file must be one that only root writes:
    /// this checks the form, not what the program says.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DamagedProgram> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(DamagedProgram)?;
        let (flags, rest) = take_u32(rest)?;
        let (count, rest) = take_u32(rest)?;
        let count = usize::try_from(count).map_err(|_| DamagedProgram)?;
        let (instructions, left) = rest.as_chunks::<INSTRUCTION_BYTES>();
        let sane = (1..=seccomp::INSTRUCTIONS_MAX).contains(&count);
        if !sane || instructions.len() != count || !left.is_empty() {
            return Err(DamagedProgram);
        }
        Ok(Self {
            instructions: instructions.iter().map(instruction).collect(),
            flags: Flags::from_bits(flags).ok_or(DamagedProgram)?,
            skipped_names: Vec::new(),
        })
    }
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), DamagedProgram> {
    let (number, rest) = bytes.split_first_chunk().ok_or(DamagedProgram)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn instruction(bytes: &[u8; INSTRUCTION_BYTES]) -> Instruction {
    let [code_low, code_high, jump_true, jump_false, k @ ..] = *bytes;
    Instruction {
        code: u16::from_le_bytes([code_low, code_high]),
        jump_true,
        jump_false,
        k: u32::from_le_bytes(k),
    }
}
