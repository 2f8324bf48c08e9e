//! Lines of an image as texts that the engine can search, and the way back.
//!
//! A form has labels left of what they name, a letter goes on in the next line, a page may have columns: no single
//! order suits all. Several are searched, and what any of them shows counts.

use super::{Rect, ocr::Line};

/// A character of a line: index of the line, index in it.
type Place = (usize, usize);

/// A text, and where each of its characters stands. Characters that only separate stand nowhere.
#[derive(Default)]
pub(crate) struct Reading {
    pub text: String,
    places: Vec<Option<Place>>,
}

impl Reading {
    fn push(&mut self, character: char, place: Option<Place>) {
        self.text.push(character);
        self.places.push(place);
    }

    /// The characters of a finding, by number of the first and one past the last.
    pub(crate) fn places(&self, start: usize, end: usize) -> impl Iterator<Item = Place> {
        self.places.get(start..end).unwrap_or_default().iter().flatten().copied()
    }

    /// `between` parts the lines of a row.
    fn of(lines: &[Line], order: &[Vec<usize>], between: &str) -> Reading {
        let mut reading = Reading::default();
        for row in order {
            for (position, line) in row.iter().enumerate() {
                if position > 0 {
                    between.chars().for_each(|character| reading.push(character, None));
                }
                for (index, character) in lines[*line].text.chars().enumerate() {
                    reading.push(character, Some((*line, index)));
                }
            }
            reading.push('\n', None);
        }
        reading
    }

    /// Without spaces and line breaks around the marks that hold addresses and numbers together: reading sets too
    /// many as well as too few, and long ones are broken at such marks.
    fn tightened(&self) -> Reading {
        let characters: Vec<char> = self.text.chars().collect();
        let mut tight = Reading::default();
        for (at, character) in characters.iter().enumerate() {
            let joins = |neighbour: Option<&char>| {
                neighbour.is_some_and(|c| matches!(c, '@' | '.' | '-' | '_' | '/'))
            };
            let lone = |neighbour: Option<&char>| neighbour.is_some_and(|c| !c.is_whitespace());
            let (before, after) =
                (at.checked_sub(1).and_then(|at| characters.get(at)), characters.get(at + 1));
            if character.is_whitespace() && lone(before) && lone(after) && (joins(before) || joins(after)) {
                continue;
            }
            tight.push(if *character == '\n' { ' ' } else { *character }, self.places[at]);
        }
        tight
    }
}

/// The texts to search, without those that say the same.
pub(crate) fn readings(lines: &[Line]) -> Vec<Reading> {
    let rows = rows(lines);
    let by_rows = Reading::of(lines, &rows, " ");
    let mut readings = vec![by_rows.tightened()];
    if rows.iter().any(|row| row.len() > 1) {
        let by_columns = Reading::of(lines, &columns(lines, &rows), " ");
        readings.push(by_columns.tightened());
        // In a form the left one names what the right one is.
        readings.push(Reading::of(lines, &rows, ": "));
        readings.insert(0, by_columns);
    }
    readings.insert(0, by_rows);
    readings
}

fn bounds(line: &Line) -> Rect {
    line.chars.iter().copied().reduce(Rect::union).unwrap_or(Rect { x: 0, y: 0, width: 0, height: 0 })
}

/// Whether two spans share more than half of the shorter one.
fn beside(a: (u32, u32), b: (u32, u32)) -> bool {
    let common = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    2 * common > (a.1 - a.0).min(b.1 - b.0)
}

/// Lines side by side, left to right, from top to bottom.
fn rows(lines: &[Line]) -> Vec<Vec<usize>> {
    let bounds: Vec<Rect> = lines.iter().map(bounds).collect();
    let middle = |rect: Rect| rect.y + rect.height / 2;
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|line| middle(bounds[*line]));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for line in order {
        let rect = bounds[line];
        let fits = rows.last().is_some_and(|row| {
            row.iter().all(|other| {
                let other = bounds[*other];
                beside((rect.y, rect.bottom()), (other.y, other.bottom()))
                    && !beside((rect.x, rect.right()), (other.x, other.right()))
            })
        });
        match rows.last_mut() {
            Some(row) if fits => row.push(line),
            _ => rows.push(vec![line]),
        }
    }
    for row in &mut rows {
        row.sort_by_key(|line| bounds[*line].x);
    }
    rows
}

/// Each line followed by what starts below it at the same margin: columns one after the other.
fn columns(lines: &[Line], rows: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = rows.iter().flatten().copied().collect();
    let mut order = Vec::new();
    while let Some(first) = left.first().copied() {
        let mut last = bounds(&lines[first]);
        left.retain(|line| {
            let next = bounds(&lines[*line]);
            let follows = next.y > last.y && next.x.abs_diff(last.x) < 2 * last.height.min(next.height);
            if *line == first || follows {
                order.push(vec![*line]);
                last = next;
                return false;
            }
            true
        });
    }
    order
}
