//! Making a container, with its image pulled first where it is missing: what `run` and `create`
//! have in common.

use std::io::Write;

use hull_api::types::{ContainerCreate, ContainerInspect, SealedFiles};
use hull_api::{ApiVersion, Client, ClientError};
use hull_oci::Reference;

use super::flags::ContainerFlags;
use super::likeness;
use crate::commands::image::{default_platform, near, pull};
use crate::commands::{Call, Operands, trust};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::options::environment::plain;
use crate::settings::{Proxies, Settings};
use crate::ui;

/// Since then a container's address belongs to its place in a network, and to nothing else.
const ENDPOINTS_HAVE_ADDRESSES: ApiVersion = ApiVersion::new(44);

/// Operands of both commands.
pub(super) const USAGE: &str = "[OPTIONS] IMAGE [COMMAND] [ARG...]";
pub(super) const OPERANDS: Operands = Operands::AtLeast(1);

/// Flags about the making itself.
#[derive(Default)]
pub(super) struct CreationFlags {
    pub(super) container: ContainerFlags,
    name: String,
    platform: String,
    pull: Option<String>,
    pub(super) quiet: bool,
    content_trust: Option<bool>,
    use_api_socket: bool,
    /// Listed because `-h` is the host name here; the parser sees to it.
    help: bool,
}

impl CreationFlags {
    /// Binds them; `pull` is how the command words its flag.
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>, pull: &'static str) {
        self.container.flags(set);
        set.add("help", "", "Print usage", &mut self.help);
        set.add("name", "string", "Assign a name to the container", &mut self.name);
        self.platform = default_platform();
        set.add("platform", "string", "Set platform if server is multi-platform capable", &mut self.platform);
        set.add("pull", "string", pull, &mut self.pull);
        set.add("q,quiet", "", "Suppress the pull output", &mut self.quiet);
        set.add("disable-content-trust", "", "Skip image verification (default true)", &mut self.content_trust);
        set.add("use-api-socket", "", "Bind mount Docker API socket and required auth", &mut self.use_api_socket);
    }

    /// The request.
    ///
    /// # Errors
    /// Flags that contradict each other or cannot be honoured.
    pub(super) fn body(&self, call: &Call) -> Result<ContainerCreate> {
        if self.use_api_socket {
            return Err(Error::new("--use-api-socket is not available in Hull yet"));
        }
        let pull = match self.pull.as_deref() {
            None | Some("") => "missing",
            Some(pull) => pull,
        };
        if !matches!(pull, "always" | "missing" | "never") {
            return Err(Error::new(format!(
                "invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\""
            )));
        }
        check_image(call.operand(0))?;
        trust::check(self.content_trust, call.operand(0))?;
        let command = call.operands.get(1..).unwrap_or_default();
        let mut body = self
            .container
            .body(call.operand(0), command, &call.changed)?;
        let settings = Settings::read(&call.globals.config_directory);
        if !settings.proxies.is_empty()
            && let Some(proxies) = settings.proxies_for(&call.globals.endpoint()?.shown)
        {
            add_proxies(body.config.env.get_or_insert_default(), proxies);
        }
        Ok(body)
    }

    /// The request for a container like another one, with what the flags say laid over it.
    ///
    /// # Errors
    /// Flags that contradict each other or cannot be honoured.
    pub(super) fn body_like(
        &self,
        call: &Call,
        model: &ContainerInspect,
        command: &[String],
    ) -> Result<ContainerCreate> {
        let image = model.config.image.as_str();
        let said = self.container.body(image, command, &call.changed)?;
        let unsaid = ContainerFlags::default().body(image, &[], &[])?;
        likeness::of(model, &said, &unsaid)
            .map_err(|error| Error::new(format!("cannot copy {}: {error}", model.name)))
    }

    /// The name the container is to have.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be changed.
    pub(super) fn name_mut(&mut self) -> &mut String {
        &mut self.name
    }

    /// Makes the container, hands it what its model is handed, and returns its id.
    ///
    /// # Errors
    /// As [`create`](Self::create); a container that cannot have what its model has is taken away.
    pub(super) async fn create_like(
        &self,
        call: &Call,
        client: &Client,
        body: &ContainerCreate,
        model: &str,
    ) -> Result<String> {
        let handed = client.container_sealed(model).await.map_err(failure)?;
        let id = self.create(call, client, body).await?;
        if handed.is_empty() {
            return Ok(id);
        }
        let order = SealedFiles {
            from: model.to_owned(),
            ..SealedFiles::default()
        };
        if let Err(error) = client.container_seal(&id, &order).await {
            _ = client.container_remove(&id, true, true, false).await;
            return Err(failure(error));
        }
        Ok(id)
    }

    /// Makes the container and returns its id.
    ///
    /// # Errors
    /// What the daemon has to say, or an id file that is there already.
    pub(super) async fn create(
        &self,
        call: &Call,
        client: &Client,
        body: &ContainerCreate,
    ) -> Result<String> {
        let mut body = body.clone();
        if client.version() >= ENDPOINTS_HAVE_ADDRESSES {
            body.config.mac_address.clear();
        }
        let body = &body;
        let mut id_file = IdFile::open(self.container.id_file())?;
        let image = &body.config.image;
        let pull = || pull::for_container(&call.globals, client, image, &self.platform, self.quiet);
        if self.pull.as_deref() == Some("always") {
            fetched(pull().await, client, image).await?;
        }
        let mut created = client
            .container_create(&self.name, &self.platform, body)
            .await;
        if let Err(error) = &created
            && is_missing_image(error)
            && self.pull.as_deref() != Some("never")
        {
            if !self.quiet {
                ui::note(&format!(
                    "Unable to find image '{}' locally",
                    pull::with_tag(image)
                ));
            }
            fetched(pull().await, client, image).await?;
            created = client
                .container_create(&self.name, &self.platform, body)
                .await;
        }
        let created = match created {
            Ok(created) => created,
            Err(error) if is_missing_image(&error) => {
                return Err(near::failed(client, image, error).await);
            }
            Err(error) => return Err(failure(error)),
        };
        for warning in &created.warnings {
            ui::warn(warning);
        }
        id_file.write(&created.id)?;
        Ok(created.id)
    }
}

/// What a pull came to; one that failed says which images could be had without.
async fn fetched(pulled: Result<()>, client: &Client, image: &str) -> Result<()> {
    match pulled {
        Ok(()) => Ok(()),
        Err(error) => Err(near::beside(client, image, error).await),
    }
}

/// Refuses what is neither an image's name nor an id.
fn check_image(image: &str) -> Result<()> {
    let is_id = image.len() == 64 && image.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id || image.starts_with("sha256:") {
        return Ok(());
    }
    if image.is_empty() {
        return Err(Error::new("invalid reference format"));
    }
    let parsed: std::result::Result<Reference, _> = image.parse();
    parsed
        .map(drop)
        .map_err(|error| Error::new(error.to_string()))
}

/// Tells a container of the proxies, in both spellings programs look for, where it is not told otherwise.
fn add_proxies(environment: &mut Vec<String>, proxies: &Proxies) {
    for (name, value) in proxies.variables() {
        for spelled in [name.to_owned(), name.to_lowercase()] {
            let is_there =
                |variable: &String| variable.split('=').next().unwrap_or_default() == spelled;
            if !environment.iter().any(is_there) {
                environment.push(format!("{spelled}={value}"));
            }
        }
    }
}

/// A container's other parts can be missing too; an image, or what it is for another platform, says so in these words.
fn is_missing_image(error: &ClientError) -> bool {
    let text = error.to_string().to_lowercase();
    let says = |words: &str| text.contains(words);
    error.is_not_found()
        && (says("no such image") || says("does not provide the specified platform"))
}

/// The file `--cidfile` names; removed again if no id gets into it.
struct IdFile {
    path: String,
    file: Option<std::fs::File>,
    written: bool,
}

impl IdFile {
    fn open(path: &str) -> Result<Self> {
        if path.is_empty() {
            return Ok(Self {
                path: String::new(),
                file: None,
                written: false,
            });
        }
        let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(
            |error| match error.kind() {
                std::io::ErrorKind::AlreadyExists => Error::new(format!(
                    "container ID file found, make sure the other container isn't running or delete {path}"
                )),
                _ => Error::new(format!(
                    "failed to create the container ID file: open {path}: {}",
                    plain(&error)
                )),
            },
        )?;
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            written: false,
        })
    }

    fn write(&mut self, id: &str) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(id.as_bytes()).map_err(|error| {
                Error::new(format!(
                    "failed to write the container ID ({id}) to file: {}",
                    plain(&error)
                ))
            })?;
            self.written = true;
        }
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if self.file.is_some() && !self.written {
            _ = std::fs::remove_file(&self.path);
        }
    }
}
