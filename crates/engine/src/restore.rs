//! Takes up what an earlier daemon left: running containers go on, the rest is accounted for.

use std::{
    collections::HashSet,
    fs,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use hull_shim::{
    client::Client,
    protocol::{Phase, Reply, Request},
};

use crate::{
    actor,
    error::Result,
    model::{ContainerId, RestartPolicy},
    order,
    record::Record,
    sealed,
    services::{RECORD_COPY, Services, recorded_exit},
    shim::{EventStream, ShimLink},
    state::{Run, State},
    store::Kind,
};

/// How long a shim may take to answer a new daemon. One that is stopped answers later: its
/// container is taken as running until then.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How many shims are asked at a time.
const ASKERS: usize = 8;

/// How long a shim may take to do what ends it.
const END_WITHIN: Duration = Duration::from_secs(2);

/// What an earlier daemon left of one container.
struct Found {
    record: Record,
    events: Option<std::os::unix::net::UnixStream>,
    /// It ended meanwhile, and its shim tells it again.
    is_ended: bool,
}

/// Compares records, shims and directories, both ways, and starts an owner for each container.
pub(crate) async fn take_up(services: &Arc<Services>) -> Result<()> {
    let shared = Arc::clone(services);
    let found = services.block(move || look(&shared)).await??;
    let mut to_start = Vec::new();
    for one in found.iter().filter(|one| one.is_ended) {
        services.ended.note(one.record.id.clone());
    }
    for found in found {
        let Found {
            mut record, events, ..
        } = found;
        let id = record.id.clone();
        if let Err(error) = services.registry.reserve(&record.name, &id) {
            tracing::error!(container = id.short(), %error, "its name is taken");
            let mut attempt = 1;
            loop {
                record.name = crate::names::random(attempt);
                if services.registry.reserve(&record.name, &id).is_ok() {
                    break;
                }
                attempt += 1;
            }
            services.save(&record);
            services.keep_copy(&record);
        }
        let events = match events.map(EventStream::new).transpose() {
            Ok(events) => events,
            Err(error) => {
                tracing::error!(container = id.short(), %error, "cannot follow its shim");
                None
            }
        };
        if record.host.auto_remove
            && matches!(record.state, State::Exited { .. } | State::Created { .. })
        {
            services.discard(&record, true);
            continue;
        }
        if wants_start(&record) {
            to_start.push(id);
        }
        actor::launch(services, record, events);
    }
    order::begin(services, to_start);
    Ok(())
}

/// Whether its policy starts it together with the daemon.
fn wants_start(record: &Record) -> bool {
    let State::Exited { exit, failure } = &record.state else {
        return false;
    };
    match record.host.restart_policy {
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !record.asked_to_stop,
        // The earlier daemon died between its end and its start.
        RestartPolicy::OnUnhealthy => !record.asked_to_stop && exit.code != 0 && failure.is_none(),
        RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
    }
}

fn look(services: &Arc<Services>) -> Result<Vec<Found>> {
    let mut records: Vec<Record> = services.store.all(Kind::Container)?;
    let mut known: HashSet<String> = ids(&records);
    for record in copies(services) {
        // The state file was lost, or this record of it cannot be read.
        let lost = services.starts_anew || in_quarantine(services, &record)?;
        if lost && known.insert(record.id.to_string()) {
            tracing::warn!(
                container = record.id.short(),
                "taken from the copy of its record"
            );
            services.save(&record);
            records.push(record);
        }
    }
    // What cannot be read is nobody's to delete.
    known.extend(services.store.quarantined(Kind::Container)?);
    remove_unowned(services, &known);
    let mut found = adopt_all(services, records);
    for found in &mut found {
        name_volumes(services, &mut found.record);
    }
    let running: Vec<&Record> = found
        .iter()
        .map(|found| &found.record)
        .filter(|record| record.state.is_running())
        .collect();
    services.networks.restore(&running)?;
    services.restore_names(&running);
    services.recount_volumes(&running);
    remove_half_made_volumes(services)?;
    Ok(found)
}

/// An earlier daemon may have died between a volume's new name and the containers' news of it.
fn name_volumes(services: &Services, record: &mut Record) {
    let volumes: Vec<_> = record
        .mounts
        .iter()
        .filter_map(|mount| services.volume_of(mount))
        .collect();
    let mut changed = false;
    for volume in volumes {
        changed |= record.name_volume(&volume);
    }
    if changed {
        services.save(record);
    }
}

/// What was made of a volume before its record was. What holds anything stays: `fsck` tells of it.
fn remove_half_made_volumes(services: &Services) -> Result<()> {
    let unowned = services.volumes.unowned()?;
    for directory in unowned.filled {
        tracing::error!(directory = %directory.display(), "a volume without a record, left alone");
    }
    for directory in unowned.empty {
        services.discard_directory(&directory)?;
    }
    Ok(())
}

fn ids(records: &[Record]) -> HashSet<String> {
    records.iter().map(|record| record.id.to_string()).collect()
}

fn in_quarantine(services: &Services, record: &Record) -> Result<bool> {
    let keys = services.store.quarantined(Kind::Container)?;
    Ok(keys.iter().any(|key| key == record.id.as_str()))
}

/// Asks all shims side by side: one that somebody stopped holds up no other.
fn adopt_all(services: &Arc<Services>, records: Vec<Record>) -> Vec<Found> {
    let queue = Mutex::new(records.into_iter());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        let ask = || {
            let mut found = Vec::new();
            while let Some(record) = next() {
                found.extend(adopt(services, record));
            }
            found
        };
        let askers: Vec<_> = (0..ASKERS).map(|_| scope.spawn(ask)).collect();
        askers
            .into_iter()
            .flat_map(|asker| asker.join().unwrap_or_default())
            .collect()
    })
}

/// The records that lie beside what they describe.
fn copies(services: &Services) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(services.paths.containers()) else {
        return Vec::new();
    };
    let unread = services
        .store
        .quarantined(Kind::Container)
        .unwrap_or_default();
    let wanted = |name: &str| services.starts_anew || unread.iter().any(|key| key == name);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path().join(RECORD_COPY);
        let text = wanted(&name).then(|| fs::read(path).ok()).flatten()?;
        serde_json::from_slice::<Record>(&text).ok()
    };
    entries.flatten().filter_map(read).collect()
}

/// Shims and directories of containers that no record tells of: half made, or half removed. With a
/// new state file that says nothing: then what has files of its own is left alone.
fn remove_unowned(services: &Services, known: &HashSet<String>) {
    for parent in [services.paths.runs(), services.paths.containers()] {
        let Ok(entries) = fs::read_dir(&parent) else {
            continue;
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = ContainerId::parse(&name) else {
                continue;
            };
            if known.contains(&name) {
                continue;
            }
            if services.starts_anew && services.paths.upper(&id).exists() {
                tracing::error!(container = id.short(), "left alone: its record is lost");
                continue;
            }
            tracing::warn!(container = id.short(), "removing what no record tells of");
            let link = ShimLink::new(&services.paths.run(&id));
            if let Ok(mut client) = link.connect() {
                end_shim(&mut client);
            }
            if let Err(error) = services.discard_directory(&entry.path()) {
                tracing::error!(container = id.short(), %error, "cannot remove");
            }
        }
    }
}

/// Kills what a shim runs and lets it go.
pub(crate) fn end_shim(client: &mut Client) {
    use hull_shim::protocol::Target;
    let signal = libc::SIGKILL;
    let _ = client.set_timeout(Some(END_WITHIN));
    let _ = client.request(
        &Request::Signal {
            target: Target::Init,
            signal,
            all: true,
        },
        &[],
    );
    for _ in 0..200 {
        match client.request(&Request::Shutdown, &[]) {
            Ok(_) => return,
            Err(hull_shim::client::ClientError::Refused { .. }) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(_) => return,
        }
    }
}

/// Takes a command of a build away: the build that waited for it is gone.
fn end_build_step(services: &Arc<Services>, record: &Record, link: &ShimLink) -> Option<Found> {
    if let Ok(mut client) = link.connect() {
        end_shim(&mut client);
    }
    services.destroy_cgroup(record);
    services.discard(record, true);
    None
}

/// The way to a container's shim. Whoever was to see what a start laid out has it by now.
fn link_to(services: &Services, record: &Record) -> ShimLink {
    sealed::clear(&services.paths.run(&record.id));
    services.shim_of(&record.id)
}

/// Brings a record up to date with its shim.
fn adopt(services: &Arc<Services>, mut record: Record) -> Option<Found> {
    if let State::Removing { volumes } = record.state {
        services.discard(&record, volumes);
        return None;
    }
    let link = link_to(services, &record);
    if record.is_build_step {
        return end_build_step(services, &record, &link);
    }
    match ask_state(&link) {
        Some(Phase::Running { pid, started_at_ns }) => {
            let run = match record.state.run() {
                Some(known) if known.pid == pid => known.clone(),
                _ => Run { pid, started_at_ns },
            };
            let is_frozen = is_frozen(services, &record);
            record.state = match is_frozen {
                true => State::Paused(run),
                false => State::Running(run),
            };
            services.save(&record);
            return Some(Found {
                events: events_of(&link, Some(is_frozen)),
                record,
                is_ended: false,
            });
        }
        Some(Phase::Exited(exit)) if record.state.exit() == Some(&exit) => {
            // The earlier daemon recorded it and died before it could let the shim go.
            let _ = link
                .connect()
                .map(|mut client| client.request(&Request::Shutdown, &[]));
        }
        Some(Phase::Exited(exit)) => {
            // Its owner records it as if it happened now: the shim tells it again.
            if !record.state.is_running() {
                let started_at_ns = exit.started_at_ns;
                record.state = State::Running(Run {
                    pid: 0,
                    started_at_ns,
                });
            }
            return Some(Found {
                events: events_of(&link, None),
                record,
                is_ended: true,
            });
        }
        Some(Phase::Empty | Phase::Created { .. }) => {
            // The earlier daemon died in the middle of a start.
            if let Ok(mut client) = link.connect() {
                end_shim(&mut client);
            }
        }
        None if record.state.is_running() && !link.is_gone() => {
            return Some(Found {
                record,
                events: None,
                is_ended: false,
            });
        }
        None => {}
    }
    clear_up(services, &mut record);
    Some(Found {
        record,
        events: None,
        is_ended: false,
    })
}

/// Of a container without a shim nothing is left that runs.
fn clear_up(services: &Arc<Services>, record: &mut Record) {
    if record.state.is_running() {
        lost(services, record);
        return;
    }
    if fs::remove_dir_all(services.paths.run(&record.id)).is_ok() {
        // A start that broke off may have left what it made.
        services.destroy_cgroup(record);
    }
    if !record.endpoints.is_empty() {
        record.endpoints.clear();
        record.published.clear();
        services.save(record);
    }
}

/// The kernel knows best: the earlier daemon may have died between the freezer and the record.
fn is_frozen(services: &Services, record: &Record) -> bool {
    let freezer = services
        .cgroup_of(record)
        .and_then(|cgroup| Ok(cgroup.freezer()?));
    matches!(freezer, Ok(hull_runtime::cgroup::Freezer::Frozen))
}

/// What a shim says is the case; `None`: it says nothing.
fn ask_state(link: &ShimLink) -> Option<Phase> {
    let mut client = link.connect().ok()?;
    client.set_timeout(Some(ANSWER_WITHIN)).ok()?;
    match client.request(&Request::State, &[]) {
        Ok(Reply::State(state)) => Some(state.phase),
        _ => None,
    }
}

fn events_of(link: &ShimLink, is_frozen: Option<bool>) -> Option<std::os::unix::net::UnixStream> {
    let mut client = link.connect().ok()?;
    // The earlier daemon may have died between the freezer and the shim's news of it.
    if let Some(is_frozen) = is_frozen {
        let _ = client.request(&Request::PauseHealth(is_frozen), &[]);
    }
    Some(client.events().ok()?.into_stream())
}

/// It ran when the earlier daemon last wrote, and there is no trace of it now: the host went down,
/// or its shim was killed.
fn lost(services: &Arc<Services>, record: &mut Record) {
    let exit = recorded_exit(&services.paths.bundle(&record.id), record);
    services.destroy_cgroup(record);
    services.give_lost_volumes_back(record);
    let _ = fs::remove_dir_all(services.paths.run(&record.id));
    record.endpoints.clear();
    record.published.clear();
    let again = crate::state::after_exit(&crate::state::ExitContext {
        policy: record.host.restart_policy,
        auto_remove: record.host.auto_remove,
        asked_to_stop: record.asked_to_stop,
        code: exit.code,
        ran_for: Duration::ZERO,
        restarts: record.restarts,
        backoff_step: 0,
    });
    let started_at_ns = record.state.run().map_or(0, |run| run.started_at_ns);
    record.state = match again {
        crate::state::AfterExit::Restart(_) => State::Restarting {
            exit,
            started_at_ns,
        },
        _ => State::Exited {
            exit,
            failure: None,
        },
    };
    services.save(record);
}
