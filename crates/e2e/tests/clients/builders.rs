//! The same Dockerfiles, of shapes as people write them, built by Hull and by Podman (whose builder is
//! buildah): root file systems and configurations must be the same, entry by entry.
//!
//! `shapes/*.Dockerfile` are the shapes (`HULL_SHAPES_ONLY=one,two` plays those alone); all see one context. What may differ stands in
//! `shapes/differences.tsv`: shape, path or key, reason.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hull_testkit::{Client, Daemon, NetworkNamespace, places};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// What an engine mounts over, or makes for itself.
const ENGINES_OWN: [&str; 9] = [
    "dev",
    "proc",
    "sys",
    "run",
    "run/.containerenv",
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "run/lock",
];

/// Of a configuration, what says how to run the image.
const KEYS: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

fn shapes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/shapes")
}

/// Runs a command to its end: what it wrote, or what it complained of.
fn done(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    match output.status.success() {
        true => Ok(text.trim_end().to_owned()),
        false => Err(format!("{text}{complaint}")),
    }
}

/// Runs a command to its end, which must be good.
#[track_caller]
fn good(command: &mut Command) -> String {
    done(command).unwrap_or_else(|complaint| panic!("{command:?}: {complaint}"))
}

/// The context that all shapes see.
fn context(at: &Path) {
    let write = |path: &str, text: &str, mode: u32| {
        let path = at.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("package.json", "{\n  \"name\": \"app\"\n}\n", 0o644);
    write("package-lock.json", "{}\n", 0o600);
    write("requirements.txt", "flask==3.0\nrequests==2.32\n", 0o644);
    write("server.sh", "#!/bin/sh\necho serving\n", 0o755);
    write(
        "app.pl",
        "print join(',', map { $_ * 2 } 1..5), \"\\n\";\n",
        0o644,
    );
    write("src/main.c", "int main(void) { return helper(); }\n", 0o644);
    write("src/helper.c", "int helper(void) { return 0; }\n", 0o640);
    write("src/deep/er/file", "deep\n", 0o444);
    write("links/target", "the target\n", 0o644);
    symlink("target", at.join("links/to-target")).unwrap();
    symlink("nowhere", at.join("links/dangling")).unwrap();
    write("empty", "", 0o644);
    fs::create_dir(at.join("empty-dir")).unwrap();
    write("with space.txt", "space\n", 0o644);
    write(".env", "KEY=value\n", 0o600);
    write(".config/settings", "on\n", 0o644);
    write("skipped.log", "no\n", 0o644);
    write(".dockerignore", "*.log\n", 0o644);
    let pack = "mkdir pack && echo one > pack/1 && ln -s 1 pack/link && chmod 750 pack && \
                tar --owner=7 --group=8 -czf archive.tar.gz pack && rm -r pack";
    good(Command::new("sh").args(["-c", pack]).current_dir(at));
    let package = "mkdir -p deb/DEBIAN deb/usr/bin && printf '#!/bin/sh\\necho hello\\n' > deb/usr/bin/hello && \
        chmod 755 deb/usr/bin/hello && printf 'Package: hello\\nVersion: 1\\nArchitecture: all\\nMaintainer: me <a@b>\\nDescription: says hello\\n' \
        > deb/DEBIAN/control && dpkg-deb --root-owner-group -b deb hello.deb >/dev/null && rm -r deb";
    good(Command::new("sh").args(["-c", package]).current_dir(at));
}

/// Podman with storage of its own, in a network namespace of its own.
struct Podman {
    directory: TempDir,
    namespace: NetworkNamespace,
}

impl Podman {
    fn command(&self) -> Command {
        let at = |name: &str| self.directory.path().join(name);
        let mut command = self.namespace.command("podman");
        command
            .arg("--root")
            .arg(at("root"))
            .arg("--runroot")
            .arg(at("run"));
        command.arg("--tmpdir").arg(at("tmp"));
        command.args(["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs"]);
        command.args(["--events-backend", "none", "--log-level", "error"]);
        command.env("HOME", self.directory.path());
        // Its caches and passing files would stay in /var/tmp.
        command.env("TMPDIR", self.directory.path());
        command
    }

    /// Builds; where the files are, and the configuration.
    fn build(&self, dockerfile: &str, context: &Path) -> Result<(PathBuf, Value), String> {
        let file = self.directory.path().join("Dockerfile");
        let text = dockerfile
            .replace("FROM busybox", "FROM docker.io/library/busybox")
            .replace("FROM debian", "FROM docker.io/library/debian");
        fs::write(&file, text).unwrap();
        let mut build = self.command();
        build.args([
            "build",
            "-q",
            "--format",
            "docker",
            "--isolation",
            "chroot",
            "--layers=false",
        ]);
        build.args(["--pull=never", "--network", "host", "-t", "it", "-f"]);
        done(build.arg(&file).arg(context))?;
        let files = good(self.command().args(["image", "mount", "it"]));
        let id = good(
            self.command()
                .args(["image", "inspect", "--format", "{{.Id}}", "it"]),
        );
        Ok((PathBuf::from(files), self.config(&id)))
    }

    /// An image's configuration as it is stored: Podman tells not all of it.
    fn config(&self, id: &str) -> Value {
        let directory = self.directory.path().join("root/vfs-images").join(id);
        let files = fs::read_dir(directory).unwrap();
        let documents = files.map(|file| fs::read(file.unwrap().path()).unwrap());
        let mut parsed = documents.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
        let config = parsed.find(|document| !document["rootfs"].is_null());
        config.expect("an image has a configuration")["config"].clone()
    }

    fn forget(&self) {
        good(self.command().args(["image", "unmount", "it"]));
        good(self.command().args(["rmi", "-f", "it"]));
    }
}

/// Builds with Hull; the configuration. The files are written below `to`.
fn hull(daemon: &Daemon, dockerfile: &Path, context: &Path, to: &Path) -> Result<Value, String> {
    let run = |words: &[&str]| good(&mut Client::Hull.command(daemon, words));
    let (file, from) = (dockerfile.to_str().unwrap(), context.to_str().unwrap());
    done(&mut Client::Hull.command(daemon, &["build", "-q", "-t", "it", "-f", file, from]))?;
    let archive = to.with_extension("tar");
    let output = format!("type=tar,dest={}", archive.display());
    run(&["build", "-q", "-o", &output, "-f", file, from]);
    fs::create_dir(to).unwrap();
    let mut unpack = Command::new("tar");
    good(
        unpack
            .args(["--numeric-owner", "-xpf"])
            .arg(&archive)
            .arg("-C")
            .arg(to),
    );
    let config = run(&["image", "inspect", "--format", "{{json .Config}}", "it"]);
    Ok(serde_json::from_str(&config).unwrap())
}

/// What is below a directory: everything but times.
fn entries(root: &Path) -> BTreeMap<String, String> {
    fn walk(
        root: &Path,
        below: &Path,
        seen: &mut HashMap<u64, String>,
        all: &mut BTreeMap<String, String>,
    ) {
        let mut names: Vec<_> = fs::read_dir(root.join(below))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let path = below.join(name);
            let full = root.join(&path);
            let found = fs::symlink_metadata(&full).unwrap();
            let shown = path.to_string_lossy().into_owned();
            let kind = found.file_type();
            let what = if kind.is_symlink() {
                format!("link to {}", fs::read_link(&full).unwrap().display())
            } else if kind.is_file() {
                let first = seen
                    .entry(found.ino())
                    .or_insert_with(|| shown.clone())
                    .clone();
                let same = if first == shown {
                    String::new()
                } else {
                    format!(" same as {first}")
                };
                let text = fs::read(&full).unwrap();
                format!("file of {} bytes, {}{same}", text.len(), sum(&text))
            } else {
                format!("{kind:?}")
            };
            let mode = if kind.is_symlink() {
                0o777
            } else {
                found.mode() & 0o7777
            };
            all.insert(
                shown,
                format!("{mode:o} {}:{} {what}", found.uid(), found.gid()),
            );
            if kind.is_dir() {
                walk(root, &path, seen, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, Path::new(""), &mut HashMap::new(), &mut all);
    for own in ENGINES_OWN {
        all.remove(own);
    }
    all.retain(|path, _| {
        !path.starts_with("dev/") && !path.starts_with("proc/") && !path.starts_with("sys/")
    });
    all
}

/// Tells contents apart (FNV-1a: nobody forges anything here).
fn sum(bytes: &[u8]) -> String {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The keys that matter; what is empty is as good as absent.
fn config(value: &Value) -> BTreeMap<String, String> {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "/",
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let mut all = BTreeMap::new();
    for key in KEYS {
        let mut value = value[key].clone();
        if let Value::Object(members) = &mut value {
            members.remove("io.buildah.version");
            // In one order, whatever the engine's.
            let sorted: BTreeMap<String, Value> = std::mem::take(members).into_iter().collect();
            *members = sorted.into_iter().collect::<Map<_, _>>();
        }
        if !is_empty(&value) {
            all.insert(format!("config {key}"), value.to_string());
        }
    }
    all
}

/// What may differ: shape, and the beginning of a path or a key.
fn differences() -> Vec<(String, String)> {
    let text = fs::read_to_string(shapes().join("differences.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let mut fields = line.split('\t');
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    lines.filter_map(pair).collect()
}

/// What an image has: its files and its configuration.
type Outcome = BTreeMap<String, String>;

fn failed(complaint: String) -> Outcome {
    Outcome::from([("build".to_owned(), format!("failed: {complaint}"))])
}

/// The shapes, by name.
fn chosen() -> Vec<(String, PathBuf)> {
    let only = std::env::var("HULL_SHAPES_ONLY").unwrap_or_default();
    let entries = fs::read_dir(shapes()).unwrap();
    let files = entries.map(|entry| entry.unwrap().path());
    let dockerfiles = files.filter(|path| path.extension().is_some_and(|e| e == "Dockerfile"));
    let named = dockerfiles.map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, path)
    });
    let mut all: Vec<_> = named.collect();
    assert!(all.len() >= 40, "there are {} shapes", all.len());
    all.retain(|(name, _)| only.split(',').any(|part| name.contains(part)));
    all.sort();
    all
}

fn by_hull(daemon: &Daemon, shapes: &[(String, PathBuf)], context: &Path) -> Vec<Outcome> {
    let one = |(name, file): &(String, PathBuf)| {
        let to = daemon.path(&format!("shape-{name}"));
        let config = match hull(daemon, file, context, &to) {
            Ok(config) => config,
            Err(complaint) => return failed(complaint),
        };
        let mut all = entries(&to);
        fs::remove_dir_all(&to).unwrap();
        fs::remove_file(to.with_extension("tar")).unwrap();
        all.extend(self::config(&config));
        all
    };
    shapes.iter().map(one).collect()
}

fn by_buildah(podman: &Podman, shapes: &[(String, PathBuf)], context: &Path) -> Vec<Outcome> {
    let texts: Vec<String> = shapes
        .iter()
        .map(|(_, file)| fs::read_to_string(file).unwrap())
        .collect();
    for image in ["busybox", "debian"] {
        if !texts
            .iter()
            .any(|text| text.contains(&format!("FROM {image}")))
        {
            continue;
        }
        let mut load = podman.command();
        let loaded = good(load.args(["load", "-q", "-i"]).arg(places::image(image)));
        let id = loaded.split_whitespace().last().unwrap();
        let name = format!("docker.io/library/{image}:latest");
        good(podman.command().args(["tag", id, &name]));
    }
    let one = |text: &String| {
        let (files, config) = match podman.build(text, context) {
            Ok(built) => built,
            Err(complaint) => return failed(complaint),
        };
        let mut all = entries(&files);
        podman.forget();
        all.extend(self::config(&config));
        all
    };
    texts.iter().map(one).collect()
}

#[test]
fn hull_and_buildah_build_the_same() {
    let daemon = Daemon::start();
    daemon.load("busybox");
    daemon.load("debian");
    let podman = Podman {
        directory: TempDir::with_prefix("hull-buildah-").unwrap(),
        namespace: NetworkNamespace::new(),
    };
    let sources = daemon.path("shapes-context");
    fs::create_dir(&sources).unwrap();
    context(&sources);
    let shapes = chosen();
    // Side by side: it takes as long as the slower one.
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| by_buildah(&podman, &shapes, &sources));
        let ours = by_hull(&daemon, &shapes, &sources);
        (ours, theirs.join().unwrap())
    });
    let allowed = differences();
    let mut needless: BTreeSet<_> = allowed.iter().filter(|(shape, _)| shape != "*").collect();
    let mut complaints = Vec::new();
    for (((name, _), ours), theirs) in shapes.iter().zip(&ours).zip(&theirs) {
        if ours.contains_key("build") || theirs.contains_key("build") {
            let both = (ours.get("build"), theirs.get("build"));
            complaints.push(format!("{name}: hull, buildah: {both:?}"));
            continue;
        }
        let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        for key in all {
            let may = |(shape, begin): &&(String, String)| {
                (shape == "*" || shape == name)
                    && (key == begin || key.starts_with(&format!("{begin}/")))
            };
            let (our, their) = (ours.get(key), theirs.get(key));
            if our == their {
                continue;
            }
            match allowed.iter().find(may) {
                Some(known) => drop(needless.remove(known)),
                None => complaints.push(format!("{name}: {key}: hull {our:?}, buildah {their:?}")),
            }
        }
    }
    daemon.hull(&["rmi", "-f", "it"]);
    daemon.hull(&["builder", "prune", "-af"]);
    daemon.finish();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let played = |pair: &&&(String, String)| shapes.iter().any(|(name, _)| *name == pair.0);
    let needless: Vec<_> = needless.iter().filter(played).collect();
    assert!(
        needless.is_empty(),
        "these do not differ any more: {needless:?}"
    );
}
