//! Where the programs under test, the images and the foreign clients are.
//!
//! `./dev test` prepares all of them and names them in `HULL_PROGRAMS`, `HULL_TEST_DOCKER` and `HULL_TEST_PYTHON`. Without
//! those variables the places that `./dev build --debug` and `./dev images` fill are taken.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .ancestors()
        .nth(2)
        .expect("crates/testkit lies two levels below the root")
        .to_path_buf()
}

/// A program of ours: `hulld`, `hull`, `hull-shim`, `hull-runtime` or `hull-probe`.
pub fn program(name: &str) -> PathBuf {
    let directory = env::var_os("HULL_PROGRAMS").map_or_else(
        || {
            env::var_os("CARGO_TARGET_DIR")
                .map_or_else(|| repository().join("target"), PathBuf::from)
                .join("hull-debug")
        },
        PathBuf::from,
    );
    existing(directory.join(name), "./dev build --debug")
}

/// An image as a docker-archive: `busybox` or `debian`.
pub fn image(name: &str) -> PathBuf {
    existing(
        repository().join(format!(".dev/images/{name}.tar")),
        "./dev images",
    )
}

/// A static busybox for use on the host, so that no test depends on which small tools are installed.
pub fn busybox() -> PathBuf {
    let root = repository().join(".dev/busybox");
    let found = ["bin/busybox", "usr/bin/busybox"]
        .into_iter()
        .map(|path| root.join(path));
    found
        .into_iter()
        .find(|path| path.exists())
        .expect("busybox is there: run ./dev images first")
}

/// The unchanged `docker` command.
pub fn docker() -> PathBuf {
    env::var_os("HULL_TEST_DOCKER").map_or_else(|| PathBuf::from("docker"), PathBuf::from)
}

/// A server for ssh, unpacked and not installed: a machine's own is left alone.
pub fn sshd() -> PathBuf {
    existing(
        repository().join(".dev/openssh/usr/sbin/sshd"),
        "./dev test",
    )
}

/// What the machine may lack of its libraries.
pub fn sshd_libraries() -> PathBuf {
    let all = repository().join(".dev/openssh-libraries/usr/lib");
    let mut found = std::fs::read_dir(&all).into_iter().flatten().flatten();
    found.next().map_or(all, |triple| triple.path())
}

/// Docker's builder client, a plugin of `docker`: `stable` or `recent`.
pub fn buildx(name: &str) -> PathBuf {
    let package = repository().join(format!(".dev/buildx-{name}"));
    existing(
        package.join("usr/libexec/docker/cli-plugins/docker-buildx"),
        "./dev test",
    )
}

/// Debian's docker-registry: the program that others call `registry`.
pub fn docker_registry() -> PathBuf {
    existing(
        repository().join(".dev/docker-registry/usr/bin/docker-registry"),
        "./dev test",
    )
}

/// The unchanged Compose of Docker's, as a program of its own.
pub fn compose() -> PathBuf {
    env::var_os("HULL_TEST_COMPOSE").map_or_else(
        || {
            existing(
                repository().join(".dev/compose/docker-compose"),
                "./dev test",
            )
        },
        PathBuf::from,
    )
}

/// The Compose of Debian's stable suite, a year older.
pub fn older_compose() -> PathBuf {
    env::var_os("HULL_TEST_COMPOSE_OLDER").map_or_else(
        || {
            let package = repository().join(".dev/compose-stable");
            existing(
                package.join("usr/libexec/docker/cli-plugins/docker-compose"),
                "./dev test",
            )
        },
        PathBuf::from,
    )
}

/// The Compose of before, in Python.
pub fn python_compose() -> PathBuf {
    env::var_os("HULL_TEST_COMPOSE_PYTHON").map_or_else(
        || {
            let package = repository().join(".dev/compose-python");
            existing(package.join("bin/docker-compose"), "./dev test")
        },
        PathBuf::from,
    )
}

/// A Python that can import `docker`.
pub fn python() -> PathBuf {
    env::var_os("HULL_TEST_PYTHON")
        .map_or_else(|| repository().join(".dev/venv/bin/python"), PathBuf::from)
}

fn existing(path: PathBuf, maker: &str) -> PathBuf {
    assert!(
        path.exists(),
        "{} is missing: run {maker} first",
        path.display()
    );
    path
}
