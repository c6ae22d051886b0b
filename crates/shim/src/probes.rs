//! Runs the health check's probes when [`health`](crate::health) says so.

use std::time::{Duration, Instant};

use hull_shim::protocol::{Event, HealthResult};

use crate::{
    clock,
    container::{Failure, Made},
    health::{Due, Monitor},
    process::{Process, Role, Stage, Wanted, streams},
    requests::Ends,
    shim::Shim,
    streams::PROBE_BYTES_MAX,
};

/// The exit code of a probe that could not be run or took too long.
const NO_EXIT_CODE: i32 = -1;

/// The probe that runs.
#[derive(Debug)]
pub(crate) struct Probe {
    process: u32,
    started_at_ns: i64,
}

impl Shim {
    pub(crate) fn probe_if_due(&mut self, now: Instant) {
        match self.monitor.as_ref().and_then(|monitor| monitor.due(now)) {
            Some(Due::Probe) => self.start_probe(now),
            Some(Due::Timeout) => self.end_late_probe(),
            None => {}
        }
    }

    fn start_probe(&mut self, now: Instant) {
        let Some(monitor) = &mut self.monitor else {
            return;
        };
        monitor.started(now);
        let event = Event::HealthProbe(monitor.state().clone());
        self.tell(&event);
        let started_at_ns = clock::since_1970_ns();
        match self.run_probe(started_at_ns) {
            Ok(process) => {
                self.probe = Some(Probe {
                    process,
                    started_at_ns,
                })
            }
            Err(failure) => self.judge(started_at_ns, NO_EXIT_CODE, failure.message),
        }
    }

    fn run_probe(&mut self, started_at_ns: i64) -> Result<u32, Failure> {
        let wanted = Wanted {
            stdin: false,
            merged: true,
            terminal: false,
        };
        let (ours, theirs) =
            streams(wanted).map_err(|error| Failure::step("make the streams", error))?;
        let gone = || Failure::new(hull_shim::protocol::ErrorKind::State, "not running");
        let container = self.container.as_ref().ok_or_else(gone)?;
        let health = self.settings.health.as_ref().ok_or_else(gone)?;
        let Made {
            pid,
            pidfd,
            terminal,
        } = container.exec(&health.process, false, theirs)?;
        let stage = Stage::Running {
            pid,
            pidfd,
            started_at_ns,
        };
        let process = Process::new(Role::Probe, stage, false);
        self.take_process(
            process,
            Ends {
                ours,
                terminal,
                stdin: false,
            },
        )
    }

    /// The probe's time is over. What it wrote until now is told; when it is really gone does not
    /// matter any more.
    fn end_late_probe(&mut self) {
        let Some(probe) = self.probe.take() else {
            return;
        };
        let mut written = Vec::new();
        if let Some(process) = self.processes.get_mut(&probe.process) {
            written = std::mem::take(&mut process.captured);
            if let Some(pidfd) = process.stage.pidfd() {
                // If it is gone this moment, all the better.
                let _ = hull_sys::process::signal(pidfd, libc::SIGKILL);
            }
        }
        let timeout = self
            .settings
            .health
            .as_ref()
            .map_or(0, |health| health.timeout_ns);
        let mut output = format!(
            "Health check exceeded timeout ({})",
            go_duration(Duration::from_nanos(timeout))
        );
        if !written.is_empty() {
            output.push_str(": ");
            output.push_str(&text(&written));
        }
        self.judge(probe.started_at_ns, NO_EXIT_CODE, output);
    }

    pub(crate) fn on_probe_end(&mut self, process: u32, exit_code: i32, written: &[u8]) {
        if let Some(probe) = self.probe.take_if(|probe| probe.process == process) {
            self.judge(probe.started_at_ns, exit_code, text(written));
        }
    }

    fn judge(&mut self, started_at_ns: i64, exit_code: i32, output: String) {
        let finished_at_ns = clock::since_1970_ns();
        let result = HealthResult {
            started_at_ns,
            finished_at_ns,
            exit_code,
            output,
        };
        let finished = |monitor: &mut Monitor| {
            monitor.finished(result, Instant::now());
            Event::Health(monitor.state().clone())
        };
        if let Some(event) = self.monitor.as_mut().map(finished) {
            self.tell(&event);
        }
    }
}

/// The beginning of what a probe wrote, as Docker shows it.
fn text(written: &[u8]) -> String {
    let kept = &written[..written.len().min(PROBE_BYTES_MAX)];
    let mut text = String::from_utf8_lossy(kept).into_owned();
    if kept.len() < written.len() {
        text.push_str("...");
    }
    text
}

/// As Go writes durations: `1m30s`, `1.5s`, `500ms`.
fn go_duration(duration: Duration) -> String {
    let (seconds, nanoseconds) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        return match duration.as_nanos() {
            0 => "0s".to_owned(),
            ns @ 1..1_000 => format!("{ns}ns"),
            ns @ 1_000..1_000_000 => format!("{}µs", decimal(ns, 1_000)),
            ns => format!("{}ms", decimal(ns, 1_000_000)),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let rest = u128::from(seconds % 60) * 1_000_000_000 + u128::from(nanoseconds);
    let rest = format!("{}s", decimal(rest, 1_000_000_000));
    match (hours, minutes) {
        (0, 0) => rest,
        (0, _) => format!("{minutes}m{rest}"),
        _ => format!("{hours}h{minutes}m{rest}"),
    }
}

/// `value` in units of `unit` (a power of ten), without zeros at the end.
fn decimal(value: u128, unit: u128) -> String {
    let width = unit.ilog10() as usize;
    let text = format!("{}.{:0width$}", value / unit, value % unit);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (ns, text) in [
            (0, "0s"),
            (1_500, "1.5µs"),
            (500_000_000, "500ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (90_000_000_000, "1m30s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(Duration::from_nanos(ns)), text);
        }
    }

    #[test]
    fn a_long_output_is_cut() {
        assert_eq!(text(b"short"), "short");
        assert_eq!(
            text(&vec![b'x'; PROBE_BYTES_MAX + 1]).len(),
            PROBE_BYTES_MAX + 3
        );
    }
}
