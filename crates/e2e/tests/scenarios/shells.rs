//! What people see who sit before a terminal: completions in real shells, tables that fit, hints.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hull_testkit::{Client, Scene, Terminal, places, scenario, until};

/// How often a screen is looked at before TAB is pressed again.
const LOOKS: usize = 20;

fn play(scenario: impl FnOnce(&mut Scene)) {
    Scene::play(Client::Hull, scenario);
}

#[expect(
    clippy::print_stderr,
    reason = "what was not tried must not pass for tried"
)]
/// A shell that finds `hull`, with a scene to name things of; nothing, told aloud, where the shell is not installed.
fn shell(scene: &Scene, name: &str, options: &[&str]) -> Option<Command> {
    let there = Command::new("sh")
        .args(["-c", &format!("command -v {name}")])
        .output();
    if !there.is_ok_and(|found| found.status.success()) {
        eprintln!("SKIPPED: there is no {name} on this machine (./dev test installs it)");
        return None;
    }
    let hull = Client::Hull.command(&scene.daemon, &[""; 0]);
    let programs: PathBuf = places::program("hull").parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let mut command = Command::new(name);
    let told = hull
        .get_envs()
        .filter_map(|(name, value)| Some((name, value?)));
    command
        .args(options)
        .envs(told)
        .env("PATH", path)
        .env("ZDOTDIR", scene.daemon.directory());
    Some(command)
}

fn things(scene: &Scene) {
    scene.ok("run -d --name alpha-web busybox sleep 1000");
    scene.ok("create --name idle busybox");
    scene.ok("network create frontier");
    scene.ok("volume create archive");
    scene.ok("tag busybox registry.test:5000/tools:9");
}

/// Presses TAB after what is typed, and takes the line back. Who completes does not wait for a daemon that is slow to
/// answer, which on a busy machine it may be: then TAB is pressed again, as one does.
fn press(terminal: &mut Terminal, typed: &str, completed: &str) {
    until(
        &format!("{typed:?} is completed with {completed:?}"),
        || {
            let before = terminal.screen().len();
            let appeared = |terminal: &Terminal| {
                let screen = terminal.screen();
                screen
                    .get(before..)
                    .is_some_and(|text| text.contains(completed))
            };
            terminal.send(format!("{typed}\t"));
            for _ in 0..LOOKS {
                if appeared(terminal) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            terminal.send("\x15");
            appeared(terminal)
        },
    );
}

/// What is typed, and what TAB adds to it.
const TYPED: [(&str, &str); 8] = [
    ("hull stop al", "pha-web"),
    ("hull run --network fro", "ntier"),
    ("hull run --network=fro", "ntier"),
    ("hull volume rm arc", "hive"),
    ("hull rmi registry.test:5000/to", "ols:9"),
    ("hull run --restart unl", "ess-stopped"),
    ("hull ps --no-tr", "unc"),
    ("hull contai", "ner"),
];

fn press_all(terminal: &mut Terminal) {
    for (typed, completed) in TYPED {
        press(terminal, typed, completed);
    }
}

#[test]
fn bash_completes_names_values_and_flags() {
    play(|scene| {
        things(scene);
        let Some(bash) = shell(scene, "bash", &["--norc", "--noprofile", "-i"]) else {
            return;
        };
        let mut terminal = Terminal::spawn(&bash);
        terminal.line("source <(hull completion bash); echo rea''dy");
        terminal.expect("ready");
        press_all(&mut terminal);
        press(&mut terminal, "cat /etc/pass", "wd");
        terminal.line("exit");
        terminal.wait();
    });
}

#[test]
fn zsh_completes_names_values_and_flags() {
    play(|scene| {
        things(scene);
        let Some(zsh) = shell(scene, "zsh", &["-f", "-i"]) else {
            return;
        };
        let mut terminal = Terminal::spawn(&zsh);
        terminal.line(
            "autoload -U compinit; compinit -u -D; source <(hull completion zsh); echo rea''dy",
        );
        terminal.expect("ready");
        press_all(&mut terminal);
        terminal.line("exit");
        terminal.wait();
    });
}

#[test]
fn fish_completes_names_values_and_flags() {
    play(|scene| {
        things(scene);
        let table = [
            ("hull stop al", "alpha-web"),
            ("hull run --network fro", "frontier"),
            ("hull run --network=fro", "--network=frontier"),
            ("hull volume rm arc", "archive"),
            (
                "hull rmi registry.test:5000/to",
                "registry.test:5000/tools:9",
            ),
            ("hull run --restart unl", "unless-stopped"),
            ("hull ps --no-tr", "--no-trunc"),
            ("hull save busybox -o /etc/pass", "/etc/passwd"),
        ];
        for (typed, expected) in table {
            let script = format!("hull completion fish | source; complete -C '{typed}'");
            let Some(mut fish) = shell(scene, "fish", &["--no-config", "-c", &script]) else {
                return;
            };
            let output = fish.output().unwrap();
            let found = String::from_utf8_lossy(&output.stdout);
            let found: Vec<&str> = found
                .lines()
                .filter_map(|line| line.split('\t').next())
                .collect();
            assert!(found.contains(&expected), "{typed}: {found:?} {output:?}");
        }
    });
}

#[test]
fn tables_fit_the_terminal() {
    play(|scene| {
        let name = "registry.example.com/a-team-with-a-long-name/and-a-program:1.0";
        scene.ok(&format!("tag busybox {name}"));
        let ports = "-p 127.0.0.1:8081:81 -p 127.0.0.1:8082:82 -p 127.0.0.1:8083:83";
        scene.ok(&format!(
            "run -d --name its-name-stays-whole {ports} {name} sleep 100000"
        ));
        let mut terminal = scene.terminal("ps");
        terminal.expect("its-name-stays-whole\r\n");
        let screen = terminal.screen();
        assert!(
            screen.contains(":1.0") && !screen.contains("example.com"),
            "{screen}"
        );
        assert!(
            screen.lines().all(|line| line.chars().count() <= 100),
            "{screen}"
        );
        let mut terminal = scene.terminal("ps --no-trunc");
        terminal.expect(name);
        // Where nobody looks, tables are as Docker's.
        assert!(scene.ok("ps").contains(name));
    });
}

fn write_program(path: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Writes a plugin that says what it was asked, and settings that have it asked.
fn hinting_plugin(scene: &Scene) {
    let config = scene.daemon.path("config");
    let plugins = config.join("cli-plugins");
    fs::create_dir_all(&plugins).unwrap();
    let script = r#"#!/bin/sh
case "$1" in
docker-cli-plugin-metadata) echo '{"SchemaVersion":"0.1.0","Vendor":"test","ShortDescription":"hints"}' ;;
hinter) [ "$2" = docker-cli-plugin-hooks ] && printf '%s' "$3" > "$DOCKER_CONFIG/asked"
    echo '{"Type":0,"Template":"{{.Name}} of {{arg . 0}} is done"}' ;;
esac
"#;
    write_program(&plugins.join("docker-hinter"), script);
    let settings =
        r#"{"features":{"hooks":"true"},"plugins":{"hinter":{"hooks":"volume create,rm"}}}"#;
    fs::write(config.join("config.json"), settings).unwrap();
}

scenario!(plugins_may_say_what_is_next(scene) {
    hinting_plugin(scene);
    let mut terminal = scene.terminal("volume create --label a=b shelf");
    terminal.expect("What's next:");
    terminal.expect("    create of shelf is done");
    assert_eq!(terminal.wait(), 0);
    let asked = || -> serde_json::Value {
        serde_json::from_slice(&fs::read(scene.daemon.path("config/asked")).unwrap()).unwrap()
    };
    assert_eq!(asked(), serde_json::json!({"RootCmd": "volume create", "Flags": {"label": ""}, "CommandError": ""}));
    let mut terminal = scene.terminal("rm --force nobody");
    terminal.wait();
    assert_eq!(asked()["Flags"], serde_json::json!({"force": "true"}));
    // Only who sits before a terminal is told.
    fs::remove_file(scene.daemon.path("config/asked")).unwrap();
    scene.ok("volume create other");
    assert!(!scene.daemon.path("config/asked").exists());
});

scenario!(plugins_may_say_what_is_next_after_a_plugins_command_too(scene) {
    hinting_plugin(scene);
    let config = scene.daemon.path("config");
    let script = r#"#!/bin/sh
case "$1" in
docker-cli-plugin-metadata) echo '{"SchemaVersion":"0.1.0","Vendor":"test","ShortDescription":"works"}' ;;
worker) shift; echo "worked on $*"; [ "$1" != badly ] || exit 4 ;;
esac
"#;
    write_program(&config.join("cli-plugins/docker-worker"), script);
    let settings = r#"{"features":{"hooks":"true"},"plugins":{"hinter":{"hooks":"worker well,worker badly"}}}"#;
    fs::write(config.join("config.json"), settings).unwrap();
    let asked = || -> Option<serde_json::Value> {
        serde_json::from_slice(&fs::read(config.join("asked")).ok()?).ok()
    };
    let mut terminal = scene.terminal("worker other --now");
    terminal.expect("worked on other --now");
    assert_eq!(terminal.wait(), 0);
    assert_eq!(asked(), None);
    let mut terminal = scene.terminal("worker well --now -x=1 done");
    terminal.expect("worked on well --now -x=1 done");
    assert_eq!(terminal.wait(), 0);
    let expected = serde_json::json!({"RootCmd": "worker well", "Flags": {"now": "", "x=1": ""}, "CommandError": ""});
    assert_eq!(asked(), Some(expected));
    // The plugin's own code stays, whatever is said after it.
    fs::remove_file(config.join("asked")).unwrap();
    let mut terminal = scene.terminal("worker badly");
    terminal.expect("worked on badly");
    assert_eq!(terminal.wait(), 4);
    // Who does not sit before a terminal is not told.
    let _ = fs::remove_file(config.join("asked"));
    scene.ok("worker well");
    assert_eq!(asked(), None);
});
