//! Compose files of a git repository, served on this machine.

use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hull_testkit::until;
use serde_json::Value;

use crate::{Application, Driver};

/// `git daemon` with one repository.
struct Server {
    process: Child,
    port: u16,
    work: PathBuf,
}

impl Server {
    fn start(app: &Application) -> Self {
        let base = app.daemon.path("repositories");
        let work = base.join("app");
        std::fs::create_dir_all(&work).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new("git")
            .args([
                "daemon",
                "--export-all",
                "--reuseaddr",
                "--listen=127.0.0.1",
            ])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .stderr(Stdio::null())
            // Its children go with it.
            .process_group_of_its_own()
            .spawn()
            .unwrap();
        let server = Self {
            process,
            port,
            work,
        };
        server.git("init -q -b main");
        server
    }

    fn git(&self, line: &str) {
        let done = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "safe.directory=*",
            ])
            .args(hull_testkit::words::split(line))
            .current_dir(&self.work)
            .status();
        assert!(done.unwrap().success(), "git {line}");
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.work.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn commit(&self) {
        self.git("add -A");
        self.git("commit -q -m change");
    }

    fn address(&self, rest: &str) -> String {
        format!("git://127.0.0.1:{}/app{rest}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.process);
        _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        _ = self.process.wait();
    }
}

trait ProcessGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl ProcessGroup for Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

fn model(app: &Application, line: &str) -> Value {
    serde_json::from_str(&app.ok(&format!("{line} config --format json"))).unwrap()
}

#[test]
fn files_of_a_repository_are_included_extended_and_named() {
    Application::play(Driver::Hull, "services: {}", |app| {
        let server = Server::start(app);
        server.write(
            "deploy/compose.yaml",
            "
services:
  there:
    image: busybox
    command: sleep 1000
    init: true
    env_file: vars.env
    volumes: ['./data:/data']
",
        );
        server.write("deploy/vars.env", "FROM=the-repository\n");
        server.commit();
        server.git("tag -a v1 -m one");
        server.git("checkout -q -b other/main");
        server.write("compose.yaml", "services: {wrong: {image: wrong}}");
        server.commit();
        server.git("checkout -q main");
        server.write("deploy/vars.env", "FROM=later\n");
        server.commit();
        until("it answers", || {
            std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
        });

        app.write("compose.yaml", &format!(
            "name: far\ninclude: ['{}']\nservices: {{here: {{extends: {{file: '{}', service: there}}}}}}\n",
            server.address("#v1:deploy/compose.yaml"),
            server.address("#main:deploy"),
        ));
        let found = model(app, "");
        assert_eq!(
            found["services"]["there"]["environment"]["FROM"],
            "the-repository"
        );
        assert_eq!(found["services"]["here"]["environment"]["FROM"], "later");
        let source = found["services"]["there"]["volumes"][0]["source"]
            .as_str()
            .unwrap();
        assert!(source.ends_with("/app/deploy/data"), "{source}");
        app.ok("up -d there");
        assert_eq!(app.ok("exec there sh -c 'echo $FROM'"), "the-repository");
        app.ok("down");

        // The branch is `main`, not one whose name ends so.
        let named = model(app, &format!("-f {}", server.address("#main:deploy")));
        assert_eq!(named["name"], "deploy");
        assert_eq!(named["services"]["there"]["image"], "busybox");
        // What is here by its commit is not fetched again.
        let cache = Path::new(&app.daemon.directory()).join(".cache/hull/compose");
        let commits = std::fs::read_dir(cache).unwrap().count();
        assert_eq!(commits, 2);
    });
}

#[test]
fn a_repository_reaches_nothing_of_the_machine() {
    Application::play(Driver::Hull, "services: {}", |app| {
        let server = Server::start(app);
        server.write("secret.yaml", "include: ['/etc/hostname']\n");
        server.write("up.yaml", "services: {a: {extends: {file: ../../../../../../../../../etc/hostname, service: a}}}\n");
        server.write(
            "env.yaml",
            "services: {a: {image: x, env_file: /etc/passwd}}\n",
        );
        server.write(
            "included.yaml",
            "include: [{path: secret.yaml, env_file: /etc/passwd}]\n",
        );
        symlink("/etc/hostname", server.work.join("link.yaml")).unwrap();
        symlink("/etc/passwd", server.work.join("link.env")).unwrap();
        server.write(
            "linked.yaml",
            "services: {a: {image: x, env_file: link.env}}\n",
        );
        server.commit();
        until("it answers", || {
            std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
        });
        for (rest, told) in [
            ("#main:secret.yaml", "which is not of the repository"),
            ("#main:up.yaml", "which is not of the repository"),
            (
                "#main:env.yaml",
                "`env_file` names /etc/passwd, which is not of the repository",
            ),
            ("#main:included.yaml", "which is not of the repository"),
            ("#main:linked.yaml", "which is not of the repository"),
            ("#main:link.yaml", "the path leads out of the repository"),
            ("#main:../x.yaml", "the path leads out of the repository"),
            ("#main:none.yaml", "it has no file none.yaml"),
            ("#nothing", "it has no branch, tag or commit `nothing`"),
            ("#--upload-pack=x", "is no branch, tag or commit"),
        ] {
            let address = server.address(rest);
            app.write(
                "compose.yaml",
                &format!("name: n\ninclude:\n  - '{address}'\n"),
            );
            let complaint = app.fails(1, "config");
            assert!(complaint.contains(told), "{rest}: {complaint}");
            if !told.contains("not of the repository") {
                let place = format!("compose.yaml:3:5: `include` names `{address}`: ");
                assert!(complaint.contains(&place), "{rest}: {complaint}");
            }
        }
        app.write("compose.yaml", "name: n\ninclude: ['oci://h/app:1']\n");
        let complaint = app.fails(1, "config");
        assert!(complaint.contains("compose.yaml:2:11: `include` names `oci://h/app:1`: Hull reads no projects from registries"), "{complaint}");
    });
}

#[test]
fn a_project_of_somebody_elses_is_brought_up_only_if_that_is_meant() {
    Application::play(Driver::Hull, "services: {}", |app| {
        let server = Server::start(app);
        let file = "name: far\nservices: {a: {image: busybox, command: 'sleep ${HOW:-1000}', init: true, environment: {T: $TOKEN}}}\n";
        server.write("asks.yaml", file);
        server.write(
            "plain.yaml",
            &file.replace("${HOW:-1000}", "1000").replace("$TOKEN", "x"),
        );
        server.commit();
        until("it answers", || {
            std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
        });
        let asks = format!("-f {}", server.address("#main:asks.yaml"));
        for verb in ["up -d", "create", "run a true"] {
            let complaint = app.fails(1, &format!("{asks} {verb}"));
            for told in [
                "#main:asks.yaml is kept in ",
                "TOKEN      the environment",
                "HOW        its default",
                "brought up only if all that is confirmed\nhint: add `--yes`",
            ] {
                assert!(complaint.contains(told), "{told} is not in {complaint}");
            }
            assert!(!complaint.contains("from-outside"), "{complaint}");
        }
        server.write(
            "reaches.yaml",
            "name: far\nservices:\n  a:\n    image: busybox\n    command: sleep 1000\n    init: true\n    environment: [TOKEN]\n    cap_add: [SYS_ADMIN]\n    network_mode: host\n    volumes: ['/etc:/host:ro', './own:/own']\n    secrets: [s]\nsecrets: {s: {environment: HOME}}\n",
        );
        server.commit();
        let reaches = format!("-f {}", server.address("#main:reaches.yaml"));
        let complaint = app.fails(1, &format!("{reaches} up -d"));
        for told in [
            "HOME       the environment   false",
            "TOKEN      the environment   false",
            "services.a.volumes        /etc to read\n",
            "services.a.cap_add        SYS_ADMIN\n",
            "services.a.network_mode   this machine's own\n",
            "brought up only if all that is confirmed\nhint: add `--yes`",
        ] {
            assert!(complaint.contains(told), "{told} is not in {complaint}");
        }
        assert!(!complaint.contains("/own"), "{complaint}");
        assert_eq!(app.containers(), Vec::<String>::new());
        app.ok(&format!("{reaches} up -d --yes"));
        app.ok(&format!("{reaches} down -t 0"));
        // What only looks or takes away is not asked about.
        app.ok(&format!("{asks} config -q"));
        app.ok(&format!("{asks} up -d --yes"));
        assert_eq!(app.field("far-a-1", "/State/Running"), true);
        app.ok(&format!("{asks} down -t 0"));
        let plain = format!("-f {}", server.address("#main:plain.yaml"));
        app.ok(&format!("{plain} up -d"));
        app.ok(&format!("{plain} down -t 0"));
    });
}

#[test]
fn a_fetched_project_has_nothing_of_another_one_unasked_though_it_calls_itself_so() {
    let own = "
name: production
services: {db: {image: busybox, command: sleep 1000, init: true, volumes: ['db:/db']}}
volumes: {db: }
";
    Application::play(Driver::Hull, own, |app| {
        let server = Server::start(app);
        server.write(
            "compose.yaml",
            "
name: production
services:
  db: {image: busybox, command: sleep 1000, init: true, volumes: ['db:/db', './d:/d']}
  b: {image: busybox, command: sleep 1000, init: true, ports: ['18080:80'], volumes: ['./d/x:/x:ro']}
volumes: {db: }
",
        );
        server.commit();
        until("it answers", || {
            std::net::TcpStream::connect(("127.0.0.1", server.port)).is_ok()
        });
        let fetched = format!("-f {}", server.address("#main"));
        app.ok("up -d");
        let before = app.field("production-db-1", "/Id");
        let complaint = app.fails(1, &format!("{fetched} up -d"));
        let file = app.directory().join("compose.yaml");
        let file = std::fs::canonicalize(file).unwrap();
        for told in [
            &format!(
                "name                 the project production, which is there already, of {}\n",
                file.display()
            ),
            "networks.default     the network production_default, which is there already\n",
            "volumes.db           the volume production_db, which is there already\n",
            "d/x (a container may make a link of it) to read\n",
            "services.b.ports     18080 at all addresses, to 80/tcp\n",
        ] {
            assert!(complaint.contains(told), "{told} is not in {complaint}");
        }
        let touched = "the project production is there already";
        for verb in ["down -v", "stop", "kill", "rm -f -s", "restart", "pause"] {
            let complaint = app.fails(1, &format!("{fetched} {verb}"));
            assert!(complaint.contains(touched), "{verb}: {complaint}");
        }
        assert_eq!(app.field("production-db-1", "/Id"), before);
        assert_eq!(app.field("production-db-1", "/State/Running"), true);
        // Without containers, the data is still there.
        app.ok("down -t 0");
        let complaint = app.fails(1, &format!("{fetched} down -v"));
        assert!(
            complaint.contains("with the volume production_db: it was not touched"),
            "{complaint}"
        );
        let complaint = app.fails(1, &format!("{fetched} up -d"));
        assert!(
            complaint.contains("the volume production_db, which"),
            "{complaint}"
        );
        // Who says the name means it.
        app.ok(&format!("{fetched} -p production down -v"));
        let complaint = app.fails(1, &format!("{fetched} up -d"));
        assert!(!complaint.contains("which is there already"), "{complaint}");
        app.ok(&format!("{fetched} up -d --yes"));
        let complaint = app.fails(1, &format!("{fetched} up -d"));
        assert!(!complaint.contains("which is there already"), "{complaint}");
        app.ok(&format!("{fetched} down -v -t 0"));
    });
}

#[test]
fn an_address_that_is_none_is_told_with_what_is_one() {
    Application::play(Driver::Hull, "services: {}", |app| {
        for address in ["https://h/app", "file:///srv/app.git", "ftp://h/app.git"] {
            let complaint = app.fails(1, &format!("-f {address} config"));
            let told = format!(
                "`{address}`: it is not the address of a git repository\nhint: an address is `https://HOST/NAME.git`, `USER@HOST:NAME`, "
            );
            assert!(complaint.contains(&told), "{complaint}");
        }
        let complaint = app.fails(1, "-f https://h/app.git?depth=3 config");
        let told =
            "`depth=3` says nothing of a git repository\nhint: what can be said there is `ref=`";
        assert!(complaint.contains(told), "{complaint}");
        let complaint = app.fails(1, "-f oci://h/app:1 config");
        let told = "`oci://h/app:1`: Hull reads no projects from registries\nhint: fetch it";
        assert!(complaint.contains(told), "{complaint}");
    });
}
