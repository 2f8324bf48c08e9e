//! Cost of drawing a page, counted before it is drawn.
//!
//! Forms can draw forms that draw forms: a short file can ask for billions of operators, and the interpreter cannot
//! be stopped between two of them. Here the same instructions are read without drawing, each form as often as it is
//! used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hayro::hayro_syntax::content::TypedIter;
use hayro::hayro_syntax::content::ops::TypedInstruction;
use hayro::hayro_syntax::object::dict::keys;
use hayro::hayro_syntax::object::{Array, Dict, Name, Object, ObjectIdentifier, Stream};
use hayro::hayro_syntax::page::{Page, Resources};

use super::{PdfError, PdfLimits};

/// Most levels of forms within forms. Real files have some five.
const MAX_DEPTH: usize = 20;
/// Most bytes of a compressed inline image. Real ones have less than 4 KB, and unpack to a thousand times as much at
/// most.
const MAX_INLINE: usize = 256 << 10;
/// Number of operators between two reads of the stop flag.
const STOP_CHECK_INTERVAL: u32 = 4096;

/// Checks that the page can be drawn within the limits.
pub(super) fn check(page: &Page<'_>, limits: &PdfLimits, stop: &AtomicBool) -> Result<(), PdfError> {
    let mut counter = CostCounter {
        operators_left: limits.operators,
        pixels_left: limits.image_pixels * 4,
        depth: 0,
        stop,
        fonts: HashMap::new(),
    };
    counter.content(page.typed_operations(), page.resources())?;
    let annotations = page.raw().get::<Array<'_>>(keys::ANNOTS);
    for annotation in annotations.iter().flat_map(Array::iter::<Dict<'_>>) {
        let Some(appearances) = annotation.get::<Dict<'_>>(keys::AP) else { continue };
        counter.take(1)?;
        match appearances.get::<Object<'_>>(keys::N) {
            Some(Object::Stream(form)) => counter.form(&form, page.resources())?,
            Some(Object::Dict(states)) => {
                for name in states.keys() {
                    if let Some(form) = states.get::<Stream<'_>>(name) {
                        counter.form(&form, page.resources())?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Count of the cost of one page.
struct CostCounter<'s> {
    operators_left: u32,
    /// Pixels of images that are left, each counted as often as it is drawn.
    pixels_left: u64,
    depth: usize,
    stop: &'s AtomicBool,
    /// Operators of the costliest glyph, for fonts whose glyphs are drawn by operators.
    fonts: HashMap<ObjectIdentifier, u32>,
}

impl CostCounter<'_> {
    fn take(&mut self, operators: u32) -> Result<(), PdfError> {
        let before = self.operators_left;
        self.operators_left = before.checked_sub(operators).ok_or(PdfError::TooComplex)?;
        if before / STOP_CHECK_INTERVAL != self.operators_left / STOP_CHECK_INTERVAL
            && self.stop.load(Ordering::Relaxed)
        {
            return Err(PdfError::Stopped);
        }
        Ok(())
    }

    fn content(&mut self, mut content: TypedIter<'_>, resources: &Resources<'_>) -> Result<(), PdfError> {
        // Operators of a glyph of the current font.
        let mut glyph = 1;
        while let Some(instruction) = content.next() {
            self.take(1)?;
            match instruction {
                TypedInstruction::XObject(name) => {
                    if let Some(object) = resources.get_x_object(name.0) {
                        self.object(&object, resources)?;
                    }
                }
                TypedInstruction::InlineImage(image) => {
                    self.image(image.0)?;
                    Self::inline(image.0)?;
                }
                TypedInstruction::StrokeColorNamed(color) => self.pattern(color.1, resources)?,
                TypedInstruction::NonStrokeColorNamed(color) => self.pattern(color.1, resources)?,
                TypedInstruction::SetGraphicsState(name) => {
                    let state = resources.get_ext_g_state(name.0);
                    let mask = state.and_then(|state| state.get::<Dict<'_>>(keys::SMASK));
                    if let Some(form) = mask.and_then(|mask| mask.get::<Stream<'_>>(keys::G)) {
                        self.form(&form, resources)?;
                    }
                }
                TypedInstruction::TextFont(font) => glyph = self.font(font.0, resources)?,
                TypedInstruction::ShowText(text) => self.glyphs(text.0.as_bytes().len(), glyph)?,
                TypedInstruction::NextLineAndShowText(text) => self.glyphs(text.0.as_bytes().len(), glyph)?,
                TypedInstruction::ShowTextWithParameters(text) => {
                    self.glyphs(text.2.as_bytes().len(), glyph)?;
                }
                TypedInstruction::ShowTexts(texts) => {
                    let length: usize = texts.0.data().len();
                    self.glyphs(length, glyph)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn glyphs(&mut self, count: usize, each: u32) -> Result<(), PdfError> {
        self.take(u32::try_from(count).unwrap_or(u32::MAX).saturating_mul(each))
    }

    fn object(&mut self, object: &Stream<'_>, resources: &Resources<'_>) -> Result<(), PdfError> {
        match object.dict().get::<Name<'_>>(keys::SUBTYPE).as_deref() {
            Some(keys::FORM) => self.form(object, resources),
            _ => self.image(object),
        }
    }

    fn image(&mut self, image: &Stream<'_>) -> Result<(), PdfError> {
        let side = |long: &[u8], short: &[u8]| {
            let side = image.dict().get::<i64>(long).or_else(|| image.dict().get::<i64>(short));
            u64::try_from(side.unwrap_or_default()).unwrap_or(u64::MAX)
        };
        let pixels = side(keys::WIDTH, keys::W).saturating_mul(side(keys::HEIGHT, keys::H));
        self.pixels_left = self.pixels_left.checked_sub(pixels).ok_or(PdfError::TooComplex)?;
        Ok(())
    }

    /// Checks an inline image, which was not measured with the streams of the file.
    fn inline(image: &Stream<'_>) -> Result<(), PdfError> {
        // The filters have no public type to match on, only names to print.
        let grows = |name: &str| matches!(name, "FlateDecode" | "LzwDecode" | "RunLengthDecode");
        let growing = image.filters().iter().filter(|filter| grows(&format!("{filter:?}"))).count();
        if growing > 1 || growing == 1 && image.raw_data().len() > MAX_INLINE {
            return Err(PdfError::TooComplex);
        }
        Ok(())
    }

    fn pattern(&mut self, name: Option<&Name<'_>>, resources: &Resources<'_>) -> Result<(), PdfError> {
        match name.and_then(|name| resources.get_pattern(name)) {
            Some(Object::Stream(cell)) => self.form(&cell, resources),
            _ => Ok(()),
        }
    }

    fn form(&mut self, form: &Stream<'_>, resources: &Resources<'_>) -> Result<(), PdfError> {
        if self.depth == MAX_DEPTH {
            return Err(PdfError::TooComplex);
        }
        self.depth += 1;
        // Unpacking one again and again takes time as well.
        self.take(16)?;
        if let Ok(content) = form.decoded_data() {
            self.take(u32::try_from(content.len() / 256).unwrap_or(u32::MAX))?;
            let own = form.dict().get::<Dict<'_>>(keys::RESOURCES).map(Resources::new);
            self.content(TypedIter::new(&content), own.as_ref().unwrap_or(resources))?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// Most operators of a glyph of a font.
    fn font(&mut self, name: &Name<'_>, resources: &Resources<'_>) -> Result<u32, PdfError> {
        let Some(font) = resources.get_font(name) else { return Ok(1) };
        let Some(procedures) = font.get::<Dict<'_>>(keys::CHAR_PROCS) else { return Ok(1) };
        let id = font.obj_id();
        if let Some(known) = id.and_then(|id| self.fonts.get(&id)) {
            return Ok(*known);
        }
        let own = font.get::<Dict<'_>>(keys::RESOURCES).map(Resources::new);
        let mut most = 1;
        for name in procedures.keys() {
            let Some(glyph) = procedures.get::<Stream<'_>>(name) else { continue };
            let before = self.operators_left;
            self.form(&glyph, own.as_ref().unwrap_or(resources))?;
            most = most.max(before - self.operators_left);
        }
        if let Some(id) = id {
            self.fonts.insert(id, most);
        }
        Ok(most)
    }
}
