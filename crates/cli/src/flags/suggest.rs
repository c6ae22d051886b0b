//! The nearest known word to one that is not known.

/// Farther than this, a word was probably not meant.
const DISTANCE_MAX: usize = 2;

/// The known word that is nearest to `word`, if any is near.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .filter(|candidate| candidate.len() > 1)
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= DISTANCE_MAX.min(candidate.len() / 2)
                || (word.len() > 2 && candidate.starts_with(word))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Damerau's optimal string alignment: insertions, deletions, changes and swaps of neighbours.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = rows[i - 1][j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_and_prefixes_are_near() {
        let known = ["start", "stats", "stop", "run", "ps"];
        assert_eq!(nearest("strat", known.into_iter()), Some("start"));
        assert_eq!(nearest("rnu", known.into_iter()), Some("run"));
        assert_eq!(nearest("sto", known.into_iter()), Some("stop"));
        assert_eq!(nearest("compose", known.into_iter()), None);
    }
}
