//! The keys of a service.

use super::super::short;
use super::{Field, Identity, Kind, Merge, ONE_OR_MANY, Object, SCALARS, Shown, TEXTS, f, object};

/// What a service says to Hull alone.
static OWN: Object = object(&[f("update", Kind::Enum(&["rolling", "recreate"]))]);

/// A service.
pub(crate) static SERVICE: Object = object(&[
    f("profiles", TEXTS).unique(Identity::Whole),
    f("annotations", Kind::Pairs).merged(Merge::Sequence),
    f("attach", Kind::Bool).shown(Shown::Present),
    f("build", Kind::Short(short::build, &Kind::Object(&BUILD))),
    f("develop", Kind::Optional(&Kind::Object(&DEVELOP))),
    f("blkio_config", Kind::Object(&BLKIO)),
    f("cap_add", TEXTS).unique(Identity::Whole),
    f("cap_drop", TEXTS).unique(Identity::Whole),
    f("cgroup_parent", Kind::Text),
    f("cgroup", Kind::Enum(&["host", "private"])),
    f("cpu_count", Kind::Int),
    f("cpu_percent", Kind::Float),
    f("cpu_period", Kind::Int),
    f("cpu_quota", Kind::Int),
    f("cpu_rt_period", Kind::Int),
    f("cpu_rt_runtime", Kind::Int),
    f("cpus", Kind::Float),
    f("cpuset", Kind::Text),
    f("cpu_shares", Kind::Int),
    f("command", Kind::Command)
        .replaced()
        .shown(Shown::JsonNull),
    f(
        "configs",
        Kind::List(&Kind::Short(
            short::file_reference,
            &Kind::Object(&FILE_REFERENCE),
        )),
    )
    .unique(Identity::Target),
    f("container_name", Kind::Text),
    f("credential_spec", Kind::Object(&CREDENTIAL_SPEC)),
    f(
        "depends_on",
        Kind::Short(short::depends_on, &Kind::Named(&Kind::Object(&DEPENDENCY))),
    ),
    f("deploy", Kind::Optional(&Kind::Object(&DEPLOY))),
    f("device_cgroup_rules", TEXTS),
    f(
        "devices",
        Kind::List(&Kind::Short(short::device, &Kind::Object(&DEVICE))),
    )
    .unique(Identity::Target),
    f("dns", ONE_OR_MANY).unique(Identity::Whole),
    f("dns_opt", TEXTS).unique(Identity::Whole),
    f("dns_search", ONE_OR_MANY).unique(Identity::Whole),
    f("domainname", Kind::Text),
    f("entrypoint", Kind::Command)
        .replaced()
        .shown(Shown::JsonNull),
    f("provider", Kind::Object(&PROVIDER)).replaced(),
    f("environment", Kind::Variables).merged(Merge::Sequence),
    f(
        "env_file",
        Kind::Short(short::env_file, &Kind::List(&Kind::Object(&ENV_FILE))),
    )
    .unique(Identity::Path),
    f("expose", SCALARS).unique(Identity::Whole),
    f(
        "extends",
        Kind::Short(short::extends, &Kind::Object(&EXTENDS)),
    )
    .replaced(),
    f("external_links", TEXTS),
    f("extra_hosts", Kind::Short(short::extra_hosts, &TEXTS)).merged(Merge::Sequence),
    f("group_add", SCALARS),
    f(
        "gpus",
        Kind::Short(
            short::gpus,
            &Kind::List(&Kind::Short(
                short::device_request,
                &Kind::Object(&DEVICE_REQUEST),
            )),
        ),
    ),
    f("hostname", Kind::Text),
    f("healthcheck", Kind::Object(&HEALTHCHECK)),
    f("image", Kind::Text),
    f("init", Kind::Bool).shown(Shown::Present),
    f("ipc", Kind::Text),
    f("isolation", Kind::Text),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("label_file", ONE_OR_MANY),
    f("links", TEXTS).unique(Identity::Whole),
    f("logging", Kind::Object(&LOGGING)).merged(Merge::Logging),
    f("mem_limit", Kind::Bytes),
    f("mem_reservation", Kind::Bytes),
    f("memswap_limit", Kind::Bytes),
    f("mem_swappiness", Kind::Bytes),
    f("mac_address", Kind::Text),
    f(
        "models",
        Kind::Short(
            short::names,
            &Kind::Named(&Kind::Optional(&Kind::Object(&SERVICE_MODEL))),
        ),
    ),
    f("network_mode", Kind::Text),
    f(
        "networks",
        Kind::Short(
            short::names,
            &Kind::Named(&Kind::Optional(&Kind::Object(&SERVICE_NETWORK))),
        ),
    ),
    f("oom_kill_disable", Kind::Bool),
    f("oom_score_adj", Kind::Int),
    f("pid", Kind::Optional(&Kind::Text)),
    f("pids_limit", Kind::Int),
    f("platform", Kind::Text),
    f(
        "ports",
        Kind::Short(short::ports, &Kind::List(&Kind::Object(&PORT))),
    )
    .unique(Identity::Port),
    f("privileged", Kind::Bool),
    f("pull_policy", Kind::Text),
    f("pull_refresh_after", Kind::Text),
    f("read_only", Kind::Bool),
    f("restart", Kind::Text),
    f("runtime", Kind::Text),
    f("scale", Kind::Int).shown(Shown::Present),
    f(
        "secrets",
        Kind::List(&Kind::Short(
            short::file_reference,
            &Kind::Object(&FILE_REFERENCE),
        )),
    )
    .unique(Identity::Target),
    f("security_opt", TEXTS),
    f("shm_size", Kind::Bytes),
    f("stdin_open", Kind::Bool),
    f("stop_grace_period", Kind::Duration).shown(Shown::Present),
    f("stop_signal", Kind::Text),
    f("storage_opt", Kind::Pairs),
    f("sysctls", Kind::Pairs).merged(Merge::Sequence),
    f("tmpfs", ONE_OR_MANY).unique(Identity::Whole),
    f("tty", Kind::Bool),
    f("ulimits", ULIMITS).merged(Merge::EachReplaced),
    f("use_api_socket", Kind::Bool),
    f("user", Kind::Text),
    f("userns_mode", Kind::Text),
    f("uts", Kind::Text),
    f(
        "volumes",
        Kind::List(&Kind::Short(short::volume, &Kind::Object(&MOUNT))),
    )
    .unique(Identity::Target),
    f("volumes_from", TEXTS),
    f("working_dir", Kind::Text),
    f("pre_start", Kind::List(&Kind::Object(&PREPARATION))),
    f("post_start", Kind::List(&Kind::Object(&HOOK))),
    f("pre_stop", Kind::List(&Kind::Object(&HOOK))),
])
.with_own(&OWN);

const ULIMITS: Kind = Kind::Named(&Kind::Short(short::ulimit, &Kind::Object(&ULIMIT)));

static BUILD: Object = object(&[
    f("context", Kind::Text),
    f("dockerfile", Kind::Text),
    f("dockerfile_inline", Kind::Text),
    f("entitlements", TEXTS),
    f("args", Kind::Variables).merged(Merge::Sequence),
    f("provenance", Kind::Scalar),
    f("sbom", Kind::Scalar),
    f("ssh", Kind::Short(short::ssh, &TEXTS)),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("cache_from", TEXTS),
    f("cache_to", TEXTS),
    f("no_cache", Kind::Bool),
    f("no_cache_filter", ONE_OR_MANY),
    f("additional_contexts", Kind::Pairs),
    f("pull", Kind::Bool),
    f("extra_hosts", Kind::Short(short::extra_hosts, &TEXTS)).merged(Merge::Sequence),
    f("isolation", Kind::Text),
    f("network", Kind::Text),
    f("target", Kind::Text),
    f(
        "secrets",
        Kind::List(&Kind::Short(
            short::file_reference,
            &Kind::Object(&FILE_REFERENCE),
        )),
    )
    .unique(Identity::Target),
    f("shm_size", Kind::Bytes),
    f("tags", TEXTS).unique(Identity::Whole),
    f("ulimits", ULIMITS).merged(Merge::EachReplaced),
    f("platforms", TEXTS).unique(Identity::Whole),
    f("privileged", Kind::Bool),
]);

static DEVELOP: Object = object(&[f("watch", Kind::List(&Kind::Object(&WATCH)))]);

static WATCH: Object = object(&[
    f("path", Kind::Text).required(),
    f(
        "action",
        Kind::Enum(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
    )
    .required(),
    f("target", Kind::Text),
    f("exec", Kind::Object(&HOOK)).shown(Shown::JsonHook),
    f("include", ONE_OR_MANY),
    f("ignore", ONE_OR_MANY),
    f("initial_sync", Kind::Bool),
]);

const HOOK_FIELDS: &[Field] = &[
    f("command", Kind::Command)
        .required()
        .shown(Shown::JsonNull),
    f("user", Kind::Text),
    f("privileged", Kind::Bool),
    f("working_dir", Kind::Text),
    f("environment", Kind::Variables).merged(Merge::Sequence),
];

static HOOK: Object = object(HOOK_FIELDS);

static PREPARATION: Object = object(&[
    f("command", Kind::Command),
    f("image", Kind::Text),
    f("user", Kind::Text),
    f("privileged", Kind::Bool),
    f("working_dir", Kind::Text),
    f("environment", Kind::Variables).merged(Merge::Sequence),
    f("per_replica", Kind::Bool),
]);

static BLKIO: Object = object(&[
    f("weight", Kind::Int),
    f("weight_device", Kind::List(&Kind::Object(&WEIGHT_DEVICE))),
    f("device_read_bps", Kind::List(&Kind::Object(&THROTTLE))),
    f("device_read_iops", Kind::List(&Kind::Object(&THROTTLE))),
    f("device_write_bps", Kind::List(&Kind::Object(&THROTTLE))),
    f("device_write_iops", Kind::List(&Kind::Object(&THROTTLE))),
]);

static WEIGHT_DEVICE: Object = Object {
    fields: &[
        f("path", Kind::Text).shown(Shown::Always),
        f("weight", Kind::Int).shown(Shown::Always),
    ],
    json_capital: true,
    own: None,
};

static THROTTLE: Object = Object {
    fields: &[
        f("path", Kind::Text).shown(Shown::Always),
        f("rate", Kind::Bytes).shown(Shown::Always),
    ],
    json_capital: true,
    own: None,
};

static FILE_REFERENCE: Object = object(&[
    f("source", Kind::Text),
    f("target", Kind::Text),
    f("uid", Kind::Text),
    f("gid", Kind::Text),
    f("mode", Kind::Mode),
]);

static CREDENTIAL_SPEC: Object = object(&[
    f("config", Kind::Text),
    f("file", Kind::Text),
    f("registry", Kind::Text),
]);

static DEPENDENCY: Object = object(&[
    f(
        "condition",
        Kind::Enum(&[
            "service_started",
            "service_healthy",
            "service_completed_successfully",
        ]),
    )
    .required(),
    f("restart", Kind::Bool),
    f("required", Kind::Bool).shown(Shown::Always),
]);

static DEPLOY: Object = object(&[
    f("mode", Kind::Text),
    f("replicas", Kind::Int).shown(Shown::Present),
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("update_config", Kind::Object(&UPDATE)),
    f("rollback_config", Kind::Object(&UPDATE)),
    f("resources", Kind::Object(&RESOURCES)).shown(Shown::JsonEmpty),
    f("restart_policy", Kind::Object(&RESTART_POLICY)),
    f("placement", Kind::Object(&PLACEMENT)).shown(Shown::JsonEmpty),
    f("endpoint_mode", Kind::Text),
]);

static UPDATE: Object = object(&[
    f("parallelism", Kind::Int).shown(Shown::Present),
    f("delay", Kind::Duration),
    f(
        "failure_action",
        Kind::Enum(&["continue", "pause", "rollback"]),
    ),
    f("monitor", Kind::Duration),
    f("max_failure_ratio", Kind::Float),
    f("order", Kind::Enum(&["start-first", "stop-first"])),
]);

static RESOURCES: Object = object(&[
    f("limits", Kind::Object(&LIMITS)),
    f("reservations", Kind::Object(&RESERVATIONS)),
]);

static LIMITS: Object = object(&[
    f("cpus", Kind::Float),
    f("memory", Kind::Bytes),
    f("pids", Kind::Int),
]);

static RESERVATIONS: Object = object(&[
    f("cpus", Kind::Float),
    f("memory", Kind::Bytes),
    f(
        "devices",
        Kind::List(&Kind::Short(
            short::device_request,
            &Kind::Object(&DEVICE_REQUEST),
        )),
    ),
    f("generic_resources", Kind::List(&Kind::Object(&GENERIC))),
]);

static GENERIC: Object = object(&[f("discrete_resource_spec", Kind::Object(&DISCRETE))]);

static DISCRETE: Object = object(&[
    f("kind", Kind::Text).shown(Shown::Always),
    f("value", Kind::Int).shown(Shown::Always),
]);

static RESTART_POLICY: Object = object(&[
    f("condition", Kind::Text),
    f("delay", Kind::Duration).shown(Shown::Present),
    f("max_attempts", Kind::Int).shown(Shown::Present),
    f("window", Kind::Duration).shown(Shown::Present),
]);

static PLACEMENT: Object = object(&[
    f("constraints", TEXTS),
    f("preferences", Kind::List(&Kind::Object(&PREFERENCE))),
    f("max_replicas_per_node", Kind::Int),
]);

static PREFERENCE: Object = object(&[f("spread", Kind::Text)]);

static DEVICE: Object = object(&[
    f("source", Kind::Text).required(),
    f("target", Kind::Text),
    f("permissions", Kind::Text),
]);

static DEVICE_REQUEST: Object = object(&[
    f("capabilities", TEXTS),
    f("driver", Kind::Text),
    f("count", Kind::Int),
    f("device_ids", TEXTS),
    f("options", Kind::Pairs),
]);

static PROVIDER: Object = object(&[
    f("type", Kind::Text).required(),
    f("options", Kind::Named(&Kind::Anything)),
]);

static ENV_FILE: Object = object(&[
    f("path", Kind::Text).required(),
    f("required", Kind::Bool).shown(Shown::Present),
    f("format", Kind::Text),
]);

static EXTENDS: Object = object(&[f("file", Kind::Text), f("service", Kind::Text).required()]);

static HEALTHCHECK: Object = object(&[
    f("test", Kind::Short(short::health_test, &TEXTS)).replaced(),
    f("timeout", Kind::Duration).shown(Shown::Present),
    f("interval", Kind::Duration).shown(Shown::Present),
    f("retries", Kind::Int).shown(Shown::Present),
    f("start_period", Kind::Duration).shown(Shown::Present),
    f("start_interval", Kind::Duration).shown(Shown::Present),
    f("disable", Kind::Bool),
]);

static LOGGING: Object = object(&[f("driver", Kind::Text), f("options", Kind::Pairs)]);

static SERVICE_MODEL: Object = object(&[f("endpoint_var", Kind::Text), f("model_var", Kind::Text)]);

static SERVICE_NETWORK: Object = object(&[
    f("aliases", TEXTS).unique(Identity::Whole),
    f("driver_opts", Kind::Pairs),
    f("gw_priority", Kind::Int),
    f("interface_name", Kind::Text),
    f("ipv4_address", Kind::Text),
    f("ipv6_address", Kind::Text),
    f("link_local_ips", TEXTS).unique(Identity::Whole),
    f("mac_address", Kind::Text),
    f("priority", Kind::Int),
]);

static PORT: Object = object(&[
    f("name", Kind::Text),
    f("mode", Kind::Text),
    f("host_ip", Kind::Text),
    f("target", Kind::Int),
    f("published", Kind::Scalar),
    f("protocol", Kind::Text),
    f("app_protocol", Kind::Text),
]);

static ULIMIT: Object = object(&[
    f("soft", Kind::Int).required().shown(Shown::Always),
    f("hard", Kind::Int).required().shown(Shown::Always),
]);

static MOUNT: Object = object(&[
    f(
        "type",
        Kind::Enum(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
    )
    .required(),
    f("source", Kind::Text),
    f("target", Kind::Text),
    f("read_only", Kind::Bool),
    f("consistency", Kind::Text),
    f("bind", Kind::Object(&BIND)).shown(Shown::Present),
    f("volume", Kind::Object(&VOLUME_OPTIONS)).shown(Shown::Present),
    f("tmpfs", Kind::Object(&TMPFS)).shown(Shown::Present),
    f("image", Kind::Object(&IMAGE)).shown(Shown::Present),
]);

static BIND: Object = object(&[
    f("selinux", Kind::Enum(&["z", "Z"])),
    f("propagation", Kind::Text),
    f("create_host_path", Kind::Bool),
    f(
        "recursive",
        Kind::Enum(&["enabled", "disabled", "writable", "readonly"]),
    ),
]);

static VOLUME_OPTIONS: Object = object(&[
    f("labels", Kind::Pairs).merged(Merge::Sequence),
    f("nocopy", Kind::Bool),
    f("subpath", Kind::Text),
]);

static TMPFS: Object = object(&[f("size", Kind::Bytes), f("mode", Kind::Int)]);

static IMAGE: Object = object(&[f("subpath", Kind::Text)]);
