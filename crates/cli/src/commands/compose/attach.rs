//! `compose attach`, `compose export`, `compose commit`: verbs on one container of a service.

use super::project::Scene;
use crate::commands::container;
use crate::commands::{About, Call, Command, Operands, invoke};
use crate::error::Result;
use crate::flags::FlagSet;

#[derive(Default)]
pub(crate) struct Attach {
    detach_keys: String,
    index: i64,
    no_stdin: bool,
    sig_proxy: Option<bool>,
}

impl Command for Attach {
    const ABOUT: About = About::new(
        &["compose attach"],
        "[OPTIONS] SERVICE",
        "Attach local standard input, output, and error streams to a service's running container",
        Operands::Exactly(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("detach-keys", "string", "Override the key sequence for detaching from a container.", &mut self.detach_keys);
        set.add("index", "int", "index of the container if service has multiple replicas.", &mut self.index);
        set.add("no-stdin", "", "Do not attach STDIN", &mut self.no_stdin);
        set.add("sig-proxy", "", "Proxy all received signals to the process (default true)", &mut self.sig_proxy);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let id = one(&call, self.index).await?;
        let mut words = Vec::new();
        if self.no_stdin {
            words.push("--no-stdin".to_owned());
        }
        if self.sig_proxy == Some(false) {
            words.push("--sig-proxy=false".to_owned());
        }
        if !self.detach_keys.is_empty() {
            words.push(format!("--detach-keys={}", self.detach_keys));
        }
        words.push(id);
        invoke::<container::attach::Attach>(call.globals, "compose attach", &words).await
    }
}

async fn one(call: &Call, index: i64) -> Result<String> {
    let service = call.operand(0).to_owned();
    let scene = Scene::of_name(call, std::slice::from_ref(&service)).await?;
    Ok(scene.one(&service, index).await?.id().to_owned())
}

#[derive(Default)]
pub(crate) struct Export {
    index: i64,
    output: String,
}

impl Command for Export {
    const ABOUT: About = About::new(
        &["compose export"],
        "[OPTIONS] SERVICE",
        "Export a service container's filesystem as a tar archive",
        Operands::Exactly(1),
    );

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "index",
            "int",
            "index of the container if service has multiple replicas.",
            &mut self.index,
        );
        set.add(
            "o,output",
            "string",
            "Write to a file, instead of STDOUT",
            &mut self.output,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut words = vec![one(&call, self.index).await?];
        if !self.output.is_empty() {
            words.push(format!("--output={}", self.output));
        }
        invoke::<container::export::Export>(call.globals, "compose export", &words).await
    }
}

#[derive(Default)]
pub(crate) struct Commit {
    author: String,
    changes: Vec<String>,
    index: i64,
    message: String,
    pause: Option<bool>,
}

impl Command for Commit {
    const ABOUT: About = About::new(
        &["compose commit"],
        "[OPTIONS] SERVICE [REPOSITORY[:TAG]]",
        "Create a new image from a service container's changes",
        Operands::Between(1, 2),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("a,author", "string", "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")", &mut self.author);
        set.add("c,change", "list", "Apply Dockerfile instruction to the created image", &mut self.changes);
        set.add("index", "int", "index of the container if service has multiple replicas.", &mut self.index);
        set.add("m,message", "string", "Commit message", &mut self.message);
        set.add("p,pause", "", "Pause container during commit (default true)", &mut self.pause);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let mut words = vec![
            format!("--author={}", self.author),
            format!("--message={}", self.message),
        ];
        words.extend(
            self.changes
                .iter()
                .map(|change| format!("--change={change}")),
        );
        if self.pause == Some(false) {
            words.push("--pause=false".into());
        }
        words.push(one(&call, self.index).await?);
        words.extend(call.operands.iter().skip(1).cloned());
        invoke::<container::commit::Commit>(call.globals, "compose commit", &words).await
    }
}
