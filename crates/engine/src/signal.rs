//! Signals by name and number.

/// Linux's names, in the order of their numbers from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal as C programs see it.
const RTMIN: i32 = 34;
/// The last real-time signal.
const RTMAX: i32 = 64;

/// Takes `TERM`, `SIGTERM`, `15`, `RTMIN+3`, `RTMAX-1`, in any case.
pub fn parse(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).ok();
    }
    let number = match name {
        "IOT" => 6,
        "CLD" => 17,
        "POLL" => 29,
        "RTMIN" => RTMIN,
        "RTMAX" => RTMAX,
        _ => {
            if let Some(offset) = name.strip_prefix("RTMIN+") {
                RTMIN.checked_add(offset.parse().ok()?)?
            } else {
                RTMAX.checked_sub(name.strip_prefix("RTMAX-")?.parse().ok()?)?
            }
        }
    };
    (RTMIN.min(number)..=RTMAX)
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_numbers_and_real_time_signals() {
        for (text, number) in [
            ("TERM", Some(15)),
            ("sigkill", Some(9)),
            ("1", Some(1)),
            ("RTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGSYS", Some(31)),
            ("0", None),
            ("65", None),
            ("NOPE", None),
            ("RTMIN+99", None),
        ] {
            assert_eq!(parse(text), number, "{text}");
        }
    }
}
