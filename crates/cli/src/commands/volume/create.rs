//! `volume create`

use hull_api::types::VolumeCreate;

use crate::commands::{About, Call, Command, Operands};
use crate::connection::{connect, failure};
use crate::error::{Error, Result};
use crate::flags::{FlagSet, List, Map, One};
use crate::options::environment::{self, Label};
use crate::options::number::Bytes;
use crate::ui;

#[derive(Default)]
pub(crate) struct Create {
    driver: Option<String>,
    labels: List<Label>,
    options: Map,
    cluster: ClusterFlags,
    name: String,
}

/// What only the volumes of a swarm have.
#[derive(Default)]
struct ClusterFlags {
    availability: String,
    group: String,
    limit: One<Bytes>,
    required: One<Bytes>,
    scope: String,
    secrets: Map,
    sharing: String,
    preferred: Vec<String>,
    requisite: Vec<String>,
    kind: String,
}

const CLUSTER: [&str; 10] = [
    "availability",
    "group",
    "limit-bytes",
    "required-bytes",
    "scope",
    "secret",
    "sharing",
    "topology-preferred",
    "topology-required",
    "type",
];

impl Command for Create {
    const ABOUT: About = About::new(
        &["volume create"],
        "[OPTIONS] [VOLUME]",
        "Create a volume",
        Operands::AtMost(1),
    );

    #[rustfmt::skip]
    fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("d,driver", "string", "Specify volume driver name (default \"local\")", &mut self.driver);
        set.add("label", "list", "Set metadata for a volume", &mut self.labels);
        set.add("o,opt", "map", "Set driver specific options (default map[])", &mut self.options);
        let cluster = &mut self.cluster;
        set.add("availability", "string", "Cluster Volume availability (\"active\", \"pause\", \"drain\") (default \"active\")", &mut cluster.availability);
        set.add("group", "string", "Cluster Volume group (cluster volumes)", &mut cluster.group);
        set.add("limit-bytes", "bytes", "Minimum size of the Cluster Volume in bytes", &mut cluster.limit);
        set.add("required-bytes", "bytes", "Maximum size of the Cluster Volume in bytes", &mut cluster.required);
        set.add("scope", "string", "Cluster Volume access scope (\"single\", \"multi\") (default \"single\")", &mut cluster.scope);
        set.add("secret", "map", "Cluster Volume secrets (default map[])", &mut cluster.secrets);
        set.add("sharing", "string", "Cluster Volume access sharing (\"none\", \"readonly\", \"onewriter\", \"all\") (default \"none\")", &mut cluster.sharing);
        set.add("topology-preferred", "list", "A topology that the Cluster Volume would be preferred in", &mut cluster.preferred);
        set.add("topology-required", "list", "A topology that the Cluster Volume must be accessible from", &mut cluster.requisite);
        set.add("type", "string", "Cluster Volume access type (\"mount\", \"block\") (default \"block\")", &mut cluster.kind);
        set.hide(&CLUSTER);
        // The operand, as it was given before.
        set.hidden("name", "string", &mut self.name);
    }

    async fn run(self, call: Call) -> Result<u8> {
        if CLUSTER.iter().any(|flag| call.has(flag)) {
            return Err(Error::new("cluster volumes are not available in Hull yet"));
        }
        let name = match (self.name.as_str(), call.operand(0)) {
            ("", name) => name,
            (name, "") => name,
            _ => {
                return Err(Error::new(
                    "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
                ));
            }
        };
        let body = VolumeCreate {
            name: name.to_owned(),
            driver: self.driver.unwrap_or_else(|| "local".to_owned()),
            driver_opts: self.options.0,
            labels: environment::labels(&[], &self.labels.0)?,
        };
        let client = connect(&call.globals).await?;
        let volume = client.volume_create(&body).await.map_err(failure)?;
        ui::line(&volume.name)?;
        Ok(0)
    }
}
