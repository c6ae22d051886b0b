//! Paths that a container changes while the daemon uses them: a directory becomes a link to the host's and back, all the time.

use std::fs;
use std::path::PathBuf;

use hull_testkit::{Scene, eventually};

use crate::play;

/// How often each race is run: a hole that is open shows within a few.
const ROUNDS: usize = 25;

/// A directory of the host that no container may see or change.
struct Secret(PathBuf);

impl Secret {
    fn new(scene: &Scene) -> Self {
        let path = scene.daemon.path("secret");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "the host's").unwrap();
        Self(path)
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["file"]);
        assert_eq!(
            fs::read_to_string(self.0.join("file")).unwrap(),
            "the host's"
        );
    }
}

/// In the volume `vv`, `/a` is now a directory with a file, now a link to the secret.
fn race(scene: &Scene) -> Secret {
    let secret = Secret::new(scene);
    let flip = format!(
        "mkdir -p /v/a; echo inside > /v/a/file; touch /v/ready; ln -s {} /v/l; while :; do mv /v/a /v/d; mv /v/l /v/a; mv /v/a /v/l; mv /v/d /v/a; done",
        secret.0.display()
    );
    scene.ok(&format!(
        "run -d --name racer -v vv:/v busybox sh -c '{flip}'"
    ));
    eventually("the race is on", || {
        scene
            .daemon
            .path("data/volumes/vv/_data/ready")
            .exists()
            .then_some(())
    });
    secret
}

#[test]
fn a_part_of_a_volume_never_leads_to_the_host() {
    play(|scene| {
        let secret = race(scene);
        for _ in 0..ROUNDS {
            let output = scene.run("run --rm --mount src=vv,dst=/p,volume-subpath=a busybox sh -c 'cat /p/file; touch /p/new; rm -f /p/new'");
            assert!(!output.stdout.contains("the host's"), "{output:?}");
        }
        secret.assert_untouched();
        scene.ok("rm -f racer");
    });
}

#[test]
fn a_mount_below_a_volume_is_never_made_on_the_host() {
    play(|scene| {
        let secret = race(scene);
        for round in 0..ROUNDS {
            scene.run(&format!(
                "run --rm -v vv:/v -v other:/v/a/{round} busybox true"
            ));
            scene.run(&format!(
                "run --rm -v vv:/v --tmpfs /v/a/t{round} busybox true"
            ));
        }
        secret.assert_untouched();
        scene.ok("rm -f racer");
    });
}

#[test]
fn copies_never_leave_the_container() {
    play(|scene| {
        let secret = race(scene);
        let new = scene.daemon.path("new");
        fs::write(&new, "new").unwrap();
        let stopped = "create --name stopped -v vv:/v busybox true";
        scene.ok(stopped);
        for round in 0..ROUNDS / 3 {
            for container in ["racer", "stopped"] {
                let output = scene.run(&format!("cp {container}:/v/a/file -"));
                assert!(!output.stdout.contains("the host's"), "{output:?}");
                scene.run(&format!("cp {} {container}:/v/a/n{round}", new.display()));
                // Where a copy goes is the caller's business: it never goes through an earlier one.
                let got = scene.daemon.path(&format!("got-{container}-{round}"));
                scene.run(&format!("cp -L {container}:/v/a {}", got.display()));
                let is_link = fs::symlink_metadata(&got).is_ok_and(|found| found.is_symlink());
                let copied = fs::read_to_string(got.join("file")).unwrap_or_default();
                assert!(is_link || !copied.contains("the host's"));
            }
            let output = scene.daemon.hull(&["volume", "export", "vv"]);
            assert!(!output.stdout.contains("the host's"));
            let output = scene.daemon.hull(&["volume", "cp", "vv:/a/file", "-"]);
            assert!(!output.stdout.contains("the host's"));
            scene.daemon.hull(&[
                "volume",
                "cp",
                &new.display().to_string(),
                &format!("vv:/a/m{round}"),
            ]);
        }
        secret.assert_untouched();
        scene.ok("rm -f racer stopped");
    });
}

#[test]
fn a_volume_is_filled_inside_itself() {
    play(|scene| {
        // The image has links that lead out, in the place a volume is filled from.
        let secret = Secret::new(scene);
        scene.ok(&format!("run --name maker busybox sh -c 'ln -s {} /out; mkdir /in; ln -s {} /in/link; ln -s ../../../.. /in/up'", secret.0.display(), secret.0.display()));
        scene.ok("commit maker links:1");
        assert_eq!(scene.ok("run --rm -v one:/in links:1 ls /in"), "link\nup");
        scene.run("run --rm -v two:/out links:1 sh -c 'ls -R /out; touch /out/x'");
        secret.assert_untouched();
        scene.ok("rm maker");
    });
}
