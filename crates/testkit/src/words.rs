//! Command lines as one reads them: `run --rm busybox sh -c 'exit 7'`.

/// Splits at blanks; single and double quotes keep words together. There are no escapes.
pub fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => word.get_or_insert_default().push(letter),
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, _) if letter.is_whitespace() => words.extend(word.take()),
            (None, _) => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "unfinished quote in: {line}");
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn quotes_keep_words_together_and_empty_words_count() {
        assert_eq!(
            split("run  -e A='b c' x \"it's\" ''"),
            ["run", "-e", "A=b c", "x", "it's", ""]
        );
    }
}
