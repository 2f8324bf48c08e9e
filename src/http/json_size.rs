//! Size of a JSON text in values, counted before it is parsed: a value of two bytes becomes dozens in memory. Pure.

/// Most values that a body may have: texts are long, and lists of them are not.
const MAX_VALUES: usize = 100_000;
/// Deepest nesting: beyond it the parser gives up.
const MAX_DEPTH: usize = 120;

/// Reason that a JSON text is not parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonExcess {
    #[error("the body has more than {MAX_VALUES} JSON values; send fewer")]
    Values,
    #[error("the body's JSON is nested deeper than {MAX_DEPTH} levels; send it flatter")]
    Depth,
}

/// Counts values, whether or not the text is JSON: each begins the text, or follows a bracket, a comma or a colon.
///
/// # Errors
/// [`JsonExcess`].
pub fn check(text: &str) -> Result<(), JsonExcess> {
    check_within(text, MAX_VALUES)
}

/// [`check`] with another limit of values.
///
/// # Errors
/// [`JsonExcess`].
pub fn check_within(text: &str, most: usize) -> Result<(), JsonExcess> {
    let (mut values, mut depth, mut in_string, mut escaped) = (1_usize, 0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonExcess::Depth);
                }
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => values += 1,
            _ => continue,
        }
        if values > most {
            return Err(JsonExcess::Values);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_39_many_small_values_and_deep_ones_are_not_parsed() {
        let list = |length: usize| format!("[{}1]", "1,".repeat(length));
        assert_eq!(check(&list(90_000)), Ok(()));
        assert_eq!(check(&list(110_000)), Err(JsonExcess::Values));
        assert_eq!(check(&format!("[{}{{}}]", "{},".repeat(60_000))), Err(JsonExcess::Values));
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(MAX_DEPTH)), Ok(()));
        assert_eq!(check(&nested(MAX_DEPTH + 1)), Err(JsonExcess::Depth));
        // What is in a text is text.
        let text = format!(r#"{{"content": "{}\\" [[[,,,"}}"#, "[,:{".repeat(100_000));
        assert_eq!(check(&text), Ok(()));
        assert_eq!(check(""), Ok(()));
    }
}
