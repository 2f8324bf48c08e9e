//! Words and lines, from where pieces of text stand on a page. Pure.

/// Above this much of the font's size, a step up or down begins a line.
const LINE: f32 = 0.4;
/// From this much of it, a gap is a blank.
const BLANK: f32 = 0.15;

/// An affine transformation, as PDF writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix(pub(super) [f32; 6]);

impl Matrix {
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    pub(super) fn translation(x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// This one, and then another.
    pub(super) fn then(self, other: Self) -> Self {
        let ([xx, xy, yx, yy, x, y], to) = (self.0, other.0);
        Self([
            xx * to[0] + xy * to[2],
            xx * to[1] + xy * to[3],
            yx * to[0] + yy * to[2],
            yx * to[1] + yy * to[3],
            x * to[0] + y * to[2] + to[4],
            x * to[1] + y * to[3] + to[5],
        ])
    }

    /// Where it moves the origin.
    pub(super) fn origin(self) -> (f32, f32) {
        (self.0[4], self.0[5])
    }

    /// How much taller it makes things.
    pub(super) fn height(self) -> f32 {
        self.0[2].hypot(self.0[3])
    }
}

/// Text as it is put together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: String,
    /// Where the last piece ended.
    end: Option<(f32, f32)>,
}

impl Lines {
    /// A piece follows that stands there: sets it apart from the last one as the
    /// page does.
    pub(super) fn place(&mut self, (x, y): (f32, f32), size: f32) {
        let Some((end_x, end_y)) = self.end else { return };
        let size = size.max(0.01);
        if (y - end_y).abs() > LINE * size {
            self.line();
        } else if !(-3.0 * BLANK..=BLANK).contains(&((x - end_x) / size))
            && !self.text.is_empty()
            && !self.text.ends_with(char::is_whitespace)
        {
            self.text.push(' ');
        }
    }

    /// The piece ended there.
    pub(super) fn ended(&mut self, end: (f32, f32)) {
        self.end = Some(end);
    }

    /// A page begins.
    pub(super) fn page(&mut self) {
        self.line();
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.end = None;
    }

    fn line(&mut self) {
        let length = self.text.trim_end_matches(' ').len();
        self.text.truncate(length);
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_set_apart_as_on_the_page() {
        for (pieces, expected) in [
            (&[(0.0, 0.0, "one"), (15.0, 0.0, "two")][..], "onetwo"),
            (&[(0.0, 0.0, "one"), (18.0, 0.0, "two")], "one two"),
            (&[(0.0, 0.0, "one "), (18.0, 0.0, "two")], "one two"),
            (&[(0.0, 0.0, "one"), (0.0, -12.0, "two")], "one\ntwo"),
            (&[(0.0, 0.0, "one"), (0.0, 0.0, "two")], "one two"),
            (&[(0.0, 0.0, "x"), (5.0, 3.0, "2")], "x2"),
        ] {
            let mut lines = Lines::default();
            for (x, y, text) in pieces {
                lines.place((*x, *y), 10.0);
                lines.text.push_str(text);
                // Every letter is half an em wide.
                let width = text.bytes().map(|_| 5.0).sum::<f32>();
                lines.ended((x + width, *y));
            }
            assert_eq!(lines.text, expected);
        }
    }

    #[test]
    fn transformations_follow_each_other() {
        let scaled = Matrix([2.0, 0.0, 0.0, 3.0, 0.0, 0.0]);
        let moved = Matrix::translation(1.0, 1.0).then(scaled);
        assert_eq!((moved.origin(), moved.height()), ((2.0, 3.0), 3.0));
        assert_eq!(Matrix::IDENTITY.then(moved), moved);
    }
}
