//! `RUN`: its key, the command run by the host, its changes kept.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::advice::Failure;
use super::devices::Devices;
use super::files::{Files, RootFiles, TreeFiles};
use super::select::Selection;
use super::{Solved, Solver, key};
use crate::dockerfile::RunMount as Mount;
use crate::error::{Error, Result};
use crate::host::RunRequest;
use crate::plan::{Op, Origin, RunOp};
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
        let step_key = |kind, mounts: &str| {
            let parts = [below.outcome.as_str(), &how, mounts];
            key(kind, &vertex.platform, &parts)
        };
        let defined = self.mount_keys(op, &|origin, _| definition(origin, solved))?;
        let definition = defined.map(|mounts| step_key("run definition", &mounts));
        let known = match &definition {
            Some(definition) => self.alias(definition)?,
            None => None,
        };
        let key = match known {
            // What the mounts hold need not be read again.
            Some(known) if self.is_known(&known)? => known,
            _ => {
                let content = |origin: &Origin, source: &str| {
                    self.content_key(origin, source, solved).map(Some)
                };
                let mounts = self.mount_keys(op, &content)?.unwrap_or_default();
                step_key("run", &mounts)
            }
        };
        if !self.host.can_run(&vertex.platform) && !self.is_known(&key)? {
            let message = format!(
                "cannot run programs for {}: this host has no emulator registered for it (binfmt_misc); \
                 cross-compile in a stage with FROM --platform=$BUILDPLATFORM, or install qemu-user-static",
                vertex.platform
            );
            return Err(Error::invalid(message, None));
        }
        let devices = self.devices(at, op)?;
        let result = self.step(at, key.clone(), below, teller, |solver, teller| {
            solver.execute((at, op), below, solved, devices, teller)
        })?;
        if let Some(definition) = definition {
            self.cache.add_alias(&definition, &key)?;
        }
        Ok(result)
    }

    fn is_known(&self, key: &str) -> Result<bool> {
        Ok(self.imports.has(key) || self.cache.has(key)?)
    }

    /// What the mounts bring in, as far as it matters to the cache; `None`: `content` does not know it of
    /// one of them.
    fn mount_keys(&self, op: &RunOp, content: &ContentOf<'_>) -> Result<Option<String>> {
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
                let Some(content) = content(origin, source)? else {
                    return Ok(None);
                };
                text.push_str(&content);
            }
        }
        Ok(Some(text))
    }

    fn content_key(
        &self,
        origin: &Origin,
        source: &str,
        solved: &[Option<Arc<Solved>>],
    ) -> Result<String> {
        match origin {
            Origin::Vertex(vertex) => {
                let from = solved[*vertex].as_ref().expect("inputs are solved first");
                if let Op::Image(_) | Op::Scratch = self.plan.vertices[*vertex].op {
                    // It is known by its content already.
                    return Ok(from.outcome.clone());
                }
                // A stage that was done again may hold what it held.
                let files = RootFiles(self.root_of(from)?);
                self.digest_of_bind(&files, source, &self.plan.vertices[*vertex].name)
            }
            Origin::Context(name) => {
                let local = self
                    .sources
                    .get(name, self.request, self.progress, &self.build)?;
                let files = TreeFiles(Arc::clone(&local.tree));
                self.digest_of_bind(&files, source, "the build context")
            }
            Origin::Inline(_) | Origin::Urls(_) => Ok(String::new()),
        }
    }

    fn digest_of_bind(&self, files: &dyn Files, source: &str, origin: &str) -> Result<String> {
        let selection = Selection {
            files,
            // The command sees all that is here, whatever a COPY would leave out.
            ignore: None,
            excludes: &hull_context::Ignore::default(),
            parents: false,
            origin,
        };
        selection.digest(&[selection.exactly(source)?])
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
        let output = String::from_utf8_lossy(&tail).into_owned();
        let failure = Failure {
            op,
            network: &request.network,
            memory: request.defaults.memory,
            output: &output,
        };
        let failed = |message: String, exit_code, advice: Option<String>| {
            let is_whole = output.is_empty() || output.ends_with('\n');
            let gap = if is_whole { "" } else { "\n" };
            let advice = advice.map(|advice| format!("{gap}hint: {advice}\n"));
            let advice = advice.unwrap_or_default();
            if let Some(teller) = teller.as_ref().filter(|_| !advice.is_empty()) {
                // All clients show what a step said, and know of no other place for it.
                teller.log(LogStream::Stderr, advice.as_bytes());
            }
            Error::Step {
                message,
                place: vertex.place.clone().map(Box::new),
                vertex: vertex.name.clone(),
                exit_code,
                output: format!("{output}{advice}"),
            }
        };
        let words = op.args.join(" ");
        match outcome {
            Err(error) => Err(failed(
                format!("process {words:?} could not be started: {error}"),
                None,
                failure.advice_for_start(&error.to_string()),
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
                let advice = failure.advice(&finished);
                Err(failed(message, Some(finished.code), advice))
            }
        }
    }
}

/// Says what the content of a mount is known by, if anything.
type ContentOf<'a> = dyn Fn(&Origin, &str) -> Result<Option<String>> + 'a;

/// What a stage's files are known by without a look at them.
fn definition(origin: &Origin, solved: &[Option<Arc<Solved>>]) -> Result<Option<String>> {
    let Origin::Vertex(vertex) = origin else {
        return Ok(None);
    };
    let from = solved[*vertex].as_ref().expect("inputs are solved first");
    Ok(Some(from.outcome.clone()))
}

struct RemoveDir(PathBuf);

impl Drop for RemoveDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove");
        }
    }
}
