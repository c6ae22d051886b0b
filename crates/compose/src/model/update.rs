//! How a service wants its containers replaced while they run: what `deploy.update_config` and
//! `x-hull.update` mean on a single host. Pure.

use std::time::Duration;

use serde::Deserialize;

use super::Service;
use super::resources::Update;
use crate::words;

/// How long a new container is watched if `update_config` does not say it: as long as in a Swarm.
const MONITOR: Duration = Duration::from_secs(5);

/// The same for what is replaced like this without `update_config`, and has no health check: most of what
/// cannot run ends at once.
const GLANCE: Duration = Duration::from_secs(2);

/// What is Hull's own: `x-hull`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Own {
    /// `rolling`: the old container goes when the new one is well. `recreate`: never that.
    pub(super) update: String,
}

/// What happens when too many of a service's new containers fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// The others stay as they are.
    Pause,
    /// The others are replaced all the same.
    Continue,
    /// Those before come back.
    RollBack,
}

/// How containers are replaced.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manner {
    /// How many at a time; 0: all.
    pub(crate) at_once: usize,
    /// Between one batch and the next.
    pub(crate) delay: Duration,
    /// The new one starts before the old one stops.
    pub(crate) starts_first: bool,
    /// How long a new one must go on.
    pub(crate) monitor: Duration,
    /// The part of them that may fail.
    pub(crate) failures_max: f64,
    pub(crate) on_failure: OnFailure,
}

impl Service {
    /// How its containers are replaced while they run; nothing: all at once, to be started along the
    /// dependencies like any other. `rolling` is the wish for all services.
    pub(crate) fn manner(&self, rolling: bool) -> Option<Manner> {
        let config = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.update_config.as_ref());
        let rolls = match self.own.update.as_str() {
            "rolling" => true,
            "recreate" => return None,
            _ => rolling,
        };
        if config.is_none() && !rolls {
            return None;
        }
        let mut manner = config.map_or_else(|| Manner::of(&Update::default()), Manner::of);
        let said = config.and_then(|config| duration(&config.monitor));
        manner.monitor = said.unwrap_or(match config {
            Some(_) => MONITOR,
            None if self.healthcheck.is_some() => Duration::ZERO,
            None => GLANCE,
        });
        manner.starts_first |= rolls;
        Some(manner)
    }

    /// How its containers come back. They have been well before, so they are not watched for long.
    pub(crate) fn way_back(&self) -> Manner {
        let config = self
            .deploy
            .as_ref()
            .and_then(|deploy| deploy.rollback_config.as_ref());
        config.map_or_else(|| Manner::of(&Update::default()), Manner::of)
    }

    /// An address that only one container can have at a time.
    pub(crate) fn fixed_address(&self) -> Option<&str> {
        let endpoints = self.networks.values().flatten();
        endpoints
            .flat_map(|one| [one.ipv4_address.as_str(), one.ipv6_address.as_str()])
            .find(|address| !address.is_empty())
    }

    /// A port of the host that only one container can have at a time.
    pub(crate) fn fixed_port(&self) -> Option<&str> {
        self.ports
            .iter()
            .map(|port| port.published.as_str())
            .find(|port| !port.is_empty() && *port != "0" && !port.contains('-'))
    }
}

impl Manner {
    fn of(config: &Update) -> Self {
        Self {
            at_once: usize::try_from(config.parallelism.unwrap_or(1)).unwrap_or_default(),
            delay: duration(&config.delay).unwrap_or_default(),
            starts_first: config.order == "start-first",
            monitor: duration(&config.monitor).unwrap_or_default(),
            failures_max: config.max_failure_ratio,
            on_failure: match config.failure_action.as_str() {
                "continue" => OnFailure::Continue,
                "rollback" => OnFailure::RollBack,
                _ => OnFailure::Pause,
            },
        }
    }

    /// How many of so many are replaced at a time.
    pub(crate) fn batch(&self, count: usize) -> usize {
        match self.at_once {
            0 => count.max(1),
            at_once => at_once,
        }
    }

    /// Whether so many failures among so many containers are too many.
    pub(crate) fn is_broken_by(&self, failures: usize, count: usize) -> bool {
        #[expect(
            clippy::cast_precision_loss,
            reason = "nobody has that many containers"
        )]
        let ratio = failures as f64 / count.max(1) as f64;
        failures > 0 && ratio > self.failures_max
    }
}

fn duration(text: &Option<String>) -> Option<Duration> {
    let nanoseconds = words::nanoseconds(text.as_deref()?)?;
    Some(Duration::from_nanos(nanoseconds.max(0).cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Service {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_service_that_says_nothing_is_replaced_at_once() {
        assert_eq!(service("{}").manner(false), None);
        let rolling = service("{}").manner(true).unwrap();
        assert!(rolling.starts_first && rolling.monitor == GLANCE);
        assert_eq!(rolling.batch(3), 1);
        let checked = service(r#"{"healthcheck": {"test": ["CMD", "true"]}}"#);
        assert!(checked.manner(true).unwrap().monitor.is_zero());
    }

    #[test]
    fn x_hull_counts_more_than_the_wish_for_all() {
        let own = service(r#"{"x-hull": {"update": "rolling"}}"#);
        assert!(own.manner(false).unwrap().starts_first);
        let own = service(r#"{"x-hull": {"update": "recreate"}}"#);
        assert_eq!(own.manner(true), None);
    }

    #[test]
    fn update_config_says_how_many_how_long_and_what_if() {
        let text = r#"{"deploy": {"update_config": {"parallelism": 2, "delay": "1m30s", "order":
            "start-first", "failure_action": "rollback", "max_failure_ratio": 0.25}}}"#;
        let manner = service(text).manner(false).unwrap();
        assert_eq!(
            manner,
            Manner {
                at_once: 2,
                delay: Duration::from_secs(90),
                starts_first: true,
                monitor: MONITOR,
                failures_max: 0.25,
                on_failure: OnFailure::RollBack,
            }
        );
        assert!(!manner.is_broken_by(1, 4));
        assert!(manner.is_broken_by(2, 4));
        let all = service(r#"{"deploy": {"update_config": {"parallelism": 0, "monitor": "0s"}}}"#);
        let all = all.manner(false).unwrap();
        assert_eq!((all.batch(7), all.monitor), (7, Duration::ZERO));
        assert!(!all.is_broken_by(0, 7) && all.is_broken_by(1, 7));
    }

    #[test]
    fn the_way_back_is_its_own() {
        let text = r#"{"deploy": {"update_config": {"order": "start-first"}, "rollback_config":
            {"parallelism": 0}}}"#;
        let back = service(text).way_back();
        assert!(!back.starts_first && back.monitor.is_zero());
        assert_eq!(back.batch(4), 4);
    }

    #[test]
    fn only_a_port_of_the_host_that_is_named_is_fixed() {
        let port = |published: &str| {
            let text = format!(r#"{{"ports": [{{"target": 80, "published": "{published}"}}]}}"#);
            service(&text).fixed_port().map(str::to_owned)
        };
        assert_eq!(port("8080").as_deref(), Some("8080"));
        assert_eq!((port(""), port("8000-8010"), port("0")), (None, None, None));
    }
}
