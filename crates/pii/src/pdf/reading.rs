//! The texts of a page: its characters in the orders in which people might read them.
//!
//! Files draw characters in any order: a table by columns, a line word by word, the letters of a heading
//! one at a time. No one order is right for all, so up to three are examined: as drawn, along the lines,
//! and down the columns. On plain pages they are the same and one is examined.

use hayro::kurbo::{Point, Vec2};

use super::glyphs::Placed;

/// Gap between two characters, to the size of the font, from which a space is between them.
const SPACE: f64 = 0.17;
/// The same for what is no longer the same phrase: the next column or cell.
const COLUMN: f64 = 1.8;
/// How far a character may be off its line, to its size.
const OFF_LINE: f64 = 0.4;
/// Line spacing, to the size, up to which two lines belong together.
const LEADING: f64 = 2.2;
/// How near, to its size, a character is to its copy when it is drawn twice to look bold.
const TWICE: f64 = 0.15;

/// A text and where each of its characters is.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) text: String,
    /// For each character of the text, the glyph that shows it, or none for what was put between.
    pub(super) shown_by: Vec<Option<usize>>,
}

impl Reading {
    fn push(&mut self, text: &str, glyph: Option<usize>) {
        self.text.push_str(text);
        self.shown_by.extend(text.chars().map(|_| glyph));
    }

    /// Adds a run of characters on one line, with spaces where there are gaps.
    fn line(&mut self, glyphs: &[Placed], line: &[usize]) {
        let mut last: Option<&Placed> = None;
        let usual = usual_gap(glyphs, line);
        for index in line {
            let glyph = &glyphs[*index];
            if let Some(last) = last
                && gap(last, glyph).0 > usual + SPACE * last.size.max(glyph.size)
                && !ends_blank(last)
                && !starts_blank(glyph)
            {
                self.push(" ", None);
            }
            self.push(&glyph.text, Some(*index));
            last = Some(glyph);
        }
    }

    /// The same without ends of lines, and between which characters they were.
    ///
    /// Rules take the end of a line as an end. Here numbers go on behind it, and so do addresses that were
    /// broken.
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

    /// Whether both have the same characters in the same order, whatever is between them.
    fn same_order(&self, other: &Self) -> bool {
        let order = |reading: &Self| reading.shown_by.iter().flatten().copied().collect::<Vec<_>>();
        order(self) == order(other)
    }
}

/// Whether a word goes on in the next line.
fn is_broken(line: &str, next: &str) -> bool {
    let joins = |c: char| matches!(c, '-' | '@' | '.' | '_' | '/');
    let word = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let address = word.split_once('@').is_some_and(|(_, host)| !host.contains('.'));
    address
        || next.starts_with(joins)
        || (line.ends_with(joins) && word.chars().any(|c| c.is_ascii_digit() || c == '@'))
}

/// The texts of a page, different ones only.
pub(super) fn readings(glyphs: &[Placed]) -> Vec<Reading> {
    let order = without_copies(glyphs);
    let drawn = as_drawn(glyphs, &order);
    with_others(drawn, glyphs, &order)
}

/// The texts of characters that come in lines, of so many each.
pub(super) fn readings_of_lines(glyphs: &[Placed], lengths: &[usize]) -> Vec<Reading> {
    let mut given = Reading::default();
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
    with_others(given, glyphs, &order)
}

fn with_others(first: Reading, glyphs: &[Placed], order: &[usize]) -> Vec<Reading> {
    let runs = lines(glyphs, order);
    let mut readings = vec![first];
    for reading in [along_lines(glyphs, &runs), down_columns(glyphs, &runs)] {
        if !readings.iter().any(|known| known.same_order(&reading)) {
            readings.push(reading);
        }
    }
    readings
}

fn ends_blank(glyph: &Placed) -> bool {
    glyph.text.ends_with(char::is_whitespace)
}

fn starts_blank(glyph: &Placed) -> bool {
    glyph.text.starts_with(char::is_whitespace)
}

/// The direction of a character's line.
fn direction(glyph: &Placed) -> Vec2 {
    let along = glyph.end - glyph.start;
    if along.hypot() > 1e-6 { along.normalize() } else { Vec2::new(1.0, 0.0) }
}

/// How far the second begins behind the end of the first, and how far beside its line.
fn gap(first: &Placed, second: &Placed) -> (f64, f64) {
    let (along, between) = (direction(first), second.start - first.end);
    (between.dot(along), between.cross(along))
}

/// The gap that most characters of a line have between them: more than nothing when it is spaced out.
fn usual_gap(glyphs: &[Placed], line: &[usize]) -> f64 {
    let mut gaps: Vec<f64> = line.windows(2).map(|two| gap(&glyphs[two[0]], &glyphs[two[1]]).0).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).map_or(0.0, |gap| gap.max(0.0))
}

/// The characters without those that are drawn again at the same place.
fn without_copies(glyphs: &[Placed]) -> Vec<usize> {
    let mut by_place: Vec<usize> = (0..glyphs.len()).collect();
    by_place.sort_by(|a, b| glyphs[*a].start.x.total_cmp(&glyphs[*b].start.x).then(a.cmp(b)));
    let mut copy = vec![false; glyphs.len()];
    for (at, index) in by_place.iter().enumerate() {
        let glyph = &glyphs[*index];
        // Some 100 characters can begin at the same height of a page; a hostile file has more.
        for other in by_place[..at].iter().rev().take(200) {
            let near = TWICE * glyph.size;
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

fn as_drawn(glyphs: &[Placed], order: &[usize]) -> Reading {
    let mut reading = Reading::default();
    let mut run: Vec<usize> = Vec::new();
    for index in order {
        let goes_on = run.last().is_none_or(|last| {
            let (last, glyph) = (&glyphs[*last], &glyphs[*index]);
            let size = last.size.max(glyph.size);
            let (behind, beside) = gap(last, glyph);
            beside.abs() < OFF_LINE * size && behind > -size && direction(last).dot(direction(glyph)) > 0.9
        });
        if !goes_on {
            reading.line(glyphs, &run);
            reading.push("\n", None);
            run.clear();
        }
        run.push(*index);
    }
    reading.line(glyphs, &run);
    reading
}

/// A phrase on one line: characters without a large gap.
struct Run {
    glyphs: Vec<usize>,
    /// Along and across its own direction.
    start: f64,
    end: f64,
    at: f64,
    size: f64,
    /// Number of the line, for all directions.
    line: usize,
}

/// The phrases by lines, in each direction of text on its own.
fn lines(glyphs: &[Placed], order: &[usize]) -> Vec<Run> {
    #[expect(clippy::cast_possible_truncation, reason = "degrees")]
    let angle = |index: &usize| (direction(&glyphs[*index]).atan2().to_degrees() / 3.0).round() as i32;
    let mut turned: Vec<(i32, usize)> = order.iter().map(|index| (angle(index), *index)).collect();
    turned.sort_by_key(|(angle, _)| *angle);
    let mut runs = Vec::new();
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
                glyph.1 - last.1 < OFF_LINE * size && glyph.1 - line[0].1 < 2.0 * OFF_LINE * size
            });
            if !fits {
                phrases(glyphs, &mut line, along, &mut runs);
            }
            line.push(glyph);
        }
        phrases(glyphs, &mut line, along, &mut runs);
    }
    runs
}

/// Cuts a line into phrases.
fn phrases(glyphs: &[Placed], line: &mut Vec<(f64, f64, usize)>, along: Vec2, runs: &mut Vec<Run>) {
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    let number = runs.last().map_or(0, |run| run.line + 1);
    let mut current: Option<Run> = None;
    for (start, at, index) in line.drain(..) {
        let glyph = &glyphs[index];
        let end = glyph.end.to_vec2().dot(along).max(start);
        match &mut current {
            Some(run) if start - run.end <= COLUMN * run.size.max(glyph.size) => {
                run.glyphs.push(index);
                run.end = run.end.max(end);
                run.size = run.size.max(glyph.size);
            }
            _ => {
                runs.extend(current.take());
                current = Some(Run { glyphs: vec![index], start, end, at, size: glyph.size, line: number });
            }
        }
    }
    runs.extend(current);
}

fn along_lines(glyphs: &[Placed], runs: &[Run]) -> Reading {
    let mut reading = Reading::default();
    let mut last = None;
    for run in runs {
        match last {
            None => {}
            // In a form the left one names what the right one is.
            Some(line) if line == run.line => reading.push(": ", None),
            Some(_) => reading.push("\n", None),
        }
        reading.line(glyphs, &run.glyphs);
        last = Some(run.line);
    }
    reading
}

fn down_columns(glyphs: &[Placed], runs: &[Run]) -> Reading {
    let mut reading = Reading::default();
    let mut taken = vec![false; runs.len()];
    for first in 0..runs.len() {
        if taken[first] {
            continue;
        }
        let mut at = first;
        loop {
            taken[at] = true;
            if !reading.text.is_empty() {
                reading.push("\n", None);
            }
            reading.line(glyphs, &runs[at].glyphs);
            match below(runs, &taken, at) {
                Some(next) => at = next,
                None => break,
            }
        }
    }
    reading
}

/// The phrase that continues one on the next line of its column.
fn below(runs: &[Run], taken: &[bool], at: usize) -> Option<usize> {
    let run = &runs[at];
    let later = runs.iter().enumerate().skip(at + 1);
    let near = later
        .take_while(|(_, next)| next.at >= run.at && next.at - run.at <= LEADING * run.size.max(next.size));
    near.filter(|(index, next)| !taken[*index] && next.line > run.line)
        .find(|(_, next)| next.start < run.end && run.start < next.end)
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use hayro::kurbo::Rect;

    use super::*;

    /// Ten points large, each letter six wide.
    fn word(text: &str, x: f64, y: f64) -> Vec<Placed> {
        let chars = text.chars().zip(0_u32..);
        chars
            .map(|(c, at)| {
                let x = x + 6.0 * f64::from(at);
                Placed {
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

    fn texts(glyphs: &[Placed]) -> Vec<String> {
        readings(glyphs).into_iter().map(|reading| reading.text).collect()
    }

    #[test]
    fn plain_lines_are_read_once() {
        let page = [word("Call", 0.0, 20.0), word("me", 30.0, 20.0), word("now", 0.0, 32.0)].concat();
        assert_eq!(texts(&page), ["Call me\nnow"]);
        assert!(readings(&[]).iter().all(|reading| reading.text.is_empty()));
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
            let (flowing, breaks) = readings(&page)[0].flowing();
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
