//! What a `RUN` gets mounted: binds, caches, memory, secrets and sockets, made ready.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hull_image::store::NewLayer;
use hull_sys::mount::attr;

use super::agent::{Socket, socket};
use super::files::{RootFiles, resolve};
use super::{Solved, Solver};
use crate::cache::CacheMount;
use crate::dockerfile::{RunMount as Mount, Sharing};
use crate::error::{Error, Result};
use crate::host::RunMount;
use crate::plan::{Origin, PlannedMount, RunOp};

/// What the kernel calls a file system in memory.
const TMPFS_MAGIC: i64 = 0x0102_1994;
/// Where an ssh agent's socket is, unless the mount says it.
const SSH_DIR: &str = "/run/buildkit";

/// What a command gets mounted, ready.
#[derive(Default)]
pub(super) struct Ready {
    pub(super) mounts: Vec<RunMount>,
    pub(super) env: Vec<String>,
    /// Files and directories that must be there to be mounted over, in the lowest layer.
    places: Vec<(PathBuf, bool)>,
    /// Caches that are this step's alone, by id.
    locked: BTreeMap<String, PathBuf>,
    /// Held as long as the command runs.
    held: Vec<Held>,
}

#[expect(dead_code, reason = "held for what dropping them does")]
enum Held {
    Cache(CacheMount),
    Tree(Arc<crate::tree::Tree>),
    Mounted(Mounted),
    Layer(NewLayer),
    Socket(Socket),
}

/// A mount in the daemon's own namespace, for as long as a command needs its path.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = hull_sys::mount::detach(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "cannot unmount");
        }
    }
}

impl Solver<'_> {
    /// Makes all that a step gets mounted ready, below `run_dir`, and places for what its devices mount.
    pub(super) fn ready(
        &self,
        op: &RunOp,
        below: &Solved,
        solved: &[Option<Arc<Solved>>],
        (run_dir, others): (&Path, &[(String, bool)]),
    ) -> Result<Ready> {
        let mut ready = Ready::default();
        let secrets = run_dir.join("secrets");
        if op.mounts.iter().any(|planned| is_secret(&planned.mount)) {
            ready.held.extend(in_memory(&secrets)?.map(Held::Mounted));
        }
        self.lock_caches(op, solved, &mut ready)?;
        for (number, planned) in op.mounts.iter().enumerate() {
            let parent = if is_secret(&planned.mount) {
                &secrets
            } else {
                run_dir
            };
            let dir = parent.join(format!("mount-{number}"));
            self.ready_one(planned, solved, &dir, &mut ready)?;
        }
        if let Some((path, text)) = &op.script {
            let file = run_dir.join("script");
            write_private(&file, text.as_bytes(), 0o755, (0, 0))?;
            ready.bind(file, path, true);
        }
        let root = RootFiles(self.root_of(below)?);
        let own = ready.mounts.iter().map(|mount| match mount {
            RunMount::Bind { source, target, .. } => (target, source.is_dir()),
            RunMount::Tmpfs { target, .. } => (target, true),
        });
        let others = others
            .iter()
            .map(|(target, is_directory)| (target, *is_directory));
        for (target, is_directory) in own.chain(others) {
            let real = resolve(&root, Path::new(target))
                .map_err(|error| Error::host(format!("look at the mount point {target}"), error))?;
            // `/dev` is a file system of its own, where the runtime makes what is missing.
            if !real.starts_with("dev") && !real.starts_with("proc") && !real.starts_with("sys") {
                ready.places.push((real, is_directory));
            }
        }
        Ok(ready)
    }

    /// A layer, below all others, of places to be mounted over: so that they never appear among
    /// what the command changed.
    pub(super) fn places(&self, ready: &Ready, run_dir: &Path) -> Result<Option<PathBuf>> {
        if ready.places.is_empty() {
            return Ok(None);
        }
        let base = run_dir.join("places");
        let make = || -> std::io::Result<()> {
            for (place, is_directory) in &ready.places {
                let path = base.join(place);
                if *is_directory {
                    fs::create_dir_all(&path)?;
                } else {
                    fs::create_dir_all(path.parent().unwrap_or(&base))?;
                    fs::OpenOptions::new()
                        .create(true)
                        .append(true)
                        .open(&path)?;
                }
            }
            fs::create_dir_all(&base)?;
            fs::set_permissions(&base, fs::Permissions::from_mode(0o755))
        };
        make().map_err(|error| Error::host("make places to mount at", error))?;
        Ok(Some(base))
    }

    fn ready_one(
        &self,
        planned: &PlannedMount,
        solved: &[Option<Arc<Solved>>],
        dir: &Path,
        ready: &mut Ready,
    ) -> Result<()> {
        match &planned.mount {
            Mount::Bind {
                target,
                source,
                writable,
                ..
            } => {
                let origin = planned.origin.as_ref().expect("binds have an origin");
                let path = self.bind_source(origin, source, solved, dir, *writable, ready)?;
                ready.bind(path, target, !*writable);
            }
            Mount::Cache {
                target, read_only, ..
            } => {
                let path = self.cache_dir(planned, solved, ready)?;
                ready.bind(path, target, *read_only);
            }
            Mount::Tmpfs { target, size } => ready.mounts.push(RunMount::Tmpfs {
                target: target.clone(),
                size: *size,
            }),
            Mount::Secret {
                id,
                target,
                env,
                required,
                mode,
                uid,
                gid,
            } => {
                let secret = self.request.secrets.secret(id);
                let secret =
                    secret.map_err(|error| Error::host(format!("get the secret {id}"), error))?;
                let Some(secret) = secret else {
                    return missing(*required, &format!("secret {id}: not found"));
                };
                if let Some(name) = env {
                    ready
                        .env
                        .push(format!("{name}={}", String::from_utf8_lossy(&secret)));
                }
                if let Some(target) = target {
                    write_private(dir, &secret, *mode, (*uid, *gid))?;
                    ready.bind(dir.to_owned(), target, true);
                }
            }
            Mount::Ssh {
                id,
                target,
                required,
                mode,
                uid,
                gid,
            } => {
                if !self.request.ssh.has(id) {
                    let message = format!("unset ssh forward key {id}: give it with --ssh {id}");
                    return missing(*required, &message);
                }
                let number = ready.held.len();
                let default = format!("{SSH_DIR}/ssh_agent.{number}");
                let target = target.as_ref().unwrap_or(&default);
                let socket = socket(&self.request.ssh, id, dir, *mode, (*uid, *gid))?;
                ready.held.push(Held::Socket(socket));
                ready.env.push(format!("SSH_AUTH_SOCK={target}"));
                ready.bind(dir.to_owned(), target, false);
            }
        }
        Ok(())
    }

    /// The path of a bind's content on the host.
    fn bind_source(
        &self,
        origin: &Origin,
        source: &str,
        solved: &[Option<Arc<Solved>>],
        dir: &Path,
        writable: bool,
        ready: &mut Ready,
    ) -> Result<PathBuf> {
        let failed = |error: std::io::Error| Error::host(format!("mount {source}"), error);
        let layers = match origin {
            Origin::Context(name) => {
                let local = self
                    .sources
                    .get(name, self.request, self.progress, &self.build)?;
                let path = local.tree.path();
                ready.held.push(Held::Tree(local.tree));
                vec![path]
            }
            Origin::Vertex(vertex) => {
                let solved = solved[*vertex].as_ref().expect("inputs are solved first");
                solved.layers.clone()
            }
            Origin::Inline(_) | Origin::Urls(_) => Vec::new(),
        };
        let base = match (&layers[..], writable) {
            ([sole], false) => sole.clone(),
            _ => {
                let at = dir.with_extension("root");
                let layer = self.mount_at(&layers, writable, &at)?;
                ready.held.push(Held::Mounted(Mounted(at.clone())));
                ready.held.extend(layer.map(Held::Layer));
                at
            }
        };
        let root = hull_sys::beneath::Root::new(&base).map_err(failed)?;
        let real = resolve(&RootFiles(root), Path::new(source)).map_err(failed)?;
        let path = base.join(real);
        if fs::symlink_metadata(&path).is_err() {
            return Err(Error::invalid(
                format!("failed to mount {source:?}: not found"),
                None,
            ));
        }
        Ok(path)
    }

    /// Mounts layers for a command in the daemon's own namespace. What is written goes away with the layer
    /// returned, which is never kept.
    fn mount_at(&self, layers: &[PathBuf], writable: bool, at: &Path) -> Result<Option<NewLayer>> {
        let failed =
            |error: std::io::Error| Error::host(format!("mount at {}", at.display()), error);
        fs::create_dir_all(at).map_err(failed)?;
        let owners = self.host.owners();
        let owners = owners.as_ref().map(AsFd::as_fd);
        let (root, layer) = if writable || layers.is_empty() {
            let new = self.store.begin_layer(layers)?;
            (self.overlay.mount_as(new.snapshot(), owners)?, Some(new))
        } else {
            (self.overlay.mount_layers_as(layers, owners)?, None)
        };
        let target = hull_sys::beneath::Root::new(at).map_err(failed)?;
        hull_sys::mount::attach(root.as_fd(), target.as_fd()).map_err(failed)?;
        Ok(layer)
    }

    /// Takes the caches that a step wants for itself, in an order that is the same for all steps: none
    /// waits for one that waits for it.
    fn lock_caches(
        &self,
        op: &RunOp,
        solved: &[Option<Arc<Solved>>],
        ready: &mut Ready,
    ) -> Result<()> {
        let mut locked = BTreeMap::new();
        for planned in &op.mounts {
            if let Mount::Cache {
                id,
                sharing: Sharing::Locked,
                ..
            } = &planned.mount
            {
                locked.entry(id.as_str()).or_insert(planned);
            }
        }
        for (id, planned) in locked {
            let path = self.take_cache(planned, solved, ready)?;
            ready.locked.insert(id.to_owned(), path);
        }
        Ok(())
    }

    fn cache_dir(
        &self,
        planned: &PlannedMount,
        solved: &[Option<Arc<Solved>>],
        ready: &mut Ready,
    ) -> Result<PathBuf> {
        match &planned.mount {
            Mount::Cache {
                id,
                sharing: Sharing::Locked,
                ..
            } if ready.locked.contains_key(id) => Ok(ready.locked[id].clone()),
            _ => self.take_cache(planned, solved, ready),
        }
    }

    fn take_cache(
        &self,
        planned: &PlannedMount,
        solved: &[Option<Arc<Solved>>],
        ready: &mut Ready,
    ) -> Result<PathBuf> {
        let Mount::Cache {
            id,
            sharing,
            source,
            mode,
            uid,
            gid,
            ..
        } = &planned.mount
        else {
            unreachable!("called for caches only");
        };
        let mut cache = self.cache.mounts().take(id, *sharing, self.cancel)?;
        let path = cache.path.clone();
        if cache.is_new {
            let failed = |error| Error::host(format!("make the cache {id}"), error);
            let look = || -> std::io::Result<()> {
                std::os::unix::fs::chown(&path, Some(*uid), Some(*gid))?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
            };
            look().map_err(failed)?;
            let source = format!("{}/.", source.trim_end_matches('/'));
            match &planned.origin {
                Some(Origin::Vertex(vertex)) => {
                    let solved = solved[*vertex].as_ref().expect("inputs are solved first");
                    copy_tree(&self.root_of(solved)?, &source, &path)?;
                }
                Some(Origin::Context(name)) => {
                    let local = self
                        .sources
                        .get(name, self.request, self.progress, &self.build)?;
                    copy_tree(local.tree.root(), &source, &path)?;
                }
                Some(Origin::Inline(_) | Origin::Urls(_)) | None => {}
            }
            cache.filled().map_err(failed)?;
        }
        ready.held.push(Held::Cache(cache));
        Ok(path)
    }
}

impl Ready {
    fn bind(&mut self, source: PathBuf, target: &str, read_only: bool) {
        self.mounts.push(RunMount::Bind {
            source,
            target: target.to_owned(),
            read_only,
        });
    }
}

fn is_secret(mount: &Mount) -> bool {
    matches!(mount, Mount::Secret { .. })
}

/// Makes a directory whose files never reach a disk. Where the passing files of daemons are in
/// memory, as they are below `/run`, that is any directory; elsewhere a file system is mounted.
fn in_memory(path: &Path) -> Result<Option<Mounted>> {
    let make = || -> std::io::Result<Option<Mounted>> {
        fs::DirBuilder::new().mode(0o700).create(path)?;
        if rustix::fs::statfs(path)?.f_type == TMPFS_MAGIC {
            return Ok(None);
        }
        let memory = hull_sys::mount::FileSystem::new("tmpfs")?;
        memory.set_option("mode=0700")?;
        let memory = memory.mount(attr::NOSUID | attr::NODEV)?;
        let target = hull_sys::beneath::Root::new(path)?;
        hull_sys::mount::attach(memory.as_fd(), target.as_fd())?;
        Ok(Some(Mounted(path.to_owned())))
    };
    make().map_err(|error| Error::host("make a place for secrets", error))
}

fn missing(required: bool, message: &str) -> Result<()> {
    if required {
        return Err(Error::invalid(message, None));
    }
    Ok(())
}

fn copy_tree(root: &hull_sys::beneath::Root, source: &str, to: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::host("fill a new cache", error);
    let (reader, writer) = std::io::pipe().map_err(|error| failed(&error))?;
    let target = hull_sys::beneath::Root::new(to).map_err(|error| failed(&error))?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || hull_image::archive::pack(root, source, writer));
        let options = hull_image::archive::UnpackOptions::default();
        let unpacked = hull_image::archive::unpack(&target, "/", reader, options);
        let packed = packing
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        packed.and(unpacked).map_err(|error| failed(&error))
    })
}

/// A file that only its owner sees.
fn write_private(path: &Path, content: &[u8], mode: u32, owner: (u32, u32)) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(content)?;
        std::os::unix::fs::fchown(&file, Some(owner.0), Some(owner.1))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().map_err(|error| Error::host(format!("write {}", path.display()), error))
}
