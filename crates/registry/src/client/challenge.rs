//! What a registry asks for with a 401 (`WWW-Authenticate`). Pure.

use std::collections::BTreeMap;

/// How to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token from another place.
    Bearer {
        realm: String,
        service: String,
        scope: String,
    },
}

impl Challenge {
    /// The strongest of the challenges that is understood.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut basic = None;
        for challenge in headers.flat_map(parse) {
            match challenge.0.to_ascii_lowercase().as_str() {
                "bearer" if challenge.1.contains_key("realm") => {
                    let take = |key| challenge.1.get(key).cloned().unwrap_or_default();
                    return Some(Self::Bearer {
                        realm: take("realm"),
                        service: take("service"),
                        scope: take("scope"),
                    });
                }
                "basic" => basic = Some(Self::Basic),
                _ => {}
            }
        }
        basic
    }
}

/// `Scheme key="value", key=value, Scheme2 …`
fn parse(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| c == '=' || c == ',' || c.is_whitespace())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let after = after.trim_start();
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = parse_value(value.trim_start());
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.insert(word.to_ascii_lowercase(), value);
            }
            rest = after;
        } else {
            if !word.is_empty() {
                challenges.push((word.to_owned(), BTreeMap::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
    }
    challenges
}

/// A token or a quoted text, and what follows.
fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|c: char| c == ',' || c.is_whitespace())
            .unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_the_known_registries_are_understood() {
        let bearer = |realm: &str, service: &str, scope: &str| {
            Some(Challenge::Bearer {
                realm: realm.into(),
                service: service.into(),
                scope: scope.into(),
            })
        };
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
                bearer(
                    "https://auth.docker.io/token",
                    "registry.docker.io",
                    "repository:library/busybox:pull",
                ),
            ),
            (
                r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#,
                bearer("https://ghcr.io/token", "ghcr.io", "repository:a/b:pull"),
            ),
            (
                r#"Bearer realm="https://quay.io/v2/auth",service="quay.io""#,
                bearer("https://quay.io/v2/auth", "quay.io", ""),
            ),
            (
                r#"Basic realm="https://1.dkr.ecr.eu-central-1.amazonaws.com/",service="ecr.amazonaws.com""#,
                Some(Challenge::Basic),
            ),
            (
                r#"Basic realm="x", Bearer realm="https://a/t" , service=b"#,
                bearer("https://a/t", "b", ""),
            ),
            (
                r#"bearer  realm = "https://a/\"t" , scope="a:b:pull,push""#,
                bearer("https://a/\"t", "", "a:b:pull,push"),
            ),
            ("Bearer", None),
            ("Negotiate", None),
            ("", None),
            (r#"Bearer realm="unfinished"#, bearer("unfinished", "", "")),
            ("=,=,,\"", None),
        ] {
            assert_eq!(
                Challenge::choose([header].into_iter()),
                expected,
                "{header}"
            );
        }
        assert_eq!(
            Challenge::choose(["Negotiate", "Basic realm=x"].into_iter()),
            Some(Challenge::Basic)
        );
    }
}
