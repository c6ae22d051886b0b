//! A container's state in words: `Up 5 minutes (healthy)`, `Exited (0) 3 seconds ago`.

use std::time::Duration;

use hull_api::types::{ContainerState, Health, HealthResult, HealthSummary, ZERO_TIME};
use hull_engine::{record::Record, state::State};
use hull_shim::protocol::{HealthState, HealthStatus};

use super::time;

/// The `Status` of a list.
pub(crate) fn words(record: &Record, now_ns: i64) -> String {
    let since = |then: i64| {
        human(Duration::from_nanos(
            u64::try_from(now_ns - then).unwrap_or(0),
        ))
    };
    match &record.state {
        State::Created { .. } => "Created".to_owned(),
        State::Running(run) => {
            let up = since(run.started_at_ns);
            match health_word(record) {
                None => format!("Up {up}"),
                Some("starting") => format!("Up {up} (health: starting)"),
                Some(word) => format!("Up {up} ({word})"),
            }
        }
        State::Paused(run) => format!("Up {} (Paused)", since(run.started_at_ns)),
        State::Restarting { exit, .. } => {
            format!(
                "Restarting ({}) {} ago",
                exit.code,
                since(exit.finished_at_ns)
            )
        }
        State::Exited { exit, .. } => {
            format!("Exited ({}) {} ago", exit.code, since(exit.finished_at_ns))
        }
        State::Removing { .. } => "Removal In Progress".to_owned(),
    }
}

/// A duration as people say it. The steps are Docker's.
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let hours = (seconds + 1800) / 3600;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{} minutes", seconds / 60),
        _ => match hours {
            0 | 1 => "About an hour".to_owned(),
            2..48 => format!("{hours} hours"),
            48..336 => format!("{} days", hours / 24),
            336..1440 => format!("{} weeks", hours / 24 / 7),
            1440..17520 => format!("{} months", hours / 24 / 30),
            _ => format!("{} years", seconds / 3600 / 24 / 365),
        },
    }
}

fn health_word(record: &Record) -> Option<&'static str> {
    record
        .health
        .as_ref()
        .map(|health| status_word(health.status))
}

fn status_word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    }
}

/// `none` without a health check: the word filters compare.
pub(crate) fn health_or_none(record: &Record) -> &'static str {
    health_word(record).unwrap_or("none")
}

/// The health of a list.
pub(crate) fn health_summary(record: &Record) -> HealthSummary {
    HealthSummary {
        status: health_or_none(record).to_owned(),
        failing_streak: record
            .health
            .as_ref()
            .map_or(0, |health| i64::from(health.failing_streak)),
    }
}

/// The `State` of an inspect.
pub(crate) fn state(record: &Record) -> ContainerState {
    let mut wire = ContainerState {
        status: record.state.word().to_owned(),
        started_at: ZERO_TIME.to_owned(),
        finished_at: ZERO_TIME.to_owned(),
        health: record.health.as_ref().map(health),
        ..ContainerState::default()
    };
    match &record.state {
        State::Created { failure } => {
            if let Some(failure) = failure {
                wire.exit_code = i64::from(failure.code);
                wire.error.clone_from(&failure.message);
            }
        }
        State::Running(run) | State::Paused(run) => {
            wire.running = true;
            wire.paused = matches!(record.state, State::Paused(_));
            wire.pid = i64::from(run.pid);
            wire.started_at = time::text(run.started_at_ns);
            if record.last_end_ns != 0 {
                wire.finished_at = time::text(record.last_end_ns);
            }
        }
        State::Restarting {
            exit,
            started_at_ns,
        } => {
            wire.running = true;
            wire.restarting = true;
            wire.exit_code = i64::from(exit.code);
            wire.oom_killed = exit.out_of_memory;
            wire.started_at = time::text(*started_at_ns);
            wire.finished_at = time::text(exit.finished_at_ns);
        }
        State::Exited { exit, failure } => {
            wire.exit_code = i64::from(exit.code);
            wire.oom_killed = exit.out_of_memory;
            wire.started_at = time::text(exit.started_at_ns);
            wire.finished_at = time::text(exit.finished_at_ns);
            if let Some(failure) = failure {
                wire.exit_code = i64::from(failure.code);
                wire.error.clone_from(&failure.message);
            }
        }
        State::Removing { .. } => {}
    }
    wire
}

fn health(health: &HealthState) -> Health {
    let result = |result: &hull_shim::protocol::HealthResult| HealthResult {
        start: time::text(result.started_at_ns),
        end: time::text(result.finished_at_ns),
        exit_code: i64::from(result.exit_code),
        output: result.output.clone(),
    };
    Health {
        status: status_word(health.status).to_owned(),
        failing_streak: i64::from(health.failing_streak),
        log: Some(health.log.iter().map(result).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_as_docker_says_them() {
        let said = |seconds| human(Duration::from_secs(seconds));
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(said(seconds), words, "{seconds}");
        }
    }
}
