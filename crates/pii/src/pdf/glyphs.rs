//! Content of a page: its characters with their positions, and whether it has images or shapes that could be text.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};

use hayro::hayro_interpret::font::{Glyph, GlyphRun, PositionedGlyph};
use hayro::hayro_interpret::hayro_cmap::BfString;
use hayro::hayro_interpret::pattern::Pattern;
use hayro::hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, Paint, SoftMask, TransformExt, interpret_page,
};
use hayro::hayro_syntax::page::Page;
use hayro::kurbo::{Affine, BezPath, PathSeg, Point, Rect, Shape};

use super::Interrupted;

/// Most glyphs of one page. A page of a telephone book has some 20,000.
const MAX_GLYPHS: usize = 300_000;
/// Units of a glyph's outline per font size.
const UNITS: f64 = 1000.0;
/// Height above the line that is covered of each letter, or more if it is larger, in units.
const ASCENT: f64 = 800.0;
/// Position below the line that is covered of each letter, or more if it is larger, in units.
const DESCENT: f64 = -220.0;
/// Least side of an image that could show legible text, in points.
const MIN_IMAGE_SIDE: f64 = 4.0;
/// Most segments of shapes that are too few to be text. Ten digits have more.
const MAX_SEGMENTS: usize = 64;

/// Glyph of a page: a character, or several if it is a ligature.
#[derive(Clone, Debug)]
pub(super) struct PlacedGlyph {
    /// Text that it stands for.
    pub(super) text: String,
    /// Area, in points from the top left corner of the page as it is shown.
    pub(super) area: Rect,
    /// Start on its line.
    pub(super) start: Point,
    /// End on its line.
    pub(super) end: Point,
    /// Size of the font, in points.
    pub(super) size: f64,
    /// True if it is in the visible part of the page. Others are read as context.
    pub(super) visible: bool,
}

/// Content that a page draws.
#[derive(Default)]
pub(super) struct PageContent {
    pub(super) glyphs: Vec<PlacedGlyph>,
    /// True if it has images.
    pub(super) images: bool,
    /// True if it has shapes, patterns, masks or glyphs of unknown meaning that could be text.
    pub(super) shapes: bool,
    segments: usize,
}

/// Reads the content of a page. Unwinds with [`Interrupted`] when it is too much or the flag is set.
pub(super) fn read<'a>(
    page: &Page<'a>,
    cache: &InterpreterCache<'a>,
    settings: InterpreterSettings,
    stop: &AtomicBool,
) -> PageContent {
    let (width, height) = page.render_dimensions();
    let visible = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let transform = page.initial_transform(true).to_kurbo();
    let mut context = Context::new(transform, visible, cache, page.xref(), settings);
    let mut reader = GlyphDevice { drawn: PageContent::default(), visible, outlines: HashMap::new(), stop };
    interpret_page(page, &mut context, &mut reader);
    let mut drawn = reader.drawn;
    drawn.shapes |= drawn.segments > MAX_SEGMENTS;
    drawn
}

/// Device that records what the interpreter draws.
struct GlyphDevice<'s> {
    drawn: PageContent,
    visible: Rect,
    outlines: HashMap<u128, Rect>,
    stop: &'s AtomicBool,
}

impl GlyphDevice<'_> {
    fn check_limits(&self) {
        if self.stop.load(Ordering::Relaxed) {
            resume_unwind(Box::new(Interrupted::Stopped));
        }
        if self.drawn.glyphs.len() > MAX_GLYPHS {
            resume_unwind(Box::new(Interrupted::TooMuch));
        }
    }

    /// Notes patterns and masks, which may be drawings themselves.
    fn note_paint(&mut self, props: &DrawProps<'_>) {
        let tiled =
            matches!(&props.paint, Paint::Pattern(pattern) if matches!(**pattern, Pattern::Tiling(_)));
        self.drawn.shapes |= tiled || props.soft_mask.is_some();
    }

    fn glyph<'a>(&mut self, glyph: &PositionedGlyph<'a>, props: &DrawProps<'a>) {
        let transform = props.transform * glyph.transform();
        let (shape, advance) = match &**glyph {
            Glyph::Outline(outline) => {
                let key = outline.identifier().cache_key();
                let shape = *self.outlines.entry(key).or_insert_with(|| outline.outline().bounding_box());
                let shape = (shape.area() > 0.0).then(|| transform.transform_rect_bbox(shape));
                (shape, outline.advance_width().map(f64::from))
            }
            Glyph::Type3(drawn) => {
                let mut extent = ExtentDevice(None);
                drawn.interpret(&mut extent, props.transform, glyph.transform(), &props.paint);
                (extent.0, None)
            }
        };
        let start = transform * Point::ZERO;
        let size = (transform * Point::new(0.0, UNITS) - start).hypot();
        let end = match (advance, shape) {
            (Some(advance), _) => transform * Point::new(advance, 0.0),
            (None, Some(shape)) => Point::new(shape.x1, start.y),
            (None, None) => start,
        };
        let body = Rect::new(0.0, DESCENT, advance.unwrap_or_default().max(1.0), ASCENT);
        let body = transform.transform_rect_bbox(body);
        let area = shape.map_or(body, |shape| shape.union(body));
        if !(area.is_finite() && size.is_finite()) {
            return;
        }
        let text = match glyph.as_unicode() {
            Some(BfString::Char(char)) => String::from(char),
            Some(BfString::String(text)) => text,
            None => String::new(),
        };
        let meaningful = !text.is_empty() && text.chars().all(is_meaningful);
        let visible = area.overlaps(self.visible);
        if !meaningful && visible && shape.is_some() {
            self.drawn.shapes = true;
        }
        let text = if meaningful { text } else { String::from('\u{fffd}') };
        self.drawn.glyphs.push(PlacedGlyph { text, area, start, end, size, visible });
    }

    fn shape(&mut self, path: &BezPath, transform: Affine) {
        let count = path.elements().len();
        if count > 4
            && !is_rectangle(path)
            && transform.transform_rect_bbox(path.bounding_box()).overlaps(self.visible)
        {
            self.drawn.segments = self.drawn.segments.saturating_add(count);
        }
    }
}

/// True if a character tells what its glyph shows: private use characters and replacements do not.
fn is_meaningful(c: char) -> bool {
    !matches!(u32::from(c), 0xe000..=0xf8ff | 0xfff0..=0xffff | 0xf_0000..)
        && (!c.is_control() || c.is_whitespace())
}

/// True if a path is an upright rectangle, as lines of tables are drawn.
fn is_rectangle(path: &BezPath) -> bool {
    let upright = |segment| matches!(segment, PathSeg::Line(line) if line.p0.x.total_cmp(&line.p1.x).is_eq() || line.p0.y.total_cmp(&line.p1.y).is_eq());
    path.elements().len() <= 6 && path.segments().all(upright)
}

impl<'a> Device<'a> for GlyphDevice<'_> {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        self.check_limits();
        self.note_paint(&props);
        for glyph in run.glyphs() {
            self.glyph(glyph, &props);
        }
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        self.check_limits();
        let area = Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height()));
        let area = props.transform.transform_rect_bbox(area);
        let seen = area.intersect(self.visible);
        // One that is nowhere near the page is not seen; where a place is not a number, it may be.
        if !area.is_finite() || (seen.width() > MIN_IMAGE_SIDE && seen.height() > MIN_IMAGE_SIDE) {
            self.drawn.images = true;
        }
        self.drawn.shapes |= props.soft_mask.is_some();
    }

    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, _: &DrawMode) {
        self.check_limits();
        self.note_paint(&props);
        self.shape(path, props.transform);
    }

    fn draw_rect(&mut self, _: &Rect, props: DrawProps<'a>, _: &DrawMode) {
        self.check_limits();
        self.note_paint(&props);
    }

    fn push_clip_path(&mut self, _: &ClipPath) {
        self.check_limits();
    }

    fn push_transparency_group(&mut self, _: f32, mask: Option<SoftMask<'a>>, _: BlendMode) {
        self.check_limits();
        self.drawn.shapes |= mask.is_some();
    }

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}

/// Device that records the extent of a glyph that is drawn by operators.
struct ExtentDevice(Option<Rect>);

impl ExtentDevice {
    fn add(&mut self, area: Rect) {
        self.0 = Some(self.0.map_or(area, |known| known.union(area)));
    }
}

impl<'a> Device<'a> for ExtentDevice {
    fn draw_path(&mut self, path: &BezPath, props: DrawProps<'a>, _: &DrawMode) {
        self.add(props.transform.transform_rect_bbox(path.bounding_box()));
    }

    fn draw_image(&mut self, image: Image<'a, '_>, props: ImageDrawProps<'a>) {
        let area = Rect::new(0.0, 0.0, f64::from(image.width()), f64::from(image.height()));
        self.add(props.transform.transform_rect_bbox(area));
    }

    fn draw_glyph_run(&mut self, _: &GlyphRun<'_, 'a>, _: DrawProps<'a>, _: &DrawMode) {}

    fn push_clip_path(&mut self, _: &ClipPath) {}

    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}

    fn pop_clip(&mut self) {}

    fn pop_transparency_group(&mut self) {}
}
