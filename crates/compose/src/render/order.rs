//! The order of keys in YAML, as Docker's Compose prints them: numbers inside of words count as
//! numbers (`web2` before `web10`), and what is no letter comes before letters.

use std::cmp::Ordering;

/// Compares two keys.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let same = left
        .iter()
        .zip(&right)
        .take_while(|(left, right)| left == right)
        .count();
    let (Some(&a), Some(&b)) = (left.get(same), right.get(same)) else {
        return left.len().cmp(&right.len());
    };
    match (a.is_alphabetic(), b.is_alphabetic()) {
        (true, true) => a.cmp(&b),
        (false, false) => numbers(&left, &right, same).then(a.cmp(&b)),
        // `a1b` before `a1.`, but `a.` before `ab`: a number goes on as long as it can.
        (is_letter, _) => {
            let in_number = same > 0 && is_digit(left[same - 1]);
            match is_letter == in_number {
                true => Ordering::Less,
                false => Ordering::Greater,
            }
        }
    }
}

fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit()
}

/// Compares the numbers that go on from where the keys differ; of equal ones the shorter is first.
fn numbers(left: &[char], right: &[char], from: usize) -> Ordering {
    let (a, b) = (digits(left, from), digits(right, from));
    // A zero means something only if the number began before it.
    let is_inside = left[..from]
        .iter()
        .rev()
        .take_while(|letter| is_digit(**letter))
        .any(|letter| *letter != '0');
    let significant = |digits: &[char]| match is_inside {
        true => digits.to_vec(),
        false => digits
            .iter()
            .skip_while(|digit| **digit == '0')
            .copied()
            .collect(),
    };
    let (x, y) = (significant(a), significant(b));
    x.len()
        .cmp(&y.len())
        .then_with(|| x.cmp(&y))
        .then(a.len().cmp(&b.len()))
}

fn digits(letters: &[char], from: usize) -> &[char] {
    let rest = &letters[from..];
    let count = rest.iter().take_while(|letter| is_digit(**letter)).count();
    &rest[..count]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_people_count() {
        for sorted in [
            vec!["1x", "9x", "10x", "Web", "web-1", "web2", "web10"],
            vec!["1", "A_1", "A1", "A2", "A10", "Z", "a"],
            vec!["com", "com-b", "com.a2", "com.a10", "com_b"],
            vec!["_v", "V1", "v-1", "v2", "v10"],
            vec!["a1", "a1b", "a1.", "a01"],
        ] {
            for (number, key) in sorted.iter().enumerate() {
                for later in &sorted[number + 1..] {
                    assert_eq!(compare(key, later), Ordering::Less, "{key} {later}");
                    assert_eq!(compare(later, key), Ordering::Greater, "{later} {key}");
                }
                assert_eq!(compare(key, key), Ordering::Equal);
            }
        }
    }
}
