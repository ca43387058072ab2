//! Options and pipelines as people write them on a command line, taken apart without a shell.

use super::error::CommandError;

/// The most bytes of options or of a pipeline.
pub const MOST_TEXT: usize = 4096;

/// Takes `text` apart at white space; what stands in double or single quotes stays together, without the quotes.
///
/// `what` names the text in errors.
///
/// # Errors
/// [`CommandError::Text`]: it is too long, has control characters, or a quote that is not closed.
pub fn words(what: &'static str, text: &str) -> Result<Vec<String>, CommandError> {
    let refuse = |rule| {
        let text = text.chars().filter(|c| !c.is_control()).take(80).collect();
        Err(CommandError::Text { what, text, rule })
    };
    if text.len() > MOST_TEXT {
        return refuse("is longer than 4096 bytes: shorten it");
    }
    if text.chars().any(|character| character.is_control() && !character.is_whitespace()) {
        return refuse("has control characters: take them out");
    }
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in text.chars() {
        match quote {
            Some(open) if character == open => quote = None,
            None if matches!(character, '"' | '\'') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            None if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return refuse("has a quote that is not closed: close it");
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_keep_together_what_spaces_divide() {
        let apart = words("options", "--hflip  --post 'a b.json' -x \"\" a\"b c\"d").unwrap();
        assert_eq!(apart, ["--hflip", "--post", "a b.json", "-x", "", "ab cd"]);
        assert_eq!(words("options", " \n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_do() {
        for (text, rule) in [("a 'b", "close it"), ("a\0b", "take them out"), (&"a".repeat(4097), "shorten it")] {
            let error = words("the pipeline", text).unwrap_err().to_string();
            assert!(error.starts_with("the pipeline") && error.ends_with(rule) && error.len() < 200, "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_or_refused(text in "[ -~\\s]{0,60}") {
            if let Ok(words) = words("text", &text) {
                prop_assert!(words.iter().map(String::len).sum::<usize>() <= text.len());
            }
        }
    }
}
