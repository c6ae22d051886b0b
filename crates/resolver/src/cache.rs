//! Answers of upstream servers, kept as long as they hold, and longer while nobody upstream
//! answers. One cache a sandbox: what reached one through its own network is not told to another.
//!
//! Pure: the caller supplies the clock.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::message::{self, Verdict};

/// Answers kept for one sandbox: some 50 KB at the most.
const ENTRIES_MAX: usize = 256;

/// Longer answers are not kept.
const BYTES_MAX: usize = 2048;

/// An answer is kept no longer than this, whatever it says.
const HOLDS_MAX: Duration = Duration::from_secs(3600);

/// "No such name", and "no such record", are kept no longer than this: they come into being.
const DENIAL_HOLDS_MAX: Duration = Duration::from_secs(15);

/// How long after its time an answer may stand in for a server that is gone.
const STALE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The time to live of an answer that stands in, in seconds.
const STALE_TTL: u32 = 30;

/// The answers that one sandbox got.
#[derive(Debug, Default)]
pub struct Cache {
    /// By the question's bytes after the id: the same question asked the same way.
    entries: HashMap<Box<[u8]>, Entry>,
}

#[derive(Debug)]
struct Entry {
    reply: Box<[u8]>,
    times: Box<[u16]>,
    since: Instant,
    until: Instant,
}

impl Cache {
    /// The answer to a question, if it still holds.
    pub fn fresh(&self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(query.get(2..)?)?;
        (now < entry.until).then(|| {
            let age = now.saturating_duration_since(entry.since).as_secs();
            let age = u32::try_from(age).unwrap_or(u32::MAX);
            entry.told(query, |time| time.saturating_sub(age))
        })
    }

    /// The last answer to a question, when nobody else answers it.
    pub fn stale(&self, query: &[u8], now: Instant) -> Option<Vec<u8>> {
        let entry = self.entries.get(query.get(2..)?)?;
        (now < entry.until + STALE_MAX).then(|| entry.told(query, |_| STALE_TTL))
    }

    /// Keeps an answer, if it says for how long.
    pub fn keep(&mut self, query: &[u8], reply: &[u8], now: Instant) {
        let longest = match message::verdict(reply) {
            Verdict::Answered if !message::is_empty(reply) => HOLDS_MAX,
            Verdict::Answered | Verdict::NoSuchName => DENIAL_HOLDS_MAX,
            Verdict::Useless | Verdict::Truncated | Verdict::Other => return,
        };
        let Some((times, shortest)) = message::times_to_live(reply) else {
            return;
        };
        let Some(question) = query.get(2..).filter(|_| reply.len() <= BYTES_MAX) else {
            return;
        };
        if self.entries.len() >= ENTRIES_MAX && !self.entries.contains_key(question) {
            self.make_room(now);
        }
        let holds = Duration::from_secs(shortest.into()).min(longest);
        let entry = Entry {
            reply: reply.into(),
            times: times.into(),
            since: now,
            until: now + holds,
        };
        self.entries.insert(question.into(), entry);
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, entry| now < entry.until);
        while self.entries.len() >= ENTRIES_MAX {
            let next = self.entries.iter().min_by_key(|(_, entry)| entry.until);
            let Some(key) = next.map(|(key, _)| key.clone()) else {
                return;
            };
            self.entries.remove(&key);
        }
    }
}

impl Entry {
    fn told(&self, query: &[u8], time: impl Fn(u32) -> u32) -> Vec<u8> {
        let mut reply = self.reply.to_vec();
        message::set_id(&mut reply, message::id(query));
        for place in &self.times {
            let place = usize::from(*place);
            if let Some(bytes) = reply.get_mut(place..place + 4)
                && let Ok(old) = <[u8; 4]>::try_from(&*bytes)
            {
                bytes.copy_from_slice(&time(u32::from_be_bytes(old)).to_be_bytes());
            }
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use domain::base::{MessageBuilder, Name, Rtype};

    use super::*;
    use crate::message::{Answer, answer, times_to_live};

    fn ask(name: &str) -> Vec<u8> {
        let mut builder = MessageBuilder::new_vec().question();
        builder
            .push((name.parse::<Name<Vec<u8>>>().unwrap(), Rtype::A))
            .unwrap();
        builder.finish()
    }

    fn reply(query: &[u8]) -> Vec<u8> {
        answer(query, &Answer::Addresses(&[[192, 0, 2, 1].into()]), 512).unwrap()
    }

    #[test]
    fn an_answer_holds_for_its_time_and_ages() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let mut query = ask("example.com");
        cache.keep(&query, &reply(&query), now);
        message::set_id(&mut query, 99);
        let later = cache.fresh(&query, now + Duration::from_secs(2)).unwrap();
        assert_eq!(message::id(&later), 99);
        assert_eq!(times_to_live(&later).unwrap().1, 3);
        assert_eq!(cache.fresh(&query, now + Duration::from_secs(6)), None);
        let stale = cache
            .stale(&query, now + Duration::from_secs(3600))
            .unwrap();
        assert_eq!(times_to_live(&stale).unwrap().1, STALE_TTL);
        assert_eq!(cache.stale(&query, now + STALE_MAX + HOLDS_MAX), None);
    }

    #[test]
    fn failures_are_not_kept() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let query = ask("example.com");
        cache.keep(&query, &answer(&query, &Answer::Failed, 512).unwrap(), now);
        cache.keep(
            &query,
            &answer(&query, &Answer::NoSuchName, 512).unwrap(),
            now,
        );
        assert_eq!(cache.stale(&query, now), None);
    }

    #[test]
    fn a_storm_of_names_does_not_fill_the_memory() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        for number in 0..5000 {
            let query = ask(&format!("n{number}.example.com"));
            cache.keep(&query, &reply(&query), now);
        }
        assert_eq!(cache.entries.len(), ENTRIES_MAX);
        let last = ask("n4999.example.com");
        assert!(cache.fresh(&last, now).is_some());
    }
}
