//! A container goes.

use std::collections::BTreeMap;

use super::{Actor, Intent, Reply};
use crate::{
    error::Error,
    state::{Command, Refusal, State},
};

impl Actor {
    pub(super) async fn remove(&mut self, force: bool, volumes: bool, reply: Reply<()>) {
        let abandoned = |(_, waiting): &(bool, Reply<()>)| waiting.is_closed();
        if self.removal.as_ref().is_some_and(abandoned) {
            // Who asked first gave up waiting: whoever asks now, asks anew.
            self.removal = None;
        }
        if self.removal.is_some() {
            let text = format!(
                "removal of container {} is already in progress",
                self.record.id
            );
            let _ = reply.send(Err(Error::Conflict(text)));
            return;
        }
        match self.record.state.permits(Command::Remove) {
            Ok(()) => {
                self.removal = Some((volumes, reply));
                self.drain_log().await;
                self.finish_removal(volumes);
            }
            Err(Refusal::Running) if force => {
                if matches!(self.record.state, State::Restarting { .. }) {
                    self.wake_at = None;
                    self.removal = Some((volumes, reply));
                    self.drain_log().await;
                    self.finish_removal(volumes);
                    return;
                }
                self.ask_to_stop();
                match self.signal(libc::SIGKILL, Intent::Signal).await {
                    // The exit that follows carries the removal out, also one on its way already.
                    Ok(()) | Err(Error::State(_)) => self.removal = Some((volumes, reply)),
                    Err(error) => {
                        let _ = reply.send(Err(error));
                    }
                }
            }
            Err(Refusal::Running) => {
                let (name, word) = (&self.record.name, self.record.state.word());
                let way_out = if matches!(self.record.state, State::Paused(_)) {
                    "unpause and then stop the container before removing or force remove"
                } else {
                    "stop the container before removing or force remove"
                };
                let text =
                    format!("cannot remove container \"/{name}\": container is {word}: {way_out}");
                let _ = reply.send(Err(Error::Conflict(text)));
            }
            Err(refusal) => {
                let _ = reply.send(Err(self.refused(refusal)));
            }
        }
    }

    /// Takes everything of the container away. What cannot be taken away is logged: the record
    /// goes last but one, so that a crash in between is finished at the next start.
    pub(super) fn finish_removal(&mut self, volumes: bool) {
        self.record.state = State::Removing { volumes };
        self.save();
        self.services.discard(&self.record, volumes);
        self.gone = true;
        self.say("destroy", BTreeMap::new());
        self.services.registry.remove(&self.record.id);
        self.waiting_attaches.clear();
        if let Some((_, reply)) = self.removal.take() {
            let _ = reply.send(Ok(()));
        }
        self.lifecycle.send_modify(|life| {
            life.running = false;
            life.removed = true;
        });
    }

    /// The last lines are on their way before the log goes.
    pub(super) async fn drain_log(&mut self) {
        if let Some(forwarding) = self.forwarding.take() {
            forwarding.drain().await;
        }
    }
}
