//! What can go wrong with networks.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use hull_sys::netlink;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No network has that id or name.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// The name is taken.
    #[error("network with name {0} already exists")]
    NameTaken(String),
    /// It belongs to the daemon.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// Containers are connected.
    #[error("network {name} has active endpoints ({endpoints})")]
    InUse {
        /// Which network.
        name: String,
        /// The containers' names.
        endpoints: String,
    },
    /// Not among the drivers.
    #[error("could not find plugin {0}: no network driver has that name")]
    UnknownDriver(String),
    /// The driver cannot do that.
    #[error("network {network} does not support {what}")]
    Unsupported {
        /// Which network.
        network: String,
        /// What was asked.
        what: &'static str,
    },
    /// A subnet, gateway or option is wrong.
    #[error("invalid {what}: {value}")]
    Invalid {
        /// What it is meant to be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// It is no place for settings.
    #[error("{0:?} is not a configuration network")]
    NoConfiguration(String),
    /// It has settings of its own besides.
    #[error(
        "user specified configurations are not supported if the network depends on a configuration \
         network: leave {0} away"
    )]
    OwnConfiguration(&'static str),
    /// Networks have its settings.
    #[error("configuration network {name:?} is in use by network {user:?}")]
    ConfigurationInUse {
        /// Its name.
        name: String,
        /// One of them.
        user: String,
    },
    /// Another network shares the interface.
    #[error("network {network} is already using parent interface {parent}")]
    ParentTaken {
        /// The host's interface.
        parent: String,
        /// Whose it is.
        network: String,
    },
    /// All pools are in use.
    #[error(
        "all predefined address pools have been fully subnetted: remove unused networks, or add \
         pools with --default-address-pool"
    )]
    NoFreeSubnet,
    /// Two of a family are more than a bridge can have.
    #[error(
        "bridge driver doesn't support multiple subnets: {0} is one too many of its family, make a \
         network of its own for it"
    )]
    ManySubnets(ipnet::IpNet),
    /// It overlaps another network or a route of the host.
    #[error(
        "invalid pool request: subnet {0} overlaps with another one on this address space: choose \
         another, or remove the network that has it"
    )]
    SubnetTaken(ipnet::IpNet),
    /// The network is full.
    #[error(
        "no available addresses on network {0}: remove containers from it, or make one with a \
         larger --subnet"
    )]
    NoFreeAddress(String),
    /// Another endpoint has the address.
    #[error("address already in use: {0}")]
    AddressTaken(IpAddr),
    /// The network does not have that address.
    #[error("no configured subnet contains IP address {0}")]
    AddressOutside(IpAddr),
    /// The port of the host is in use.
    #[error("Bind for {address} failed: port is already allocated")]
    PortTaken {
        /// Which port.
        address: SocketAddr,
        /// Who has it, if that is known.
        holder: Option<String>,
    },
    /// No port of the range is free.
    #[error("all ports are allocated")]
    NoFreePort,
    /// The host cannot listen there.
    #[error("failed to bind host port {address}")]
    Port {
        /// Which port.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A plugin did not do what was asked.
    #[error("plugin {plugin:?}: {question}")]
    Plugin {
        /// Its name.
        plugin: String,
        /// `NetworkDriver.Join`.
        question: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The kernel refused a change.
    #[error("cannot {action}")]
    Kernel {
        /// What was attempted.
        action: String,
        /// Why.
        #[source]
        source: netlink::Error,
    },
    /// A file or namespace failed.
    #[error("cannot {action}")]
    Io {
        /// What was attempted.
        action: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The kinds a caller tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ErrorKind {
    NotFound,
    Conflict,
    Invalid,
    Forbidden,
    System,
}

impl Error {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchNetwork(_) | Self::UnknownDriver(_) => ErrorKind::NotFound,
            Self::NameTaken(_) => ErrorKind::Conflict,
            Self::Predefined(_)
            | Self::InUse { .. }
            | Self::SubnetTaken(_)
            | Self::ManySubnets(_)
            | Self::ParentTaken { .. }
            | Self::NoConfiguration(_)
            | Self::OwnConfiguration(_)
            | Self::ConfigurationInUse { .. }
            | Self::AddressTaken(_) => ErrorKind::Forbidden,
            Self::Invalid { .. } | Self::AddressOutside(_) | Self::Unsupported { .. } => {
                ErrorKind::Invalid
            }
            // Docker answers 500 for what fails while a container starts.
            Self::NoFreeSubnet
            | Self::NoFreeAddress(_)
            | Self::PortTaken { .. }
            | Self::NoFreePort
            | Self::Port { .. }
            | Self::Plugin { .. }
            | Self::Kernel { .. }
            | Self::Io { .. } => ErrorKind::System,
        }
    }

    /// Advice for people.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::PortTaken { address, holder } => {
                let other = address.port().checked_add(1).unwrap_or(8080);
                let advice = format!("choose another host port, for example `-p {other}:…`");
                Some(match holder {
                    Some(holder) => format!("it is held by {holder}; {advice}"),
                    None => advice,
                })
            }
            Self::Port { address, source } if source.kind() == io::ErrorKind::AddrNotAvailable => {
                let ip = address.ip();
                Some(format!(
                    "this host has no address {ip}: leave it out to publish on all it has, or name \
                     one of them"
                ))
            }
            Self::Port { address, source }
                if source.kind() == io::ErrorKind::InvalidInput && address.is_ipv6() =>
            {
                Some("a link-local address is no place to publish: name another".to_owned())
            }
            _ => None,
        }
    }

    pub(crate) fn kernel(action: impl Into<String>) -> impl FnOnce(netlink::Error) -> Self {
        let action = action.into();
        move |source| Self::Kernel { action, source }
    }

    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}
