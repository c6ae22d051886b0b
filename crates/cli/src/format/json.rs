//! JSON text as Go's encoder prints it.

/// Indents a JSON text without touching its tokens or their order: what `inspect` prints.
pub(crate) fn indent(text: &str, step: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                out.push('"');
                copy_string(&mut characters, &mut out);
            }
            '{' | '[' => {
                out.push(character);
                while characters.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = characters.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    new_line(&mut out, step, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, step, depth);
                out.push(character);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, step, depth);
            }
            ':' => out.push_str(": "),
            _ if character.is_ascii_whitespace() => {}
            _ => out.push(character),
        }
    }
    out
}

fn new_line(out: &mut String, step: &str, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str(step);
    }
}

fn copy_string(characters: &mut impl Iterator<Item = char>, out: &mut String) {
    let mut escaped = false;
    for character in characters {
        out.push(character);
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_collections_stay_on_their_line_and_order_is_kept() {
        assert_eq!(
            indent(r#"[{"b":1,"a":[ ],"c":{"d":"x:,{\"}"},"e":{}}]"#, "    "),
            "[\n    {\n        \"b\": 1,\n        \"a\": [],\n        \"c\": {\n            \"d\": \"x:,{\\\"}\"\n        },\n        \"e\": {}\n    }\n]"
        );
    }
}
