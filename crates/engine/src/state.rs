//! A container's life, as one pure function.
//!
//! ```text
//!            start            exit, policy says again
//!  Created ────────► Running ────────────────────────► Restarting ──┐
//!     │                │ ▲                                  │       │ due
//!     │          pause ▼ │ unpause                          │ stop  ▼
//!     │              Paused                                 │     Running
//!     │                │ exit                               ▼
//!     │                └────────────► Exited ◄──────────────┘
//!     └──────── remove ───► Removing ◄───┘
//! ```
//! The [`actor`](crate::actor) supplies clock and events and carries the decision out.

use std::time::Duration;

use hull_shim::protocol::Exit;
use serde::{Deserialize, Serialize};

use crate::model::RestartPolicy;

/// Where a container is in its life. What is true only in one state lives in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Never ran. `failure`: why the last attempt to start it failed.
    Created {
        /// Why the last attempt to start it failed.
        failure: Option<StartFailure>,
    },
    /// Its init runs.
    Running(Run),
    /// Its init is frozen.
    Paused(Run),
    /// It stopped by itself and will start again.
    Restarting {
        /// How it ended.
        exit: Exit,
        /// When its last run was started, nanoseconds since 1970.
        started_at_ns: i64,
    },
    /// Its init ended.
    Exited {
        /// How.
        exit: Exit,
        /// Why the last attempt to start it again failed.
        failure: Option<StartFailure>,
    },
    /// It is being taken away.
    Removing {
        /// Its anonymous volumes go too.
        volumes: bool,
    },
}

/// A run of a container's init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Init's pid on the host.
    pub pid: i32,
    /// When it started: nanoseconds since 1970.
    pub started_at_ns: i64,
}

/// Why a start failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// 127 not found, 126 not executable, 128 otherwise.
    pub code: i32,
    /// For people.
    pub message: String,
}

/// What a user may ask that depends on the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Run it.
    Start,
    /// End it in good order.
    Stop,
    /// Send it a signal.
    Kill,
    /// Freeze it.
    Pause,
    /// Thaw it.
    Unpause,
    /// Run one more process in it.
    Exec,
    /// Take it away.
    Remove,
}

/// Why the state does not allow a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is so already: nothing to do.
    Already,
    /// It does not run.
    NotRunning,
    /// It is frozen.
    Paused,
    /// It is not frozen.
    NotPaused,
    /// It waits to be started again.
    Restarting,
    /// It runs: stop it first.
    Running,
    /// It is being taken away.
    Removing,
}

/// What follows an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterExit {
    /// It stays as it is.
    Stay,
    /// It starts again after this long.
    Restart(Duration),
    /// It is taken away.
    Remove,
}

/// What an exit is judged by.
#[derive(Debug, Clone, Copy)]
pub struct ExitContext {
    /// What the user wants.
    pub policy: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// The user asked it to stop (or killed it).
    pub asked_to_stop: bool,
    /// The exit code.
    pub code: i32,
    /// How long it had run.
    pub ran_for: Duration,
    /// How often it was started again since the user started it.
    pub restarts: u32,
    /// How many of those in a row came soon after the one before.
    pub backoff_step: u32,
}

/// The first pause before a restart; each further one is twice as long.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest pause: what restarts for ever does so once a minute.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A run this long was a success: the pause starts from the beginning.
pub const RUN_COUNTS_AS_SUCCESS: Duration = Duration::from_secs(10);

impl State {
    /// Whether `command` may be carried out now.
    pub fn permits(&self, command: Command) -> Result<(), Refusal> {
        use Command::{Exec, Kill, Pause, Remove, Start, Stop, Unpause};
        match (self, command) {
            (Self::Removing { .. }, Remove) => Err(Refusal::Already),
            (Self::Removing { .. }, _) => Err(Refusal::Removing),
            (Self::Created { .. } | Self::Exited { .. }, Start | Remove) => Ok(()),
            (Self::Created { .. } | Self::Exited { .. }, Stop) => Err(Refusal::Already),
            (Self::Created { .. } | Self::Exited { .. }, Kill | Pause | Exec) => {
                Err(Refusal::NotRunning)
            }
            (Self::Created { .. } | Self::Exited { .. } | Self::Running(_), Unpause) => {
                Err(Refusal::NotPaused)
            }
            (Self::Restarting { .. }, Start | Stop) => Ok(()),
            (Self::Restarting { .. }, Remove) => Err(Refusal::Running),
            (Self::Restarting { .. }, Kill | Pause | Unpause | Exec) => Err(Refusal::Restarting),
            (Self::Running(_), Start) => Err(Refusal::Already),
            (Self::Running(_), Stop | Kill | Pause | Exec) => Ok(()),
            (Self::Running(_) | Self::Paused(_), Remove) => Err(Refusal::Running),
            (Self::Paused(_), Start | Exec | Pause) => Err(Refusal::Paused),
            (Self::Paused(_), Stop | Kill | Unpause) => Ok(()),
        }
    }

    /// The run, while there is one.
    pub fn run(&self) -> Option<&Run> {
        match self {
            Self::Running(run) | Self::Paused(run) => Some(run),
            _ => None,
        }
    }

    /// Whether its init exists (frozen or not).
    pub fn is_running(&self) -> bool {
        self.run().is_some()
    }

    /// Docker's word for the state.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created { .. } => "created",
            Self::Running(_) => "running",
            Self::Paused(_) => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited { .. } => "exited",
            Self::Removing { .. } => "removing",
        }
    }

    /// The last exit, if it ever ended.
    pub fn exit(&self) -> Option<&Exit> {
        match self {
            Self::Exited { exit, .. } | Self::Restarting { exit, .. } => Some(exit),
            _ => None,
        }
    }

    /// What state a failed start leaves.
    pub fn after_failed_start(&self, failure: StartFailure) -> Self {
        match self {
            Self::Restarting { exit, .. } | Self::Exited { exit, .. } => Self::Exited {
                exit: exit.clone(),
                failure: Some(failure),
            },
            _ => Self::Created {
                failure: Some(failure),
            },
        }
    }
}

/// Decides what follows an exit.
pub fn after_exit(context: &ExitContext) -> AfterExit {
    let again = match context.policy {
        _ if context.asked_to_stop => false,
        RestartPolicy::No => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::OnUnhealthy => context.code != 0,
        RestartPolicy::OnFailure { retries_max } => {
            context.code != 0 && (retries_max == 0 || context.restarts < retries_max)
        }
    };
    if again {
        return AfterExit::Restart(backoff(context.backoff_step));
    }
    if context.auto_remove {
        AfterExit::Remove
    } else {
        AfterExit::Stay
    }
}

/// The pause after `step` restarts in a row that came to nothing.
pub fn backoff(step: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(1u32.checked_shl(step).unwrap_or(u32::MAX))
        .min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(policy: RestartPolicy) -> ExitContext {
        ExitContext {
            policy,
            auto_remove: false,
            asked_to_stop: false,
            code: 1,
            ran_for: Duration::from_secs(1),
            restarts: 0,
            backoff_step: 0,
        }
    }

    fn exited() -> State {
        let exit = Exit {
            code: 0,
            finished_at_ns: 2,
            started_at_ns: 1,
            out_of_memory: false,
        };
        State::Exited {
            exit,
            failure: None,
        }
    }

    #[test]
    fn a_running_container_starts_no_second_time() {
        let run = State::Running(Run {
            pid: 7,
            started_at_ns: 0,
        });
        assert_eq!(run.permits(Command::Start), Err(Refusal::Already));
        assert_eq!(run.permits(Command::Remove), Err(Refusal::Running));
    }

    #[test]
    fn a_paused_container_refuses_to_start_and_to_run_more() {
        let paused = State::Paused(Run {
            pid: 7,
            started_at_ns: 0,
        });
        assert_eq!(paused.permits(Command::Start), Err(Refusal::Paused));
        assert_eq!(paused.permits(Command::Exec), Err(Refusal::Paused));
        assert_eq!(paused.permits(Command::Kill), Ok(()));
    }

    #[test]
    fn a_stopped_container_has_nothing_to_stop() {
        assert_eq!(exited().permits(Command::Stop), Err(Refusal::Already));
        assert_eq!(exited().permits(Command::Kill), Err(Refusal::NotRunning));
        assert_eq!(exited().permits(Command::Start), Ok(()));
    }

    #[test]
    fn what_the_user_stopped_stays_stopped() {
        let stopped = ExitContext {
            asked_to_stop: true,
            ..context(RestartPolicy::Always)
        };
        assert_eq!(after_exit(&stopped), AfterExit::Stay);
        let removed = ExitContext {
            auto_remove: true,
            ..stopped
        };
        assert_eq!(after_exit(&removed), AfterExit::Remove);
    }

    #[test]
    fn on_failure_counts_its_tries() {
        let policy = RestartPolicy::OnFailure { retries_max: 2 };
        let wait = |restarts| {
            after_exit(&ExitContext {
                restarts,
                ..context(policy)
            })
        };
        assert_eq!(wait(0), AfterExit::Restart(Duration::from_millis(100)));
        assert_eq!(wait(1), AfterExit::Restart(Duration::from_millis(100)));
        assert_eq!(wait(2), AfterExit::Stay);
        let well = ExitContext {
            code: 0,
            ..context(policy)
        };
        assert_eq!(after_exit(&well), AfterExit::Stay);
    }

    #[test]
    fn on_unhealthy_starts_again_what_failed() {
        let with_code = |code| {
            after_exit(&ExitContext {
                code,
                restarts: 1000,
                ..context(RestartPolicy::OnUnhealthy)
            })
        };
        assert_eq!(with_code(0), AfterExit::Stay);
        assert_eq!(with_code(1), AfterExit::Restart(Duration::from_millis(100)));
    }

    #[test]
    fn the_pause_doubles_up_to_a_minute() {
        assert_eq!(backoff(0), Duration::from_millis(100));
        assert_eq!(backoff(1), Duration::from_millis(200));
        assert_eq!(backoff(40), Duration::from_secs(60));
        assert_eq!(backoff(31), Duration::from_secs(60));
    }
}
