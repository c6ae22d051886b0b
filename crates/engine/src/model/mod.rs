//! What a container is made of, in Hull's own words.
//!
//! These types are what the engine stores (as versioned JSON records) and what its verbs take and
//! return. They are not the wire: [`hulld`] turns the Engine API's shapes into these and back, so
//! that a change of Docker's wire never reaches a stored record. Text is parsed into them once, at
//! the edge; a value of these types is well-formed, though it may still be refused by a verb (an
//! image that does not exist, a port that is taken).

mod config;
mod host;
mod id;
mod mount;
mod network;
mod resources;

pub use config::{Config, CreateContainer, HealthProbe, Healthcheck};
pub use host::{
    CgroupNamespace, HealthAction, HostConfig, IpcNamespace, LogConfig, NetworkMode, PidNamespace,
    RestartPolicy, UserNamespace, UtsNamespace,
};
pub use id::{ContainerId, ExecId, InvalidName, Name};
pub use mount::{
    BindOptions, IdMap, IdRange, MountSource, MountSpec, Propagation, TmpfsOptions, VolumeOptions,
};
pub use network::{EndpointConfig, PortBinding, PortProtocol, PublishedPort};
pub use resources::{
    DeviceMapping, DeviceRequest, Resources, ThrottleDevice, Ulimit, WeightDevice,
};
