//! Syslog: RFC 3164, RFC 5424 and the short form of local sockets.

use jiff::{Timestamp, tz::TimeZone};

use super::plan::Subject;
use crate::logs::{LogRecord, LogStream};

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `<30>Nov 30 10:00:00 tag[1]: text`
    Short,
    /// With the host's name.
    Rfc3164,
    /// With seconds.
    Rfc5424,
    /// With microseconds.
    Rfc5424Micro,
}

/// Writes syslog messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Syslog {
    pub(super) format: Format,
    pub(super) facility: u8,
    pub(super) host: String,
}

/// The names of facilities, in the order of their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// Takes a name or a number.
pub(super) fn facility(text: &str) -> Option<u8> {
    let named = FACILITIES
        .iter()
        .position(|name| !name.is_empty() && *name == text);
    let number = named.or_else(|| text.parse().ok().filter(|number| *number < 24))?;
    u8::try_from(number).ok()
}

/// The severities of the two streams: information, and error.
pub(super) fn severity(stream: LogStream) -> u8 {
    match stream {
        LogStream::Stdout => 6,
        LogStream::Stderr => 3,
    }
}

impl Syslog {
    pub(super) fn encode(&self, subject: &Subject, record: &LogRecord) -> Vec<u8> {
        let priority = u16::from(self.facility) * 8 + u16::from(severity(record.stream));
        let time = Timestamp::from_nanosecond(record.time_ns.into()).unwrap_or_default();
        let (tag, host, process) = (&subject.tag, &self.host, std::process::id());
        let local = time.to_zoned(TimeZone::system());
        let old = local.strftime("%b %e %H:%M:%S");
        let head = match self.format {
            Format::Short => format!("<{priority}>{old} {tag}[{process}]: "),
            Format::Rfc3164 => format!("<{priority}>{old} {host} {tag}[{process}]: "),
            Format::Rfc5424 => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S%:z");
                format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
            }
            Format::Rfc5424Micro => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S.%6f%:z");
                format!("<{priority}>1 {time} {host} {tag} {process} {tag} - ")
            }
        };
        let mut message = head.into_bytes();
        message.extend_from_slice(&record.bytes);
        // It separates messages on a stream, and a piece of a long line is a message too.
        if message.last() != Some(&b'\n') {
            message.push(b'\n');
        }
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::forward::plan::tests::{record, subject};

    #[test]
    fn facilities_have_names_and_numbers() {
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("local7"), Some(23));
        assert_eq!(facility("16"), Some(16));
        assert_eq!(facility("24"), None);
        assert_eq!(facility(""), None);
    }

    #[test]
    fn each_format_has_its_head_and_ends_in_a_newline() {
        let process = std::process::id();
        for (format, middle) in [
            (Format::Short, format!(" web[{process}]: out\n")),
            (Format::Rfc3164, format!(" box web[{process}]: out\n")),
            (Format::Rfc5424, format!(" box web {process} web - out\n")),
        ] {
            let syslog = Syslog {
                format,
                facility: 3,
                host: "box".to_owned(),
            };
            let text = syslog.encode(&subject(), &record(LogStream::Stdout, "out"));
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with("<30>"), "{text}");
            assert!(text.ends_with(&middle), "{text}");
        }
    }
}
