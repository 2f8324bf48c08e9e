//! Readable text of an HTML page. Pure.

use html5gum::{DefaultEmitter, Token, Tokenizer};

/// Elements whose content is not visible text.
const HIDDEN: [&[u8]; 7] = [b"script", b"style", b"template", b"svg", b"iframe", b"noscript", b"object"];

/// Elements that begin and end a line.
const BLOCKS: [&[u8]; 38] = [
    b"address",
    b"article",
    b"aside",
    b"blockquote",
    b"body",
    b"br",
    b"caption",
    b"dd",
    b"details",
    b"dialog",
    b"div",
    b"dl",
    b"dt",
    b"fieldset",
    b"figcaption",
    b"figure",
    b"footer",
    b"form",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"header",
    b"hr",
    b"li",
    b"main",
    b"nav",
    b"ol",
    b"option",
    b"p",
    b"pre",
    b"section",
    b"summary",
    b"title",
    b"tr",
    b"ul",
];

/// Returns the text of a page: entities decoded, scripts and styles left out, white
/// space as it is shown.
#[must_use]
pub fn text(page: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    // Otherwise, markup inside of scripts would be read as markup.
    emitter.naively_switch_states(true);
    let mut text = TextBuilder::default();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => text.start_tag(&tag.name, tag.self_closing),
            Token::EndTag(tag) => text.end_tag(&tag.name),
            Token::String(words) => text.words(&String::from_utf8_lossy(&words)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    text.written.truncate(text.written.trim_end().len());
    text.written
}

/// Text of a page under construction.
#[derive(Default)]
struct TextBuilder {
    written: String,
    /// Name and depth of the hidden element that is open.
    hidden: Option<(Vec<u8>, usize)>,
    /// True inside of `pre`, where white space is kept.
    verbatim: bool,
    /// True if a space is shown before the next word.
    space: bool,
}

impl TextBuilder {
    fn start_tag(&mut self, name: &[u8], self_closing: bool) {
        match &mut self.hidden {
            Some((open, depth)) => *depth += usize::from(open == name && !self_closing),
            None if HIDDEN.contains(&name) && !self_closing => self.hidden = Some((name.to_vec(), 1)),
            None => {
                self.separate(name);
                self.verbatim |= name == b"pre";
                if name == b"li" {
                    self.written.push_str("- ");
                }
            }
        }
    }

    fn end_tag(&mut self, name: &[u8]) {
        match &mut self.hidden {
            Some((open, depth)) if open == name => {
                *depth -= 1;
                if *depth == 0 {
                    self.hidden = None;
                }
            }
            Some(_) => {}
            None => {
                self.separate(name);
                self.verbatim &= name != b"pre";
            }
        }
    }

    fn separate(&mut self, name: &[u8]) {
        if BLOCKS.contains(&name) {
            self.space = false;
            if !self.written.is_empty() && !self.written.ends_with('\n') {
                self.written.push('\n');
            }
        } else if [&b"td"[..], b"th"].contains(&name) {
            self.space = true;
        }
    }

    fn words(&mut self, words: &str) {
        if self.hidden.is_some() {
            return;
        }
        if self.verbatim {
            self.written.push_str(words);
            return;
        }
        self.space |= words.starts_with(char::is_whitespace);
        for word in words.split_whitespace() {
            if self.space && !self.written.is_empty() && !self.written.ends_with(['\n', ' ']) {
                self.written.push(' ');
            }
            self.written.push_str(word);
            self.space = true;
        }
        self.space = words.ends_with(char::is_whitespace) || (self.space && words.trim().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_25_hostile_markup_takes_no_longer() {
        let begun = std::time::Instant::now();
        for piece in [
            "<",
            "&",
            "&amp",
            "<!--",
            "<a b ",
            "<svg>",
            "</p>",
            "<li>",
            "<p> ",
            "<a/",
            "<![CDATA[",
            "\u{a0}",
            "<script>",
        ] {
            drop(text(&piece.repeat((1 << 17) / piece.len())));
            drop(text(&format!("<a {}", piece.repeat((1 << 17) / piece.len()))));
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }

    #[test]
    fn pages_become_what_is_read() {
        for (page, expected) in [
            ("", ""),
            ("plain & simple", "plain & simple"),
            ("<p>One</p><p>Two</p>", "One\nTwo"),
            ("<title>T</title><body><h1>A  b</h1>\n<p>c<br>d</p>", "T\nA b\nc\nd"),
            ("a<b>b</b> <i>c</i>d", "ab cd"),
            ("Tom &amp; J&eacute;r&#244;me &lt;3 &#x1F600;", "Tom & J\u{e9}r\u{f4}me <3 \u{1f600}"),
            ("<ul><li>one<li>two</ul>end", "- one\n- two\nend"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("a<script>if (1 < 2) { '<p>x</p>' }</script>b<style>p{}</style>c", "abc"),
            ("a<!-- x --><svg><title>x</title><svg></svg>y</svg>b", "ab"),
            ("<pre>  two\n   lines</pre>x", "  two\n   lines\nx"),
            ("<p>unclosed <b>tags", "unclosed tags"),
            ("a<script>never closed", "a"),
            ("&nbsp;a\u{a0}b", "a b"),
            ("<<<>>><", "<<<>>><"),
        ] {
            assert_eq!(text(page), expected, "{page}");
        }
    }
}
