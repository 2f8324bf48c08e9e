//! Reading orders of the lines of an image: texts that the engine can search, with positions that map back.
//!
//! A form has labels left of their values, a letter goes on in the next line, a page may have columns: no single
//! order suits all. Several are searched, and a finding in any of them counts.

use super::{Rect, ocr::TextLine};

/// Character of a line: index of the line, index in it.
type CharPosition = (usize, usize);

/// Text in one reading order, with the position of each character; separators have none.
#[derive(Default)]
pub(crate) struct ImageReading {
    pub text: String,
    positions: Vec<Option<CharPosition>>,
}

impl ImageReading {
    fn push(&mut self, character: char, position: Option<CharPosition>) {
        self.text.push(character);
        self.positions.push(position);
    }

    /// Positions of the characters from `start` to before `end`.
    pub(crate) fn positions(&self, start: usize, end: usize) -> impl Iterator<Item = CharPosition> {
        self.positions.get(start..end).unwrap_or_default().iter().flatten().copied()
    }

    /// Reads the rows of `order`, which are indices of lines. `between` separates the lines of a row.
    fn of(lines: &[TextLine], order: &[Vec<usize>], between: &str) -> ImageReading {
        let mut reading = ImageReading::default();
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

    /// Removes spaces and line breaks around the marks that join addresses and numbers: OCR adds some, and long
    /// values are broken at such marks.
    fn without_spaces_at_joiners(&self) -> ImageReading {
        let characters: Vec<char> = self.text.chars().collect();
        let mut joined = ImageReading::default();
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
            joined.push(if *character == '\n' { ' ' } else { *character }, self.positions[at]);
        }
        joined
    }
}

/// Reading orders to search, different ones only.
pub(crate) fn reading_orders(lines: &[TextLine]) -> Vec<ImageReading> {
    let rows = rows(lines);
    let by_rows = ImageReading::of(lines, &rows, " ");
    let mut readings = vec![by_rows.without_spaces_at_joiners()];
    if rows.iter().any(|row| row.len() > 1) {
        let by_columns = ImageReading::of(lines, &columns(lines, &rows), " ");
        readings.push(by_columns.without_spaces_at_joiners());
        // In a form the left one names what the right one is.
        readings.push(ImageReading::of(lines, &rows, ": "));
        readings.insert(0, by_columns);
    }
    readings.insert(0, by_rows);
    readings
}

fn bounds(line: &TextLine) -> Rect {
    line.chars.iter().copied().reduce(Rect::union).unwrap_or(Rect { x: 0, y: 0, width: 0, height: 0 })
}

/// True if two spans share more than half of the shorter one.
fn overlaps_half(a: (u32, u32), b: (u32, u32)) -> bool {
    let common = a.1.min(b.1).saturating_sub(a.0.max(b.0));
    2 * common > (a.1 - a.0).min(b.1 - b.0)
}

/// Rows of lines, from top to bottom, each from left to right.
fn rows(lines: &[TextLine]) -> Vec<Vec<usize>> {
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
                overlaps_half((rect.y, rect.bottom()), (other.y, other.bottom()))
                    && !overlaps_half((rect.x, rect.right()), (other.x, other.right()))
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

/// Lines by columns: each line is followed by the one that starts below it at the same margin.
fn columns(lines: &[TextLine], rows: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut remaining: Vec<usize> = rows.iter().flatten().copied().collect();
    let mut order = Vec::new();
    while let Some(first) = remaining.first().copied() {
        let mut last = bounds(&lines[first]);
        remaining.retain(|line| {
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
