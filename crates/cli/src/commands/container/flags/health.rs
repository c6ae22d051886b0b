//! How the container's health is told.

use std::time::Duration;

use hull_api::types::{Config, HealthConfig};

use crate::flags::FlagSet;

#[derive(Default)]
pub(super) struct HealthFlags {
    command: String,
    interval: Option<Duration>,
    retries: Option<i64>,
    start_interval: Option<Duration>,
    start_period: Option<Duration>,
    timeout: Option<Duration>,
    none: bool,
}

impl HealthFlags {
    #[rustfmt::skip]
    pub(super) fn flags<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.add("health-cmd", "string", "Command to run to check health", &mut self.command);
        set.add("health-interval", "duration", "Time between running the check (ms|s|m|h) (default 0s)", &mut self.interval);
        set.add("health-retries", "int", "Consecutive failures needed to report unhealthy", &mut self.retries);
        set.add("health-start-interval", "duration", "Time between running the check during the start period (ms|s|m|h) (default 0s)", &mut self.start_interval);
        set.add("health-start-period", "duration", "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)", &mut self.start_period);
        set.add("health-timeout", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)", &mut self.timeout);
        set.add("no-healthcheck", "", "Disable any container-specified HEALTHCHECK", &mut self.none);
    }

    pub(super) fn apply(&self, config: &mut Config) -> Result<(), String> {
        let durations = [
            self.interval,
            self.timeout,
            self.start_period,
            self.start_interval,
        ];
        let is_set = !self.command.is_empty()
            || self.retries.is_some()
            || durations.iter().any(Option::is_some);
        if self.none {
            if is_set {
                return Err("--no-healthcheck conflicts with --health-* options".to_owned());
            }
            config.healthcheck = Some(HealthConfig {
                test: vec!["NONE".to_owned()],
                ..HealthConfig::default()
            });
            return Ok(());
        }
        if !is_set {
            return Ok(());
        }
        if self.retries.is_some_and(|retries| retries < 0) {
            return Err("--health-retries cannot be negative".to_owned());
        }
        let test = match self.command.as_str() {
            "" => Vec::new(),
            command => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        };
        let [interval, timeout, start_period, start_interval] = durations.map(nanoseconds);
        let retries = self.retries.unwrap_or(0);
        config.healthcheck = Some(HealthConfig {
            test,
            interval,
            timeout,
            start_period,
            start_interval,
            retries,
        });
        Ok(())
    }
}

fn nanoseconds(duration: Option<Duration>) -> i64 {
    duration.map_or(0, |duration| {
        i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
    })
}
