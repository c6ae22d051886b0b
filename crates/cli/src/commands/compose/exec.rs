//! `compose exec`

use super::project::Scene;
use crate::commands::container;
use crate::commands::{About, Call, Command, Operands, invoke};
use crate::error::Result;
use crate::flags::FlagSet;
use crate::ui;

#[derive(Default)]
pub(crate) struct Exec {
    detach: bool,
    environment: Vec<String>,
    index: i64,
    interactive: Option<bool>,
    no_tty: Option<bool>,
    tty: Option<bool>,
    privileged: bool,
    user: String,
    workdir: String,
}

impl Command for Exec {
    const ABOUT: About = About::new(
        &["compose exec"],
        "[OPTIONS] SERVICE COMMAND [ARGS...]",
        "Execute a command in a running container",
        Operands::AtLeast(2),
    )
    .flags_first();

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("d,detach", "", "Detached mode: Run command in the background", &mut self.detach);
        set.add("e,env", "stringArray", "Set environment variables", &mut self.environment);
        set.add("index", "int", "Index of the container if service has multiple replicas", &mut self.index);
        set.hidden("i,interactive", "", &mut self.interactive);
        set.add("T,no-tty", "", "Disable pseudo-TTY allocation. By default 'docker compose exec' allocates a TTY. (default true)", &mut self.no_tty);
        set.hidden("t,tty", "", &mut self.tty);
        set.add("privileged", "", "Give extended privileges to the process", &mut self.privileged);
        set.add("u,user", "string", "Run the command as this user", &mut self.user);
        set.add("w,workdir", "string", "Path to workdir directory for this command", &mut self.workdir);
    }

    async fn run(self, call: Call) -> Result<u8> {
        let service = call.operand(0).to_owned();
        let scene = Scene::of_name(&call, std::slice::from_ref(&service)).await?;
        let container = scene.one(&service, self.index).await?;
        let mut words: Vec<String> = Vec::new();
        if self.detach {
            words.push("--detach".into());
        } else {
            if self.interactive != Some(false) {
                words.push("--interactive".into());
            }
            // A terminal as long as both ends are one.
            let no_tty = self
                .no_tty
                .unwrap_or(!(ui::in_is_terminal() && ui::out_is_terminal()));
            if !no_tty && self.tty != Some(false) {
                words.push("--tty".into());
            }
        }
        if self.privileged {
            words.push("--privileged".into());
        }
        for variable in &self.environment {
            words.extend(["--env".to_owned(), variable.clone()]);
        }
        for (flag, value) in [("--user", self.user), ("--workdir", self.workdir)] {
            if !value.is_empty() {
                words.extend([flag.to_owned(), value]);
            }
        }
        words.push(container.id().to_owned());
        words.extend(call.operands.iter().skip(1).cloned());
        invoke::<container::exec::Exec>(call.globals, "compose exec", &words).await
    }
}
