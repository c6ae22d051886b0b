//! Verbs on images: the store's, with events, and with an eye on who uses what.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufReader, BufWriter, Write},
    os::fd::OwnedFd,
    sync::Arc,
};

use hull_image::store::{
    Commit, Details, HistoryEntry, Import, ListFilter, Loaded, PruneFilter, Pruned, Removal,
    Removed, Statement, Summary, UnpackEvent, User, apply_changes,
};
use hull_oci::{Digest, Platform, Reference};
use hull_registry::progress::{Amount, Progress, Stage};

use crate::{
    Engine,
    container::files::{Outgoing, carried, write_out},
    error::{Attempt, Error, Result},
    events::Subject,
    model::{Config, HealthProbe},
    services::Services,
    state::State,
};

/// The order to make an image of a container.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The new image's name; `None`: none.
    pub reference: Option<String>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub comment: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// Freeze the container meanwhile.
    pub pause: bool,
    /// Replaces the container's configuration, where it says something.
    pub config: Option<Config>,
}

/// The order to make an image of a tar archive.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The new image's name; `None`: none.
    pub reference: Option<String>,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// A remark.
    pub message: String,
    /// `None`: the host's.
    pub platform: Option<String>,
}

impl Engine {
    /// Loads all images of an archive, compressed or not, read from `pipe`; of each, all platforms
    /// or only these.
    pub async fn image_load(
        &self,
        pipe: OwnedFd,
        platforms: &[String],
        progress: &Progress,
    ) -> Result<Vec<Loaded>> {
        let platforms = parse_platforms(platforms)?;
        let images = Arc::clone(self.images());
        let progress = progress.clone();
        let job = move || {
            let tell = &mut |event| tell(&progress, event);
            Ok(images.load(reader(pipe), &platforms, tell)?)
        };
        let loaded = carried(job).await;
        // What a damaged archive leaves behind goes, too.
        self.services().sweep();
        let loaded = loaded?;
        for image in &loaded {
            let name = image
                .name
                .as_ref()
                .map_or(String::new(), ToString::to_string);
            self.say_image("load", &image.id.to_string(), &name);
        }
        Ok(loaded)
    }

    /// Images as an archive that Docker and OCI tools load, with all platforms or only these.
    pub async fn image_save(&self, names: Vec<String>, platforms: &[String]) -> Result<Outgoing> {
        let platforms = parse_platforms(platforms)?;
        let images = Arc::clone(self.images());
        let (checked, wanted) = (names.clone(), platforms.clone());
        self.services()
            .block(move || -> Result<()> {
                for name in &checked {
                    images.check_save(name, &wanted)?;
                }
                Ok(())
            })
            .await??;
        for name in &names {
            self.say_image("save", name, name);
        }
        let images = Arc::clone(self.images());
        write_out(move |pipe| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut pipe = BufWriter::with_capacity(256 << 10, pipe);
            images.save(&names, &platforms, &mut pipe)?;
            pipe.flush().attempt(|| "write the archive".to_owned())
        })
    }

    /// Makes an image of a tar archive's files, read from `pipe`; gives its id.
    pub async fn image_import(&self, pipe: OwnedFd, options: ImportOptions) -> Result<String> {
        let platform = parse_platform(options.platform.as_deref())?;
        let reference = options
            .reference
            .as_deref()
            .map(parse_reference)
            .transpose()?;
        let images = Arc::clone(self.images());
        let id = carried(move || {
            let import = Import {
                reference: reference.as_ref(),
                changes: &options.changes,
                message: options.message,
                platform: platform.as_ref(),
            };
            Ok(images.import(reader(pipe), &import)?)
        })
        .await;
        self.services().sweep();
        let id = id?;
        self.say_image("import", &id.to_string(), "");
        Ok(id.to_string())
    }

    /// Gives an image one more name.
    pub async fn image_tag(&self, name: &str, new: &str) -> Result<()> {
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        let reference = parse_reference(new)?;
        let id = self
            .services()
            .block(move || images.tag(&name, &reference))
            .await??;
        self.say_image("tag", &id.to_string(), new);
        Ok(())
    }

    /// Takes a name, or an image with all its names, away.
    pub async fn image_remove(&self, name: &str, force: bool) -> Result<Vec<Removed>> {
        let name = name.to_owned();
        self.remove_images(move |images, users| images.remove(&name, &Removal { force, users }))
            .await
    }

    /// Takes single platforms of an image away.
    pub async fn image_remove_platforms(
        &self,
        name: &str,
        platforms: &[String],
    ) -> Result<Vec<Removed>> {
        let (name, platforms) = (name.to_owned(), parse_platforms(platforms)?);
        self.remove_images(move |images, users| images.remove_platforms(&name, &platforms, users))
            .await
    }

    /// Removes while nobody chooses an image, and tells.
    async fn remove_images(
        &self,
        remove: impl FnOnce(
            &hull_image::Store,
            &dyn Fn(&Digest) -> Vec<User>,
        ) -> hull_image::Result<Vec<Removed>>
        + Send
        + 'static,
    ) -> Result<Vec<Removed>> {
        let services = Arc::clone(self.services());
        let removed = self
            .services()
            .block(move || {
                let _nobody_chooses = services.makings.nobody_chooses();
                remove(&services.images, &|id| users_of(&services, id))
            })
            .await??;
        self.services().sweep();
        self.say_removed(&removed);
        Ok(removed)
    }

    /// What was stated about an image for one platform, of these kinds (none: all).
    pub async fn image_attestations(
        &self,
        name: &str,
        platform: Option<&str>,
        kinds: Vec<String>,
        with_text: bool,
    ) -> Result<Vec<Statement>> {
        let platform = parse_platform(platform)?;
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        Ok(self
            .services()
            .block(move || images.attestations(&name, platform.as_ref(), &kinds, with_text))
            .await??)
    }

    /// Takes all images away that no container uses and the filter picks.
    pub async fn image_prune(&self, filter: PruneFilter) -> Result<Pruned> {
        let services = Arc::clone(self.services());
        let pruned = self
            .services()
            .block(move || {
                let _nobody_chooses = services.makings.nobody_chooses();
                services
                    .images
                    .prune(&filter, &|id| users_of(&services, id))
            })
            .await??;
        self.services().sweep();
        self.say_removed(&pruned.removed);
        self.say_pruned("image", pruned.reclaimed_bytes);
        Ok(pruned)
    }

    /// The images that pass the filter, the youngest first.
    pub async fn images_list(&self, filter: ListFilter) -> Result<Vec<Summary>> {
        let images = Arc::clone(self.images());
        Ok(self
            .services()
            .block(move || images.list(&filter))
            .await??)
    }

    /// All about one image.
    pub async fn image_inspect(&self, name: &str, platform: Option<&str>) -> Result<Details> {
        let platform = parse_platform(platform)?;
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        Ok(self
            .services()
            .block(move || images.inspect(&name, platform.as_ref()))
            .await??)
    }

    /// The steps of an image's making, the last one first.
    pub async fn image_history(
        &self,
        name: &str,
        platform: Option<&str>,
    ) -> Result<Vec<HistoryEntry>> {
        let platform = parse_platform(platform)?;
        let (images, name) = (Arc::clone(self.images()), name.to_owned());
        Ok(self
            .services()
            .block(move || images.history(&name, platform.as_ref()))
            .await??)
    }

    /// The containers that use each image, by its id: their ids, and the platforms they use it for.
    pub fn image_users(&self) -> HashMap<String, Vec<(String, String)>> {
        let mut users: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for record in self.containers() {
            let user = (record.id.to_string(), record.platform.clone());
            users.entry(record.image_id.clone()).or_default().push(user);
        }
        users
    }

    /// Makes an image of a container's changes; gives its id.
    pub async fn commit(&self, reference: &str, options: CommitOptions) -> Result<String> {
        let record = self.find(reference)?.record();
        let freeze = options.pause && matches!(record.state, State::Running(_));
        if freeze {
            self.freeze(&record.id).await?;
        }
        let (services, owner) = (Arc::clone(self.services()), Arc::clone(&record));
        let outcome = self
            .services()
            .block(move || commit(&services, &owner, options))
            .await;
        if freeze {
            self.thaw_again(&record.id).await;
        }
        let id = outcome??;
        let mut attributes = record.event_attributes();
        attributes.insert("imageID".to_owned(), id.clone());
        let container = record.id.as_str();
        self.services()
            .events
            .publish(Subject::Container, "commit", container, attributes);
        self.say_image("create", &id, "");
        Ok(id)
    }

    pub(crate) fn say_removed(&self, removed: &[Removed]) {
        for one in removed {
            match one {
                Removed::Untagged(name) => self.say_image("untag", name, name),
                Removed::Deleted(id) => self.say_image("delete", id, ""),
            }
        }
    }

    pub(crate) fn say_image(&self, action: &str, id: &str, name: &str) {
        let mut attributes = BTreeMap::new();
        if !name.is_empty() {
            attributes.insert("name".to_owned(), name.to_owned());
        }
        self.services()
            .events
            .publish(Subject::Image, action, id, attributes);
    }
}

/// The containers that use an image.
pub(crate) fn users_of(services: &Services, id: &Digest) -> Vec<User> {
    // Read before those that are there: one that is made meanwhile is among them.
    let making = services.makings.users_of_image(&id.to_string());
    let records = services
        .registry
        .all()
        .into_iter()
        .map(|handle| handle.record());
    let id = id.to_string();
    let records = records.filter(|record| {
        let mounted = |mount: &crate::record::MountPoint| mount.image.as_ref() == Some(&id);
        record.image_id == id || record.mounts.iter().any(mounted)
    });
    let mut users: Vec<User> = records
        .map(|record| User {
            container: record.id.to_string(),
            is_running: record.state.is_running(),
            platform: record.platform.clone(),
        })
        .collect();
    // Of one that is being made, nothing may be taken away, whatever is forced.
    users.extend(making.into_iter().map(|(container, platform)| User {
        container: container.to_string(),
        is_running: true,
        platform,
    }));
    users
}

fn commit(
    services: &Services,
    record: &crate::record::Record,
    options: CommitOptions,
) -> Result<String> {
    let parent = services.resolve_image(&record.image_id, Some(&record.platform))?;
    let mut config = image_config(options.config.as_ref().unwrap_or(&record.config));
    apply_changes(&mut config, &options.changes)?;
    let reference = options
        .reference
        .as_deref()
        .map(parse_reference)
        .transpose()?;
    let id = services.images.commit(Commit {
        parent: &parent,
        upper: &record.snapshot.upper,
        config,
        author: options.author,
        comment: options.comment,
        created_by: record.command().join(" "),
        reference: reference.as_ref(),
    })?;
    Ok(id.to_string())
}

/// A container's configuration as an image's: what belongs to one container is left out.
fn image_config(config: &Config) -> hull_oci::ContainerConfig {
    hull_oci::ContainerConfig {
        user: config.user.clone(),
        exposed_ports: config
            .exposed_ports
            .iter()
            .map(ToString::to_string)
            .collect(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: config.volumes.clone(),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone(),
        stop_timeout: config.stop_timeout_s,
        healthcheck: config
            .healthcheck
            .as_ref()
            .map(|check| hull_oci::HealthcheckConfig {
                test: match &check.probe {
                    HealthProbe::Inherit => Vec::new(),
                    HealthProbe::Disabled => vec!["NONE".to_owned()],
                    HealthProbe::Command(words) => std::iter::once("CMD".to_owned())
                        .chain(words.iter().cloned())
                        .collect(),
                    HealthProbe::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                },
                interval: check.interval_ns,
                timeout: check.timeout_ns,
                start_period: check.start_period_ns,
                start_interval: check.start_interval_ns,
                retries: check.retries,
            }),
        on_build: config.on_build.clone(),
        shell: config.shell.clone(),
        ..hull_oci::ContainerConfig::default()
    }
}

/// Tells of a layer of an archive.
fn tell(progress: &Progress, event: UnpackEvent) {
    match event {
        UnpackEvent::Read {
            layer,
            current,
            total,
        } => progress.layer(&layer, Stage::Loading(Amount { current, total })),
        UnpackEvent::Progress {
            layer,
            current,
            total,
        } => progress.layer(&layer, Stage::Extracting(Amount { current, total })),
        UnpackEvent::Done { .. } => {}
    }
}

fn reader(pipe: OwnedFd) -> BufReader<File> {
    BufReader::with_capacity(256 << 10, File::from(pipe))
}

pub(crate) fn parse_platform(text: Option<&str>) -> Result<Option<Platform>> {
    text.filter(|text| !text.is_empty())
        .map(str::parse)
        .transpose()
        .map_err(|error: hull_oci::InvalidPlatform| Error::Invalid(error.to_string()))
}

fn parse_platforms(texts: &[String]) -> Result<Vec<Platform>> {
    let parsed = texts.iter().map(|text| parse_platform(Some(text)));
    Ok(parsed
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

pub(crate) fn parse_reference(text: &str) -> Result<Reference> {
    text.parse()
        .map_err(|error: hull_oci::InvalidReference| Error::Invalid(error.to_string()))
}
