//! Networks.

use http::StatusCode;
use hull_api::{
    Filters,
    filters::FilterError,
    types::{NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect, NetworkPrune},
    version::Feature,
};
use hull_engine::Engine;
use hull_network::Network;

use super::select;
use crate::{
    convert::{self, network as to_wire},
    http::{
        answer::{Failure, Outcome, done, empty, json, json_with},
        request::Request,
    },
};

/// Names that always mean something.
const PREDEFINED: [&str; 4] = ["default", "bridge", "host", "none"];

const FILTERS: &[&str] = &["dangling", "driver", "id", "label", "name", "scope", "type"];

pub(super) fn list(request: &Request) -> Outcome {
    let filters = request.filters(FILTERS)?;
    let engine = &request.app.engine;
    let names = select::name_patterns(&filters)?;
    let is_named = |network: &Network| {
        names.is_empty() || names.iter().any(|name| name.is_match(&network.name))
    };
    let mut list = Vec::new();
    for network in engine.networks() {
        if is_named(&network) && passes(engine, &network, &filters)? {
            list.push(to_wire::to_wire(network, None));
        }
    }
    Ok(json(&list))
}

fn passes(engine: &Engine, network: &Network, filters: &Filters) -> Result<bool, FilterError> {
    let kind = filters.values("type").map(|kind| match kind {
        "builtin" => Ok(network.is_predefined()),
        "custom" => Ok(!network.is_predefined()),
        other => Err(FilterError::InvalidValue {
            key: "type".into(),
            value: other.into(),
        }),
    });
    let kinds = kind.collect::<Result<Vec<_>, _>>()?;
    let unused = || !network.is_predefined() && engine.endpoints_of(network).is_empty();
    let dangling = !filters.contains("dangling") || filters.flag("dangling", false)? == unused();
    let any = |key: &str, fits: &dyn Fn(&str) -> bool| {
        !filters.contains(key) || filters.values(key).any(fits)
    };
    Ok(dangling
        && (kinds.is_empty() || kinds.contains(&true))
        && any("driver", &|driver| network.driver_name() == driver)
        && any("id", &|id| network.id.contains(id))
        && any("scope", &|scope| scope == "local")
        && select::labels_match(filters, &network.labels))
}

pub(super) fn inspect(request: &Request) -> Outcome {
    let engine = &request.app.engine;
    let network = engine.network(request.name())?;
    if !matches!(request.query.text("scope"), "" | "local") {
        let text = format!("network {} not found", request.name());
        return Err(Failure::new(StatusCode::NOT_FOUND, text));
    }
    let endpoints = engine.endpoints_of(&network);
    let usage = engine.network_usage(&network);
    let mut wire = to_wire::to_wire(network, Some(&endpoints));
    if request.version.has(Feature::NetworkStatus) {
        wire.status = Some(to_wire::status(&usage));
    }
    Ok(json(&wire))
}

pub(super) async fn create(mut request: Request) -> Outcome {
    let body: NetworkCreate = request.json_or_default().await?;
    if PREDEFINED.contains(&body.name.as_str()) {
        let text = format!(
            "operation is not permitted on predefined {} network",
            body.name
        );
        return Err(Failure::new(StatusCode::FORBIDDEN, text));
    }
    let wanted = to_wire::order(body)?;
    let made = request.app.engine.network_create(wanted).await?;
    let body = NetworkCreated {
        id: made.id,
        warning: String::new(),
    };
    Ok(json_with(StatusCode::CREATED, &body))
}

pub(super) async fn remove(request: Request) -> Outcome {
    request.app.engine.network_remove(request.name()).await?;
    Ok(done())
}

pub(super) async fn connect(mut request: Request) -> Outcome {
    let body: NetworkConnect = request.json_or_default().await?;
    let config = to_wire::endpoint(body.endpoint_config.unwrap_or_default())?;
    let engine = &request.app.engine;
    engine
        .network_connect(request.name(), &body.container, config)
        .await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn disconnect(mut request: Request) -> Outcome {
    let body: NetworkDisconnect = request.json_or_default().await?;
    let engine = &request.app.engine;
    engine
        .network_disconnect(request.name(), &body.container)
        .await?;
    Ok(empty(StatusCode::OK))
}

pub(super) async fn prune(request: Request) -> Outcome {
    let filters = request.filters(&["label", "label!", "until"])?;
    let until = select::until(&filters)?;
    let engine = &request.app.engine;
    let mut deleted = Vec::new();
    for network in engine.networks() {
        let old = until.is_none_or(|until| {
            i64::try_from(network.created_at).is_ok_and(|created| created < until.as_second())
        });
        // Mere settings are used by no container, and kept.
        let goes = !network.is_predefined() && !network.config_only;
        let unused = goes && !used(engine, &network);
        if old && unused && select::labels_match(&filters, &network.labels) {
            // One that is taken into use at this moment stays.
            if engine.network_remove(&network.id).await.is_ok() {
                deleted.push(network.name);
            }
        }
    }
    engine.say_pruned("network", 0);
    Ok(json(&NetworkPrune {
        networks_deleted: convert::null_if_empty(deleted),
    }))
}

/// Whether a container is on it, running or not.
fn used(engine: &Engine, network: &Network) -> bool {
    engine.containers().iter().any(|record| {
        let find = convert::inspect::finder(engine);
        to_wire::endpoints(record, &find)
            .values()
            .any(|place| place.network_id == network.id)
    })
}
