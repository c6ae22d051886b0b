//! Checkpoints, other models for Compose files, plugins of the daemon, and signatures.

use super::{FORMAT, Flag, Missing, known};

#[rustfmt::skip]
pub(super) static COMMANDS: &[Missing] = &[
    known(&["checkpoint create"], "[OPTIONS] CONTAINER CHECKPOINT", "Create a checkpoint from a running container", &[
        Flag("checkpoint-dir", "string", "Use a custom checkpoint storage directory"),
        Flag("leave-running", "", "Leave the container running after checkpoint"),
    ]),
    known(&["checkpoint ls", "checkpoint list"], "[OPTIONS] CONTAINER", "List checkpoints for a container", &[
        Flag("checkpoint-dir", "string", "Use a custom checkpoint storage directory"),
    ]),
    known(&["checkpoint rm", "checkpoint remove"], "[OPTIONS] CONTAINER CHECKPOINT", "Remove a checkpoint", &[
        Flag("checkpoint-dir", "string", "Use a custom checkpoint storage directory"),
    ]),
    known(&["compose bridge"], "[COMMAND]", "Convert compose files into another model", &[]),
    known(&["plugin create"], "[OPTIONS] PLUGIN PLUGIN-DATA-DIR", "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and rootfs directory.", &[
        Flag("compress", "", "Compress the context using gzip"),
    ]),
    known(&["plugin disable"], "[OPTIONS] PLUGIN", "Disable a plugin", &[
        Flag("f,force", "", "Force the disable of an active plugin"),
    ]),
    known(&["plugin enable"], "[OPTIONS] PLUGIN", "Enable a plugin", &[
        Flag("timeout", "int", "HTTP client timeout (in seconds) (default 30)"),
    ]),
    known(&["plugin inspect"], "[OPTIONS] PLUGIN [PLUGIN...]", "Display detailed information on one or more plugins", &[
        Flag("f,format", "string", FORMAT),
    ]),
    known(&["plugin install"], "[OPTIONS] PLUGIN [KEY=VALUE...]", "Install a plugin", &[
        Flag("alias", "string", "Local name for plugin"),
        Flag("disable", "", "Do not enable the plugin on install"),
        Flag("disable-content-trust", "", "Skip image verification (default true)"),
        Flag("grant-all-permissions", "", "Grant all permissions necessary to run the plugin"),
    ]),
    known(&["plugin push"], "[OPTIONS] PLUGIN[:TAG]", "Push a plugin to a registry", &[
        Flag("disable-content-trust", "", "Skip image signing (default true)"),
    ]),
    known(&["plugin rm", "plugin remove"], "[OPTIONS] PLUGIN [PLUGIN...]", "Remove one or more plugins", &[
        Flag("f,force", "", "Force the removal of an active plugin"),
    ]),
    known(&["plugin set"], "PLUGIN KEY=VALUE [KEY=VALUE...]", "Change settings for a plugin", &[]),
    known(&["plugin upgrade"], "[OPTIONS] PLUGIN [REMOTE]", "Upgrade an existing plugin", &[
        Flag("disable-content-trust", "", "Skip image verification (default true)"),
        Flag("grant-all-permissions", "", "Grant all permissions necessary to run the plugin"),
        Flag("skip-remote-check", "", "Do not check if specified remote plugin matches existing plugin image"),
    ]),
    known(&["trust inspect"], "IMAGE[:TAG] [IMAGE[:TAG]...]", "Return low-level information about keys and signatures", &[
        Flag("pretty", "", "Print the information in a human friendly format"),
    ]),
    known(&["trust key generate"], "NAME", "Generate and load a signing key-pair", &[
        Flag("dir", "string", "Directory to generate key in, defaults to current directory"),
    ]),
    known(&["trust key load"], "[OPTIONS] KEYFILE", "Load a private key file for signing", &[
        Flag("name", "string", "Name for the loaded key (default \"signer\")"),
    ]),
    known(&["trust revoke"], "[OPTIONS] IMAGE[:TAG]", "Remove trust for an image", &[
        Flag("y,yes", "", "Do not prompt for confirmation"),
    ]),
    known(&["trust sign"], "IMAGE:TAG", "Sign an image", &[
        Flag("local", "", "Sign a locally tagged image"),
    ]),
    known(&["trust signer add"], "OPTIONS NAME REPOSITORY [REPOSITORY...] ", "Add a signer", &[
        Flag("key", "list", "Path to the signer's public key file"),
    ]),
    known(&["trust signer remove"], "[OPTIONS] NAME REPOSITORY [REPOSITORY...]", "Remove a signer", &[
        Flag("f,force", "", "Do not prompt for confirmation before removing the most recent signer"),
    ]),
];
