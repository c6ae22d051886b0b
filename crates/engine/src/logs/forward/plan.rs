//! What a log driver's options ask for. Pure, but for the host's name.

use std::collections::BTreeMap;

use flate2::Compression;
use jiff::Timestamp;

use super::{
    address::Address,
    fluentd::Fluentd,
    gelf::{Gelf, Packing},
    journald,
    syslog::{self, Format, Syslog},
};
use crate::{
    error::{Error, Result},
    log,
    record::Record,
};

/// The drivers that send a log on.
pub(crate) const DRIVERS: [&str; 4] = ["fluentd", "gelf", "journald", "syslog"];

/// Where local programs of old look for syslog.
const SYSLOG_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

const SYSLOG_PORT: u16 = 514;
const GELF_PORT: u16 = 12201;
const FLUENTD_PORT: u16 = 24224;

/// Where a log goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(super) address: Address,
    pub(super) encoder: Encoder,
    pub(super) subject: Subject,
}

/// A collector's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoder {
    Syslog(Syslog),
    Journald,
    Gelf(Gelf),
    Fluentd(Fluentd),
}

/// Whose log it is, as collectors are told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) short_id: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) command: String,
    pub(super) created: String,
    pub(super) tag: String,
    /// The chosen labels and variables.
    pub(super) extra: BTreeMap<String, String>,
}

/// The options that a driver of ours knows beside those of all.
pub(crate) fn options(driver: &str) -> &'static [&'static str] {
    match driver {
        "syslog" => &["syslog-address", "syslog-facility", "syslog-format"],
        "gelf" => &[
            "gelf-address",
            "gelf-compression-type",
            "gelf-compression-level",
            "gelf-tcp-max-reconnect",
            "gelf-tcp-reconnect-delay",
        ],
        // The spool makes most of these superfluous: nothing is buffered in memory or given up.
        "fluentd" => &[
            "fluentd-address",
            "fluentd-async",
            "fluentd-async-connect",
            "fluentd-async-reconnect-interval",
            "fluentd-buffer-limit",
            "fluentd-max-retries",
            "fluentd-read-timeout",
            "fluentd-retry-wait",
            "fluentd-sub-second-precision",
            "fluentd-write-timeout",
        ],
        _ => &[],
    }
}

/// Where a container's log goes. `None`: it stays here.
pub(crate) fn plan(record: &Record) -> Result<Option<Plan>> {
    let log = &record.host.log;
    let option = |key: &str| log.options.get(key).map(String::as_str);
    let refused = |why: String| Error::Invalid(format!("log driver {}: {why}", log.driver));
    let (address, encoder) = match log.driver.as_str() {
        "syslog" => syslog_of(option),
        "journald" => {
            let socket = Address::Datagram(vec![journald::SOCKET.into()]);
            Ok((socket, Encoder::Journald))
        }
        "gelf" => gelf_of(option),
        "fluentd" => fluentd_of(option),
        _ => return Ok(None),
    }
    .map_err(refused)?;
    let subject = subject(record);
    Ok(Some(Plan {
        address,
        encoder,
        subject,
    }))
}

fn syslog_of<'a>(option: impl Fn(&str) -> Option<&'a str>) -> Result<(Address, Encoder), String> {
    let address = match option("syslog-address") {
        Some(url) => Address::parse(url, SYSLOG_PORT)?,
        None => Address::Datagram(SYSLOG_SOCKETS.map(Into::into).into()),
    };
    let facility = option("syslog-facility").unwrap_or("daemon");
    let format = match option("syslog-format") {
        None | Some("") => Format::Short,
        Some("rfc3164") => Format::Rfc3164,
        Some("rfc5424") => Format::Rfc5424,
        Some("rfc5424micro") => Format::Rfc5424Micro,
        Some(other) => {
            return Err(format!(
                "unknown syslog-format {other:?}: use rfc3164, rfc5424 or rfc5424micro"
            ));
        }
    };
    let syslog = Syslog {
        format,
        facility: syslog::facility(facility)
            .ok_or_else(|| format!("unknown syslog-facility {facility:?}"))?,
        host: host_name(),
    };
    Ok((address, Encoder::Syslog(syslog)))
}

fn gelf_of<'a>(option: impl Fn(&str) -> Option<&'a str>) -> Result<(Address, Encoder), String> {
    let url = option("gelf-address")
        .ok_or("gelf-address is missing: udp://HOST:PORT or tcp://HOST:PORT")?;
    let address = Address::parse(url, GELF_PORT)?;
    let level = match option("gelf-compression-level") {
        None => Compression::fast(),
        Some(text) => match text.parse::<i32>() {
            Ok(level @ 0..=9) => Compression::new(level.unsigned_abs()),
            Ok(-1) => Compression::default(),
            _ => return Err(format!("gelf-compression-level {text:?} is not in -1 to 9")),
        },
    };
    let packing = match (&address, option("gelf-compression-type")) {
        (Address::Tcp(_), None) => Packing::Stream,
        (Address::Tcp(_), Some(_)) => {
            return Err("gelf-compression-type does not go with TCP".to_owned());
        }
        (Address::Udp(_), None | Some("gzip")) => Packing::Gzip(level),
        (Address::Udp(_), Some("zlib")) => Packing::Zlib(level),
        (Address::Udp(_), Some("none")) => Packing::Plain,
        (Address::Udp(_), Some(other)) => {
            return Err(format!(
                "unknown gelf-compression-type {other:?}: use gzip, zlib or none"
            ));
        }
        _ => return Err(format!("gelf-address {url:?} is neither udp:// nor tcp://")),
    };
    let host = host_name();
    Ok((address, Encoder::Gelf(Gelf { packing, host })))
}

fn fluentd_of<'a>(option: impl Fn(&str) -> Option<&'a str>) -> Result<(Address, Encoder), String> {
    let url = option("fluentd-address").unwrap_or("localhost");
    let address = match url.contains("://") {
        true => Address::parse(url, FLUENTD_PORT)?,
        false => Address::parse(&format!("tcp://{url}"), FLUENTD_PORT)?,
    };
    if !matches!(address, Address::Tcp(_) | Address::Stream(_)) {
        return Err(format!(
            "fluentd-address {url:?} is neither tcp:// nor unix://"
        ));
    }
    let sub_second = match option("fluentd-sub-second-precision") {
        None => false,
        Some(text) => text
            .parse()
            .map_err(|_| format!("fluentd-sub-second-precision {text:?} is no truth value"))?,
    };
    Ok((address, Encoder::Fluentd(Fluentd { sub_second })))
}

fn subject(record: &Record) -> Subject {
    let mut extra = log::attributes(record);
    let tag = extra.remove("tag");
    let created = Timestamp::from_nanosecond(record.created_at_ns.into());
    Subject {
        id: record.id.to_string(),
        short_id: record.id.short().to_owned(),
        name: record.name.to_string(),
        image: record.config.image.clone(),
        image_id: record.image_id.clone(),
        command: record.command().join(" "),
        created: created.unwrap_or_default().to_string(),
        tag: tag.unwrap_or_else(|| record.id.short().to_owned()),
        extra,
    }
}

fn host_name() -> String {
    let uname = rustix::system::uname();
    uname.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::logs::{LogRecord, LogStream};

    pub(in crate::logs::forward) fn subject() -> Subject {
        Subject {
            id: "a".repeat(64),
            short_id: "a".repeat(12),
            name: "web".to_owned(),
            tag: "web".to_owned(),
            extra: BTreeMap::from([("com.shop.tier".to_owned(), "front".to_owned())]),
            ..Subject::default()
        }
    }

    pub(in crate::logs::forward) fn record(stream: LogStream, text: &str) -> LogRecord {
        LogRecord {
            stream,
            time_ns: 1_700_000_000_123_000_000,
            bytes: text.as_bytes().to_vec(),
            attributes: BTreeMap::new(),
        }
    }

    /// What comes of `key=value` pairs: the address, or what is wrong.
    fn outcome(
        of: impl Fn(&dyn Fn(&str) -> Option<&'static str>) -> Result<(Address, Encoder), String>,
        given: &'static [(&'static str, &'static str)],
    ) -> String {
        let option = |key: &str| {
            given
                .iter()
                .find(|(known, _)| *known == key)
                .map(|(_, value)| *value)
        };
        match of(&option) {
            Ok((address, _)) => address.to_string(),
            Err(why) => why,
        }
    }

    #[test]
    fn syslog_goes_to_the_local_socket_unless_told_otherwise() {
        let of = |option: &dyn Fn(&str) -> Option<&'static str>| syslog_of(option);
        assert_eq!(outcome(of, &[]), "unixgram:///dev/log");
        let far = &[("syslog-address", "udp://logs")];
        assert_eq!(outcome(of, far), "udp://logs:514");
        let bad = &[("syslog-format", "xml")];
        assert!(outcome(of, bad).contains("unknown syslog-format \"xml\""));
        let bad = &[("syslog-facility", "pub")];
        assert!(outcome(of, bad).contains("unknown syslog-facility \"pub\""));
    }

    #[test]
    fn gelf_needs_an_address_and_compresses_datagrams_only() {
        let of = |option: &dyn Fn(&str) -> Option<&'static str>| gelf_of(option);
        assert!(outcome(of, &[]).contains("gelf-address is missing"));
        let udp = &[
            ("gelf-address", "udp://logs"),
            ("gelf-compression-type", "zlib"),
        ];
        assert_eq!(outcome(of, udp), "udp://logs:12201");
        let tcp = &[
            ("gelf-address", "tcp://logs"),
            ("gelf-compression-type", "zlib"),
        ];
        assert!(outcome(of, tcp).contains("does not go with TCP"));
        let unix = &[("gelf-address", "unix:///x")];
        assert!(outcome(of, unix).contains("neither udp:// nor tcp://"));
    }

    #[test]
    fn fluentd_takes_a_bare_host() {
        let of = |option: &dyn Fn(&str) -> Option<&'static str>| fluentd_of(option);
        assert_eq!(outcome(of, &[]), "tcp://localhost:24224");
        assert_eq!(
            outcome(of, &[("fluentd-address", "logs:99")]),
            "tcp://logs:99"
        );
        let udp = &[("fluentd-address", "udp://logs")];
        assert!(outcome(of, udp).contains("neither tcp:// nor unix://"));
    }
}
