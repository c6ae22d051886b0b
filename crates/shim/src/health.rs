//! Decides when a container is probed and what the results mean. Pure: the caller has the clock
//! (any monotonic one) and runs the probes.
//!
//! ```text
//! Waiting ──due──▶ Probing ──result, or overdue──▶ Waiting …
//! ```
//!
//! As Docker does: the first probe comes one interval after the start; in the start period probes
//! come at their own interval and failures do not count, until the first success.

use std::time::{Duration, Instant};

use hull_shim::protocol::{Health, HealthResult, HealthState, HealthStatus};

/// So many results are kept.
const RESULTS_MAX: usize = 5;

/// How probes are spaced and judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) start_period: Duration,
    pub(crate) start_interval: Duration,
    pub(crate) retries: u32,
}

impl From<&Health> for Schedule {
    fn from(health: &Health) -> Self {
        Self {
            interval: Duration::from_nanos(health.interval_ns),
            timeout: Duration::from_nanos(health.timeout_ns),
            start_period: Duration::from_nanos(health.start_period_ns),
            start_interval: Duration::from_nanos(health.start_interval_ns),
            retries: health.retries,
        }
    }
}

/// One container's health.
#[derive(Debug)]
pub(crate) struct Monitor {
    schedule: Schedule,
    started_at: Instant,
    phase: Phase,
    is_paused: bool,
    state: HealthState,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Waiting { until: Instant },
    Probing { since: Instant, deadline: Instant },
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Start a probe and call [`Monitor::started`].
    Probe,
    /// The running probe took too long: end it and call [`Monitor::finished`].
    Timeout,
}

impl Monitor {
    /// Of a container that started at `now`.
    pub(crate) fn new(schedule: Schedule, now: Instant) -> Self {
        let state = HealthState {
            status: HealthStatus::Starting,
            failing_streak: 0,
            log: Vec::new(),
        };
        let phase = Phase::Waiting { until: now };
        let mut this = Self {
            schedule,
            started_at: now,
            phase,
            is_paused: false,
            state,
        };
        this.wait(now);
        this
    }

    pub(crate) fn state(&self) -> &HealthState {
        &self.state
    }

    /// When to look at [`due`](Self::due) next.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match self.phase {
            _ if self.is_paused => None,
            Phase::Waiting { until } => Some(until),
            Phase::Probing { deadline, .. } => Some(deadline),
        }
    }

    pub(crate) fn due(&self, now: Instant) -> Option<Due> {
        let is_due = self.wake_at().is_some_and(|at| at <= now);
        is_due.then_some(match self.phase {
            Phase::Waiting { .. } => Due::Probe,
            Phase::Probing { .. } => Due::Timeout,
        })
    }

    /// A probe was started.
    pub(crate) fn started(&mut self, now: Instant) {
        self.phase = Phase::Probing {
            since: now,
            deadline: now + self.schedule.timeout,
        };
    }

    /// A probe is over. True: the verdict is another one now.
    pub(crate) fn finished(&mut self, result: HealthResult, now: Instant) -> bool {
        let began = match self.phase {
            Phase::Probing { since, .. } => since,
            Phase::Waiting { .. } => now,
        };
        let before = self.state.status;
        self.judge(
            result.exit_code == 0,
            began.saturating_duration_since(self.started_at),
        );
        self.state.log.push(result);
        let excess = self.state.log.len().saturating_sub(RESULTS_MAX);
        self.state.log.drain(..excess);
        self.wait(now);
        self.state.status != before
    }

    /// A paused container is not probed, and the time does not count.
    pub(crate) fn set_paused(&mut self, is_paused: bool, now: Instant) {
        if self.is_paused && !is_paused {
            match self.phase {
                Phase::Waiting { .. } => self.wait(now),
                Phase::Probing { .. } => self.started(now),
            }
        }
        self.is_paused = is_paused;
    }

    fn judge(&mut self, is_well: bool, age: Duration) {
        let counts =
            self.state.status != HealthStatus::Starting || age >= self.schedule.start_period;
        if is_well {
            self.state.failing_streak = 0;
            self.state.status = HealthStatus::Healthy;
        } else if counts {
            self.state.failing_streak = self.state.failing_streak.saturating_add(1);
            if self.state.failing_streak >= self.schedule.retries {
                self.state.status = HealthStatus::Unhealthy;
            }
        }
    }

    fn wait(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.started_at);
        let is_starting =
            self.state.status == HealthStatus::Starting && age < self.schedule.start_period;
        let interval = if is_starting {
            self.schedule.start_interval
        } else {
            self.schedule.interval
        };
        self.phase = Phase::Waiting {
            until: now + interval,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn monitor(start_period: u32) -> (Monitor, Instant) {
        let now = Instant::now();
        let schedule = Schedule {
            interval: 30 * SECOND,
            timeout: 10 * SECOND,
            start_period: start_period * SECOND,
            start_interval: 5 * SECOND,
            retries: 2,
        };
        (Monitor::new(schedule, now), now)
    }

    fn probe(monitor: &mut Monitor, now: Instant, exit_code: i32) -> bool {
        monitor.started(now);
        let output = String::new();
        let result = HealthResult {
            started_at_ns: 0,
            finished_at_ns: 0,
            exit_code,
            output,
        };
        monitor.finished(result, now)
    }

    #[test]
    fn the_first_probe_comes_one_interval_after_the_start() {
        let (monitor, start) = monitor(0);
        assert_eq!(monitor.due(start + 29 * SECOND), None);
        assert_eq!(monitor.due(start + 30 * SECOND), Some(Due::Probe));
    }

    #[test]
    fn in_the_start_period_probes_come_sooner_and_failures_do_not_count() {
        let (mut monitor, start) = monitor(60);
        assert_eq!(monitor.wake_at(), Some(start + 5 * SECOND));
        for n in 1..9 {
            assert!(!probe(&mut monitor, start + n * 5 * SECOND, 1));
        }
        assert_eq!(monitor.state().failing_streak, 0);
        assert!(!probe(&mut monitor, start + 61 * SECOND, 1));
        assert_eq!(monitor.wake_at(), Some(start + 91 * SECOND));
        assert!(probe(&mut monitor, start + 91 * SECOND, 1));
        assert_eq!(monitor.state().status, HealthStatus::Unhealthy);
    }

    #[test]
    fn a_success_ends_the_start_period() {
        let (mut monitor, start) = monitor(600);
        assert!(probe(&mut monitor, start + 5 * SECOND, 0));
        assert_eq!(monitor.state().status, HealthStatus::Healthy);
        assert!(!probe(&mut monitor, start + 35 * SECOND, 1));
        assert!(probe(&mut monitor, start + 65 * SECOND, 1));
    }

    #[test]
    fn one_success_makes_it_well_again() {
        let (mut monitor, now) = monitor(0);
        probe(&mut monitor, now, 1);
        assert!(probe(&mut monitor, now, 1));
        assert!(probe(&mut monitor, now, 0));
        assert_eq!(monitor.state().failing_streak, 0);
    }

    #[test]
    fn a_probe_that_takes_too_long_is_due_to_end() {
        let (mut monitor, now) = monitor(0);
        monitor.started(now);
        assert_eq!(monitor.due(now + 9 * SECOND), None);
        assert_eq!(monitor.due(now + 10 * SECOND), Some(Due::Timeout));
    }

    #[test]
    fn a_paused_container_is_not_probed_and_its_time_does_not_count() {
        let (mut monitor, start) = monitor(0);
        monitor.set_paused(true, start);
        assert_eq!(monitor.due(start + 99 * SECOND), None);
        monitor.set_paused(false, start + 99 * SECOND);
        assert_eq!(monitor.wake_at(), Some(start + 129 * SECOND));
    }

    #[test]
    fn the_last_five_results_are_kept() {
        let (mut monitor, now) = monitor(0);
        for n in 0..7 {
            probe(&mut monitor, now, n);
        }
        let codes: Vec<_> = monitor
            .state()
            .log
            .iter()
            .map(|result| result.exit_code)
            .collect();
        assert_eq!(codes, [2, 3, 4, 5, 6]);
    }
}
