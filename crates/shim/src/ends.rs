//! What happens when a process is over.
//!
//! ```text
//! ended ──output read to its end, or DRAIN is over──▶ complete: log, exit.json, event, clients
//! ```

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use hull_shim::protocol::{Event, Exit};

use crate::{
    clock, complain,
    log::Stream,
    process::{Role, Stage},
    shim::Shim,
};

/// How long output is waited for after a process's end. Others may hold its streams open, for ever
/// if they like; Docker waits as long.
const DRAIN: Duration = Duration::from_secs(2);

/// So many exits of exec sessions are kept for a daemon that is away.
const UNSEEN_MAX: usize = 256;

impl Shim {
    /// Children ended: the container's processes, orphans of it, helpers of ours.
    pub(crate) fn reap(&mut self) {
        while let Ok(Some(_)) = hull_sys::process::read_signal(&self.signals) {}
        while let Ok(Some((pid, ended))) = hull_sys::process::reap() {
            if let Some(log) = &mut self.log {
                log.child_ended(pid, ended);
            }
            let mut processes = self.processes.iter();
            let found = processes.find(|(_, process)| process.stage.pid() == Some(pid));
            if let Some((&number, _)) = found {
                self.on_end(number, ended.code());
            }
        }
    }

    fn on_end(&mut self, number: u32, code: i32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let started_at_ns = match process.stage {
            Stage::Running { started_at_ns, .. } => started_at_ns,
            Stage::Created { .. } | Stage::Prepared(_) | Stage::Ended(_) => 0,
        };
        let finished_at_ns = clock::since_1970_ns();
        let exit = Exit {
            code,
            finished_at_ns,
            started_at_ns,
            out_of_memory: false,
        };
        process.stage = Stage::Ended(exit.clone());
        process.terminal_user = None;
        process.stdin.close_now(&self.poll);
        process.drain_until = Some(Instant::now() + DRAIN);
        match process.role.clone() {
            Role::Init => self.kill_rest(),
            Role::Exec(id) => self.tell_exec_exit(id, exit),
            Role::Probe => {}
        }
        self.settle_process(number);
    }

    /// Nothing of a container outlives its first process, whatever namespaces it shares.
    fn kill_rest(&self) {
        if let Some(container) = self.container.as_ref().filter(|it| it.shares_processes())
            && let Err(failure) = container.signal_all(libc::SIGKILL)
        {
            complain(format_args!(
                "cannot kill what is left: {}",
                failure.message
            ));
        }
    }

    fn tell_exec_exit(&mut self, id: String, exit: Exit) {
        if self.is_heard() {
            return self.tell(&Event::ExecExited { id, exit });
        }
        self.keep_unseen(vec![(id, exit)]);
    }

    /// For the next daemon that listens.
    pub(crate) fn keep_unseen(&mut self, ends: Vec<(String, Exit)>) {
        self.unseen.extend(ends);
        let excess = self.unseen.len().saturating_sub(UNSEEN_MAX);
        self.unseen.drain(..excess);
    }

    /// Completes a process if it is over and has nothing more to say.
    pub(crate) fn settle_process(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let Some(exit) = process.stage.exit().cloned() else {
            return;
        };
        if process.has_output() {
            return;
        }
        let captured = std::mem::take(&mut process.captured);
        match process.role {
            Role::Init => self.complete_container(number, exit),
            Role::Exec(_) => self.end_process(number),
            Role::Probe => {
                self.end_process(number);
                self.on_probe_end(number, exit.code, &captured);
            }
        }
    }

    /// Some streams are held open by others.
    pub(crate) fn give_up_draining(&mut self, now: Instant) {
        let is_late = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        let mut processes = self.processes.iter();
        while let Some((&number, _)) = processes.find(|(_, it)| is_late(it.drain_until)) {
            let Some(process) = self.processes.get_mut(&number) else {
                break;
            };
            if process.is_held {
                // Not they: a client of ours is slow.
                process.drain_until = Some(now + DRAIN);
            } else {
                process.drain_until = None;
                process.close_outputs(&self.poll);
                self.settle_process(number);
            }
            processes = self.processes.iter();
        }
    }

    fn complete_container(&mut self, number: u32, mut exit: Exit) {
        if let Some(log) = &mut self.log {
            log.finish(Stream::Stdout);
            log.finish(Stream::Stderr);
            log.flush();
        }
        self.look_for_memory_kills();
        exit.out_of_memory = self.out_of_memory.kills > 0;
        if let Err(error) = write_exit(&self.settings.bundle, &exit) {
            complain(format_args!("cannot write exit.json: {error}"));
        }
        // Before anybody hears of the end: the next start makes a cgroup of the same name.
        self.destroy();
        self.exit = Some(exit.clone());
        self.monitor = None;
        self.probe = None;
        self.tell(&Event::Exited(exit));
        self.end_process(number);
    }

    /// The container was made but will not run: nothing of it stays.
    pub(crate) fn abandon(&mut self) {
        let init = self.find(|role| *role == Role::Init);
        let process = init.and_then(|number| self.processes.get(&number));
        if let Some(pidfd) = process.and_then(|process| process.stage.pidfd())
            && hull_sys::process::signal(pidfd, libc::SIGKILL).is_ok()
        {
            // It has no choice, and its end is nobody's news.
            let _ = hull_sys::process::wait(pidfd);
        }
        if let Some(number) = init {
            self.end_process(number);
        }
        self.log = None;
        self.destroy();
    }

    fn destroy(&mut self) {
        if let Some(watch) = self.out_of_memory.watch.take() {
            self.poll.remove(watch);
        }
        if let Some(container) = self.container.take() {
            container.destroy();
        }
    }

    /// Forgets a process; its clients get what waits for them, and then an end.
    pub(crate) fn end_process(&mut self, number: u32) {
        let Some(mut process) = self.processes.remove(&number) else {
            return;
        };
        process.stdin.close_now(&self.poll);
        process.close_outputs(&self.poll);
        for client_number in process.clients {
            if let Some(client) = self.clients.get_mut(&client_number) {
                client.finish();
            }
            self.settle_client(client_number);
        }
    }

    /// The kernel may have killed a process for want of memory.
    pub(crate) fn look_for_memory_kills(&mut self) {
        let Some(container) = &self.container else {
            return;
        };
        let kills = container.out_of_memory_kills();
        let is_news = kills > self.out_of_memory.kills;
        self.out_of_memory.kills = kills;
        if is_news {
            self.tell(&Event::OutOfMemory);
        }
    }
}

/// Whole or not at all.
fn write_exit(bundle: &Path, exit: &Exit) -> io::Result<()> {
    let unfinished = bundle.join("exit.json.tmp");
    let mut file = std::fs::File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(exit)?)?;
    std::fs::rename(&unfinished, bundle.join("exit.json"))
}
