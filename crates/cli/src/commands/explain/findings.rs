//! Facts about a container → sentences. Pure.

use hull_api::types::{ContainerInspect, RestartPolicy};

use super::ender::{Ender, Told};
use super::kernel::{Denial, Denials, Denied, Victim};
use crate::format::{size, time};

/// What is known besides the container's description.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) lines: Vec<String>,
    pub(super) told: Told,
    pub(super) denials: Denials,
    /// Whom the kernel ended for want of memory, where its log says so.
    pub(super) victim: Option<Victim>,
}

/// A fact, and what to do about it.
#[derive(Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) fact: String,
    pub(super) advice: Option<String>,
}

/// What a program ends with that seccomp ended.
const BAD_SYSTEM_CALL: i64 = 159;

/// Words of a log that betray a cause, and what to do about it.
const TRACES: [(&str, &str, &str); 8] = [
    (
        "operation not permitted",
        "it was refused something: a capability or a system call",
        "find out which: try `--cap-add`, or `--security-opt seccomp=unconfined`, to see whether that is it",
    ),
    (
        "permission denied",
        "it may not use a file",
        "compare the file's owner with the container's user (`--user`); of a bind mount, the host's owner counts",
    ),
    (
        "read-only file system",
        "it wanted to write where nothing can be written",
        "mount a volume or `--tmpfs` there",
    ),
    (
        "no space left on device",
        "a file system is full",
        "`hull system df` shows what fills the disk",
    ),
    (
        "address already in use",
        "another program holds its port",
        "in a network namespace that is shared (`--network host`), each port exists once",
    ),
    (
        "cannot allocate memory",
        "it could not get memory",
        "raise `--memory`",
    ),
    (
        "too many open files",
        "it has too many open files",
        "raise `--ulimit nofile=…`",
    ),
    (
        "name resolution",
        "a name could not be resolved",
        "containers find each other by name on networks made with `hull network create`",
    ),
];

/// One line that says how it is, and what is worth knowing.
pub(super) fn of(container: &ContainerInspect, past: &Past) -> (String, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut note = |fact: String, advice: Option<String>| findings.push(Finding { fact, advice });
    let state = &container.state;
    if !state.waits_for.is_empty() {
        note(
            format!("It is to start again, and waits for {}.", state.waits_for),
            Some(
                "`hull start` starts it at once; `hull explain` tells what the other one lacks"
                    .to_owned(),
            ),
        );
    }
    if !state.error.is_empty() {
        note(format!("The daemon says: {}", state.error), None);
    }
    if state.oom_killed || past.told.ran_out_of_memory {
        let who = past.victim.as_ref().map(|Victim { program, process }| {
            format!(" The kernel's log names whom: `{program}`, process {process} of the host.")
        });
        note(
            memory(container) + &who.unwrap_or_default(),
            Some(
                "raise the limit (`hull update --memory`), or see what uses it (`hull top`)"
                    .to_owned(),
            ),
        );
    } else {
        let who = ended_by(container, &past.told.ender);
        if let Some((fact, advice)) = who.or_else(|| code(container)) {
            note(fact, advice);
        }
    }
    let log = past.lines.join("\n").to_lowercase();
    let is_ended_so = state.exit_code == BAD_SYSTEM_CALL;
    let is_suspected = is_ended_so || log.contains(TRACES[0].0);
    denials(&past.denials, is_suspected, is_ended_so, &mut note);
    restarts(container, &mut note);
    health(container, &mut note);
    for (trace, fact, advice) in TRACES {
        if log.contains(trace) {
            note(
                format!("Its log says \"{trace}\": {fact}."),
                Some(advice.to_owned()),
            );
        }
    }
    let drops = container.host_config.cap_drop.iter().flatten().count() > 0;
    if log.contains(TRACES[0].0) || (log.contains(TRACES[1].0) && drops) {
        let (fact, advice) = capabilities(container);
        note(fact, Some(advice));
    }
    (summary(container), findings)
}

/// Which capabilities it has not: all that is known of them where no log tells which one was wanted.
fn capabilities(container: &ContainerInspect) -> (String, String) {
    let host = &container.host_config;
    let names = |list: &Option<Vec<String>>| -> Vec<String> {
        let bare = |name: &String| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
        list.iter().flatten().map(bare).collect()
    };
    let (added, dropped) = (names(&host.cap_add), names(&host.cap_drop));
    let user = container.config.user.split(':').next().unwrap_or_default();
    if !matches!(user, "" | "0" | "root") {
        return (
            format!("It runs as the user {user}, and who is not root has no capability at all."),
            "if it needs one: run it as root (`--user 0`), or give its files other owners and modes"
                .to_owned(),
        );
    }
    if host.privileged {
        return (
            "It is privileged: it lacks no capability, and no system call is kept from it.".to_owned(),
            "look at the file: its attributes (`lsattr`), its mount, and the host's security module"
                .to_owned(),
        );
    }
    let lacking = match &dropped[..] {
        [] if added.iter().any(|name| name == "ALL") => {
            return (
                "It has all capabilities (`--cap-add`): a system call was refused, or a file said no."
                    .to_owned(),
                "try `--security-opt seccomp=unconfined`, to see whether that is it".to_owned(),
            );
        }
        [] => {
            let usual = ["SYS_ADMIN", "NET_ADMIN", "SYS_TIME", "SYS_MODULE"];
            let missing: Vec<&str> = usual
                .into_iter()
                .filter(|name| !added.iter().any(|own| own == name))
                .collect();
            return (
                format!(
                    "It has the capabilities that containers usually have{}: not {} and others.",
                    and(&added),
                    missing.join(", ")
                ),
                "CapEff in /proc/1/status tells which in full; `--cap-add` gives more".to_owned(),
            );
        }
        [all] if all == "ALL" => "any capability".to_owned(),
        names => names.join(", "),
    };
    let but = match &added[..] {
        [] => String::new(),
        names => format!(" but {}", names.join(", ")),
    };
    (
        format!("It was started without {lacking}{but} (`--cap-drop`)."),
        "if it should have more: `--cap-add`, or drop less".to_owned(),
    )
}

fn and(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!(", and {}", names.join(", ")),
    }
}

/// What the kernel's log says; that it cannot be read, only where there may be something in it.
fn denials(
    denials: &Denials,
    is_suspected: bool,
    is_ended_so: bool,
    note: &mut impl FnMut(String, Option<String>),
) {
    match denials {
        Denials::Told(told) if told.is_empty() && is_ended_so => note(
            "The kernel's log does not say (any more) which call that was.".to_owned(),
            None,
        ),
        Denials::Told(told) if told.is_empty() && is_suspected => note(
            "The kernel's log names nothing that was refused. Of what a seccomp profile answers with an error (the default one, too) it tells only if the profile has the flag SECCOMP_FILTER_FLAG_LOG, and of capabilities only what a security module keeps back.".to_owned(),
            None,
        ),
        Denials::Told(told) => {
            for (denial, count) in told {
                let (fact, advice) = denied(denial);
                let often = if *count > 1 { format!(" ({count} times)") } else { String::new() };
                note(format!("While it ran, the kernel logged: {fact}{often}."), advice);
            }
        }
        Denials::Unreadable(why) if is_suspected => note(
            format!("The kernel's log may name what was refused, and cannot be read here ({why})."),
            Some("run this as root on the daemon's host, or look there: `dmesg | grep -e type=1326 -e type=1400`".to_owned()),
        ),
        Denials::Unreadable(_) | Denials::Unasked => {}
    }
}

fn denied(denial: &Denial) -> (String, Option<String>) {
    let program = &denial.program;
    let allow = |call: &str| {
        Some(format!(
            "if it should: copy the profile, add \"{call}\" to the names it allows, and run with `--security-opt seccomp=FILE`"
        ))
    };
    match &denial.what {
        Denied::Refused(call) => (
            format!("seccomp refused `{program}` the system call {call} with an error"),
            allow(call),
        ),
        Denied::Call(call) => (
            format!("seccomp ended `{program}` for the system call {call}"),
            allow(call),
        ),
        Denied::Trapped(call) => (
            format!("seccomp refused `{program}` the system call {call} with SIGSYS"),
            allow(call),
        ),
        Denied::Logged(call) => (
            format!("`{program}` made the system call {call}, which the profile only logs"),
            None,
        ),
        Denied::Capability(name) => (
            format!("`{program}` was refused the capability {name}"),
            Some(format!("if it should have it: `--cap-add {name}`")),
        ),
    }
}

fn summary(container: &ContainerInspect) -> String {
    let name = container.name.trim_start_matches('/');
    let state = &container.state;
    let when = |text: &str| time::unix_seconds(text).map_or_else(|| text.to_owned(), time::ago);
    match state.status.as_str() {
        "created" => format!("{name} was made and never started."),
        "running" => format!("{name} runs, since {}.", when(&state.started_at)),
        "paused" => format!(
            "{name} is paused; it was started {}.",
            when(&state.started_at)
        ),
        "restarting" => format!(
            "{name} ended with code {} {} and is about to be started again.",
            state.exit_code,
            when(&state.finished_at)
        ),
        _ => format!(
            "{name} ended {} with code {}: {}.",
            when(&state.finished_at),
            state.exit_code,
            meaning(state.exit_code)
        ),
    }
}

/// What a code says in a few words.
fn meaning(code: i64) -> String {
    match code {
        0 => "it was done".to_owned(),
        126 => "its program cannot be executed".to_owned(),
        127 => "its program is not there".to_owned(),
        _ => match signal_of(code) {
            Some(number) => format!("ended by {}", signal(number)),
            None => "its own program says so".to_owned(),
        },
    }
}

/// The signal that an exit code tells of.
pub(super) fn signal_of(code: i64) -> Option<i64> {
    (129..=192).contains(&code).then(|| code - 128)
}

fn signal(number: i64) -> String {
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {number}"),
    };
    format!("{name} (signal {number})")
}

/// Who ended it, if that says more than its code.
fn ended_by(container: &ContainerInspect, ender: &Ender) -> Option<(String, Option<String>)> {
    let named = |signals: &[i64]| {
        let names: Vec<String> = signals.iter().map(|number| signal(*number)).collect();
        names.join(", then ")
    };
    let name = container.name.trim_start_matches('/');
    match ender {
        Ender::Unknown => None,
        Ender::Stop(signals) if signals.len() > 1 => Some((
            format!("It was stopped (`stop` or `restart`): it got {}, for it did not end in time.", named(signals)),
            Some("the program does not heed the first: see `--init`, `--stop-signal`, `--stop-timeout`".to_owned()),
        )),
        Ender::Stop(signals) => Some((
            format!("It was stopped (`stop` or `restart`): it got {} and ended.", named(signals)),
            None,
        )),
        Ender::Kill(signals) => Some((
            format!("Somebody asked Hull to kill it (`kill`): it got {}.", named(signals)),
            None,
        )),
        Ender::Nobody => match container.state.exit_code {
            137 | 143 => {
                let number = container.state.exit_code - 128;
                Some((
                    format!("Nobody asked Hull to end it: {} came from a program of the host or of the container, or the code is the program's own.", signal(number)),
                    Some(format!("`hull logs {name}` and the host's journal may say who; it was not its memory limit")),
                ))
            }
            _ => None,
        },
    }
}

/// What a code means beyond its number.
fn code(container: &ContainerInspect) -> Option<(String, Option<String>)> {
    let state = &container.state;
    if state.running || state.status == "created" {
        return None;
    }
    let program = std::iter::once(&container.path).chain(&container.args);
    let program = program.map(String::as_str).collect::<Vec<_>>().join(" ");
    let (fact, advice) = match state.exit_code {
        126 => (
            format!("`{program}` is there and cannot be executed."),
            "make it executable, and check that it was built for this platform",
        ),
        127 => (
            format!("`{program}` was not found."),
            "check the path, and that its interpreter and libraries are in the image",
        ),
        132 => ("It used an instruction this processor does not have.".to_owned(), "take an image built for this platform"),
        134 => ("It gave itself up (abort).".to_owned(), "the lines before the end should say why"),
        137 => (
            "It was killed, not by its memory limit: by `kill`, by `stop` after its time was over, or by the host.".to_owned(),
            "if `stop` did it, the program does not heed SIGTERM: see `--init`, `--stop-signal`, `--stop-timeout`",
        ),
        139 => ("It used memory that is not its own (segmentation fault): an error in the program.".to_owned(), "a core dump tells where: `--ulimit core=-1`"),
        143 => ("It was asked to end, and did.".to_owned(), ""),
        159 => ("It made a system call that the seccomp profile forbids.".to_owned(), "see whether `--security-opt seccomp=unconfined` helps, then allow just that call in a profile"),
        _ => return None,
    };
    Some((
        fact,
        Some(advice.to_owned()).filter(|advice| !advice.is_empty()),
    ))
}

fn memory(container: &ContainerInspect) -> String {
    let limit = container.host_config.memory;
    if !container.state.running && container.state.exit_code != 137 {
        return "The kernel ended one of its processes for want of memory; it went on, and ended by itself."
            .to_owned();
    }
    if limit <= 0 {
        return "The kernel ended it because the host ran out of memory; it has no limit of its own.".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let limit = size::binary(limit as f64);
    format!("It ran out of memory: the kernel ended it at its limit of {limit}.")
}

fn restarts(container: &ContainerInspect, note: &mut impl FnMut(String, Option<String>)) {
    let RestartPolicy { name, .. } = &container.host_config.restart_policy;
    let count = container.restart_count;
    if count > 0 {
        note(
            format!("It has been started again {count} times (policy {name})."),
            None,
        );
    } else if !container.state.running
        && container.state.exit_code != 0
        && container.state.status != "created"
        && matches!(name.as_str(), "" | "no")
    {
        note(
            "It is not started again by itself.".to_owned(),
            Some(
                "if it should be: `hull update --restart on-failure NAME`"
                    .replace("NAME", container.name.trim_start_matches('/')),
            ),
        );
    }
}

fn health(container: &ContainerInspect, note: &mut impl FnMut(String, Option<String>)) {
    let Some(health) = container
        .state
        .health
        .as_ref()
        .filter(|health| health.status == "unhealthy")
    else {
        return;
    };
    let last = health.log.iter().flatten().last();
    let said = last.map_or(String::new(), |probe| {
        format!(
            " The last one ended with {}: {}",
            probe.exit_code,
            probe.output.trim()
        )
    });
    note(
        format!(
            "It is unhealthy: {} checks in a row failed.{said}",
            health.failing_streak
        ),
        None,
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ended(code: i64) -> ContainerInspect {
        let mut container = ContainerInspect {
            name: "/web".to_owned(),
            path: "/app".to_owned(),
            ..ContainerInspect::default()
        };
        container.state.status = "exited".to_owned();
        container.state.exit_code = code;
        container
    }

    #[test]
    fn each_way_to_end_has_its_sentence() {
        let table = [
            (127, "was not found"),
            (126, "cannot be executed"),
            (139, "segmentation fault"),
            (159, "seccomp"),
            (137, "not by its memory limit"),
        ];
        for (code, expected) in table {
            let (summary, findings) = of(&ended(code), &Past::default());
            assert!(summary.contains(&format!("code {code}")), "{summary}");
            assert!(
                findings
                    .iter()
                    .any(|finding| finding.fact.contains(expected)),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn memory_comes_before_the_signal_it_ends_with() {
        let mut container = ended(137);
        container.state.oom_killed = true;
        container.host_config.memory = 64 << 20;
        let (_, findings) = of(&container, &Past::default());
        assert!(findings[0].fact.contains("limit of 64MiB"), "{findings:?}");
        let past = Past {
            victim: Some(Victim {
                program: "java".to_owned(),
                process: "7551".to_owned(),
            }),
            ..Past::default()
        };
        let named = of(&container, &past).1;
        assert!(named[0].fact.contains("`java`, process 7551"), "{named:?}");
        assert!(
            !findings
                .iter()
                .any(|finding| finding.fact.contains("not by its memory"))
        );
    }

    #[test]
    fn denials_are_told_and_a_closed_log_only_where_it_matters() {
        let denial = |what| Denial {
            program: "app".to_owned(),
            what,
        };
        let told = [
            (denial(Denied::Call("mkdir".to_owned())), 1),
            (denial(Denied::Capability("SYS_TIME".to_owned())), 3),
        ];
        let facts = |code, denials| {
            let past = Past {
                denials,
                ..Past::default()
            };
            let (_, findings) = of(&ended(code), &past);
            let facts = findings.into_iter().map(|finding| finding.fact);
            facts.collect::<Vec<_>>().join("\n")
        };
        let text = facts(159, Denials::Told(told.into()));
        assert!(
            text.contains("seccomp ended `app` for the system call mkdir."),
            "{text}"
        );
        assert!(
            text.contains("the capability SYS_TIME (3 times)."),
            "{text}"
        );
        let closed = || Denials::Unreadable("/dev/kmsg: permission denied".to_owned());
        assert!(
            facts(159, closed()).contains("cannot be read here (/dev/kmsg: permission denied)")
        );
        assert!(!facts(1, closed()).contains("/dev/kmsg"));
    }

    #[test]
    fn the_log_betrays_causes() {
        let past = Past {
            lines: vec!["mount: Operation not permitted".to_owned()],
            ..Past::default()
        };
        let (_, findings) = of(&ended(1), &past);
        assert!(
            findings
                .iter()
                .any(|finding| finding.fact.contains("capability")),
            "{findings:?}"
        );
    }

    #[test]
    fn of_a_missing_capability_all_is_said_that_can_be_known() {
        let said = |change: &dyn Fn(&mut ContainerInspect)| {
            let mut container = ended(1);
            change(&mut container);
            let past = Past {
                lines: vec!["chown: /x: Operation not permitted".to_owned()],
                denials: Denials::Told(BTreeMap::new()),
                ..Past::default()
            };
            let (_, findings) = of(&container, &past);
            let facts = findings.into_iter().map(|finding| finding.fact);
            facts.collect::<Vec<_>>().join("\n")
        };
        let names = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
        let text = said(&|_| {});
        assert!(text.contains("usually have: not SYS_ADMIN"), "{text}");
        assert!(
            text.contains("log names nothing that was refused"),
            "{text}"
        );
        let text = said(&|c| c.host_config.cap_add = names(&["CAP_SYS_ADMIN"]));
        assert!(
            text.contains("usually have, and SYS_ADMIN: not NET_ADMIN,"),
            "{text}"
        );
        let text = said(&|c| c.host_config.cap_add = names(&["ALL"]));
        assert!(text.contains("It has all capabilities"), "{text}");
        let text = said(&|c| c.host_config.cap_drop = names(&["CAP_CHOWN", "CAP_FOWNER"]));
        assert!(text.contains("started without CHOWN, FOWNER ("), "{text}");
        let text = said(&|c| {
            c.host_config.cap_drop = names(&["ALL"]);
            c.host_config.cap_add = names(&["CAP_KILL"]);
        });
        assert!(text.contains("without any capability but KILL ("), "{text}");
        let text = said(&|c| c.config.user = "1000:7".to_owned());
        assert!(
            text.contains("as the user 1000, and who is not root"),
            "{text}"
        );
        let text = said(&|c| c.host_config.privileged = true);
        assert!(text.contains("lacks no capability"), "{text}");
    }
}
