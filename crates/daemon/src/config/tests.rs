use std::path::Path;

use super::{table::TABLE, *};

fn sources(flags: &[&str]) -> Sources {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    match parse_flags(&flags).unwrap() {
        Asked::Run(sources) => *sources,
        other => panic!("{other:?}"),
    }
}

fn loaded(flags: &[&str], file: &str) -> Result<Config, String> {
    let from_file = file::parse(file).map_err(|reason| reason.to_string())?;
    let merged =
        merge(&sources(flags).flags, from_file, Path::new("/f")).map_err(|e| e.to_string())?;
    Config::of(merged).map_err(|error| error.to_string())
}

#[test]
fn every_option_is_named_once() {
    for (index, row) in TABLE.iter().enumerate() {
        let others = || TABLE.iter().skip(index + 1);
        assert!(
            row.flag.is_empty() || others().all(|other| other.flag != row.flag),
            "{}",
            row.flag
        );
        assert!(
            row.key.is_empty() || others().all(|other| other.key != row.key),
            "{}",
            row.key
        );
        assert!(row.short.is_none() || others().all(|other| other.short != row.short));
        assert!(!(row.flag.is_empty() && row.key.is_empty()));
    }
    assert!(table::help().contains("--data-root string"));
}

#[test]
fn flags_are_read_in_every_spelling() {
    let config = loaded(
        &[
            "-H",
            "unix:///a",
            "-Hunix:///b",
            "--host=tcp://:2375",
            "-Dl",
            "warn",
            "--icc=false",
        ],
        "",
    )
    .unwrap();
    let unix = |path: &str| Endpoint::Unix(path.into());
    assert_eq!(
        config.hosts,
        [
            unix("/a"),
            unix("/b"),
            Endpoint::Tcp("127.0.0.1:2375".into())
        ]
    );
    assert_eq!(config.log_level, tracing::level_filters::LevelFilter::DEBUG);
    assert!(!config.switch("icc", true));
    assert!(config.switch("ip-masq", true));
}

#[test]
fn wrong_flags_are_refused_by_name() {
    let refused = |flag: &str| parse_flags(&[flag.to_owned()]).unwrap_err().to_string();
    assert_eq!(refused("--frobnicate"), "unknown flag: --frobnicate");
    assert_eq!(refused("-Z"), "unknown shorthand flag: 'Z' in -Z");
    assert_eq!(refused("--host"), "flag needs an argument: --host");
    assert_eq!(refused("run"), "\"hulld\" accepts no arguments.");
    assert!(
        refused("--debug=maybe").starts_with("invalid argument \"maybe\" for \"--debug\" flag")
    );
}

#[test]
fn an_empty_file_is_an_empty_configuration() {
    for text in ["", "  \n", "{}", "\u{feff}{}"] {
        let config = loaded(&[], text).unwrap();
        assert_eq!(config.data_root, Path::new("/var/lib/hull"));
        assert_eq!(
            config.hosts,
            [Endpoint::Unix("/var/run/docker.sock".into())]
        );
    }
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let refused = loaded(&[], r#"{"debug":true,"colour":"red"}"#).unwrap_err();
    assert_eq!(
        refused,
        "the following directives don't match any configuration option: colour"
    );
    assert!(
        loaded(&[], r#"{"debug":"yes"}"#)
            .unwrap_err()
            .contains("debug has the wrong type")
    );
    assert!(
        loaded(&[], r#"{"proxies":{"ftp":"x"}}"#)
            .unwrap_err()
            .contains("ftp")
    );
    assert!(loaded(&[], "{").is_err());
}

#[test]
fn what_is_said_twice_is_refused() {
    let refused = loaded(&["-H", "unix:///a"], r#"{"hosts":["unix:///b"]}"#).unwrap_err();
    assert_eq!(
        refused,
        "unable to configure the daemon with file /f: the following directives are specified both \
         as a flag and in the configuration file: hosts: (from flag: [unix:///a], from file: \
         [unix:///b])"
    );
    let file = r#"{"runtimes":{"crun":{"path":"/usr/bin/crun","runtimeArgs":["--x"]}}}"#;
    let config = loaded(&["--add-runtime", "kata=/usr/bin/kata"], file).unwrap();
    assert_eq!(config.runtimes.keys().collect::<Vec<_>>(), ["crun", "kata"]);
    assert_eq!(config.runtimes["crun"].1, ["--x"]);
}

#[test]
fn values_become_types() {
    let config = loaded(
        &[
            "--default-ulimit", "nofile=10:20", "--default-shm-size", "128m", "--dns", "9.9.9.9",
            "--default-address-pool", "base=10.0.0.0/8,size=24", "--log-opt", "max-size=5m",
            "--label", "a=b", "--tlsverify", "--tlscacert", "/ca", "--tlscert", "/c", "--tlskey",
            "/k", "--default-cgroupns-mode", "host",
        ],
        r#"{"proxies":{"http-proxy":"http://p"},"host-gateway-ip":"10.1.1.1","min-api-version":"1.40"}"#,
    )
    .unwrap();
    assert_eq!((config.ulimits[0].soft, config.ulimits[0].hard), (10, 20));
    assert_eq!(config.shm_size, 128 << 20);
    assert_eq!(config.dns.len() + config.host_gateway.len(), 2);
    assert_eq!(config.address_pools(), [("10.0.0.0/8".to_owned(), 24)]);
    assert_eq!(config.log.options["max-size"], "5m");
    assert_eq!(
        config.tls.clone().unwrap().authority.unwrap(),
        Path::new("/ca")
    );
    assert_eq!(config.min_api.to_string(), "1.40");
    assert_eq!(config.text("http-proxy"), Some("http://p"));
}

#[test]
fn nonsense_is_refused() {
    for (flags, word) in [
        (&["--log-level", "loud"][..], "loud"),
        (&["--host", "npipe:////./pipe/x"], "npipe"),
        (&["--data-root", "here"], "data-root"),
        (&["--storage-driver", "zfs"], "zfs"),
        (&["--exec-opt", "native.cgroupdriver=systemd"], "systemd"),
        (&["--default-ulimit", "nofile=9:3"], "soft limit"),
        (&["--default-ipc-mode", "host"], "IPC mode"),
        (&["--dns", "example.org"], "example.org"),
        (&["--label", "novalue"], "novalue"),
        (&["--metrics-addr", "9323"], "127.0.0.1:9323"),
    ] {
        let refused = loaded(flags, "").unwrap_err();
        assert!(refused.contains(word), "{refused}");
    }
}

#[test]
fn cdi_s_directories_are_docker_s_unless_said_or_switched_off() {
    let directories = |flags: &[&str]| {
        let config = loaded(flags, "").unwrap();
        assert_eq!(config.without_effect(), [""; 0]);
        let shown = config.cdi_directories();
        shown
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(directories(&[]), ["/etc/cdi", "/var/run/cdi"]);
    assert_eq!(
        directories(&["--cdi-spec-dir=/a", "--cdi-spec-dir=/b"]),
        ["/a", "/b"]
    );
    assert_eq!(directories(&["--feature=cdi=false"]), [""; 0]);
}

#[test]
fn options_without_effect_are_taken() {
    let config = loaded(
        &[
            "--containerd=/run/containerd/containerd.sock",
            "--live-restore",
        ],
        "",
    )
    .unwrap();
    assert_eq!(config.without_effect(), ["containerd", "live-restore"]);
}
