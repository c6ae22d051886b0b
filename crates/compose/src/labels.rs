//! The labels by which containers, networks and volumes are told to be a project's. They are those
//! of Docker's Compose, so that what one of the two programs makes the other manages.

pub(crate) const PROJECT: &str = "com.docker.compose.project";
pub(crate) const SERVICE: &str = "com.docker.compose.service";
pub(crate) const NUMBER: &str = "com.docker.compose.container-number";
pub(crate) const ONE_OFF: &str = "com.docker.compose.oneoff";
pub(crate) const HASH: &str = "com.docker.compose.config-hash";
pub(crate) const FILES: &str = "com.docker.compose.project.config_files";
pub(crate) const DIRECTORY: &str = "com.docker.compose.project.working_dir";
pub(crate) const ENV_FILES: &str = "com.docker.compose.project.environment_file";
/// Hull's own: which dependencies need not come; the engine heeds it when it starts.
pub(crate) const OPTIONAL: &str = "hull.depends_on.optional";
pub(crate) const IMAGE: &str = "com.docker.compose.image";
pub(crate) const DEPENDENCIES: &str = "com.docker.compose.depends_on";
pub(crate) const VERSION: &str = "com.docker.compose.version";
pub(crate) const NETWORK: &str = "com.docker.compose.network";
pub(crate) const VOLUME: &str = "com.docker.compose.volume";
pub(crate) const REPLACE: &str = "com.docker.compose.replace";
pub(crate) const SLUG: &str = "com.docker.compose.slug";

/// The version of Docker's Compose whose labels, names and hashes these are.
pub const COMPOSE_VERSION: &str = "2.40.3";
