//! What follows from what a container's shim says: ends, health, silence.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hull_shim::protocol::{Event, Exit, HealthState, HealthStatus, Request, Target};
use tokio::time::Instant;

use super::{Actor, Intent, SILENCE};
use crate::{
    model::{ExecId, HealthAction, RestartPolicy},
    shim::EventStream,
    state::{AfterExit, ExitContext, RUN_COUNTS_AS_SUCCESS, Run, State, after_exit},
};

impl Actor {
    pub(super) async fn shim_said(&mut self, event: Option<Event>) {
        match event {
            Some(Event::Exited(exit)) => self.exited(exit).await,
            Some(Event::OutOfMemory) => self.say("oom", BTreeMap::new()),
            Some(Event::ExecExited { id, exit }) => self.exec_exited(&id, &exit),
            Some(Event::Detached(Target::Init)) => self.say("detach", BTreeMap::new()),
            Some(Event::Detached(Target::Exec(id))) => {
                let exec_id = ExecId::parse(&id);
                if let Some(exec) = exec_id.and_then(|id| self.handle.execs().get(&id).cloned()) {
                    exec.let_go();
                }
                self.say_exec("exec_detach", &id, None);
            }
            Some(Event::HealthProbe(health) | Event::Health(health)) => self.probed(health).await,
            None => self.shim_vanished().await,
        }
    }

    pub(super) async fn exited(&mut self, exit: Exit) {
        let Some(run) = self.record.state.run().cloned() else {
            return;
        };
        let events = self.events.take();
        self.wake_at = None;
        self.forget_execs();
        let context = self.exit_context(&exit, &run);
        if context.ran_for >= RUN_COUNTS_AS_SUCCESS {
            self.backoff_step = 0;
        }
        let decision = after_exit(&context);
        let ran_for_s = (exit.finished_at_ns - run.started_at_ns).max(0) / 1_000_000_000;
        self.record.state = match decision {
            AfterExit::Restart(_) => State::Restarting {
                exit: exit.clone(),
                started_at_ns: run.started_at_ns,
            },
            _ => State::Exited {
                exit: exit.clone(),
                failure: None,
            },
        };
        let endpoints = std::mem::take(&mut self.record.endpoints);
        self.record.published.clear();
        // Stored before the shim is let go: until then the shim would tell it again.
        let stored = self.save();
        // Waiters are told the code together with the end, never the end first.
        self.lifecycle.send_if_modified(|life| {
            life.exits += 1;
            life.code = exit.code;
            false
        });
        // Until it is, its shim is the only one who knows; it leaves when its place is taken.
        if stored {
            self.dismiss_shim(events).await;
        }
        self.services.release_network(endpoints.clone()).await;
        self.services.give_volumes_back(&self.record).await;
        self.say(
            "die",
            BTreeMap::from([
                ("exitCode".to_owned(), exit.code.to_string()),
                ("execDuration".to_owned(), ran_for_s.to_string()),
            ]),
        );
        self.services.say_attachments("disconnect", &endpoints);
        self.services.say_volumes("unmount", &self.record);
        if self.intent != Intent::Signal {
            self.say("stop", BTreeMap::new());
        }
        if self.removal.is_some() || matches!(decision, AfterExit::Remove) {
            self.drain_log().await;
        }
        match decision {
            // What ended while no daemon was there starts again in its order.
            AfterExit::Restart(_) if self.services.ended.has(&self.record.id) => {}
            AfterExit::Restart(pause) => self.wake_at = Some(Instant::now() + pause),
            AfterExit::Remove => self.finish_removal(true),
            AfterExit::Stay => {}
        }
        if let Some((volumes, _)) = &self.removal {
            let volumes = *volumes;
            self.finish_removal(volumes);
        }
        let removed = self.gone;
        self.lifecycle.send_modify(|life| {
            life.running = false;
            life.removed |= removed;
        });
    }

    async fn dismiss_shim(&self, events: Option<EventStream>) {
        let dismissed = match events {
            Some(events) => events.dismiss().await.is_ok(),
            None => false,
        };
        if !dismissed {
            self.link().dismiss().await;
        }
    }

    pub(super) fn exit_context(&self, exit: &Exit, run: &Run) -> ExitContext {
        let ran_for = (exit.finished_at_ns - run.started_at_ns)
            .max(0)
            .cast_unsigned();
        let removing = self.removal.is_some();
        ExitContext {
            policy: self.record.host.restart_policy,
            auto_remove: self.record.host.auto_remove
                && self.intent != Intent::Restart
                && !removing,
            asked_to_stop: self.record.asked_to_stop || removing || self.intent == Intent::Restart,
            code: exit.code,
            ran_for: Duration::from_nanos(ran_for),
            restarts: self.record.restarts,
            backoff_step: self.backoff_step,
        }
    }

    /// The shim says nothing more. If it was killed, its container died with it; if it is merely
    /// stopped, it will answer again.
    pub(super) async fn shim_vanished(&mut self) {
        self.events = None;
        if !self.record.state.is_running() {
            return;
        }
        let link = self.link();
        match link.events().await {
            Ok(events) => self.events = Some(events),
            Err(_) if link.is_gone() => {
                let exit = self.services.post_mortem(&self.record).await;
                self.exited(exit).await;
            }
            Err(error) => {
                tracing::warn!(container = %self.record.id.short(), %error, "its shim is silent");
                self.wake_at = Some(Instant::now() + SILENCE);
            }
        }
    }

    pub(super) async fn probed(&mut self, health: HealthState) {
        let before = self.record.health.as_ref().map(|health| health.status);
        let now = health.status;
        let owed = std::mem::take(&mut self.owes_action) && now == HealthStatus::Unhealthy;
        self.record.health = Some(health);
        self.save();
        if before == Some(now) || (before.is_none() && now == HealthStatus::Starting) {
            if owed {
                self.act_on_unhealthy().await;
            }
            return;
        }
        let word = match now {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        };
        self.say(format!("health_status: {word}"), BTreeMap::new());
        if now == HealthStatus::Unhealthy {
            self.act_on_unhealthy().await;
        }
    }

    pub(super) async fn act_on_unhealthy(&mut self) {
        let kill = Request::Signal {
            target: Target::Init,
            signal: libc::SIGKILL,
            all: false,
        };
        let policy = self.record.host.restart_policy;
        let action = match self.record.host.health_action {
            HealthAction::None if policy == RestartPolicy::OnUnhealthy => HealthAction::Restart,
            action => action,
        };
        let outcome = match action {
            HealthAction::None => return,
            // Its user has it ended already, in the time that was given.
            _ if self.record.asked_to_stop => return,
            // The exit that follows is not the user's wish, so the restart policy decides.
            HealthAction::Kill => self.link().ask(kill).await.map(drop),
            HealthAction::Restart | HealthAction::Stop => {
                let stop = action == HealthAction::Stop;
                let (services, id) = (Arc::clone(&self.services), self.record.id.to_string());
                tokio::spawn(async move {
                    let engine = crate::Engine::of(services);
                    let outcome = if stop {
                        engine.stop(&id, None, None).await
                    } else {
                        engine.revive(&id).await
                    };
                    if let Err(error) = outcome {
                        tracing::warn!(container = id, %error, "cannot act on bad health");
                    }
                });
                Ok(())
            }
        };
        if let Err(error) = outcome {
            tracing::warn!(container = %self.record.id.short(), %error, "cannot act on bad health");
        }
    }
}
