//! One line of comma separated values, with quotes: `type=bind,"source=/a,b"`.

/// The fields of a line.
///
/// # Errors
/// A quote where none may stand, or one that is never closed.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = line;
    let mut column = 1;
    loop {
        let before = rest.len();
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted, column)?,
            None => plain_field(rest, column)?,
        };
        fields.push(field);
        let Some(after) = after else {
            return Ok(fields);
        };
        column += before - after.len();
        rest = after;
    }
}

fn plain_field(text: &str, column: usize) -> Result<(String, Option<&str>), String> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    match field.find('"') {
        Some(at) => Err(format!(
            "parse error on line 1, column {}: bare \" in non-quoted-field",
            column + at
        )),
        None => Ok((field.to_owned(), after)),
    }
}

fn quoted_field(mut text: &str, column: usize) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    loop {
        let Some((part, after)) = text.split_once('"') else {
            return Err(format!(
                "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                column + 1 + field.len() + text.len()
            ));
        };
        field.push_str(part);
        match after.chars().next() {
            None => return Ok((field, None)),
            Some(',') => return Ok((field, Some(&after[1..]))),
            Some('"') => {
                field.push('"');
                text = &after[1..];
            }
            Some(_) => {
                return Err(format!(
                    "parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    column + 1 + field.len()
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        assert_eq!(fields("a,b=c").unwrap(), ["a", "b=c"]);
        assert_eq!(fields("\"a,b\",\"c\"\"d\"").unwrap(), ["a,b", "c\"d"]);
        assert_eq!(fields("").unwrap(), [""]);
        assert!(
            fields("a\"b")
                .unwrap_err()
                .contains("bare \" in non-quoted-field")
        );
        assert!(fields("\"a").is_err());
    }
}
