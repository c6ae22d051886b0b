//! What the daemon asks.

use std::{os::fd::OwnedFd, time::Instant};

use hull_shim::protocol::{
    self, Attach, Create, ErrorKind, Event, Exec, ExecState, Phase, Reply, Request, State, Target,
};

use crate::{
    attach::Client,
    clock,
    container::{Container, Failure, Made, read_spec},
    health::{Monitor, Schedule},
    log::{Log, Options},
    poll::{Ready, Token},
    process::{Ours, Process, Role, Stage, Wanted, streams},
    shim::{Settings, Shim},
};

/// Exec sessions at one time. Each costs descriptors; a daemon that asks for more has lost count.
const EXECS_MAX: usize = 1000;

/// Descriptors kept free for the daemon's orders.
const FDS_KEPT: u64 = 64;

/// What an attached exec session costs at most, without its clients.
const FDS_OF_EXEC: usize = 4;

impl Shim {
    /// A connection has something for us, room again, or is gone.
    pub(crate) fn on_connection(&mut self, number: u32, ready: Ready) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        let is_gone = (ready.write && connection.flush().is_err()) | connection.receive().is_err();
        while let Some(connection) = self.connections.get_mut(&number) {
            match connection.next() {
                Ok(Some(request)) => self.answer(number, request),
                Ok(None) => break,
                Err(error) => {
                    self.reply(
                        number,
                        &Failure::new(ErrorKind::Other, error.to_string()).into(),
                    );
                    self.drop_connection(number);
                }
            }
        }
        if is_gone {
            self.drop_connection(number);
        } else if let Some(connection) = self.connections.get_mut(&number)
            && connection.update_interest(number, &self.poll).is_err()
        {
            self.drop_connection(number);
        }
    }

    fn answer(&mut self, number: u32, request: Request) {
        let answer = match request {
            Request::Attach(attach) => return self.attach(number, attach),
            Request::Events => return self.listen(number),
            Request::Create(create) => {
                let fds = self
                    .connections
                    .get_mut(&number)
                    .map(|it| std::mem::take(&mut it.fds));
                self.create(&create, fds.unwrap_or_default().into_iter().next())
            }
            Request::Start => self.start(),
            Request::Signal {
                target,
                signal,
                all,
            } => self.signal(&target, signal, all),
            Request::Resize {
                target,
                rows,
                columns,
            } => self.resize(&target, rows, columns),
            Request::PrepareExec(exec) => self.prepare_exec(number, exec),
            Request::StartExec { id } => self.start_exec(&id),
            Request::State => Ok(Reply::State(Box::new(self.state()))),
            Request::PauseHealth(is_paused) => {
                self.is_paused = is_paused;
                if let Some(monitor) = &mut self.monitor {
                    monitor.set_paused(is_paused, Instant::now());
                }
                Ok(Reply::Ok)
            }
            Request::Shutdown => self.shutdown(),
        };
        self.reply(number, &answer.unwrap_or_else(Reply::from));
    }

    fn reply(&mut self, number: u32, reply: &Reply) {
        if let Some(connection) = self.connections.get_mut(&number)
            && connection.send(reply).is_err()
        {
            self.drop_connection(number);
        }
    }

    fn create(&mut self, create: &Create, network: Option<OwnedFd>) -> Result<Reply, Failure> {
        if self.container.is_some() || self.exit.is_some() || self.leaving.is_some() {
            return Err(Failure::new(
                ErrorKind::State,
                "the container is made already",
            ));
        }
        let mut spec = read_spec(&create.bundle)?;
        if let (Some(env), Some(process)) = (&create.env, spec.process_mut()) {
            process.set_env(Some(env.clone()));
        }
        let terminal = spec
            .process()
            .as_ref()
            .and_then(|process| process.terminal())
            .unwrap_or(false);
        let log = open_log(&create.log)?;
        let wanted = Wanted {
            stdin: create.open_stdin,
            merged: false,
            terminal,
        };
        let (ours, theirs) =
            streams(wanted).map_err(|error| Failure::step("make the streams", error))?;
        let (container, made) = Container::create(create, spec, network, theirs)?;
        let pid = made.pid;
        self.out_of_memory.watch = container.watch_out_of_memory();
        if let Some(watch) = &self.out_of_memory.watch {
            // Without it the count at the end still tells.
            let _ = self.poll.add_notices(watch, Token::OutOfMemory);
        }
        self.container = Some(container);
        self.log = log;
        self.settings = Settings {
            id: create.id.clone(),
            bundle: create.bundle.clone(),
            health: create.health.clone(),
        };
        let stage = Stage::Created {
            pid,
            pidfd: made.pidfd,
        };
        let mut process = Process::new(Role::Init, stage, terminal);
        process.stdin_once = create.stdin_once;
        let made = Ends {
            ours,
            terminal: made.terminal,
            stdin: create.open_stdin,
        };
        self.take_process(process, made)
            .inspect_err(|_| self.abandon())?;
        self.trim_later();
        Ok(Reply::Created { pid })
    }

    /// Puts a process that was made under the loop's care.
    pub(crate) fn take_process(&mut self, process: Process, ends: Ends) -> Result<u32, Failure> {
        let number = self.next_number();
        self.processes.insert(number, process);
        self.connect(number, ends)?;
        Ok(number)
    }

    fn connect(&mut self, number: u32, ends: Ends) -> Result<(), Failure> {
        let failed = |error| Failure::step("connect the streams", error);
        let ours = match ends.terminal {
            Some(master) => Ours::terminal(master, ends.stdin).map_err(failed)?,
            None => ends.ours,
        };
        match self.processes.get_mut(&number) {
            Some(process) => process.connect(number, ours, &self.poll).map_err(failed),
            None => Ok(()),
        }
    }

    fn start(&mut self) -> Result<Reply, Failure> {
        let wrong = || {
            Failure::new(
                ErrorKind::State,
                "the container does not wait for its start",
            )
        };
        let init = self.find(|role| *role == Role::Init).ok_or_else(wrong)?;
        let (Some(process), Some(container)) =
            (self.processes.get_mut(&init), self.container.as_mut())
        else {
            return Err(wrong());
        };
        let Stage::Created { pid, pidfd } = &process.stage else {
            return Err(wrong());
        };
        let pid = *pid;
        let pidfd = pidfd
            .try_clone()
            .map_err(|error| Failure::step("start", error))?;
        if let Err(failure) = container.start() {
            self.abandon();
            return Err(failure);
        }
        process.stage = Stage::Running {
            pid,
            pidfd,
            started_at_ns: clock::since_1970_ns(),
        };
        let schedule = self.settings.health.as_ref().map(Schedule::from);
        self.monitor = schedule.map(|schedule| Monitor::new(schedule, Instant::now()));
        Ok(Reply::Started { pid })
    }

    fn signal(&mut self, target: &Target, signal: i32, all: bool) -> Result<Reply, Failure> {
        let gone = || Failure::new(ErrorKind::State, "the process is not running");
        let number = self.target(target)?;
        if all && *target == Target::Init {
            self.container
                .as_ref()
                .ok_or_else(gone)?
                .signal_all(signal)?;
            return Ok(Reply::Ok);
        }
        let pidfd = self
            .processes
            .get(&number)
            .and_then(|it| it.stage.pidfd())
            .ok_or_else(gone)?;
        match hull_sys::process::signal(pidfd, signal) {
            Ok(()) => Ok(Reply::Ok),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(gone()),
            Err(error) => Err(Failure::step(&format!("send signal {signal}"), error)),
        }
    }

    fn resize(&mut self, target: &Target, rows: u16, columns: u16) -> Result<Reply, Failure> {
        let number = self.target(target)?;
        let process = self
            .processes
            .get(&number)
            .filter(|process| process.stage.pid().is_some());
        let gone = || Failure::new(ErrorKind::State, "the process is not running");
        match process.ok_or_else(gone)?.resize(rows, columns) {
            Ok(()) => Ok(Reply::Ok),
            Err(error) => Err(Failure::step("resize the terminal", error)),
        }
    }

    /// Whether there will be descriptors left for the daemon's orders after one client more.
    fn has_room(&self) -> bool {
        let held = FDS_OF_EXEC * self.processes.len() + self.clients.len() + self.connections.len();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        held as u64 + FDS_KEPT < limit.unwrap_or(u64::MAX)
    }

    /// `connection`: if it ends before the session is started, the session is forgotten.
    fn prepare_exec(&mut self, connection: u32, exec: Box<Exec>) -> Result<Reply, Failure> {
        self.check_running()?;
        if self
            .find(|role| *role == Role::Exec(exec.id.clone()))
            .is_some()
        {
            return Err(Failure::new(ErrorKind::State, "the exec id is in use"));
        }
        if self.processes.len() >= EXECS_MAX || !self.has_room() {
            return Err(Failure::new(ErrorKind::State, "too many exec sessions"));
        }
        let number = self.next_number();
        let mut process = Process::prepared(exec);
        process.made_by = Some(connection);
        self.processes.insert(number, process);
        Ok(Reply::Ok)
    }

    fn start_exec(&mut self, id: &str) -> Result<Reply, Failure> {
        let number = self.target(&Target::Exec(id.to_owned()))?;
        let process = self.processes.get(&number);
        let Some(Stage::Prepared(exec)) = process.map(|process| &process.stage) else {
            return Err(Failure::new(
                ErrorKind::State,
                "the exec session was started already",
            ));
        };
        let exec = exec.clone();
        let made = self.check_running().and_then(|()| self.run_exec(&exec));
        let (made, ends) = made.inspect_err(|_| self.end_process(number))?;
        let pid = made.pid;
        if let Some(process) = self.processes.get_mut(&number) {
            let started_at_ns = clock::since_1970_ns();
            process.stage = Stage::Running {
                pid,
                pidfd: made.pidfd,
                started_at_ns,
            };
        }
        if let Err(failure) = self.connect(number, ends) {
            self.kill_unseen(number);
            return Err(failure);
        }
        self.take_all_input(number);
        self.trim_later();
        Ok(Reply::Started { pid })
    }

    /// A process whose start is told to have failed must not run on.
    fn kill_unseen(&self, number: u32) {
        let process = self.processes.get(&number);
        if let Some(pidfd) = process.and_then(|process| process.stage.pidfd()) {
            let _ = hull_sys::process::signal(pidfd, libc::SIGKILL);
        }
    }

    fn run_exec(&self, exec: &Exec) -> Result<(Made, Ends), Failure> {
        let terminal = exec.process.terminal().unwrap_or(false);
        let wanted = Wanted {
            stdin: exec.stdin,
            merged: false,
            terminal,
        };
        let (ours, theirs) =
            streams(wanted).map_err(|error| Failure::step("make the streams", error))?;
        let container = self.container.as_ref().ok_or_else(not_running)?;
        let mut made = container.exec(&exec.process, exec.privileged, theirs)?;
        let ends = Ends {
            ours,
            terminal: made.terminal.take(),
            stdin: exec.stdin,
        };
        Ok((made, ends))
    }

    /// Processes may be added to it: it runs, and is not frozen (where they could never begin).
    fn check_running(&self) -> Result<(), Failure> {
        let init = self
            .processes
            .values()
            .find(|process| process.role == Role::Init);
        if !init.is_some_and(|init| matches!(init.stage, Stage::Running { .. })) {
            return Err(not_running());
        }
        if self.is_paused {
            return Err(Failure::new(ErrorKind::State, "the container is paused"));
        }
        Ok(())
    }

    fn target(&self, target: &Target) -> Result<u32, Failure> {
        self.find(|role| role.is(target))
            .ok_or_else(|| match target {
                Target::Init => not_running(),
                Target::Exec(_) => Failure::new(ErrorKind::NoSuchExec, "no such exec session"),
            })
    }

    fn attach(&mut self, connection_number: u32, attach: Attach) {
        if !self.has_room() {
            let failure = Failure::new(ErrorKind::State, "too many clients are attached");
            return self.reply(connection_number, &failure.into());
        }
        let process_number = match self.target(&attach.target) {
            Ok(number) => number,
            Err(failure) => return self.reply(connection_number, &failure.into()),
        };
        self.reply(connection_number, &Reply::Ok);
        let Some(connection) = self.connections.remove(&connection_number) else {
            return;
        };
        let Ok((socket, early)) = connection.into_raw(&self.poll) else {
            return;
        };
        let number = self.next_number();
        let Some(process) = self.processes.get_mut(&process_number) else {
            return;
        };
        let of = (process_number, process.has_terminal);
        let mut client = Client::new(socket, attach, of, early, &self.settings.bundle);
        if client.register(number, &self.poll).is_ok() {
            process.clients.push(number);
            self.clients.insert(number, client);
            self.take_all_input(process_number);
        }
    }

    /// First what already happened and still matters.
    fn listen(&mut self, number: u32) {
        self.reply(number, &Reply::Ok);
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.is_events = true;
        let ended = self
            .unseen
            .drain(..)
            .map(|(id, exit)| Event::ExecExited { id, exit });
        let health = self
            .monitor
            .as_ref()
            .map(|monitor| Event::Health(monitor.state().clone()));
        let exit = self.exit.clone().map(Event::Exited);
        for event in ended.chain(health).chain(exit) {
            // What does not get out is told to the next one that listens.
            let _ = connection.tell(&event);
        }
    }

    fn state(&self) -> State {
        let init = self
            .processes
            .values()
            .find(|process| process.role == Role::Init);
        let phase = match (&self.exit, init.map(|init| &init.stage)) {
            (Some(exit), _) => Phase::Exited(exit.clone()),
            (None, Some(Stage::Created { pid, .. })) => Phase::Created { pid: *pid },
            (
                None,
                Some(Stage::Running {
                    pid, started_at_ns, ..
                }),
            ) => Phase::Running {
                pid: *pid,
                started_at_ns: *started_at_ns,
            },
            // Its output is not all read yet.
            (None, Some(Stage::Ended(exit))) => Phase::Exited(exit.clone()),
            (None, Some(Stage::Prepared(_)) | None) => Phase::Empty,
        };
        State {
            version: protocol::VERSION,
            id: self.settings.id.clone(),
            shim_pid: rustix::process::getpid().as_raw_nonzero().get(),
            phase,
            execs: self.exec_states(),
            health: self.monitor.as_ref().map(|monitor| monitor.state().clone()),
            log_lines_lost: self.log.as_ref().map_or(0, Log::dropped_total),
        }
    }

    fn exec_states(&self) -> Vec<ExecState> {
        let present = self
            .processes
            .values()
            .filter_map(|process| match &process.role {
                Role::Exec(id) => Some(ExecState {
                    id: id.clone(),
                    pid: process.stage.pid().unwrap_or(0),
                    exit: process.stage.exit().cloned(),
                }),
                Role::Init | Role::Probe => None,
            });
        let past = self.unseen.iter().map(|(id, exit)| ExecState {
            id: id.clone(),
            pid: 0,
            exit: Some(exit.clone()),
        });
        // One that ended may still have output to deliver: it is told of once.
        let is_present = |id: &String| self.find(|role| *role == Role::Exec(id.clone())).is_some();
        present
            .chain(past.filter(|state| !is_present(&state.id)))
            .collect()
    }

    fn shutdown(&mut self) -> Result<Reply, Failure> {
        if let Some(init) = self.find(|role| *role == Role::Init) {
            let stage = self.processes.get(&init).map(|process| &process.stage);
            if !matches!(stage, Some(Stage::Created { .. })) {
                return Err(Failure::new(ErrorKind::State, "the container is running"));
            }
            self.abandon();
        }
        self.hide();
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        for number in clients {
            if let Some(client) = self.clients.get_mut(&number) {
                client.finish();
            }
            self.settle_client(number);
        }
        self.leaving = Some(Instant::now());
        Ok(Reply::Ok)
    }
}

/// Our ends of a new process's streams.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) ours: Ours,
    /// The terminal's master takes their place, if there is one.
    pub(crate) terminal: Option<OwnedFd>,
    pub(crate) stdin: bool,
}

fn not_running() -> Failure {
    Failure::new(ErrorKind::State, "the container is not running")
}

fn open_log(log: &protocol::Log) -> Result<Option<Log>, Failure> {
    let protocol::Log::JsonFile {
        path,
        size_max,
        files_max,
        compress,
        attributes,
    } = log
    else {
        return Ok(None);
    };
    let options = Options {
        path: path.clone(),
        size_max: *size_max,
        files_max: *files_max,
        compress: *compress,
        attributes: attributes.clone(),
    };
    let opened = Log::open(options);
    opened
        .map(Some)
        .map_err(|error| Failure::step(&format!("open {}", path.display()), error))
}
