//! What processes and clients write, and where it goes.

use std::time::Instant;

use hull_shim::protocol::{Event, Target};
use rustix::{buffer::spare_capacity, io::Errno};

use crate::{
    attach::{Client, Typed},
    log::Stream,
    poll::Ready,
    process::Role,
    shim::Shim,
};

/// Reads per wake-up: others want their turn.
const READS_MAX: usize = 4;

/// A probe's output is kept up to here, and one byte more, to know that it was longer.
pub(crate) const PROBE_BYTES_MAX: usize = 4096;

impl Shim {
    /// A process wrote something, or will write no more.
    pub(crate) fn on_output(&mut self, number: u32, stream: Stream) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_MAX {
            let Some(process) = self.processes.get_mut(&number).filter(|it| !it.is_held) else {
                break;
            };
            let Some(fd) = process.output(stream) else {
                break;
            };
            buffer.clear();
            match rustix::io::read(fd, spare_capacity(&mut buffer)) {
                Ok(count) if count > 0 => {
                    self.deliver(number, stream, &buffer);
                    if count < buffer.capacity() {
                        break;
                    }
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                // A terminal that nobody has open any more is an I/O error.
                Ok(_) | Err(_) => {
                    self.end_output(number, stream);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn deliver(&mut self, number: u32, stream: Stream, bytes: &[u8]) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        match &process.role {
            Role::Init => {
                if let Some(log) = &mut self.log {
                    log.push(stream, bytes);
                }
            }
            Role::Probe => {
                let room = (PROBE_BYTES_MAX + 1).saturating_sub(process.captured.len());
                process
                    .captured
                    .extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
            Role::Exec(_) => {}
        }
        for client_number in process.clients.clone() {
            let Some(client) = self.clients.get_mut(&client_number) else {
                continue;
            };
            match client.deliver(stream, bytes) {
                Ok(()) => self.settle_client(client_number),
                Err(_) => self.drop_client(client_number),
            }
        }
        self.update_hold(number);
    }

    /// An exec session waits for its slow clients; the container never does.
    fn update_hold(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        if !matches!(process.role, Role::Exec(_)) {
            return;
        }
        let is_behind = |client| self.clients.get(client).is_some_and(Client::is_behind);
        let hold = process.clients.iter().any(is_behind);
        process.hold(number, hold, &self.poll);
    }

    fn end_output(&mut self, number: u32, stream: Stream) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.close_output(stream, &self.poll);
            self.settle_process(number);
        }
    }

    /// A client wrote something, has room again, or left.
    pub(crate) fn on_client(&mut self, number: u32, ready: Ready) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if ready.write && client.flush().is_err() {
            client.hang_up(&self.poll);
        }
        // It takes its time, but it takes.
        self.leaving = self.leaving.map(|_| Instant::now());
        if ready.hangup {
            client.hang_up(&self.poll);
        }
        let process = client.process;
        if ready.read {
            self.take_input(number);
        }
        self.settle_client(number);
        self.update_hold(process);
    }

    /// A process's stdin has room again.
    pub(crate) fn on_stdin_room(&mut self, number: u32) {
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        if process.stdin.resume(&self.poll) {
            self.take_all_input(number);
        }
    }

    /// Reads from every client of a process, and from then on when they write.
    pub(crate) fn take_all_input(&mut self, number: u32) {
        let clients = self
            .processes
            .get(&number)
            .map(|process| process.clients.clone());
        for client in clients.unwrap_or_default() {
            self.take_input(client);
            self.settle_client(client);
        }
    }

    /// Moves what a client typed to its process, as long as that has room.
    fn take_input(&mut self, number: u32) {
        for reads in 0.. {
            let Some(client) = self.clients.get_mut(&number) else {
                return;
            };
            // Of one that is gone nothing more will be heard: it is read to its end.
            if reads >= READS_MAX && !client.is_hung {
                break;
            }
            let process_number = client.process;
            let Some(process) = self.processes.get_mut(&process_number) else {
                return;
            };
            if !process.takes_input() {
                break;
            }
            match client.typed() {
                Typed::Nothing => break,
                Typed::Bytes(bytes) => process.stdin.write(process_number, &bytes, &self.poll),
                Typed::Detach(bytes) => {
                    process.stdin.write(process_number, &bytes, &self.poll);
                    self.detach(number);
                    return;
                }
                Typed::End => {
                    self.end_input(number);
                    break;
                }
            }
        }
        self.update_interests(number);
    }

    /// A client will type no more.
    fn end_input(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if !std::mem::take(&mut client.is_typing) {
            return;
        }
        let Some(process) = self.processes.get_mut(&client.process) else {
            return;
        };
        // A terminal has no end that could be passed on.
        if process.stdin_once && !process.has_terminal {
            process.stdin.close(&self.poll);
        }
    }

    fn detach(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        client.is_typing = false;
        let role = self
            .processes
            .get(&client.process)
            .map(|process| process.role.clone());
        self.drop_client(number);
        match role {
            Some(Role::Init) => self.tell(&Event::Detached(Target::Init)),
            Some(Role::Exec(id)) => self.tell(&Event::Detached(Target::Exec(id))),
            Some(Role::Probe) | None => {}
        }
    }

    /// All clients of one process wait for the same room.
    fn update_interests(&mut self, client: u32) {
        let Some(number) = self.clients.get(&client).map(|client| client.process) else {
            return;
        };
        let Some(process) = self.processes.get(&number) else {
            return;
        };
        let takes_input = process.takes_input();
        for number in &process.clients {
            if let Some(client) = self.clients.get_mut(number) {
                client.update_interest(*number, takes_input, &self.poll);
            }
        }
    }

    /// Lets a client go if nothing more will happen with it.
    pub(crate) fn settle_client(&mut self, number: u32) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if client.is_done() {
            self.drop_client(number);
            return;
        }
        let takes_input = self
            .processes
            .get(&client.process)
            .is_some_and(|process| process.takes_input());
        client.update_interest(number, takes_input, &self.poll);
    }

    pub(crate) fn drop_client(&mut self, number: u32) {
        self.end_input(number);
        let Some(client) = self.clients.remove(&number) else {
            return;
        };
        let process_number = client.process;
        if let Some(process) = self.processes.get_mut(&process_number) {
            process.clients.retain(|&other| other != number);
        }
        client.close(&self.poll);
        if self.leaving.is_some() {
            self.leaving = Some(Instant::now());
        }
        self.update_hold(process_number);
    }
}
