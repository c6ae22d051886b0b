//! `compose run`

use hull_api::client::AttachOptions;
use hull_compose::apply::{RunOptions, UpOptions};
use hull_compose::plan::Wishes;

use super::build::build_missing;
use super::hold::Hold;
use super::project::{Scene, apply_failure, loaded, no_such_service};
use super::remote;
use super::upping::pull;
use crate::commands::container::run::{detach_keys, exit_code};
use crate::commands::container::session::{End, Resized, Session, follow_size};
use crate::commands::{About, Call, Command, Operands};
use crate::connection::failure;
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::options::environment;
use crate::terminal::{Signals, signals};
use crate::ui;

#[derive(Default)]
pub(crate) struct Run {
    build: bool,
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    detach: bool,
    entrypoint: Option<String>,
    environment: Vec<String>,
    environment_files: Vec<String>,
    interactive: Option<bool>,
    labels: Vec<String>,
    name: String,
    no_tty: Option<bool>,
    no_tty_alias: Option<bool>,
    no_deps: bool,
    ports: Vec<String>,
    pull: String,
    quiet: bool,
    quiet_build: bool,
    quiet_pull: bool,
    remove_orphans: bool,
    rm: bool,
    service_ports: bool,
    tty: Option<bool>,
    use_aliases: bool,
    user: String,
    volumes: Vec<String>,
    workdir: String,
    yes: bool,
}

impl Command for Run {
    const ABOUT: About = About::new(
        &["compose run"],
        "[OPTIONS] SERVICE [COMMAND] [ARGS...]",
        "Run a one-off command on a service",
        Operands::AtLeast(1),
    )
    .flags_first();

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("build", "", "Build image before starting container", &mut self.build);
        set.add("cap-add", "list", "Add Linux capabilities", &mut self.cap_add);
        set.add("cap-drop", "list", "Drop Linux capabilities", &mut self.cap_drop);
        set.add("d,detach", "", "Run container in background and print container ID", &mut self.detach);
        set.add("entrypoint", "string", "Override the entrypoint of the image", &mut self.entrypoint);
        set.add("e,env", "stringArray", "Set environment variables", &mut self.environment);
        set.add("env-from-file", "stringArray", "Set environment variables from file", &mut self.environment_files);
        set.add("i,interactive", "", "Keep STDIN open even if not attached (default true)", &mut self.interactive);
        set.add("l,label", "stringArray", "Add or override a label", &mut self.labels);
        set.add("name", "string", "Assign a name to the container", &mut self.name);
        set.hidden("no-tty", "", &mut self.no_tty_alias);
        set.hidden("t,tty", "", &mut self.tty);
        set.add("T,no-TTY", "", "Disable pseudo-TTY allocation (default: auto-detected) (default true)", &mut self.no_tty);
        set.add("no-deps", "", "Don't start linked services", &mut self.no_deps);
        set.add("p,publish", "stringArray", "Publish a container's port(s) to the host", &mut self.ports);
        set.add("pull", "string", "Pull image before running (\"always\"|\"missing\"|\"never\") (default \"policy\")", &mut self.pull);
        set.add("q,quiet", "", "Don't print anything to STDOUT", &mut self.quiet);
        set.add("quiet-build", "", "Suppress progress output from the build process", &mut self.quiet_build);
        set.add("quiet-pull", "", "Pull without printing progress information", &mut self.quiet_pull);
        set.add("remove-orphans", "", "Remove containers for services not defined in the Compose file", &mut self.remove_orphans);
        set.add("rm", "", "Automatically remove the container when it exits", &mut self.rm);
        set.add("P,service-ports", "", "Run command with all service's ports enabled and mapped to the host", &mut self.service_ports);
        set.add("use-aliases", "", "Use the service's network useAliases in the network(s) the container connects to", &mut self.use_aliases);
        set.add("u,user", "string", "Run as specified username or uid", &mut self.user);
        set.add("v,volume", "stringArray", "Bind mount a volume", &mut self.volumes);
        set.add("w,workdir", "string", "Working directory inside the container", &mut self.workdir);
        set.hidden("y,yes", "", &mut self.yes);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let no_tty = self.no_tty.or(self.no_tty_alias);
        if no_tty.is_some() && self.tty.is_some() {
            return Err(Error::new("--tty and --no-TTY can't be used together"));
        }
        let no_tty = no_tty.or(self.tty.map(|tty| !tty));
        let name = call.operand(0).to_owned();
        let loaded = loaded(&call, std::slice::from_ref(&name))?;
        let mut scene = Scene::of_loaded(&call, &loaded).await?;
        remote::confirm(&call, &loaded, &scene, self.yes).await?;
        scene
            .project
            .select(std::slice::from_ref(&name), !self.no_deps);
        super::provider::provide(&call.globals, &mut scene)?;
        let service = scene
            .project
            .services
            .get(&name)
            .cloned()
            .ok_or_else(|| no_such_service(&name, scene.project.services.keys()))?;
        let hold = Hold::of(&call, &scene).await?;
        let up = self.up()?;
        build_missing(&call, &scene, &up, (self.build, self.quiet_build)).await?;
        // Networks, volumes, what the service depends on, and its image.
        let prepared = scene.engine().prepare(&name, &up).await;
        prepared.map_err(apply_failure)?;
        let no_tty = no_tty.unwrap_or(!(ui::in_is_terminal() && ui::out_is_terminal()));
        let options = self.options(&call, !no_tty && !self.detach)?;
        let id = scene
            .engine()
            .create_one_off(&service, &options)
            .await
            .map_err(apply_failure)?;
        scene.progress.settle();
        drop(hold);
        if self.detach {
            scene.client.container_start(&id).await.map_err(failure)?;
            ui::line(&id)?;
            return Ok(0);
        }
        self.attached(&call, &scene, &id, &options).await
    }
}

impl Run {
    /// How what the service needs is brought up.
    fn up(&self) -> Result<UpOptions> {
        Ok(UpOptions {
            wishes: Wishes {
                remove_orphans: self.remove_orphans,
                ..Wishes::default()
            },
            pull: pull(&self.pull)?,
            quiet_pull: self.quiet_pull,
            ignore_orphans: !self.remove_orphans,
            ..UpOptions::default()
        })
    }

    fn options(&self, call: &Call, tty: bool) -> Result<RunOptions> {
        let mut environment: Vec<(String, Option<String>)> =
            environment::environment(&self.environment_files, &[])?
                .into_iter()
                .map(|text| match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (text, None),
                })
                .collect();
        for text in &self.environment {
            let (key, value) = text
                .split_once('=')
                .map_or((text.as_str(), None), |(key, value)| {
                    (key, Some(value.to_owned()))
                });
            environment.push((key.to_owned(), value.or_else(|| std::env::var(key).ok())));
        }
        let labels = self.labels.iter().map(|text| {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            (key.to_owned(), value.to_owned())
        });
        let command: Vec<String> = call.operands.iter().skip(1).cloned().collect();
        let interactive = self.interactive.unwrap_or(true) && !self.detach;
        Ok(RunOptions {
            name: self.name.clone(),
            slug: slug(),
            auto_remove: self.rm,
            attach_stdin: interactive,
            use_aliases: self.use_aliases,
            service_ports: self.service_ports,
            ports: self.ports.clone(),
            volumes: self.volumes.clone(),
            command: (!command.is_empty()).then_some(command),
            entrypoint: self
                .entrypoint
                .as_deref()
                .map(|text| text.split_whitespace().map(str::to_owned).collect()),
            environment,
            labels: labels.collect(),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            tty,
            interactive,
        })
    }

    async fn attached(
        &self,
        call: &Call,
        scene: &Scene,
        id: &str,
        options: &RunOptions,
    ) -> Result<u8> {
        let client = &scene.client;
        let attach = AttachOptions {
            stream: true,
            stdin: options.attach_stdin,
            stdout: true,
            stderr: true,
            logs: false,
            detach_keys: String::new(),
        };
        let stream = client
            .container_attach(id, &attach)
            .await
            .map_err(failure)?;
        let condition = if self.rm { "removed" } else { "next-exit" };
        let waiting = client
            .container_wait(id, condition)
            .await
            .map_err(failure)?;
        let _forwarding = signals::forward(client, id);
        client.container_start(id).await.map_err(failure)?;
        let _size = options
            .tty
            .then(|| follow_size(client, Resized::Container(id.to_owned())));
        let session = Session {
            stream,
            tty: options.tty,
            input: options.attach_stdin,
            keys: detach_keys("", call)?,
            signals: Signals::Heeded,
        };
        match session.run().await? {
            End::Detached => Ok(0),
            End::Closed => exit_code(waiting).await,
        }
    }
}

/// Twelve hexadecimal digits that nobody else has.
fn slug() -> String {
    let mut bytes = [0_u8; 6];
    _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
