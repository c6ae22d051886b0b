//! Patterns of paths, as Go matches them: `*`, `?` and `[…]` stop at `/`; `**` does not.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

/// The text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern {0:?}")]
pub struct BadPattern(pub String);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `**/`: no directory, or some.
    Directories,
    /// `**`: everything.
    Everything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Parses a pattern. Without `deep`, `**` is `*`.
    pub fn parse(text: &str, deep: bool) -> Result<Self, BadPattern> {
        let bad = || BadPattern(text.to_owned());
        let letters: Vec<char> = text.chars().collect();
        let mut tokens = Vec::new();
        let mut at = 0;
        while at < letters.len() {
            match letters[at] {
                '*' if deep && letters.get(at + 1) == Some(&'*') => {
                    at += 2;
                    if letters.get(at) == Some(&'/') {
                        at += 1;
                        tokens.push(Token::Directories);
                    } else {
                        tokens.push(Token::Everything);
                    }
                    continue;
                }
                '*' => tokens.push(Token::Star),
                '?' => tokens.push(Token::Any),
                '\\' => {
                    at += 1;
                    tokens.push(Token::Literal(*letters.get(at).ok_or_else(bad)?));
                }
                '[' => {
                    let (class, end) = class(&letters, at + 1).ok_or_else(bad)?;
                    tokens.push(class);
                    at = end;
                    continue;
                }
                letter => tokens.push(Token::Literal(letter)),
            }
            at += 1;
        }
        Ok(Self { tokens })
    }

    /// Whether the whole of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        // Which tokens may come next, letter by letter: linear in both, whatever the pattern.
        let mut states = vec![false; self.tokens.len() + 1];
        states[0] = true;
        self.skip_empty(&mut states, true);

        for letter in text.chars() {
            let mut next = vec![false; states.len()];
            for (at, token) in self.tokens.iter().enumerate().filter(|(at, _)| states[*at]) {
                match token {
                    Token::Star if letter != '/' => next[at] = true,
                    Token::Everything => next[at] = true,
                    Token::Directories => {
                        // Goes on behind a slash.
                        next[at] = true;
                        if letter == '/' {
                            next[at + 1] = true;
                        }
                    }
                    token if token.takes(letter) => next[at + 1] = true,
                    _ => {}
                }
            }
            let at_start = letter == '/';
            self.skip_empty(&mut next, at_start);
            states = next;
        }
        states[self.tokens.len()]
    }

    /// Adds what may follow without a letter. `**/` stands for nothing only where a name begins:
    /// a state that waits inside of it is marked by its own place alone.
    fn skip_empty(&self, states: &mut [bool], at_start: bool) {
        for at in 0..self.tokens.len() {
            if !states[at] {
                continue;
            }
            match self.tokens[at] {
                Token::Star | Token::Everything => states[at + 1] = true,
                Token::Directories if at_start => states[at + 1] = true,
                _ => {}
            }
        }
    }

    /// Whether it is a plain name.
    pub fn is_plain(&self) -> bool {
        self.tokens
            .iter()
            .all(|token| matches!(token, Token::Literal(_)))
    }
}

impl Token {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Literal(own) => *own == letter,
            Self::Any => letter != '/',
            Self::Class { negated, ranges } => {
                let hit = ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&letter));
                hit != *negated && letter != '/'
            }
            Self::Star | Self::Directories | Self::Everything => false,
        }
    }
}

/// The class that begins behind a `[`, and where the pattern goes on.
fn class(letters: &[char], mut at: usize) -> Option<(Token, usize)> {
    let negated = letters.get(at) == Some(&'^');
    at += usize::from(negated);
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && *letters.get(at)? == ']' {
            return Some((Token::Class { negated, ranges }, at + 1));
        }
        let (low, after) = class_letter(letters, at)?;
        at = after;
        let mut high = low;
        if letters.get(at) == Some(&'-') {
            (high, at) = class_letter(letters, at + 1)?;
        }
        ranges.push((low, high));
    }
}

fn class_letter(letters: &[char], at: usize) -> Option<(char, usize)> {
    match *letters.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*letters.get(at + 1)?, at + 2)),
        letter => Some((letter, at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text, expected) in [
            ("a.txt", "a.txt", true),
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("**/*.txt", "a.txt", true),
            ("**/*.txt", "d/e/a.txt", true),
            ("**/a.txt", "d/ba.txt", false),
            ("**/a.txt", "ba.txt", false),
            ("d/**", "d/e/f", true),
            ("d/**", "e/f", false),
            ("d/**/f", "d/f", true),
            ("d/**/f", "d/a/b/f", true),
            ("d/**/f", "d/xf", false),
            ("**", "any/thing", true),
            ("?.go", "a.go", true),
            ("?.go", "/.go", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "zx", true),
            (r"\*", "*", true),
            (r"\*", "x", false),
            ("", "", true),
        ] {
            let glob = Glob::parse(pattern, true).unwrap();
            assert_eq!(glob.matches(text), expected, "{pattern} {text}");
        }
        for pattern in ["[", "a[", "[]a]", "[a-]", "a\\"] {
            assert!(Glob::parse(pattern, true).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_others() {
        let pattern = "*a".repeat(2_000);
        let glob = Glob::parse(&pattern, true).unwrap();
        assert!(!glob.matches(&"a".repeat(1_999)));
    }
}
