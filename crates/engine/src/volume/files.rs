//! A volume's files as a whole: copied to another volume, exported, imported, copied in and out.
//!
//! What becomes a volume is put together aside, below `volumes/.new-…`, and shows when it is whole.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, BufWriter, Read, Write as _},
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hull_image::archive::{self, PackOptions, PathStat, UnpackOptions};
use hull_sys::beneath::Root;

use super::{CreateVolume, LOCAL, Volume, check_name, say};
use crate::{
    Engine,
    container::{
        files::{Outgoing, PutOptions, carried, write_out},
        view::View,
    },
    error::{Attempt, Error, Result},
    model::ContainerId,
    services::Services,
    state::State,
    time::now_ns,
    undo::Undo,
};

/// An archive of a volume loses nothing that a tar can hold.
pub(super) const EXACT: PackOptions = PackOptions {
    sparse: true,
    nanoseconds: true,
    owners: None,
};

/// How a volume is copied to a new one.
#[derive(Debug, Clone, Default)]
pub struct CloneOptions {
    /// Freeze the containers that use it meanwhile, so that the copy is of one moment.
    pub pause: bool,
    /// Labels besides the original's.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Copies a volume to a new one. Content is shared where the file system can.
    pub async fn volume_clone(
        &self,
        name: &str,
        new: &str,
        options: CloneOptions,
    ) -> Result<Arc<Volume>> {
        let volume = self.volume(name)?;
        let frozen = match options.pause {
            true => self.freeze_users(&volume).await?,
            false => Vec::new(),
        };
        let (services, new) = (Arc::clone(self.services()), new.to_owned());
        let job = move || {
            let order = CreateVolume {
                name: new,
                labels: volume
                    .labels
                    .clone()
                    .into_iter()
                    .filter(|(key, _)| key != super::ANONYMOUS)
                    .chain(options.labels)
                    .collect(),
                // A limit holds for the copy, too; where the original is mounted from does not.
                options: volume
                    .options
                    .clone()
                    .into_iter()
                    .filter(|(key, _)| key == super::options::SIZE)
                    .collect(),
                ..CreateVolume::default()
            };
            let from = view(&services, &volume)?;
            make(&services, order, |data| {
                let to = Root::new(data).attempt(|| format!("open {}", data.display()))?;
                hull_image::copy::copy_tree(&from, Path::new(""), &to)?;
                Ok(())
            })
        };
        let outcome = self.services().block(job).await;
        self.thaw(frozen).await;
        outcome?
    }

    /// Freezes what uses a volume; whoever could not be frozen must not spoil the copy.
    async fn freeze_users(&self, volume: &Volume) -> Result<Vec<ContainerId>> {
        let mut frozen = Vec::new();
        for id in self.volume_users(volume) {
            let running = self
                .find(id.as_str())
                .is_ok_and(|handle| matches!(handle.record().state, State::Running(_)));
            if !running {
                continue;
            }
            if let Err(error) = self.freeze(&id).await {
                self.thaw(frozen).await;
                return Err(error);
            }
            frozen.push(id);
        }
        Ok(frozen)
    }

    async fn thaw(&self, frozen: Vec<ContainerId>) {
        for id in frozen {
            self.thaw_again(&id).await;
        }
    }

    /// A volume's content as a tar archive that loses nothing a tar can hold.
    pub async fn volume_export(&self, name: &str) -> Result<Outgoing> {
        let volume = self.volume(name)?;
        let services = Arc::clone(self.services());
        let view = self
            .services()
            .block(move || view(&services, &volume))
            .await??;
        write_out(move |pipe| {
            let mut pipe = BufWriter::with_capacity(256 << 10, pipe);
            archive::pack_with(&view, "/.", &mut pipe, EXACT)?;
            pipe.flush().attempt(|| "write the archive".to_owned())
        })
    }

    /// Unpacks a tar archive, compressed or not, read from `pipe`, into a volume: a new one, an empty
    /// one, or with `overwrite` any.
    pub async fn volume_import(
        &self,
        name: &str,
        overwrite: bool,
        pipe: OwnedFd,
    ) -> Result<Arc<Volume>> {
        let (services, name) = (Arc::clone(self.services()), name.to_owned());
        carried(move || {
            let reader = BufReader::with_capacity(256 << 10, File::from(pipe));
            let order = CreateVolume {
                name,
                ..CreateVolume::default()
            };
            import(&services, order, overwrite, reader)
        })
        .await
    }

    /// What a path of a volume is.
    pub async fn volume_stat(&self, name: &str, path: &str) -> Result<PathStat> {
        let (services, volume) = (Arc::clone(self.services()), self.volume(name)?);
        let path = path.to_owned();
        self.services()
            .block(move || {
                let view = view(&services, &volume)?;
                archive::stat(&view, &path).map_err(|error| no_path(error, &volume, &path))
            })
            .await?
    }

    /// A path of a volume as a tar archive.
    pub async fn volume_get(&self, name: &str, path: &str) -> Result<(PathStat, Outgoing)> {
        let (services, volume) = (Arc::clone(self.services()), self.volume(name)?);
        let path = path.to_owned();
        let (view, stat, path) = self
            .services()
            .block(move || -> Result<_> {
                let view = view(&services, &volume)?;
                let stat =
                    archive::stat(&view, &path).map_err(|error| no_path(error, &volume, &path))?;
                Ok((view, stat, path))
            })
            .await??;
        let outgoing = write_out(move |pipe| {
            let mut pipe = BufWriter::with_capacity(256 << 10, pipe);
            archive::pack(&view, &path, &mut pipe)?;
            pipe.flush().attempt(|| "write the archive".to_owned())
        })?;
        Ok((stat, outgoing))
    }

    /// Unpacks a tar archive, read from `pipe`, into a directory of a volume.
    pub async fn volume_put(
        &self,
        name: &str,
        path: &str,
        options: PutOptions,
        pipe: OwnedFd,
    ) -> Result<()> {
        let (services, volume) = (Arc::clone(self.services()), self.volume(name)?);
        let path = path.to_owned();
        carried(move || {
            let view = view(&services, &volume)?;
            let options = UnpackOptions {
                no_overwrite_dir_non_dir: options.no_overwrite_dir_non_dir,
                ..UnpackOptions::default()
            };
            let reader = BufReader::with_capacity(256 << 10, File::from(pipe));
            archive::unpack(&view, &path, reader, options)
                .map_err(|error| no_path(error, &volume, &path))
        })
        .await
    }
}

fn no_path(error: hull_image::Error, volume: &Volume, path: &str) -> Error {
    if error.kind() == hull_image::Kind::NotFound {
        return Error::NoSuchPath(format!(
            "Could not find the file {path} in volume {}",
            volume.name
        ));
    }
    error.into()
}

/// A volume's directory, given back when the guard goes.
fn held(services: &Arc<Services>, volume: &Arc<Volume>) -> Result<(std::path::PathBuf, Undo)> {
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    let holder = format!("files ({})", SERIAL.fetch_add(1, Ordering::Relaxed));
    let data = services.acquire_volume(volume, &holder)?;
    services.hold_volume(volume, &holder);
    let mut undo = Undo::default();
    let (services, volume) = (Arc::clone(services), Arc::clone(volume));
    undo.push("give the volume back", move || {
        services.release_volume(&volume, &holder)
    });
    Ok((data, undo))
}

fn view(services: &Arc<Services>, volume: &Arc<Volume>) -> Result<View> {
    view_at(services, volume).map(|(view, _)| view)
}

/// A volume's content, and where it lies meanwhile.
pub(super) fn view_at(
    services: &Arc<Services>,
    volume: &Arc<Volume>,
) -> Result<(View, std::path::PathBuf)> {
    let (data, undo) = held(services, volume)?;
    let root = Root::new(&data).attempt(|| format!("open volume {}", volume.name))?;
    Ok((View::held(root, undo), data))
}

/// Unpacks an archive into a volume: one that is made, one that is empty, or with `overwrite` any.
pub(super) fn import(
    services: &Arc<Services>,
    order: CreateVolume,
    overwrite: bool,
    reader: impl Read + Send,
) -> Result<Arc<Volume>> {
    let options = UnpackOptions {
        describes_base: true,
        ..UnpackOptions::default()
    };
    let Ok(volume) = services.volumes.find(&order.name) else {
        return make(services, order, |data| {
            let root = Root::new(data).attempt(|| format!("open {}", data.display()))?;
            Ok(archive::unpack(&root, "/", reader, options)?)
        });
    };
    let (data, _undo) = held(services, &volume)?;
    let is_empty = fs::read_dir(&data)
        .attempt(|| format!("list {}", data.display()))?
        .next()
        .is_none();
    if !is_empty && !overwrite {
        return Err(Error::Conflict(format!(
            "cannot import into volume {}: it is not empty; import into a new one, or overwrite \
             what is in it",
            volume.name
        )));
    }
    let root = Root::new(&data).attempt(|| format!("open volume {}", volume.name))?;
    archive::unpack(&root, "/", reader, options)?;
    Ok(volume)
}

/// Makes a volume that begins with what `fill` puts into its directory.
fn make(
    services: &Services,
    order: CreateVolume,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<Arc<Volume>> {
    check_name(&order.name)?;
    let taken = || {
        Error::Conflict(format!(
            "cannot make volume {}: there is a volume of that name",
            order.name
        ))
    };
    if services.volumes.find(&order.name).is_ok() {
        return Err(taken());
    }
    let aside = services.volumes.aside();
    let data = aside.join(super::index::DATA);
    let filled = fs::create_dir_all(&data)
        .attempt(|| format!("create {}", data.display()))
        .and_then(|()| super::options::parse(&order.options))
        .and_then(|options| {
            let size = options.size;
            size.map_or(Ok(()), |bytes| services.limit(&[&data], bytes))
        })
        .and_then(|()| fill(&data));
    let made = filled.and_then(|()| {
        let _changing = services.volumes.change();
        if services.volumes.find(&order.name).is_ok() {
            return Err(taken());
        }
        let volume = Volume {
            id: services.volumes.new_id(&order.name),
            name: order.name.clone(),
            driver: LOCAL.to_owned(),
            labels: order.labels.clone(),
            options: order.options.clone(),
            created_at_ns: now_ns(),
            ..Volume::default()
        };
        let place = services.volumes.directory_of(&volume);
        fs::rename(&aside, &place).attempt(|| format!("create {}", place.display()))?;
        services
            .volumes
            .put(volume)
            .inspect_err(|_| drop(services.trash.put(&place)))
    });
    match &made {
        Ok(volume) => say(services, "create", volume),
        Err(_) => drop(services.trash.put(&aside)),
    }
    services.sweep();
    made
}
