//! From an OCI seccomp profile to a filter the kernel runs.
//!
//! [`compile`] works in three steps, each pure: [`rules`] turns the profile into an outcome for
//! every system call number of every architecture, [`assemble`] turns that into instructions, and
//! [`Program`] is the result, which can be kept in a file: compiling costs milliseconds, loading a
//! kept program microseconds.
//!
//! Where profiles leave room, this is what is meant:
//! - A rule without arguments wins over rules with arguments for the same call, the first of
//!   several wins among its like (as with libseccomp).
//! - Several conditions on one argument in one rule are alternatives (as with runc); otherwise all
//!   conditions of a rule must hold.
//! - Arguments the kernel reads as `int` are compared as 32 bits, so that set high bits cannot
//!   slip past a condition (CVE-2026-123876). [`rules`] has the list.
//! - Names this crate does not know are skipped; [`Program::skipped_names`] says which.
//! - Calls newer than every call of the profile get `ENOSYS` when others are refused, so that C
//!   libraries fall back (as with runc).
//! - A call from an architecture the profile does not name kills the process.

mod assemble;
mod program;
mod rules;
mod table;
#[cfg(test)]
mod tests;

use hull_oci::runtime::LinuxSeccomp;

pub use program::{DamagedProgram, Program};
pub use rules::CompileError;
pub use table::Architecture;

/// Compiles `profile` for the machine this program was built for.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    compile_for(Architecture::NATIVE, profile)
}

/// Compiles `profile` for a machine whose kernel is `native`'s.
pub fn compile_for(native: Architecture, profile: &LinuxSeccomp) -> Result<Program, CompileError> {
    let plan = rules::plan(native, profile)?;
    let instructions = assemble::assemble(&plan.sections);
    if instructions.len() > hull_sys::seccomp::INSTRUCTIONS_MAX {
        return Err(CompileError::TooLong(instructions.len()));
    }
    Ok(Program::new(instructions, plan.flags, plan.skipped_names))
}
