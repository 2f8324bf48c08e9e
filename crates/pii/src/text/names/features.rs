//! What the model is told about a token: its word and shape, the lists it is on, and its neighbours'.
//!
//! Training reads the features from here (`examples/features.rs`), so that the two cannot differ.

use super::{
    hash::{self, combine},
    lexicon::{self, Lexicon},
    token::{Kind, Token},
};

/// How a token is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Other = 0,
    Lower = 1,
    Title = 2,
    Upper = 3,
    /// `McDonald`, `iPhone`.
    Mixed = 4,
    Digits = 5,
    /// A letter, as of an initial.
    Single = 6,
    LineBreak = 7,
}

/// A token as its neighbours see it.
#[derive(Clone, Copy)]
struct Seen {
    word: u64,
    shape: u64,
    prefix: u64,
    suffix2: u64,
    suffix3: u64,
    lists: u8,
    case: Case,
    /// The first of its line or sentence.
    first: bool,
    /// The key that announces it, as in `Name: …`; zero when none.
    key: u64,
    /// The run of capitalised words it is in.
    run: Run,
    /// How its line is written: bit 0 when a word begins small, bit 1 when one is all capitals, bit 2 titles.
    style: u8,
}

/// Words that begin with capitals, one after the other: its first and last, those around it, how many.
#[derive(Clone, Copy, Default)]
struct Run {
    head: u64,
    tail: u64,
    before: u64,
    after: u64,
    length: u8,
    /// The lists that any of its words is on, and those of its last word.
    lists: u8,
    last: u8,
}

const NOTHING: Seen = Seen {
    word: 1,
    shape: 1,
    prefix: 1,
    suffix2: 1,
    suffix3: 1,
    lists: 0,
    case: Case::Other,
    first: false,
    key: 0,
    run: Run { head: 0, tail: 0, before: 0, after: 0, length: 0, lists: 0, last: 0 },
    style: 0,
};

/// Reads stretches of tokens; keeps its memory from one to the next.
#[derive(Default)]
pub(super) struct Features {
    seen: Vec<Seen>,
    lower: String,
}

impl Features {
    /// Looks at a stretch.
    pub(super) fn read(&mut self, text: &str, tokens: &[Token], lexicon: &Lexicon) {
        self.seen.clear();
        for token in tokens {
            let seen = self.look(text, *token, lexicon);
            self.seen.push(seen);
        }
        self.mark_lines(text, tokens);
        self.mark_runs();
    }

    /// The features of one token of the stretch.
    pub(super) fn each(&self, index: usize, mut feature: impl FnMut(u32)) {
        let at = |offset: isize| {
            index.checked_add_signed(offset).and_then(|i| self.seen.get(i)).unwrap_or(&NOTHING)
        };
        let (back2, back, this, next, next2) = (at(-2), at(-1), at(0), at(1), at(2));
        let mut template = 0;
        let mut tell = |value: u64| {
            feature(hash::key(template, value));
            template += 1;
        };
        let known = |seen: &Seen| u64::from(seen.lists) << 8 | seen.case as u64;
        tell(0);
        for seen in [this, back, next, back2, next2] {
            tell(seen.word);
        }
        tell(combine(back.word, this.word));
        tell(combine(this.word, next.word));
        tell(combine(back2.word, back.word));
        tell(combine(next.word, next2.word));
        tell(this.shape);
        tell(combine(back.shape, this.shape));
        tell(combine(this.shape, next.shape));
        tell(combine(combine(back.shape, this.shape), next.shape));
        tell(this.prefix);
        tell(this.suffix2);
        tell(this.suffix3);
        tell(known(this));
        tell(combine(known(back), known(this)));
        tell(combine(known(this), known(next)));
        tell(combine(combine(known(back), known(this)), known(next)));
        tell(combine(back.word, known(this)));
        tell(combine(next.word, known(this)));
        tell(combine(combine(back2.word, back.word), known(this)));
        tell(combine(this.key, this.case as u64));
        tell(combine(this.key, known(this)));
        tell(combine(u64::from(this.first), known(this)));
        tell(combine(u64::from(this.style), known(this)));
        tell(combine(u64::from(this.style), combine(known(this), known(next))));
        tell(combine(this.run.tail, this.case as u64));
        tell(combine(this.run.head, this.case as u64));
        tell(combine(this.run.before, this.case as u64));
        tell(combine(this.run.after, this.case as u64));
        tell(combine(u64::from(this.run.length), known(this)));
        tell(combine(combine(this.run.before, this.run.after), u64::from(this.run.length)));
        let (all, last) = (u64::from(this.run.lists), u64::from(this.run.last));
        tell(combine(all, known(this)));
        tell(combine(last, known(this)));
        tell(combine(combine(this.run.before, last), this.case as u64));
        tell(combine(combine(this.run.after, last), this.case as u64));
    }

    fn look(&mut self, text: &str, token: Token, lexicon: &Lexicon) -> Seen {
        let source = &text[token.span()];
        match token.kind {
            Kind::LineBreak => Seen { word: 2, shape: 2, case: Case::LineBreak, ..NOTHING },
            Kind::Mark => {
                let word = hash::text(source);
                Seen { word, shape: word, ..NOTHING }
            }
            Kind::Number => {
                let shape = 16 + source.len().min(12) as u64;
                Seen { word: hash::text(source), shape, case: Case::Digits, ..NOTHING }
            }
            Kind::Word => self.look_at_word(source, lexicon),
        }
    }

    fn look_at_word(&mut self, source: &str, lexicon: &Lexicon) -> Seen {
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
        Seen { word, shape, prefix, suffix2: tail(2), suffix3: tail(3), lists, case, ..NOTHING }
    }

    /// Marks the first of each line and sentence, the keys, and how each line is written.
    fn mark_lines(&mut self, text: &str, tokens: &[Token]) {
        let mut start = 0;
        while start < tokens.len() {
            let end = tokens[start..]
                .iter()
                .position(|t| t.kind == Kind::LineBreak)
                .map_or(tokens.len(), |length| start + length + 1);
            let style = self.seen[start..end].iter().fold(0, |style, seen| {
                style
                    | match seen.case {
                        Case::Lower => 1,
                        Case::Upper => 2,
                        Case::Title | Case::Mixed => 4,
                        _ => 0,
                    }
            });
            let (mut first, mut key, mut last) = (true, 0, 0);
            for index in start..end {
                let mark = (tokens[index].kind == Kind::Mark).then(|| &text[tokens[index].span()]);
                let seen = &mut self.seen[index];
                (seen.first, seen.key, seen.style) = (first, key, style);
                match mark {
                    // An opening mark is no beginning of its own, and a list goes on as it began.
                    Some(";" | "," | "\"" | "'" | "(" | "*" | "-" | "[" | "“" | "#" | ">") => {}
                    Some(":" | "=" | "|" | "\t") => (key, first) = (last, true),
                    Some("." | "!" | "?" | "{" | "}") => (first, key) = (true, 0),
                    Some(_) => first = false,
                    None => {
                        last = seen.word;
                        first = false;
                    }
                }
            }
            start = end;
        }
    }

    /// Marks the runs of capitalised words.
    fn mark_runs(&mut self) {
        let mut start = 0;
        while start < self.seen.len() {
            if !capital(&self.seen[start]) {
                start += 1;
                continue;
            }
            let mut end = start + 1;
            loop {
                let bridge = usize::from(self.seen.get(end).is_some_and(bridges));
                if !self.seen.get(end + bridge).is_some_and(capital) {
                    break;
                }
                end += bridge + 1;
            }
            let around = |index: Option<usize>| index.and_then(|i| self.seen.get(i)).map_or(3, |s| s.word);
            let run = Run {
                head: self.seen[start].word,
                tail: self.seen[end - 1].word,
                before: around(start.checked_sub(1)),
                after: around(Some(end)),
                length: u8::try_from(end - start).unwrap_or(u8::MAX).min(6),
                lists: self.seen[start..end].iter().fold(0, |lists, seen| lists | seen.lists),
                last: self.seen[end - 1].lists,
            };
            for seen in &mut self.seen[start..end] {
                seen.run = run;
            }
            start = end;
        }
    }
}

fn capital(seen: &Seen) -> bool {
    matches!(seen.case, Case::Title | Case::Upper | Case::Mixed | Case::Single)
}

/// What stands between two capitalised words of one name.
fn bridges(seen: &Seen) -> bool {
    const BETWEEN: [&str; 13] =
        ["&", "-", ".", "of", "de", "van", "von", "der", "la", "del", "da", "bin", "al"];
    // A hash of a few bytes is a few instructions, and the comparisons are seldom reached.
    matches!(seen.case, Case::Other | Case::Lower) && BETWEEN.iter().any(|word| hash::text(word) == seen.word)
}

/// How a word is written: its case and a short form such as `Xx`, `X'Xx` or `d-x`.
fn shape(word: &str) -> (Case, u64) {
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
        _ if digits > 0 => Case::Other,
        (1, 0) if count == 1 => Case::Single,
        (0, 0) => Case::Other,
        (_, 0) => Case::Upper,
        (0, _) => Case::Lower,
        (1, _) if begins_upper && others == 0 => Case::Title,
        _ => Case::Mixed,
    };
    (case, shape)
}
