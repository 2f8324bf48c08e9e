//! Texts of a page: its characters in the orders in which people may read them.
//!
//! Files draw characters in any order: a table by columns, a line word by word, the letters of a heading
//! one at a time. No one order is right for all, so up to three are examined: as drawn, along the lines,
//! and down the columns. On plain pages they are the same and one is examined.

use hayro::kurbo::{Point, Vec2};

use super::glyphs::PlacedGlyph;

/// Gap between two characters, to the size of the font, from which a space is between them.
const WORD_GAP: f64 = 0.17;
/// Gap between two characters, to the size of the font, from which the next column or cell begins.
const COLUMN_GAP: f64 = 1.8;
/// Most distance of a character from its line, to its size.
const MAX_BASELINE_OFFSET: f64 = 0.4;
/// Line spacing, to the size, up to which two lines belong together.
const MAX_LINE_SPACING: f64 = 2.2;
/// Most distance between a character and its copy that makes it look bold, to its size.
const REPEAT_DISTANCE: f64 = 0.15;

/// Text in one reading order, with the glyph of each character.
#[derive(Debug, Default)]
pub(super) struct PageReading {
    pub(super) text: String,
    /// Index of the glyph that shows each character; none for separators that were inserted.
    pub(super) shown_by: Vec<Option<usize>>,
}

impl PageReading {
    fn push(&mut self, text: &str, glyph: Option<usize>) {
        self.text.push_str(text);
        self.shown_by.extend(text.chars().map(|_| glyph));
    }

    /// Adds a phrase of characters on one line, with spaces where there are gaps.
    fn line(&mut self, glyphs: &[PlacedGlyph], line: &[usize]) {
        let mut last: Option<&PlacedGlyph> = None;
        let usual = usual_gap(glyphs, line);
        for index in line {
            let glyph = &glyphs[*index];
            if let Some(last) = last
                && gap(last, glyph).0 > usual + WORD_GAP * last.size.max(glyph.size)
                && !ends_blank(last)
                && !starts_blank(glyph)
            {
                self.push(" ", None);
            }
            self.push(&glyph.text, Some(*index));
            last = Some(glyph);
        }
    }

    /// Returns the text without line breaks, and the character offsets at which they were.
    ///
    /// Rules end a match at the end of a line. Here numbers go on behind it, and so do addresses that were broken.
    pub(super) fn flowing(&self) -> (Self, Vec<usize>) {
        let (mut flowing, mut breaks) = (Self::default(), Vec::new());
        let mut lines = self.text.split('\n').peekable();
        let mut shown_by = self.shown_by.iter();
        while let Some(line) = lines.next() {
            flowing.text.push_str(line);
            flowing.shown_by.extend(shown_by.by_ref().take(line.chars().count()));
            let Some(next) = lines.peek() else { break };
            shown_by.next();
            breaks.push(flowing.shown_by.len());
            if !is_broken(line, next) {
                flowing.push(" ", None);
            }
        }
        (flowing, breaks)
    }

    /// True if both have the same glyphs in the same order, with any separators.
    fn same_order(&self, other: &Self) -> bool {
        let order = |reading: &Self| reading.shown_by.iter().flatten().copied().collect::<Vec<_>>();
        order(self) == order(other)
    }
}

/// True if a word goes on in the next line.
fn is_broken(line: &str, next: &str) -> bool {
    let joins = |c: char| matches!(c, '-' | '@' | '.' | '_' | '/');
    let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let address = word.split_once('@').is_some_and(|(_, host)| !host.contains('.'));
    address
        || next.starts_with(joins)
        || (line.ends_with(joins) && word.chars().any(|c| c.is_ascii_digit() || c == '@'))
}

/// Reading orders of a page, different ones only.
pub(super) fn reading_orders(glyphs: &[PlacedGlyph]) -> Vec<PageReading> {
    let order = without_repeated_glyphs(glyphs);
    let drawn = in_drawing_order(glyphs, &order);
    with_other_orders(drawn, glyphs, &order)
}

/// Reading orders of characters that come in lines; `lengths` is the number of characters of each line.
pub(super) fn line_reading_orders(glyphs: &[PlacedGlyph], lengths: &[usize]) -> Vec<PageReading> {
    let mut given = PageReading::default();
    let mut next = 0;
    for length in lengths {
        if next > 0 {
            given.push("\n", None);
        }
        for (index, glyph) in glyphs.iter().enumerate().skip(next).take(*length) {
            given.push(&glyph.text, Some(index));
        }
        next += length;
    }
    let order: Vec<usize> = (0..glyphs.len()).collect();
    with_other_orders(given, glyphs, &order)
}

fn with_other_orders(first: PageReading, glyphs: &[PlacedGlyph], order: &[usize]) -> Vec<PageReading> {
    let phrases = lines(glyphs, order);
    let mut readings = vec![first];
    for reading in [along_lines(glyphs, &phrases), down_columns(glyphs, &phrases)] {
        if !readings.iter().any(|known| known.same_order(&reading)) {
            readings.push(reading);
        }
    }
    readings
}

fn ends_blank(glyph: &PlacedGlyph) -> bool {
    glyph.text.ends_with(char::is_whitespace)
}

fn starts_blank(glyph: &PlacedGlyph) -> bool {
    glyph.text.starts_with(char::is_whitespace)
}

/// Direction of a character's line, of length 1.
fn direction(glyph: &PlacedGlyph) -> Vec2 {
    let along = glyph.end - glyph.start;
    if along.hypot() > 1e-6 { along.normalize() } else { Vec2::new(1.0, 0.0) }
}

/// Distance from the end of the first to the start of the second: along the line of the first, and across it.
fn gap(first: &PlacedGlyph, second: &PlacedGlyph) -> (f64, f64) {
    let (along, between) = (direction(first), second.start - first.end);
    (between.dot(along), between.cross(along))
}

/// Median gap between the characters of a line, at least zero: letters may be spaced out.
fn usual_gap(glyphs: &[PlacedGlyph], line: &[usize]) -> f64 {
    let mut gaps: Vec<f64> = line.windows(2).map(|two| gap(&glyphs[two[0]], &glyphs[two[1]]).0).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).map_or(0.0, |gap| gap.max(0.0))
}

/// Indices of the characters, without those that are drawn again at the same place.
fn without_repeated_glyphs(glyphs: &[PlacedGlyph]) -> Vec<usize> {
    let mut by_place: Vec<usize> = (0..glyphs.len()).collect();
    by_place.sort_by(|a, b| glyphs[*a].start.x.total_cmp(&glyphs[*b].start.x).then(a.cmp(b)));
    let mut copy = vec![false; glyphs.len()];
    for (at, index) in by_place.iter().enumerate() {
        let glyph = &glyphs[*index];
        // Some 100 characters can begin at the same height of a page; a hostile file has more.
        for other in by_place[..at].iter().rev().take(200) {
            let near = REPEAT_DISTANCE * glyph.size;
            if glyph.start.x - glyphs[*other].start.x > near {
                break;
            }
            let same = glyphs[*other].text == glyph.text && !copy[*other] && !glyph.text.trim().is_empty();
            if same && (glyph.start.y - glyphs[*other].start.y).abs() <= near {
                copy[*index.max(other)] = true;
            }
        }
    }
    (0..glyphs.len()).filter(|index| !copy[*index]).collect()
}

fn in_drawing_order(glyphs: &[PlacedGlyph], order: &[usize]) -> PageReading {
    let mut reading = PageReading::default();
    let mut line: Vec<usize> = Vec::new();
    for index in order {
        let goes_on = line.last().is_none_or(|last| {
            let (last, glyph) = (&glyphs[*last], &glyphs[*index]);
            let size = last.size.max(glyph.size);
            let (behind, beside) = gap(last, glyph);
            beside.abs() < MAX_BASELINE_OFFSET * size
                && behind > -size
                && direction(last).dot(direction(glyph)) > 0.9
        });
        if !goes_on {
            reading.line(glyphs, &line);
            reading.push("\n", None);
            line.clear();
        }
        line.push(*index);
    }
    reading.line(glyphs, &line);
    reading
}

/// Phrase on one line: characters without a large gap.
struct Phrase {
    glyphs: Vec<usize>,
    /// Start and end along its own direction.
    start: f64,
    end: f64,
    /// Position across its own direction.
    at: f64,
    size: f64,
    /// Number of the line, counted through all directions.
    line: usize,
}

/// Phrases by line, each direction of text on its own.
fn lines(glyphs: &[PlacedGlyph], order: &[usize]) -> Vec<Phrase> {
    #[expect(clippy::cast_possible_truncation, reason = "degrees")]
    let angle = |index: &usize| (direction(&glyphs[*index]).atan2().to_degrees() / 3.0).round() as i32;
    let mut turned: Vec<(i32, usize)> = order.iter().map(|index| (angle(index), *index)).collect();
    turned.sort_by_key(|(angle, _)| *angle);
    let mut phrases = Vec::new();
    for same in turned.chunk_by(|a, b| a.0 == b.0) {
        let along = Vec2::from_angle(f64::from(same[0].0 * 3).to_radians());
        let place = |point: Point| (point.to_vec2().dot(along), along.cross(point.to_vec2()));
        let mut placed: Vec<(f64, f64, usize)> = same
            .iter()
            .map(|(_, index)| {
                let (u, v) = place(glyphs[*index].start);
                (u, v, *index)
            })
            .collect();
        placed.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut line: Vec<(f64, f64, usize)> = Vec::new();
        for glyph in placed {
            let fits = line.last().is_none_or(|last| {
                let size = glyphs[glyph.2].size.min(glyphs[line[0].2].size);
                glyph.1 - last.1 < MAX_BASELINE_OFFSET * size
                    && glyph.1 - line[0].1 < 2.0 * MAX_BASELINE_OFFSET * size
            });
            if !fits {
                split_phrases(glyphs, &mut line, along, &mut phrases);
            }
            line.push(glyph);
        }
        split_phrases(glyphs, &mut line, along, &mut phrases);
    }
    phrases
}

/// Splits a line into phrases.
fn split_phrases(
    glyphs: &[PlacedGlyph],
    line: &mut Vec<(f64, f64, usize)>,
    along: Vec2,
    phrases: &mut Vec<Phrase>,
) {
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let number = phrases.last().map_or(0, |phrase| phrase.line + 1);
    let mut current: Option<Phrase> = None;
    for (start, at, index) in line.drain(..) {
        let glyph = &glyphs[index];
        let end = glyph.end.to_vec2().dot(along).max(start);
        match &mut current {
            Some(phrase) if start - phrase.end <= COLUMN_GAP * phrase.size.max(glyph.size) => {
                phrase.glyphs.push(index);
                phrase.end = phrase.end.max(end);
                phrase.size = phrase.size.max(glyph.size);
            }
            _ => {
                phrases.extend(current.take());
                current =
                    Some(Phrase { glyphs: vec![index], start, end, at, size: glyph.size, line: number });
            }
        }
    }
    phrases.extend(current);
}

fn along_lines(glyphs: &[PlacedGlyph], phrases: &[Phrase]) -> PageReading {
    let mut reading = PageReading::default();
    let mut last = None;
    for phrase in phrases {
        match last {
            None => {}
            // In a form the left one names what the right one is.
            Some(line) if line == phrase.line => reading.push(": ", None),
            Some(_) => reading.push("\n", None),
        }
        reading.line(glyphs, &phrase.glyphs);
        last = Some(phrase.line);
    }
    reading
}

fn down_columns(glyphs: &[PlacedGlyph], phrases: &[Phrase]) -> PageReading {
    let mut reading = PageReading::default();
    let mut taken = vec![false; phrases.len()];
    for first in 0..phrases.len() {
        if taken[first] {
            continue;
        }
        let mut at = first;
        loop {
            taken[at] = true;
            if !reading.text.is_empty() {
                reading.push("\n", None);
            }
            reading.line(glyphs, &phrases[at].glyphs);
            match below(phrases, &taken, at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    reading
}

/// Index of the phrase that continues a phrase on the next line of its column.
fn below(phrases: &[Phrase], taken: &[bool], at: usize) -> Option<usize> {
    let phrase = &phrases[at];
    let later = phrases.iter().enumerate().skip(at + 1);
    let near = later.take_while(|(_, next)| {
        next.at >= phrase.at && next.at - phrase.at <= MAX_LINE_SPACING * phrase.size.max(next.size)
    });
    near.filter(|(index, next)| !taken[*index] && next.line > phrase.line)
        .find(|(_, next)| next.start < phrase.end && phrase.start < next.end)
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use hayro::kurbo::Rect;

    use super::*;

    /// Ten points large, each letter six wide.
    fn word(text: &str, x: f64, y: f64) -> Vec<PlacedGlyph> {
        let chars = text.chars().zip(0_u32..);
        chars
            .map(|(c, at)| {
                let x = x + 6.0 * f64::from(at);
                PlacedGlyph {
                    text: c.to_string(),
                    area: Rect::new(x, y - 8.0, x + 6.0, y + 2.0),
                    start: Point::new(x, y),
                    end: Point::new(x + 6.0, y),
                    size: 10.0,
                    visible: true,
                }
            })
            .collect()
    }

    fn texts(glyphs: &[PlacedGlyph]) -> Vec<String> {
        reading_orders(glyphs).into_iter().map(|reading| reading.text).collect()
    }

    #[test]
    fn plain_lines_are_read_once() {
        let page = [word("Call", 0.0, 20.0), word("me", 30.0, 20.0), word("now", 0.0, 32.0)].concat();
        assert_eq!(texts(&page), ["Call me\nnow"]);
        assert!(reading_orders(&[]).iter().all(|reading| reading.text.is_empty()));
    }

    #[test]
    fn letters_in_any_order_are_read_along_their_line() {
        let mut page = word("abc", 0.0, 20.0);
        page.swap(0, 2);
        assert_eq!(texts(&page), ["c\nb\na", "abc"]);
    }

    #[test]
    fn letters_set_apart_are_a_word() {
        let mut page = word("abcdef", 0.0, 20.0);
        page.iter_mut().zip(0_u32..).for_each(|(glyph, at)| {
            let far = 4.0 * f64::from(at) + if at > 2 { 6.0 } else { 0.0 };
            glyph.start.x += far;
            glyph.end.x += far;
        });
        assert_eq!(texts(&page), ["abc def"]);
    }

    #[test]
    fn lines_flow_into_each_other() {
        for (lines, expected) in [
            (["card 4111", "1111"], "card 4111 1111"),
            (["jane@exam", "ple.org"], "jane@example.org"),
            (["jane.doe", "@example.org"], "jane.doe@example.org"),
            (["078-05-", "1120"], "078-05-1120"),
            (["The end.", "Next"], "The end. Next"),
        ] {
            let page = [word(lines[0], 0.0, 20.0), word(lines[1], 0.0, 32.0)].concat();
            let (flowing, breaks) = reading_orders(&page)[0].flowing();
            assert_eq!((flowing.text.as_str(), breaks), (expected, vec![lines[0].len()]));
            assert_eq!(flowing.shown_by.len(), expected.len());
        }
    }

    #[test]
    fn columns_are_read_down_and_rows_along() {
        let page = [
            word("first", 0.0, 20.0),
            word("other", 200.0, 20.0),
            word("second", 0.0, 32.0),
            word("column", 200.0, 32.0),
        ];
        assert_eq!(texts(&page.concat()), ["first other\nsecond column", "first\nsecond\nother\ncolumn"],);
    }

    #[test]
    fn what_is_drawn_twice_is_read_once() {
        let page = [word("bold", 0.0, 20.0), word("bold", 0.4, 20.0)].concat();
        assert_eq!(texts(&page), ["bold"]);
        assert_eq!(texts(&word("aab", 0.0, 20.0)), ["aab"]);
    }
}
