//! The commands of Docker's that Hull does not have yet. They are known by name, so that the help
//! lists them, a typing error is told from a missing feature, and nothing succeeds silently.

use crate::context::Globals;
use crate::error::{Error, Result};
use crate::ui;

/// A command that is not available yet.
pub(super) struct Missing {
    names: &'static [&'static str],
    usage: &'static str,
    summary: &'static str,
}

const fn missing(
    names: &'static [&'static str],
    usage: &'static str,
    summary: &'static str,
) -> Missing {
    Missing {
        names,
        usage,
        summary,
    }
}

#[rustfmt::skip]
static MISSING: &[Missing] = &[
    missing(&["builder prune"], "", "Remove build cache"),
    missing(&["checkpoint create"], "[OPTIONS] CONTAINER CHECKPOINT", "Create a checkpoint from a running container"),
    missing(&["checkpoint ls", "checkpoint list"], "[OPTIONS] CONTAINER", "List checkpoints for a container"),
    missing(&["checkpoint rm", "checkpoint remove"], "[OPTIONS] CONTAINER CHECKPOINT", "Remove a checkpoint"),
    missing(&["config create"], "[OPTIONS] CONFIG file|-", "Create a config from a file or STDIN"),
    missing(&["config inspect"], "[OPTIONS] CONFIG [CONFIG...]", "Display detailed information on one or more configs"),
    missing(&["config ls", "config list"], "[OPTIONS]", "List configs"),
    missing(&["config rm", "config remove"], "CONFIG [CONFIG...]", "Remove one or more configs"),
    missing(&["context create"], "[OPTIONS] CONTEXT", "Create a context"),
    missing(&["context export"], "[OPTIONS] CONTEXT [FILE|-]", "Export a context to a tar archive FILE or a tar stream on STDOUT."),
    missing(&["context import"], "CONTEXT FILE|-", "Import a context from a tar or zip file"),
    missing(&["context inspect"], "[OPTIONS] [CONTEXT] [CONTEXT...]", "Display detailed information on one or more contexts"),
    missing(&["context ls", "context list"], "[OPTIONS]", "List contexts"),
    missing(&["context rm", "context remove"], "CONTEXT [CONTEXT...]", "Remove one or more contexts"),
    missing(&["context show"], "", "Print the name of the current context"),
    missing(&["context update"], "[OPTIONS] CONTEXT", "Update a context"),
    missing(&["context use"], "CONTEXT", "Set the current docker context"),
    missing(&["image build", "build", "builder build"], "[OPTIONS] PATH | URL | -", "Build an image from a Dockerfile"),
    missing(&["manifest annotate"], "[OPTIONS] MANIFEST_LIST MANIFEST", "Add additional information to a local image manifest"),
    missing(&["manifest create"], "MANIFEST_LIST MANIFEST [MANIFEST...]", "Create a local manifest list for annotating and pushing to a registry"),
    missing(&["manifest inspect"], "[OPTIONS] [MANIFEST_LIST] MANIFEST", "Display an image manifest, or manifest list"),
    missing(&["manifest push"], "[OPTIONS] MANIFEST_LIST", "Push a manifest list to a repository"),
    missing(&["manifest rm"], "MANIFEST_LIST [MANIFEST_LIST...]", "Delete one or more manifest lists from local storage"),
    missing(&["node demote"], "NODE [NODE...]", "Demote one or more nodes from manager in the swarm"),
    missing(&["node inspect"], "[OPTIONS] self|NODE [NODE...]", "Display detailed information on one or more nodes"),
    missing(&["node ls", "node list"], "[OPTIONS]", "List nodes in the swarm"),
    missing(&["node promote"], "NODE [NODE...]", "Promote one or more nodes to manager in the swarm"),
    missing(&["node ps"], "[OPTIONS] [NODE...]", "List tasks running on one or more nodes, defaults to current node"),
    missing(&["node rm", "node remove"], "[OPTIONS] NODE [NODE...]", "Remove one or more nodes from the swarm"),
    missing(&["node update"], "[OPTIONS] NODE", "Update a node"),
    missing(&["plugin create"], "[OPTIONS] PLUGIN PLUGIN-DATA-DIR", "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and rootfs directory."),
    missing(&["plugin disable"], "[OPTIONS] PLUGIN", "Disable a plugin"),
    missing(&["plugin enable"], "[OPTIONS] PLUGIN", "Enable a plugin"),
    missing(&["plugin inspect"], "[OPTIONS] PLUGIN [PLUGIN...]", "Display detailed information on one or more plugins"),
    missing(&["plugin install"], "[OPTIONS] PLUGIN [KEY=VALUE...]", "Install a plugin"),
    missing(&["plugin ls", "plugin list"], "[OPTIONS]", "List plugins"),
    missing(&["plugin push"], "[OPTIONS] PLUGIN[:TAG]", "Push a plugin to a registry"),
    missing(&["plugin rm", "plugin remove"], "[OPTIONS] PLUGIN [PLUGIN...]", "Remove one or more plugins"),
    missing(&["plugin set"], "PLUGIN KEY=VALUE [KEY=VALUE...]", "Change settings for a plugin"),
    missing(&["plugin upgrade"], "[OPTIONS] PLUGIN [REMOTE]", "Upgrade an existing plugin"),
    missing(&["search"], "[OPTIONS] TERM", "Search Docker Hub for images"),
    missing(&["secret create"], "[OPTIONS] SECRET [file|-]", "Create a secret from a file or STDIN as content"),
    missing(&["secret inspect"], "[OPTIONS] SECRET [SECRET...]", "Display detailed information on one or more secrets"),
    missing(&["secret ls", "secret list"], "[OPTIONS]", "List secrets"),
    missing(&["secret rm", "secret remove"], "SECRET [SECRET...]", "Remove one or more secrets"),
    missing(&["service create"], "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create a new service"),
    missing(&["service inspect"], "[OPTIONS] SERVICE [SERVICE...]", "Display detailed information on one or more services"),
    missing(&["service logs"], "[OPTIONS] SERVICE|TASK", "Fetch the logs of a service or task"),
    missing(&["service ls", "service list"], "[OPTIONS]", "List services"),
    missing(&["service ps"], "[OPTIONS] SERVICE [SERVICE...]", "List the tasks of one or more services"),
    missing(&["service rm", "service remove"], "SERVICE [SERVICE...]", "Remove one or more services"),
    missing(&["service rollback"], "[OPTIONS] SERVICE", "Revert changes to a service's configuration"),
    missing(&["service scale"], "SERVICE=REPLICAS [SERVICE=REPLICAS...]", "Scale one or multiple replicated services"),
    missing(&["service update"], "[OPTIONS] SERVICE", "Update a service"),
    missing(&["stack config"], "[OPTIONS]", "Outputs the final config file, after doing merges and interpolations"),
    missing(&["stack deploy", "stack up"], "[OPTIONS] STACK", "Deploy a new stack or update an existing stack"),
    missing(&["stack ls", "stack list"], "[OPTIONS]", "List stacks"),
    missing(&["stack ps"], "[OPTIONS] STACK", "List the tasks in the stack"),
    missing(&["stack rm", "stack remove", "stack down"], "[OPTIONS] STACK [STACK...]", "Remove one or more stacks"),
    missing(&["stack services"], "[OPTIONS] STACK", "List the services in the stack"),
    missing(&["swarm ca"], "[OPTIONS]", "Display and rotate the root CA"),
    missing(&["swarm init"], "[OPTIONS]", "Initialize a swarm"),
    missing(&["swarm join"], "[OPTIONS] HOST:PORT", "Join a swarm as a node and/or manager"),
    missing(&["swarm join-token"], "[OPTIONS] (worker|manager)", "Manage join tokens"),
    missing(&["swarm leave"], "[OPTIONS]", "Leave the swarm"),
    missing(&["swarm unlock"], "", "Unlock swarm"),
    missing(&["swarm unlock-key"], "[OPTIONS]", "Manage the unlock key"),
    missing(&["swarm update"], "[OPTIONS]", "Update the swarm"),
    missing(&["trust inspect"], "IMAGE[:TAG] [IMAGE[:TAG]...]", "Return low-level information about keys and signatures"),
    missing(&["trust key generate"], "NAME", "Generate and load a signing key-pair"),
    missing(&["trust key load"], "[OPTIONS] KEYFILE", "Load a private key file for signing"),
    missing(&["trust revoke"], "[OPTIONS] IMAGE[:TAG]", "Remove trust for an image"),
    missing(&["trust sign"], "IMAGE:TAG", "Sign an image"),
    missing(&["trust signer add"], "OPTIONS NAME REPOSITORY [REPOSITORY...]", "Add a signer"),
    missing(&["trust signer remove"], "[OPTIONS] NAME REPOSITORY [REPOSITORY...]", "Remove a signer"),
    missing(&["volume update"], "[OPTIONS] [VOLUME]", "Update a volume (cluster volumes only)"),
];

/// The command called `name`.
pub(super) fn find(name: &str) -> Option<&'static Missing> {
    MISSING.iter().find(|command| command.names.contains(&name))
}

/// Every name.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    MISSING
        .iter()
        .flat_map(|command| command.names.iter().copied())
}

/// Names and summaries, for the lists of the help.
pub(super) fn listed() -> impl Iterator<Item = (&'static [&'static str], &'static str)> {
    MISSING
        .iter()
        .map(|command| (command.names, command.summary))
}

/// Says that the command is not available.
///
/// # Errors
/// Always, unless only its page was asked for.
pub(super) fn run(
    globals: &Globals,
    command: &Missing,
    name: &str,
    arguments: &[String],
) -> Result<u8> {
    let program = globals.program.name();
    let sentence = format!("'{program} {name}' is not available in Hull yet");
    if arguments
        .iter()
        .any(|argument| argument == "--help" || argument == "-h")
    {
        let usage = command.usage;
        let summary = command.summary;
        ui::out(&format!(
            "Usage:  {program} {name} {usage}\n\n{summary}\n\n{sentence}.\n"
        ))?;
        return Ok(0);
    }
    Err(Error::new(sentence))
}
