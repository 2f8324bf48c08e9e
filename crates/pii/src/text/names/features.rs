//! Features of a token: its word, its shape, the word lists it is on, and those of its neighbours.
//!
//! Training reads the features from here (`examples/features.rs`), so that the two cannot differ.

use super::{
    hash::{self, combine},
    lexicon::{self, Lexicon},
    token::{TextToken, TokenKind},
};

/// Letter case of a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LetterCase {
    Other = 0,
    Lower = 1,
    Title = 2,
    Upper = 3,
    /// `McDonald`, `iPhone`.
    Mixed = 4,
    Digits = 5,
    /// One letter, as of an initial.
    Single = 6,
    LineBreak = 7,
}

/// Features of one token, as its own and its neighbours' feature templates use them.
#[derive(Clone, Copy)]
struct TokenFeatures {
    word: u64,
    shape: u64,
    prefix: u64,
    suffix2: u64,
    suffix3: u64,
    lists: u8,
    case: LetterCase,
    /// True for the first token of a line or a sentence.
    first: bool,
    /// Hash of the key in front of it, as in `Name: …`; zero if there is none.
    key: u64,
    /// Run of capitalised words that the token is in.
    run: CapitalRun,
    /// Letter cases in its line: bit 0 for lower, bit 1 for upper, bit 2 for title or mixed case.
    style: u8,
}

/// Run of capitalised words: hashes of its first and last word and of the words around it, and its length.
#[derive(Clone, Copy, Default)]
struct CapitalRun {
    head: u64,
    tail: u64,
    before: u64,
    after: u64,
    length: u8,
    /// Word lists that any of its words is on.
    lists: u8,
    /// Word lists that its last word is on.
    last: u8,
}

const NO_TOKEN: TokenFeatures = TokenFeatures {
    word: 1,
    shape: 1,
    prefix: 1,
    suffix2: 1,
    suffix3: 1,
    lists: 0,
    case: LetterCase::Other,
    first: false,
    key: 0,
    run: CapitalRun { head: 0, tail: 0, before: 0, after: 0, length: 0, lists: 0, last: 0 },
    style: 0,
};

/// Extractor of the features of token sequences; reuses its memory from one sequence to the next.
#[derive(Default)]
pub(super) struct FeatureExtractor {
    tokens: Vec<TokenFeatures>,
    lower: String,
}

impl FeatureExtractor {
    /// Reads the tokens of a sequence.
    pub(super) fn read(&mut self, text: &str, tokens: &[TextToken], lexicon: &Lexicon) {
        self.tokens.clear();
        for token in tokens {
            let features = self.token_features(text, *token, lexicon);
            self.tokens.push(features);
        }
        self.mark_lines(text, tokens);
        self.mark_runs();
    }

    /// Calls `feature` with the key of each feature of one token of the sequence.
    pub(super) fn each(&self, index: usize, mut feature: impl FnMut(u32)) {
        let at = |offset: isize| {
            index.checked_add_signed(offset).and_then(|i| self.tokens.get(i)).unwrap_or(&NO_TOKEN)
        };
        let (back2, back, this, next, next2) = (at(-2), at(-1), at(0), at(1), at(2));
        let mut template = 0;
        let mut emit = |value: u64| {
            feature(hash::key(template, value));
            template += 1;
        };
        let lists_and_case = |token: &TokenFeatures| u64::from(token.lists) << 8 | token.case as u64;
        emit(0);
        for token in [this, back, next, back2, next2] {
            emit(token.word);
        }
        emit(combine(back.word, this.word));
        emit(combine(this.word, next.word));
        emit(combine(back2.word, back.word));
        emit(combine(next.word, next2.word));
        emit(this.shape);
        emit(combine(back.shape, this.shape));
        emit(combine(this.shape, next.shape));
        emit(combine(combine(back.shape, this.shape), next.shape));
        emit(this.prefix);
        emit(this.suffix2);
        emit(this.suffix3);
        emit(lists_and_case(this));
        emit(combine(lists_and_case(back), lists_and_case(this)));
        emit(combine(lists_and_case(this), lists_and_case(next)));
        emit(combine(combine(lists_and_case(back), lists_and_case(this)), lists_and_case(next)));
        emit(combine(back.word, lists_and_case(this)));
        emit(combine(next.word, lists_and_case(this)));
        emit(combine(combine(back2.word, back.word), lists_and_case(this)));
        emit(combine(this.key, this.case as u64));
        emit(combine(this.key, lists_and_case(this)));
        emit(combine(u64::from(this.first), lists_and_case(this)));
        emit(combine(u64::from(this.style), lists_and_case(this)));
        emit(combine(u64::from(this.style), combine(lists_and_case(this), lists_and_case(next))));
        emit(combine(this.run.tail, this.case as u64));
        emit(combine(this.run.head, this.case as u64));
        emit(combine(this.run.before, this.case as u64));
        emit(combine(this.run.after, this.case as u64));
        emit(combine(u64::from(this.run.length), lists_and_case(this)));
        emit(combine(combine(this.run.before, this.run.after), u64::from(this.run.length)));
        let (all, last) = (u64::from(this.run.lists), u64::from(this.run.last));
        emit(combine(all, lists_and_case(this)));
        emit(combine(last, lists_and_case(this)));
        emit(combine(combine(this.run.before, last), this.case as u64));
        emit(combine(combine(this.run.after, last), this.case as u64));
    }

    fn token_features(&mut self, text: &str, token: TextToken, lexicon: &Lexicon) -> TokenFeatures {
        let source = &text[token.span()];
        match token.kind {
            TokenKind::LineBreak => {
                TokenFeatures { word: 2, shape: 2, case: LetterCase::LineBreak, ..NO_TOKEN }
            }
            TokenKind::Mark => {
                let word = hash::text(source);
                TokenFeatures { word, shape: word, ..NO_TOKEN }
            }
            TokenKind::Number => {
                let shape = 16 + source.len().min(12) as u64;
                TokenFeatures { word: hash::text(source), shape, case: LetterCase::Digits, ..NO_TOKEN }
            }
            TokenKind::Word => self.word_features(source, lexicon),
        }
    }

    fn word_features(&mut self, source: &str, lexicon: &Lexicon) -> TokenFeatures {
        self.lower.clear();
        if source.is_ascii() {
            self.lower.push_str(source);
            self.lower.make_ascii_lowercase();
        } else {
            self.lower.extend(source.chars().flat_map(char::to_lowercase));
        }
        let (case, shape) = shape(source);
        let lower = self.lower.as_str();
        let word = hash::text(lower);
        let mut lists = lexicon.lists(word);
        if lists == 0
            && let Some(singular) = lower.strip_suffix('s')
        {
            lists = lexicon.lists(hash::text(singular)) & lexicon::ORDINARY;
        }
        let tail = |chars: usize| {
            let from = lower.char_indices().rev().nth(chars - 1).map_or(0, |(at, _)| at);
            hash::text(&lower[from..])
        };
        let head = lower.char_indices().nth(3).map_or(lower.len(), |(at, _)| at);
        let prefix = hash::text(&lower[..head]);
        TokenFeatures { word, shape, prefix, suffix2: tail(2), suffix3: tail(3), lists, case, ..NO_TOKEN }
    }

    /// Sets `first`, `key` and `style` of each token.
    fn mark_lines(&mut self, text: &str, tokens: &[TextToken]) {
        let mut start = 0;
        while start < tokens.len() {
            let end = tokens[start..]
                .iter()
                .position(|t| t.kind == TokenKind::LineBreak)
                .map_or(tokens.len(), |length| start + length + 1);
            let style = self.tokens[start..end].iter().fold(0, |style, token| {
                style
                    | match token.case {
                        LetterCase::Lower => 1,
                        LetterCase::Upper => 2,
                        LetterCase::Title | LetterCase::Mixed => 4,
                        _ => 0,
                    }
            });
            let (mut first, mut key, mut last) = (true, 0, 0);
            for index in start..end {
                let mark = (tokens[index].kind == TokenKind::Mark).then(|| &text[tokens[index].span()]);
                let token = &mut self.tokens[index];
                (token.first, token.key, token.style) = (first, key, style);
                match mark {
                    // An opening mark is no beginning of its own, and a list goes on as it began.
                    Some(";" | "," | "\"" | "'" | "(" | "*" | "-" | "[" | "“" | "#" | ">") => {}
                    Some(":" | "=" | "|" | "\t") => (key, first) = (last, true),
                    Some("." | "!" | "?" | "{" | "}") => (first, key) = (true, 0),
                    Some(_) => first = false,
                    None => {
                        last = token.word;
                        first = false;
                    }
                }
            }
            start = end;
        }
    }

    /// Sets `run` of each capitalised token.
    fn mark_runs(&mut self) {
        let mut start = 0;
        while start < self.tokens.len() {
            if !is_capitalized(&self.tokens[start]) {
                start += 1;
                continue;
            }
            let mut end = start + 1;
            loop {
                let bridge = usize::from(self.tokens.get(end).is_some_and(joins_capitals));
                if !self.tokens.get(end + bridge).is_some_and(is_capitalized) {
                    break;
                }
                end += bridge + 1;
            }
            let around = |index: Option<usize>| index.and_then(|i| self.tokens.get(i)).map_or(3, |s| s.word);
            let run = CapitalRun {
                head: self.tokens[start].word,
                tail: self.tokens[end - 1].word,
                before: around(start.checked_sub(1)),
                after: around(Some(end)),
                length: u8::try_from(end - start).unwrap_or(u8::MAX).min(6),
                lists: self.tokens[start..end].iter().fold(0, |lists, token| lists | token.lists),
                last: self.tokens[end - 1].lists,
            };
            for token in &mut self.tokens[start..end] {
                token.run = run;
            }
            start = end;
        }
    }
}

fn is_capitalized(token: &TokenFeatures) -> bool {
    matches!(token.case, LetterCase::Title | LetterCase::Upper | LetterCase::Mixed | LetterCase::Single)
}

/// True for tokens that may stand between two capitalised words of one name.
fn joins_capitals(token: &TokenFeatures) -> bool {
    const BETWEEN: [&str; 13] =
        ["&", "-", ".", "of", "de", "van", "von", "der", "la", "del", "da", "bin", "al"];
    // A hash of a few bytes is a few instructions, and the comparisons are seldom reached.
    matches!(token.case, LetterCase::Other | LetterCase::Lower)
        && BETWEEN.iter().any(|word| hash::text(word) == token.word)
}

/// Letter case of a word, and the hash of a short form such as `Xx`, `X'Xx` or `d-x`.
fn shape(word: &str) -> (LetterCase, u64) {
    let (mut upper, mut lower, mut digits, mut others, mut count) = (0_u32, 0_u32, 0_u32, 0_u32, 0_u64);
    let (mut shape, mut previous, mut repeated) = (3, 0, 0_u32);
    let mut begins_upper = false;
    for c in word.chars() {
        let class = if c.is_uppercase() {
            upper += 1;
            begins_upper |= count == 0;
            1
        } else if c.is_lowercase() {
            lower += 1;
            2
        } else if c.is_numeric() {
            digits += 1;
            3
        } else if c.is_alphabetic() {
            4
        } else {
            others += 1;
            5 + u64::from(u32::from(c) & 0xff)
        };
        count += 1;
        repeated = if class == previous { repeated + 1 } else { 0 };
        // `Xxx` for longer words, `Xx` for short ones.
        if repeated < 2 {
            shape = combine(shape, class);
        }
        previous = class;
    }
    let case = match (upper, lower) {
        _ if digits > 0 => LetterCase::Other,
        (1, 0) if count == 1 => LetterCase::Single,
        (0, 0) => LetterCase::Other,
        (_, 0) => LetterCase::Upper,
        (0, _) => LetterCase::Lower,
        (1, _) if begins_upper && others == 0 => LetterCase::Title,
        _ => LetterCase::Mixed,
    };
    (case, shape)
}
