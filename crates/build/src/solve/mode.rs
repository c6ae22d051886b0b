//! `--chmod`: octal, or symbolic as `chmod(1)` takes it.

/// A change of permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Exactly these.
    Octal(u32),
    /// Changes, in order.
    Symbolic(Vec<Change>),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    who: u32,
    operator: char,
    bits: u32,
    /// `X`: executable where somebody may execute it already, or for directories.
    conditional: bool,
}

impl Mode {
    /// `755`, `u=rwX,go=rX`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
            )
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
            return if mode <= 0o7777 {
                Ok(Self::Octal(mode))
            } else {
                Err(invalid())
            };
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let end = clause
                .find(|letter| !"ugoa".contains(letter))
                .ok_or_else(invalid)?;
            let (who, mut rest) = clause.split_at(end);
            let who = mask(who);
            while !rest.is_empty() {
                let operator = rest.chars().next().filter(|letter| "+-=".contains(*letter));
                let operator = operator.ok_or_else(invalid)?;
                let body = &rest[1..];
                let end = body.find(['+', '-', '=']).unwrap_or(body.len());
                changes.push(change(who, operator, &body[..end]).ok_or_else(invalid)?);
                rest = &body[end..];
            }
        }
        Ok(Self::Symbolic(changes))
    }

    /// The bits of a file that had `old`.
    pub(crate) fn apply(&self, old: u32, is_directory: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Symbolic(changes) => changes.iter().fold(old, |mode, change| {
                let mut bits = change.bits;
                if change.conditional && (is_directory || mode & 0o111 != 0) {
                    bits |= 0o111 & change.who;
                }
                match change.operator {
                    '+' => mode | bits,
                    '-' => mode & !bits,
                    // As chmod(1): what is set anew loses its special bits, but a directory keeps
                    // whose its new files are.
                    _ => {
                        let kept = if is_directory { 0o6000 } else { 0 };
                        (mode & !(change.who & !kept)) | bits
                    }
                }
            }),
        }
    }
}

fn mask(who: &str) -> u32 {
    if who.is_empty() {
        return 0o7777;
    }
    who.chars().fold(0, |mask, letter| {
        mask | match letter {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            _ => 0o7777,
        }
    })
}

fn change(who: u32, operator: char, letters: &str) -> Option<Change> {
    let mut bits = 0;
    let mut conditional = false;
    for letter in letters.chars() {
        bits |= match letter {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            's' => 0o6000,
            't' => 0o1000,
            'X' => {
                conditional = true;
                0
            }
            _ => return None,
        };
    }
    Some(Change {
        who,
        operator,
        bits: bits & who,
        conditional,
    })
}

#[cfg(test)]
mod tests {
    use super::Mode;

    #[test]
    fn modes_are_octal_or_symbolic() {
        for (text, old, is_directory, expected) in [
            ("755", 0o600, false, 0o755),
            ("0644", 0o777, false, 0o644),
            ("u=rwX,go=rX", 0o600, false, 0o644),
            ("u=rwX,go=rX", 0o700, false, 0o755),
            ("u=rwX,go=rX", 0o600, true, 0o755),
            ("+x", 0o644, false, 0o755),
            ("a-w", 0o666, false, 0o444),
            ("g+w,o-r", 0o644, false, 0o660),
            ("u+s", 0o755, false, 0o4755),
        ] {
            let mode = Mode::parse(text).unwrap();
            assert_eq!(mode.apply(old, is_directory), expected, "{text} {old:o}");
        }
        for text in ["", "8", "77777", "u", "u=q", "x=y", "-"] {
            assert!(Mode::parse(text).is_err() || text == "-", "{text}");
        }
    }
}
