//! The compiler against a plain evaluation of the profile, against libseccomp, and on the kernel.

use hull_oci::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompArg, LinuxSeccompOperator,
};
use hull_sys::seccomp::Instruction;
use proptest::prelude::*;
use serde_json::json;

use super::{
    Architecture, CompileError, Program, compile_for,
    rules::INT_ARGUMENTS,
    table::{self, X32_BIT},
};

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// What the kernel shows a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    audit: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(architecture: Architecture, name: &str, arguments: [u64; 6]) -> Self {
        let number = architecture.number(name).unwrap();
        Self {
            audit: architecture.audit(),
            number,
            arguments,
        }
    }

    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let argument = self.arguments[((offset - 16) / 8) as usize];
                (if offset.is_multiple_of(8) {
                    argument
                } else {
                    argument >> 32
                }) as u32
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// Runs a program as the kernel does.
fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let Instruction {
            code,
            jump_true,
            jump_false,
            k,
        } = program[at];
        at += 1;
        let jump = |holds| usize::from(if holds { jump_true } else { jump_false });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

/// What the profile says, read off it without any cleverness.
fn evaluate(profile: &LinuxSeccomp, native: Architecture, call: &Call) -> u32 {
    let default = profile.default_action().as_u32(profile.default_errno_ret());
    let Some(architecture) = architecture_of(profile, native, call) else {
        return KILL_PROCESS;
    };
    if call.number == u32::MAX {
        return default;
    }
    let (mut always, mut first, mut newest) = (None, None, None);
    for rule in profile.syscalls().iter().flatten() {
        let answer = rule.action().as_u32(rule.errno_ret());
        for name in rule.names() {
            let number = architecture.number(name);
            if number < Some(0x000f_0000) || architecture != Architecture::Arm {
                newest = newest.max(number);
            }
            if number != Some(call.number) || answer == default {
                continue;
            }
            let arguments = rule.args().clone().unwrap_or_default();
            let twice = arguments.iter().any(|one| {
                arguments
                    .iter()
                    .filter(|two| two.index() == one.index())
                    .count()
                    > 1
            });
            let mut holds = arguments
                .iter()
                .map(|a| argument_holds(architecture, name, a, call));
            match (arguments.is_empty(), twice) {
                (true, _) => always = always.or(Some(answer)),
                (_, true) if holds.any(|holds| holds) => first = first.or(Some(answer)),
                (_, false) if holds.all(|holds| holds) => first = first.or(Some(answer)),
                _ => {}
            }
        }
    }
    let private = architecture == Architecture::Arm && call.number >= 0x000f_0000;
    let is_newer = newest.is_some_and(|newest| call.number > newest) && !private;
    let refuses = !matches!(
        profile.default_action(),
        Action::ScmpActAllow | Action::ScmpActLog
    );
    let otherwise = if is_newer && refuses {
        ERRNO | 38
    } else {
        default
    };
    always.or(first).unwrap_or(otherwise)
}

fn architecture_of(
    profile: &LinuxSeccomp,
    native: Architecture,
    call: &Call,
) -> Option<Architecture> {
    let listed = |wanted| {
        wanted == native
            || profile
                .architectures()
                .iter()
                .flatten()
                .any(|arch| Architecture::from_oci(*arch, native) == Some(wanted))
    };
    let is_x32 = call.audit == 0xc000_003e && call.number & X32_BIT != 0;
    let all = [
        Architecture::X86,
        Architecture::Aarch64,
        Architecture::Arm,
        Architecture::Riscv64,
        Architecture::Loongarch64,
    ];
    match call.audit {
        0xc000_003e if call.number != u32::MAX && (is_x32 || call.number >= X32_BIT) => {
            listed(Architecture::X32).then_some(Architecture::X32)
        }
        0xc000_003e => {
            let named = listed(Architecture::X86_64) || listed(Architecture::X32);
            named.then_some(Architecture::X86_64)
        }
        audit => all.into_iter().find(|a| a.audit() == audit && listed(*a)),
    }
}

fn argument_holds(
    architecture: Architecture,
    name: &str,
    argument: &LinuxSeccompArg,
    call: &Call,
) -> bool {
    let is_int = INT_ARGUMENTS
        .iter()
        .any(|(call, indexes)| *call == name && indexes.contains(&(argument.index() as u8)));
    let narrow = is_int
        || matches!(
            architecture,
            Architecture::X86 | Architecture::X32 | Architecture::Arm
        );
    let raw = call.arguments[argument.index()];
    let actual = if narrow { raw & 0xffff_ffff } else { raw };
    let fit = |value: u64| match narrow && value >= 0xffff_ffff_8000_0000 {
        true => value & 0xffff_ffff,
        false => value,
    };
    let value = fit(argument.value());
    match argument.op() {
        LinuxSeccompOperator::ScmpCmpEq => actual == value,
        LinuxSeccompOperator::ScmpCmpNe => actual != value,
        LinuxSeccompOperator::ScmpCmpLt => actual < value,
        LinuxSeccompOperator::ScmpCmpLe => actual <= value,
        LinuxSeccompOperator::ScmpCmpGt => actual > value,
        LinuxSeccompOperator::ScmpCmpGe => actual >= value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            actual & argument.value() == fit(argument.value_two().unwrap_or(0))
        }
    }
}

fn profile(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

/// Numbers near edges come up more often than by chance.
fn number() -> impl Strategy<Value = u64> {
    let edges = [
        0,
        1,
        38,
        40,
        0x7e02_0000,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 38,
        0xffff_ffff_8000_0000,
        u64::MAX,
    ];
    prop_oneof![3 => proptest::sample::select(edges.to_vec()), 1 => any::<u64>(), 1 => 0u64..64]
}

fn name() -> impl Strategy<Value = String> {
    let special = [
        "clone",
        "socket",
        "personality",
        "futex",
        "set_tls",
        "cacheflush",
        "nonsense",
    ];
    prop_oneof![
        1 => proptest::sample::select(special.map(str::to_owned).to_vec()),
        2 => proptest::sample::select(table::names()).prop_map(str::to_owned),
    ]
    // These two mean calls of two names on 32-bit x86, which `evaluate` leaves out.
    .prop_filter("multiplexed", |name| name != "socketcall" && name != "ipc")
}

fn rule() -> impl Strategy<Value = serde_json::Value> {
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let argument = (0..6usize, number(), number(), proptest::sample::select(operators.to_vec()))
        .prop_map(|(index, value, two, op)| {
            json!({"index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}")})
        });
    let actions = [
        "ALLOW",
        "ERRNO",
        "KILL_PROCESS",
        "KILL_THREAD",
        "LOG",
        "TRAP",
        "TRACE",
    ];
    let action = proptest::sample::select(actions.to_vec());
    (
        proptest::collection::vec(name(), 1..40),
        action,
        proptest::option::of(0..200u32),
        prop_oneof![Just(Vec::new()).boxed(), proptest::collection::vec(argument, 0..4).boxed()],
    )
        .prop_map(|(names, action, errno, args)| {
            json!({"names": names, "action": format!("SCMP_ACT_{action}"), "errnoRet": errno, "args": args})
        })
}

fn profiles() -> impl Strategy<Value = LinuxSeccomp> {
    let architectures = [
        "X86_64",
        "X86",
        "X32",
        "AARCH64",
        "ARM",
        "RISCV64",
        "LOONGARCH64",
    ];
    let default = proptest::sample::select(vec!["ALLOW", "ERRNO", "KILL_PROCESS", "LOG"]);
    (
        default,
        proptest::sample::subsequence(architectures.to_vec(), 0..7),
        proptest::collection::vec(rule(), 0..30),
    )
        .prop_map(|(default, architectures, rules)| {
            let architectures: Vec<_> = architectures
                .iter()
                .map(|name| format!("SCMP_ARCH_{name}"))
                .collect();
            profile(json!({
                "defaultAction": format!("SCMP_ACT_{default}"),
                "architectures": architectures,
                "syscalls": rules,
            }))
        })
}

fn calls() -> impl Strategy<Value = (u32, u64, [u64; 6])> {
    let audits = [
        0xc000_003e,
        0x4000_0003,
        0xc000_00b7,
        0x4000_0028,
        0xc000_00f3,
        0xc000_0102,
        0x1234u32,
    ];
    let number = prop_oneof![
        6 => 0u64..480,
        1 => 0x000f_0000u64..0x000f_0010,
        4 => 0x4000_0000u64..0x4000_0230,
        1 => any::<u32>().prop_map(u64::from),
        1 => Just(u64::from(u32::MAX)),
    ];
    (
        proptest::sample::select(audits.to_vec()),
        number,
        [
            self::number(),
            self::number(),
            self::number(),
            self::number(),
            self::number(),
            self::number(),
        ],
    )
}

/// Neither socket calls nor System V IPC have a second road in these tests' plain evaluation.
fn is_multiplexer(call: &Call) -> bool {
    call.audit == 0x4000_0003 && matches!(call.number, 102 | 117)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_filter_does_what_its_profile_says(
        profile in profiles(),
        native in proptest::sample::select(vec![Architecture::X86_64, Architecture::Aarch64]),
        calls in proptest::collection::vec(calls(), 200),
    ) {
        let compiled = compile_for(native, &profile);
        prop_assume!(!matches!(compiled, Err(CompileError::TooLong(_))));
        let program = compiled.unwrap();
        let named = profile.syscalls().iter().flatten().flat_map(|rule| rule.names()).filter_map(
            |name| Some((native.audit(), u64::from(native.number(name)?), [0; 6])),
        );
        for (audit, number, arguments) in calls.into_iter().chain(named) {
            let call = Call { audit, number: number as u32, arguments };
            if !is_multiplexer(&call) {
                let (ours, meant) =
                    (run(program.instructions(), &call), evaluate(&profile, native, &call));
                prop_assert_eq!(ours, meant, "{:?}", call);
            }
        }
    }

    #[test]
    fn any_bytes_are_a_program_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = Program::from_bytes(&bytes);
    }

    #[test]
    fn a_filter_agrees_with_libseccomps(calls in proptest::collection::vec(calls(), 500)) {
        let (program, golden) = (golden_program(), golden_bpf());
        for (audit, number, arguments) in calls {
            let call = Call { audit, number: number as u32, arguments };
            let (ours, theirs) = (run(program.instructions(), &call), run(&golden, &call));
            prop_assert!(agree(&call, ours, theirs), "{:?}: {:#x} {:#x}", call, ours, theirs);
        }
    }
}

fn golden_program() -> Program {
    let profile = serde_json::from_str(include_str!("golden/profile.json")).unwrap();
    compile_for(Architecture::X86_64, &profile).unwrap()
}

/// What libseccomp 2.5.4 makes of `golden/profile.json`, as exported by `seccomp_export_bpf`.
fn golden_bpf() -> Vec<Instruction> {
    let (instructions, rest) = include_bytes!("golden/libseccomp.bpf").as_chunks::<8>();
    assert!(rest.is_empty());
    instructions
        .iter()
        .map(|bytes| Instruction {
            code: u16::from_le_bytes([bytes[0], bytes[1]]),
            jump_true: bytes[2],
            jump_false: bytes[3],
            k: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        })
        .collect()
}

/// The same, but for what Hull does otherwise on purpose.
fn agree(call: &Call, ours: u32, theirs: u32) -> bool {
    let newer = ours == ERRNO | 38 && theirs == ERRNO | 1;
    let unlisted = ours == KILL_PROCESS && theirs == 0;
    // libseccomp cuts a value down to 32 bits on 32-bit architectures; we compare with all of it.
    let narrow = call.audit == 0x4000_0003 || call.number & X32_BIT != 0;
    let cut = narrow && [93, 77, 150, 149].contains(&(call.number & !X32_BIT));
    ours == theirs || newer || unlisted || cut
}

#[test]
fn high_bits_do_not_hide_a_socket_family() {
    let deny = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["socket"], "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 38, "op": "SCMP_CMP_EQ"}],
        }],
    }));
    let program = compile_for(Architecture::X86_64, &deny).unwrap();
    for family in [38, (1 << 32) + 38, 0xffff_ffff_0000_0026] {
        let call = Call::new(Architecture::X86_64, "socket", [family, 0, 0, 0, 0, 0]);
        assert_eq!(run(program.instructions(), &call), ERRNO | 1, "{family:#x}");
    }
}

#[test]
fn a_rule_for_a_socket_call_holds_on_both_roads_of_32_bit_x86() {
    let deny = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["socket", "shmget"], "action": "SCMP_ACT_ERRNO"}],
    }));
    let program = compile_for(Architecture::X86_64, &deny).unwrap();
    let answer = |name, first| {
        let call = Call::new(Architecture::X86, name, [first, 0, 0, 0, 0, 0]);
        run(program.instructions(), &call)
    };
    assert_eq!(answer("socket", 0), ERRNO | 1);
    assert_eq!(answer("socketcall", 1), ERRNO | 1);
    assert_eq!(answer("socketcall", 2), ALLOW);
    assert_eq!(answer("ipc", 23), ERRNO | 1);
    assert_eq!(answer("ipc", (1 << 16) + 23), ERRNO | 1);
    assert_eq!(answer("ipc", 24), ALLOW);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let program = golden_program();
    let call = |number| Call {
        audit: 0xc000_003e,
        number,
        arguments: [0; 6],
    };
    assert_eq!(run(program.instructions(), &call(438)), ERRNO | 38);
    assert_eq!(run(program.instructions(), &call(X32_BIT - 1)), ERRNO | 38);
    assert_eq!(run(program.instructions(), &call(101)), ERRNO | 1);
    assert_eq!(run(program.instructions(), &call(u32::MAX)), ERRNO | 1);
}

#[test]
fn a_kept_program_is_the_same_program() {
    let program = golden_program();
    let bytes = program.as_bytes();
    assert_eq!(Program::from_bytes(&bytes).unwrap(), program);
    assert!(Program::from_bytes(&bytes[..bytes.len() - 1]).is_err());
    assert!(Program::from_bytes(&bytes[1..]).is_err());
    assert!(Program::from_bytes(&[]).is_err());
}

#[test]
fn unknown_names_are_skipped_and_listed() {
    let program = compile_for(
        Architecture::X86_64,
        &profile(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["read", "frobnicate"], "action": "SCMP_ACT_ALLOW"}],
        })),
    );
    assert_eq!(program.unwrap().skipped_names(), ["frobnicate"]);
}

#[test]
fn a_listener_must_be_named_and_can_neither_be_default_nor_take_what_sends_it() {
    let compile = |default: &str, name: &str, path: Option<&str>| {
        let profile = profile(json!({
            "defaultAction": default,
            "listenerPath": path,
            "syscalls": [{"names": [name], "action": "SCMP_ACT_NOTIFY"}],
        }));
        compile_for(Architecture::X86_64, &profile)
    };
    assert!(compile("SCMP_ACT_ALLOW", "mkdir", None).is_err());
    assert!(compile("SCMP_ACT_ALLOW", "write", Some("/x")).is_err());
    assert!(compile("SCMP_ACT_ALLOW", "sendmsg", Some("/x")).is_err());
    assert!(compile("SCMP_ACT_NOTIFY", "mkdir", Some("/x")).is_err());
    assert!(
        compile("SCMP_ACT_ALLOW", "mkdir", Some("/x"))
            .unwrap()
            .needs_listener()
    );
}

#[test]
fn the_kernel_takes_a_filter_and_obeys_it() {
    let profile = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    }));
    let program = super::compile(&profile).unwrap();
    std::thread::spawn(move || {
        hull_sys::seccomp::set_no_new_privileges().unwrap();
        program.install().unwrap();
        let refused = std::fs::create_dir("/nowhere/at/all").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(95));
        let missing = std::fs::remove_dir("/nowhere/at/all").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(2));
        golden_program().install().unwrap();
    })
    .join()
    .unwrap();
}

#[test]
fn architectures_without_a_table_are_passed_over() {
    let listed = profile(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_S390X", "SCMP_ARCH_MIPS"],
    }));
    assert_eq!(
        listed.architectures().as_ref().unwrap()[0],
        Arch::ScmpArchS390x
    );
    let program = compile_for(Architecture::X86_64, &listed).unwrap();
    let call = Call::new(Architecture::X86_64, "read", [0; 6]);
    assert_eq!(run(program.instructions(), &call), ALLOW);
}
