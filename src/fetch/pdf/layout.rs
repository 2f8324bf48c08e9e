//! Words and lines, from the positions of text on a page. Pure.

/// Vertical distance, to the font's size, above which a new line begins.
const LINE_GAP: f32 = 0.4;
/// Gap, to the font's size, from which a space is inserted.
const SPACE_GAP: f32 = 0.15;

/// Affine transformation, as PDF writes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix(pub(super) [f32; 6]);

impl Matrix {
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    pub(super) fn translation(x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// Transformation by this matrix and then by another.
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

    /// Point that the origin is moved to.
    pub(super) fn origin(self) -> (f32, f32) {
        (self.0[4], self.0[5])
    }

    /// Factor by which heights grow.
    pub(super) fn height(self) -> f32 {
        self.0[2].hypot(self.0[3])
    }
}

/// Text under construction.
#[derive(Debug, Default)]
pub(super) struct TextLayout {
    pub(super) text: String,
    /// End of the last string.
    end: Option<(f32, f32)>,
}

impl TextLayout {
    /// Separates the next string from the last one, as the page does: by a line break, a
    /// space or nothing.
    pub(super) fn separate(&mut self, (x, y): (f32, f32), size: f32) {
        let Some((end_x, end_y)) = self.end else { return };
        let size = size.max(0.01);
        if (y - end_y).abs() > LINE_GAP * size {
            self.line();
        } else if !(-3.0 * SPACE_GAP..=SPACE_GAP).contains(&((x - end_x) / size))
            && !self.text.is_empty()
            && !self.text.ends_with(char::is_whitespace)
        {
            self.text.push(' ');
        }
    }

    /// Sets the end of the string that was added.
    pub(super) fn set_end(&mut self, end: (f32, f32)) {
        self.end = Some(end);
    }

    /// Begins a page.
    pub(super) fn begin_page(&mut self) {
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
            let mut lines = TextLayout::default();
            for (x, y, text) in pieces {
                lines.separate((*x, *y), 10.0);
                lines.text.push_str(text);
                // Every letter is half an em wide.
                let width = text.bytes().map(|_| 5.0).sum::<f32>();
                lines.set_end((x + width, *y));
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
