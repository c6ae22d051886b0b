//! `debug`: a shell with tools beside a container that has none. It is another container, of an image with tools, in the
//! namespaces of the first; the first one's files are below `/proc/1/root`.

use super::run::Run;
use crate::commands::{About, Call, Command, Operands, invoke};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::FlagSet;
use crate::ui;

/// An image with tools that is small and everywhere.
const TOOLS: &str = "busybox";
/// Puts the container's files where they are easily typed, then becomes the command.
const COMMAND: &str = "ln -sfn /proc/1/root /target; exec \"$@\"";
/// The same for a shell, which says where the files are, and whose shell it is.
const SHELL: &str = "ln -sfn /proc/1/root /target; echo \"The files of $TARGET are below /target.\"; export PS1=\"debug of $TARGET:\\w # \"; exec sh";

#[derive(Default)]
pub(crate) struct Debug {
    image: String,
    privileged: bool,
}

impl Command for Debug {
    const ABOUT: About = About::new(
        &["debug", "container debug"],
        "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
        "Open a shell with tools beside a running container",
        Operands::AtLeast(1),
    )
    .described(
        "Open a shell with tools beside a running container, also where its image has none.\nThe shell sees the container's processes, network and files (below /target) and brings its own programs;\na command instead of the shell sees the same. The image with the tools needs a shell (sh), too.\nIt is gone when it ends; the container is left as it was.",
    )
    .flags_first();

    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add(
            "image",
            "string",
            "Image with the tools (default \"busybox\")",
            &mut self.image,
        );
        set.add(
            "privileged",
            "",
            "Give extended privileges to the shell",
            &mut self.privileged,
        );
    }

    async fn run(self, call: Call) -> Result<u8> {
        let client = connect(&call.globals).await?;
        let name = call.operand(0);
        let container = client.container(name).await.map_err(failure)?;
        let own = call.globals.program.name();
        if !container.state.running {
            return Err(Error::new(format!(
                "container {name} does not run: there is nothing to look into"
            ))
            .with_hint(format!(
                "`{own} explain {name}` says why it ended; `{own} cp {name}:/path .` gets its files"
            )));
        }
        let id = &container.id;
        let mut line: Vec<String> = ["--rm", "--init=false"].map(str::to_owned).into();
        line.push(format!("--pid=container:{id}"));
        line.push(format!("--network=container:{id}"));
        // What a debugger needs, and what reading another process's root asks for.
        line.extend(["--cap-add=SYS_PTRACE", "--cap-add=NET_ADMIN"].map(str::to_owned));
        line.push(format!(
            "--env=TARGET={}",
            container.name.trim_start_matches('/')
        ));
        line.push("--label=hull.debug=true".to_owned());
        // Nobody else's, whatever numbers processes have there.
        let mut random = [0_u8; 8];
        let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
        let random = u64::from_ne_bytes(random);
        let beside = format!("debug-{}-{random:016x}", &id[..12.min(id.len())]);
        line.push(format!("--name={beside}"));
        if self.privileged {
            line.push("--privileged".to_owned());
        }
        line.push(match ui::in_is_terminal() && ui::out_is_terminal() {
            true => "-it".to_owned(),
            false => "-i".to_owned(),
        });
        line.push(match self.image.as_str() {
            "" => TOOLS.to_owned(),
            image => image.to_owned(),
        });
        let given = call.operands.get(1..).unwrap_or_default();
        // What parts the command from the flags elsewhere is no command here.
        match given.strip_prefix(&["--".to_owned()]).unwrap_or(given) {
            [] => line.extend(["sh", "-c", SHELL].map(str::to_owned)),
            command => {
                line.extend(["sh", "-c", COMMAND, "sh"].map(str::to_owned));
                line.extend(command.iter().cloned());
            }
        }
        let ended = Box::pin(invoke::<Run>(call.globals, "debug", &line)).await;
        // Whoever typed the detach keys has nothing to come back to. One that has ended is gone already.
        _ = client.container_remove(&beside, true, true, false).await;
        ended
    }
}
