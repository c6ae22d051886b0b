//! `RUN`: its key, the command run by the host, its changes kept.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::devices::Devices;
use super::{Solved, Solver, key};
use crate::dockerfile::RunMount as Mount;
use crate::error::{Error, Result};
use crate::host::RunRequest;
use crate::plan::{Origin, RunOp};
use crate::progress::{LogStream, Teller};

/// Of a failed command's output, the end is shown again.
const OUTPUT_BYTES_KEPT: usize = 4 << 10;

impl Solver<'_> {
    /// A `RUN`.
    pub(super) fn run(
        &self,
        at: usize,
        op: &RunOp,
        below: &Solved,
        solved: &[Option<Arc<Solved>>],
        teller: &mut Option<Teller>,
    ) -> Result<Solved> {
        let vertex = &self.plan.vertices[at];
        let mounts = self.mount_keys(op, solved)?;
        let how = format!(
            "{:?} {:?} {:?} {} {:?} {:?} {} {:?} {:?}",
            op.args,
            op.env,
            op.user,
            op.working_dir,
            self.network(op),
            self.request.run.extra_hosts,
            op.is_privileged,
            op.devices,
            op.script
        );
        let key = key("run", &vertex.platform, &[&below.outcome, &how, &mounts]);
        if !self.host.can_run(&vertex.platform) && !self.is_known(&key)? {
            let message = format!(
                "cannot run programs for {}: this host has no emulator registered for it (binfmt_misc); \
                 cross-compile in a stage with FROM --platform=$BUILDPLATFORM, or install qemu-user-static",
                vertex.platform
            );
            return Err(Error::invalid(message, None));
        }
        let devices = self.devices(at, op)?;
        self.step(at, key, below, teller, |solver, teller| {
            solver.execute((at, op), below, solved, devices, teller)
        })
    }

    fn is_known(&self, key: &str) -> Result<bool> {
        Ok(self.imports.has(key) || self.cache.has(key)?)
    }

    /// What the mounts bring in, as far as it matters to the cache.
    fn mount_keys(&self, op: &RunOp, solved: &[Option<Arc<Solved>>]) -> Result<String> {
        let mut text = String::new();
        for planned in &op.mounts {
            match &planned.mount {
                // What a cache holds, or who a secret is, is no part of the outcome.
                Mount::Cache { target, id, .. } => text.push_str(&format!("cache {target} {id}\n")),
                Mount::Secret {
                    id, target, env, ..
                } => {
                    text.push_str(&format!("secret {id} {target:?} {env:?}\n"));
                }
                other => text.push_str(&format!("{other:?}\n")),
            }
            if let (Mount::Bind { source, .. }, Some(origin)) = (&planned.mount, &planned.origin) {
                text.push_str(&self.content_key(origin, source, solved)?);
            }
        }
        Ok(text)
    }

    fn content_key(
        &self,
        origin: &Origin,
        source: &str,
        solved: &[Option<Arc<Solved>>],
    ) -> Result<String> {
        match origin {
            Origin::Vertex(vertex) => Ok(solved[*vertex]
                .as_ref()
                .expect("inputs are solved first")
                .outcome
                .clone()),
            Origin::Context(name) => {
                let local = self
                    .sources
                    .get(name, self.request, self.progress, &self.build)?;
                let files = super::files::TreeFiles(Arc::clone(&local.tree));
                let excludes = hull_context::Ignore::default();
                let selection = super::select::Selection {
                    files: &files,
                    // The command sees all that is here, whatever a COPY would leave out.
                    ignore: None,
                    excludes: &excludes,
                    parents: false,
                    origin: "the build context",
                };
                let selected = selection.select(source)?;
                selection.digest(&selected)
            }
            Origin::Inline(_) | Origin::Urls(_) => Ok(String::new()),
        }
    }

    fn execute(
        &self,
        (at, op): (usize, &RunOp),
        below: &Solved,
        solved: &[Option<Arc<Solved>>],
        devices: Devices,
        teller: &Option<Teller>,
    ) -> Result<Option<u64>> {
        for wish in &devices.missing {
            if let Some(teller) = teller {
                let text = format!("device {wish} is not registered: the step is run without it\n");
                teller.log(LogStream::Stderr, text.as_bytes());
            }
        }
        let run_dir = self.run_dir.join(at.to_string());
        fs::DirBuilder::new()
            .recursive(true)
            .create(&run_dir)
            .map_err(|error| Error::host(format!("make {}", run_dir.display()), error))?;
        let _clean = RemoveDir(run_dir.clone());
        let ready = self.ready(op, below, solved, (&run_dir, &devices.places))?;
        let new = self.store.begin_layer(&below.layers)?;
        let snapshot = new.snapshot();
        let mut lower = below.layers.clone();
        lower.extend(self.places(&ready, &run_dir)?);
        let mut env = op.env.clone();
        env.extend(op.silent_env.iter().cloned());
        env.extend(ready.env.iter().cloned());
        let has_path = env.iter().any(|entry| entry.starts_with("PATH="));
        if !has_path {
            env.push(
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            );
        }
        let request = RunRequest {
            lower,
            upper: snapshot.upper.clone(),
            work: snapshot.work.clone(),
            args: op.args.clone(),
            env,
            user: op.user.clone(),
            working_dir: op.working_dir.clone(),
            network: self.network(op),
            is_privileged: op.is_privileged,
            devices: devices.names,
            mounts: ready.mounts.clone(),
            defaults: self.request.run.clone(),
        };
        self.command(at, op, &request, teller)?;
        drop(ready);
        self.keep(new)
    }

    fn network(&self, op: &RunOp) -> String {
        let default = &self.request.run.network;
        match (op.network.as_str(), default.as_str()) {
            ("", "") => "default".to_owned(),
            ("", default) => default.to_owned(),
            (own, _) => own.to_owned(),
        }
    }

    fn command(
        &self,
        at: usize,
        op: &RunOp,
        request: &RunRequest,
        teller: &Option<Teller>,
    ) -> Result<()> {
        let vertex = &self.plan.vertices[at];
        let mut tail: Vec<u8> = Vec::new();
        let mut output = |stream: LogStream, data: &[u8]| {
            if let Some(teller) = teller {
                teller.log(stream, data);
            }
            tail.extend_from_slice(data);
            if tail.len() > 2 * OUTPUT_BYTES_KEPT {
                tail.drain(..tail.len() - OUTPUT_BYTES_KEPT);
            }
        };
        let outcome = self.host.run(request, &mut output, self.cancel);
        self.cancel.check()?;
        let failed = |message: String, exit_code| Error::Step {
            message,
            place: vertex.place.clone().map(Box::new),
            vertex: vertex.name.clone(),
            exit_code,
            output: String::from_utf8_lossy(&tail).into_owned(),
        };
        let words = op.args.join(" ");
        match outcome {
            Err(error) => Err(failed(
                format!("process {words:?} could not be started: {error}"),
                None,
            )),
            Ok(finished) if finished.code == 0 => Ok(()),
            Ok(finished) => {
                let hint = if finished.out_of_memory {
                    " (out of memory)"
                } else {
                    ""
                };
                let message = format!(
                    "process {words:?} did not complete successfully: exit code: {}{hint}",
                    finished.code
                );
                Err(failed(message, Some(finished.code)))
            }
        }
    }
}

struct RemoveDir(PathBuf);

impl Drop for RemoveDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove");
        }
    }
}
