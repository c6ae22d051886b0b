//! Names for containers whose makers give none.

use crate::model::Name;

const QUALITIES: [&str; 48] = [
    "able", "airy", "alert", "amber", "ample", "apt", "azure", "balmy", "bold", "brave", "brisk",
    "calm", "clear", "clever", "crisp", "deft", "eager", "early", "fair", "fleet", "fond", "frank",
    "fresh", "gentle", "glad", "golden", "grand", "hale", "jolly", "keen", "kind", "lively",
    "lucid", "merry", "mild", "neat", "noble", "proud", "quick", "quiet", "ready", "rosy", "sound",
    "steady", "sunny", "swift", "tidy", "warm",
];

const SHIPS: [&str; 48] = [
    "argosy", "ark", "barge", "bark", "brig", "canoe", "caravel", "carrack", "clipper", "cog",
    "coracle", "corvette", "cruiser", "cutter", "dhow", "dinghy", "dory", "drifter", "felucca",
    "ferry", "frigate", "galleon", "galley", "gondola", "hoy", "junk", "kayak", "ketch", "launch",
    "liner", "lugger", "packet", "pinnace", "pram", "punt", "raft", "sampan", "schooner", "scow",
    "skiff", "sloop", "smack", "tender", "trimaran", "tug", "whaler", "yacht", "yawl",
];

/// A name people can say; after a few collisions the caller asks with `attempt` above zero and gets
/// a number added.
pub(crate) fn random(attempt: u32) -> Name {
    let mut bytes = [0u8; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let quality = QUALITIES[usize::from(bytes[0]) % QUALITIES.len()];
    let ship = SHIPS[usize::from(bytes[1]) % SHIPS.len()];
    let mut text = format!("{quality}_{ship}");
    if attempt > 0 {
        text.push_str(&u16::from_le_bytes([bytes[2], bytes[3]]).to_string());
    }
    Name::parse(&text).expect("the words above are letters joined by an underscore")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_made_up_name_is_valid() {
        for attempt in 0..50 {
            let name = super::random(attempt % 3);
            assert!(name.as_str().contains('_'));
        }
    }
}
