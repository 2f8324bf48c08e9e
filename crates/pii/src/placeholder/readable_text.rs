//! Readable form of a text, with offsets that map back to its written form.
//!
//! Tool calls and their results are JSON in a string. As written, `\njane@example.com` begins with an `n`, and an
//! address with `\u0040` is none. So JSON strings are unescaped before they are examined, in one text with the keys
//! around them, which tell what a value is.

use std::ops::Range;

use serde::de::IgnoredAny;

/// Replacement of a span of the readable text.
pub(super) struct TextEdit<'p> {
    pub(super) span: Range<usize>,
    pub(super) with: &'p str,
}

/// Text to examine.
pub(super) enum ReadableText<'t> {
    Plain(&'t str),
    Json(JsonText<'t>),
}

/// Valid JSON: an object or an array.
pub(super) struct JsonText<'t> {
    raw: &'t str,
    /// The JSON with its strings unescaped.
    text: String,
    tokens: Vec<JsonToken>,
}

/// String or number of a JSON text.
struct JsonToken {
    /// Span in the JSON, quotes included.
    raw: Range<usize>,
    /// Span in the readable text, without quotes.
    text: Range<usize>,
    is_string: bool,
}

impl<'t> ReadableText<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        JsonText::of(text).map_or(Self::Plain(text), Self::Json)
    }

    /// Readable text, to be examined.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Json(json) => &json.text,
        }
    }

    /// Spans to replace for a finding at `span`. In JSON, only parts of strings and whole numbers can be replaced: a
    /// finding across several tokens is replaced in each.
    pub(super) fn parts(&self, span: Range<usize>) -> Vec<Range<usize>> {
        match self {
            Self::Plain(_) => vec![span],
            Self::Json(json) => json.parts(&span),
        }
    }

    /// Returns the written text with `edits` applied. Their spans are those of [`ReadableText::parts`], in order and
    /// without overlaps.
    pub(super) fn rewrite(&self, edits: &[TextEdit<'_>]) -> String {
        match self {
            Self::Plain(text) => splice(text, 0..text.len(), edits),
            Self::Json(json) => json.rewrite(edits),
        }
    }
}

impl<'t> JsonText<'t> {
    fn of(raw: &'t str) -> Option<Self> {
        let begins = raw.trim_ascii_start().starts_with(['{', '[']);
        if !begins || serde_json::from_str::<IgnoredAny>(raw).is_err() {
            return None;
        }
        let mut json = Self { raw, text: String::with_capacity(raw.len()), tokens: Vec::new() };
        let mut at = 0;
        while let Some(first) = raw.as_bytes().get(at) {
            let end = match first {
                b'"' => at + string_length(&raw[at..]),
                b'-' | b'0'..=b'9' => at + number_length(&raw[at..]),
                _ => {
                    let other = raw[at..].find(|c: char| matches!(c, '"' | '-' | '0'..='9'));
                    let end = other.map_or(raw.len(), |length| at + length);
                    json.text.push_str(&raw[at..end]);
                    at = end;
                    continue;
                }
            };
            json.token(at..end)?;
            at = end;
        }
        Some(json)
    }

    fn token(&mut self, raw: Range<usize>) -> Option<()> {
        let written = &self.raw[raw.clone()];
        let is_string = written.starts_with('"');
        if is_string {
            self.text.push('"');
        }
        let start = self.text.len();
        match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            None => self.text.push_str(written),
            Some(inside) if !inside.contains('\\') => self.text.push_str(inside),
            // Half a surrogate pair is valid JSON for some, and no text.
            Some(_) => self.text.push_str(&serde_json::from_str::<String>(written).ok()?),
        }
        self.tokens.push(JsonToken { raw, text: start..self.text.len(), is_string });
        if is_string {
            self.text.push('"');
        }
        Some(())
    }

    fn parts(&self, span: &Range<usize>) -> Vec<Range<usize>> {
        let first = self.tokens.partition_point(|token| token.text.end <= span.start);
        let touched = self.tokens[first..].iter().take_while(|token| token.text.start < span.end);
        touched
            .map(|token| {
                if token.is_string {
                    span.start.max(token.text.start)..span.end.min(token.text.end)
                } else {
                    token.text.clone()
                }
            })
            .filter(|part| !part.is_empty())
            .collect()
    }

    fn rewrite(&self, mut edits: &[TextEdit<'_>]) -> String {
        let mut json = String::with_capacity(self.raw.len() + 16 * edits.len());
        let mut done = 0;
        for token in &self.tokens {
            let own = edits.iter().take_while(|edit| edit.span.start < token.text.end).count();
            if own == 0 {
                continue;
            }
            let (here, rest) = edits.split_at(own);
            edits = rest;
            json.push_str(&self.raw[done..token.raw.start]);
            // A number becomes a string: a placeholder cannot be written otherwise.
            let content = splice(&self.text, token.text.clone(), here);
            json.push_str(&serde_json::Value::from(content).to_string());
            done = token.raw.end;
        }
        json.push_str(&self.raw[done..]);
        json
    }
}

/// Returns `text[within]` with `edits` applied.
fn splice(text: &str, within: Range<usize>, edits: &[TextEdit<'_>]) -> String {
    let mut spliced = String::with_capacity(within.len() + 16 * edits.len());
    let mut done = within.start;
    for edit in edits {
        spliced.push_str(&text[done..edit.span.start]);
        spliced.push_str(edit.with);
        done = edit.span.end;
    }
    spliced.push_str(&text[done..within.end]);
    spliced
}

/// Bytes of the string that valid JSON begins with, quotes included.
fn string_length(json: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    json.len()
}

fn number_length(json: &str) -> usize {
    json.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(json.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, what: &str) -> String {
        let view = ReadableText::of(text);
        let at = view.text().find(what).expect("it is in the readable text");
        let parts = view.parts(at..at + what.len());
        view.rewrite(&parts.into_iter().map(|span| TextEdit { span, with: "[X_1]" }).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_replaced_in_json_leaves_json() {
        for (text, what, expected) in [
            ("no json: ann", "ann", "no json: [X_1]"),
            (r#"{"a" : "x\nann\u0040b \"q\"", "n":1.50}"#, "ann@b", r#"{"a" : "x\n[X_1] \"q\"", "n":1.50}"#),
            (r#"{"a":"é\ud83d\ude00 ann"}"#, "ann", r#"{"a":"é😀 [X_1]"}"#),
            (r"[12345678901234567890123, 4.0]", "12345678901234567890123", r#"["[X_1]", 4.0]"#),
            (r"[123456]", "345", r#"["[X_1]"]"#),
            (r#"{"ann":true}"#, "ann", r#"{"[X_1]":true}"#),
            (r#"["May 1","2024",7]"#, r#"1","2024",7"#, r#"["May [X_1]","[X_1]","[X_1]"]"#),
            (r#"{"a":"ann}"#, "ann", r#"{"a":"[X_1]}"#),
            (r#"{"a":"\ud800 ann"}"#, "ann", r#"{"a":"\ud800 [X_1]"}"#),
        ] {
            let result = replaced(text, what);
            assert_eq!(result, expected, "{text}");
            let was_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
            assert!(!was_json || serde_json::from_str::<serde_json::Value>(&result).is_ok(), "{result}");
        }
    }

    #[test]
    fn names_stay_beside_their_values() {
        let view = ReadableText::of(r#"{"password":"hunter2\u0021"}"#);
        assert_eq!(view.text(), r#"{"password":"hunter2!"}"#);
    }
}
