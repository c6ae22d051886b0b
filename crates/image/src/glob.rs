//! Go's `path.Match`: `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes.

/// Whether `text` matches `pattern`; `None` if the pattern is malformed.
pub(crate) fn matches(pattern: &str, text: &str) -> Option<bool> {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    validate(&pattern)?;
    Some(matches_at(&pattern, &text))
}

fn matches_at(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where to go on after the last star, should the rest not fit.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if at == pattern.len() && read == text.len() {
            return true;
        }
        if pattern.get(at) == Some(&'*') {
            retry = Some((at, read));
            at += 1;
            continue;
        }
        if let (Some(&c), true) = (text.get(read), at < pattern.len())
            && let Some(next) = step(pattern, at, c)
        {
            (at, read) = (next, read + 1);
            continue;
        }
        match retry {
            Some((star, from)) if from < text.len() && text[from] != '/' => {
                retry = Some((star, from + 1));
                (at, read) = (star + 1, from + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on if its element at `at` takes `c`.
fn step(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern[at] {
        '?' => (c != '/').then_some(at + 1),
        '\\' => (pattern[at + 1] == c).then_some(at + 2),
        '[' => {
            let (end, hit) = class(pattern, at, c)?;
            hit.then_some(end)
        }
        literal => (literal == c).then_some(at + 1),
    }
}

/// The end of the class that begins at `at`, and whether it holds `c`.
fn class(pattern: &[char], at: usize, c: char) -> Option<(usize, bool)> {
    let mut next = at + 1;
    let negated = pattern.get(next) == Some(&'^');
    next += usize::from(negated);
    let (first, mut hit) = (next, false);
    loop {
        if next > first && *pattern.get(next)? == ']' {
            return Some((next + 1, hit != negated));
        }
        let (low, after) = class_char(pattern, next)?;
        next = after;
        let mut high = low;
        if pattern.get(next) == Some(&'-') {
            (high, next) = class_char(pattern, next + 1)?;
        }
        hit |= (low..=high).contains(&c);
    }
}

fn class_char(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match *pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        c => Some((c, at + 1)),
    }
}

fn validate(pattern: &[char]) -> Option<()> {
    let mut at = 0;
    while at < pattern.len() {
        at = match pattern[at] {
            '[' => class(pattern, at, '\0')?.0,
            '\\' => {
                pattern.get(at + 1)?;
                at + 2
            }
            _ => at + 1,
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*", "a/b", Some(false)),
            ("*/*", "a/b", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*b*c", "axxbyyc", Some(true)),
            ("a*b*c", "axx/byyc", Some(false)),
            ("a?c", "abc", Some(true)),
            ("a?c", "a/c", Some(false)),
            ("a[b-d]e", "ace", Some(true)),
            ("a[^b-d]e", "ace", Some(false)),
            (r"a\*b", "a*b", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[", "a", None),
            ("a[", "ab", None),
            ("busy*:1.*", "busybox:1.36", Some(true)),
            ("", "", Some(true)),
            ("", "x", Some(false)),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
