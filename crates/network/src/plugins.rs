//! Programs of others that make networks, or give addresses: Docker's protocol for them. Who talks to
//! them, and how long they may take, is the caller's affair.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Error;

/// What a plugin is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginKind {
    /// It makes networks.
    Network,
    /// It gives addresses.
    Ipam,
}

impl PluginKind {
    /// The protocol's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "NetworkDriver",
            Self::Ipam => "IpamDriver",
        }
    }
}

/// Why a plugin did not do what was asked.
#[derive(Debug)]
pub enum PluginError {
    /// There is none of that name.
    NotFound,
    /// It refused, was silent, or talked nonsense.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

/// The way to plugins.
pub trait Plugins: fmt::Debug + Send + Sync {
    /// Asks a plugin of a kind one question, and waits no longer than its deadline.
    fn ask(
        &self,
        name: &str,
        kind: PluginKind,
        question: &'static str,
        body: &Value,
    ) -> Result<Value, PluginError>;
}

/// A plugin, for as long as one thing takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plugin<'a> {
    pub(crate) way: &'a dyn Plugins,
    pub(crate) name: &'a str,
    pub(crate) kind: PluginKind,
}

impl Plugin<'_> {
    /// Asks one question.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        question: &'static str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let failed = |source| Error::Plugin {
            plugin: self.name.to_owned(),
            question,
            source,
        };
        let body = serde_json::to_value(body).map_err(|error| failed(error.into()))?;
        let answer = self.way.ask(self.name, self.kind, question, &body);
        let answer = answer.map_err(|error| match error {
            PluginError::NotFound => Error::UnknownDriver(self.name.to_owned()),
            PluginError::Failed(source) => failed(source),
        })?;
        serde_json::from_value(answer).map_err(|error| failed(error.into()))
    }
}

// ---- questions and answers ----------------------------------------------------------------------

/// An answer that says nothing but that it is done.
#[derive(Debug, Deserialize)]
pub(crate) struct Done {}

#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateNetwork<'a> {
    #[serde(rename = "NetworkID")]
    pub(crate) network_id: &'a str,
    pub(crate) options: Value,
    #[serde(rename = "IPv4Data")]
    pub(crate) ipv4_data: Vec<IpamData>,
    #[serde(rename = "IPv6Data")]
    pub(crate) ipv6_data: Vec<IpamData>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IpamData {
    pub(crate) address_space: String,
    pub(crate) pool: IpNet,
    pub(crate) gateway: IpNet,
    pub(crate) aux_addresses: std::collections::BTreeMap<String, IpNet>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfNetwork<'a> {
    #[serde(rename = "NetworkID")]
    pub(crate) network_id: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfEndpoint<'a> {
    #[serde(rename = "NetworkID")]
    pub(crate) network_id: &'a str,
    #[serde(rename = "EndpointID")]
    pub(crate) endpoint_id: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct CreateEndpoint<'a> {
    #[serde(flatten)]
    pub(crate) of: OfEndpoint<'a>,
    #[serde(rename = "Interface")]
    pub(crate) interface: Interface,
    #[serde(rename = "Options")]
    pub(crate) options: &'a std::collections::BTreeMap<String, String>,
}

/// What is known of an interface; empty: the other side may choose.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Interface {
    #[serde(rename = "Address")]
    pub(crate) address: String,
    #[serde(rename = "AddressIPv6")]
    pub(crate) address_v6: String,
    #[serde(rename = "MacAddress")]
    pub(crate) mac: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct CreatedEndpoint {
    pub(crate) interface: Option<Interface>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Join<'a> {
    #[serde(flatten)]
    pub(crate) of: OfEndpoint<'a>,
    #[serde(rename = "SandboxKey")]
    pub(crate) sandbox_key: String,
    #[serde(rename = "Options")]
    pub(crate) options: &'a std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Joined {
    pub(crate) interface_name: Option<InterfaceName>,
    pub(crate) gateway: String,
    #[serde(rename = "GatewayIPv6")]
    pub(crate) gateway_v6: String,
    pub(crate) static_routes: Option<Vec<StaticRoute>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InterfaceName {
    /// On the host.
    pub(crate) src_name: String,
    /// The beginning of its name inside.
    pub(crate) dst_prefix: String,
    /// Its whole name inside.
    pub(crate) dst_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct StaticRoute {
    pub(crate) destination: String,
    /// 0: by a neighbour, 1: on the link.
    pub(crate) route_type: i64,
    pub(crate) next_hop: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct AddressSpaces {
    pub(crate) local_default_address_space: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RequestPool<'a> {
    pub(crate) address_space: &'a str,
    pub(crate) pool: String,
    pub(crate) sub_pool: String,
    pub(crate) options: &'a std::collections::BTreeMap<String, String>,
    pub(crate) v6: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pool {
    #[serde(rename = "PoolID")]
    pub(crate) id: String,
    #[serde(rename = "Pool")]
    pub(crate) range: String,
    /// May name a gateway already.
    #[serde(rename = "Data")]
    pub(crate) data: Option<std::collections::BTreeMap<String, String>>,
}

#[derive(Debug, Serialize)]
pub(crate) struct OfPool<'a> {
    #[serde(rename = "PoolID")]
    pub(crate) id: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct RequestAddress<'a> {
    #[serde(flatten)]
    pub(crate) of: OfPool<'a>,
    #[serde(rename = "Address")]
    pub(crate) address: String,
    #[serde(rename = "Options")]
    pub(crate) options: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Address {
    /// With the length of its subnet.
    pub(crate) address: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct ReleaseAddress<'a> {
    #[serde(flatten)]
    pub(crate) of: OfPool<'a>,
    #[serde(rename = "Address")]
    pub(crate) address: IpAddr,
}
