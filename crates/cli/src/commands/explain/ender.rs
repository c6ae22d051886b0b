//! Who ended a container: `stop`, `kill`, or nobody that the daemon knows. Its events tell.

use hull_api::types::{ContainerInspect, Event};
use hull_api::{Client, Filters};
use jiff::{SignedDuration, Timestamp};

/// What a `stop` has to say comes after the end, within this time.
const AFTER: SignedDuration = SignedDuration::from_secs(5);

/// What the daemon's events say of a container since it was started last.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) ender: Ender,
    /// Whether one of its processes was ended for want of memory.
    pub(super) ran_out_of_memory: bool,
}

/// Who ended it.
#[derive(Debug, Default, PartialEq, Clone)]
pub(super) enum Ender {
    /// The events of that time are not there any more, or it has not ended.
    #[default]
    Unknown,
    /// Nobody asked the daemon to.
    Nobody,
    /// `stop`, `restart` or the like, with these signals.
    Stop(Vec<i64>),
    /// `kill`, with these.
    Kill(Vec<i64>),
}

impl Ender {
    /// For programs.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Nobody => Some("nobody"),
            Self::Stop(_) => Some("stop"),
            Self::Kill(_) => Some("kill"),
        }
    }
}

/// Asks the daemon for what happened between its last start and its end.
pub(super) async fn ask(client: &Client, container: &ContainerInspect) -> Told {
    let ended: Option<Timestamp> = container.state.finished_at.parse().ok();
    let Some(ended) = ended.filter(|ended| ended.as_second() > 0 && !container.state.running)
    else {
        return Told::default();
    };
    // To ask for what is yet to come would be to wait for it.
    let until = ended
        .saturating_add(AFTER)
        .map_or(ended, |late| late.min(Timestamp::now()));
    let mut wanted = Filters::default();
    wanted.add("container", container.id.as_str());
    for action in ["oom", "kill", "stop", "die"] {
        wanted.add("event", action);
    }
    let from = &container.state.started_at;
    let mut seen = Vec::new();
    if let Ok(mut events) = client.events(from, &until.to_string(), &wanted).await {
        while let Some(Ok(event)) = events.next_item().await {
            seen.push(event);
        }
    }
    told(&seen)
}

/// What was sent longer before the end than this (a reload, say) did not end it.
const NEAR_NS: i64 = 60_000_000_000;

fn told(events: &[Event]) -> Told {
    let has = |action: &str| events.iter().any(|event| event.action == action);
    let kills = events.iter().filter(|event| event.action == "kill");
    let signal = |event: &Event| event.actor.attributes.get("signal")?.parse().ok();
    let mut deaths = events.iter().filter(|event| event.action == "die");
    let died = deaths.next_back().map(|event| event.time_nano);
    let is_near = |event: &&Event| died.is_some_and(|died| died - event.time_nano <= NEAR_NS);
    let all: Vec<i64> = kills.clone().filter_map(signal).collect();
    let signals: Vec<i64> = kills.filter(is_near).filter_map(signal).collect();
    // A stop sends its signal, and SIGKILL if that is not heeded; what was sent before is none of it.
    let of_stop = if all.last() == Some(&9) { 2 } else { 1 };
    let ender = match (has("die"), has("stop"), signals.is_empty()) {
        (false, ..) => Ender::Unknown,
        (true, true, _) => Ender::Stop(all[all.len().saturating_sub(of_stop)..].to_vec()),
        (true, false, false) => Ender::Kill(signals),
        (true, false, true) => Ender::Nobody,
    };
    Told {
        ender,
        ran_out_of_memory: has("oom"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ender(actions: &[&str]) -> Ender {
        let event = |text: &&str| {
            let (action, signal) = text.split_once(' ').unwrap_or((text, ""));
            let mut event = Event {
                action: action.to_owned(),
                ..Event::default()
            };
            if !signal.is_empty() {
                event
                    .actor
                    .attributes
                    .insert("signal".into(), signal.into());
            }
            event
        };
        let events: Vec<Event> = actions.iter().map(event).collect();
        told(&events).ender
    }

    #[test]
    fn events_tell_stop_from_kill() {
        assert_eq!(
            ender(&["kill 15", "kill 9", "die", "stop"]),
            Ender::Stop(vec![15, 9])
        );
        assert_eq!(ender(&["kill 9", "die"]), Ender::Kill(vec![9]));
        assert_eq!(ender(&["die"]), Ender::Nobody);
        // The daemon no longer knows that time.
        assert_eq!(ender(&[]), Ender::Unknown);
    }
}
