//! Text of a page: its operators, interpreted as far as text needs it (PDF 1.7, 8.4 and
//! 9.4).

use std::collections::HashMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::Font;
use super::layout::{Matrix, TextLayout};
use crate::fetch::error::FetchError;
use farebox_pii::pdf::open::{self, PdfOpenError};

/// Most levels of forms within forms.
const MAX_DEPTH: usize = 4;
/// Most graphics states that are saved at once.
const MAX_SAVED: usize = 256;

/// Reader of the pages of one document.
pub(super) struct PageReader<'a> {
    document: &'a Document,
    /// Fonts by the address of their dictionary, which the document owns.
    fonts: HashMap<*const Dictionary, Rc<Font<'a>>>,
    lines: TextLayout,
    /// Most bytes of text.
    max_text: usize,
}

/// Graphics state, as far as text needs it.
#[derive(Clone)]
struct GraphicsState<'a> {
    page: Matrix,
    font: Option<Rc<Font<'a>>>,
    size: f32,
    leading: f32,
}

/// Position within a text object: matrices of the line and of the next glyph.
struct TextCursor {
    line: Matrix,
    at: Matrix,
}

impl<'a> PageReader<'a> {
    /// Builds a reader of at most `max_text` bytes of text.
    pub(super) fn new(document: &'a Document, max_text: usize) -> Self {
        Self { document, fonts: HashMap::new(), lines: TextLayout::default(), max_text }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`FetchError`] when there is too much text, or the page's resources cannot be read.
    pub(super) fn page(&mut self, page: ObjectId) -> Result<(), FetchError> {
        let document = self.document;
        let content = open::page_content(document, page);
        let (direct, named) = document.get_page_resources(page).map_err(PdfOpenError::from)?;
        let named = named.into_iter().filter_map(|id| document.get_dictionary(id).ok());
        let resources: Vec<&Dictionary> = direct.into_iter().chain(named).collect();
        self.lines.begin_page();
        let state = GraphicsState { page: Matrix::IDENTITY, font: None, size: 1.0, leading: 0.0 };
        self.content(&content, &resources, state, 0)
    }

    /// Text of all pages that were read.
    pub(super) fn finish(self) -> String {
        self.lines.text.trim().to_owned()
    }

    fn content(
        &mut self,
        content: &[u8],
        resources: &[&'a Dictionary],
        state: GraphicsState<'a>,
        depth: usize,
    ) -> Result<(), FetchError> {
        open::check_tokens(content);
        // A page that is damaged beyond reading shows nothing.
        let Ok(content) = Content::decode(content) else { return Ok(()) };
        let (mut state, mut saved) = (state, Vec::new());
        let mut cursor = TextCursor { line: Matrix::IDENTITY, at: Matrix::IDENTITY };
        for operation in &content.operations {
            open::check_time();
            match operation.operator.as_str() {
                "q" if saved.len() < MAX_SAVED => saved.push(state.clone()),
                "Q" => state = saved.pop().unwrap_or(state),
                "cm" => state.page = matrix(operation).then(state.page),
                "Tf" => {
                    let name = operation.operands.first().and_then(|name| name.as_name().ok());
                    state.font = name.and_then(|name| self.font(resources, name));
                    state.size = number(operation, 1);
                }
                "TL" => state.leading = number(operation, 0),
                "Do" if depth < MAX_DEPTH => self.form(operation, resources, &state, depth)?,
                _ => self.text_operator(operation, &mut state, &mut cursor)?,
            }
        }
        Ok(())
    }

    fn text_operator(
        &mut self,
        operation: &Operation,
        state: &mut GraphicsState<'a>,
        cursor: &mut TextCursor,
    ) -> Result<(), FetchError> {
        let next_line = (0.0, -state.leading);
        match operation.operator.as_str() {
            "BT" => cursor.set(Matrix::IDENTITY),
            "Tm" => cursor.set(matrix(operation)),
            "Td" => cursor.step((number(operation, 0), number(operation, 1))),
            "TD" => {
                state.leading = -number(operation, 1);
                cursor.step((number(operation, 0), number(operation, 1)));
            }
            "T*" => cursor.step(next_line),
            "Tj" => self.show(&operation.operands, state, cursor)?,
            "'" | "\"" => {
                cursor.step(next_line);
                self.show(&operation.operands, state, cursor)?;
            }
            "TJ" => {
                let pieces = operation.operands.first().and_then(|list| list.as_array().ok());
                self.show(pieces.map(Vec::as_slice).unwrap_or_default(), state, cursor)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Shows strings; numbers between them move the cursor back, in thousandths of the
    /// font size.
    fn show(
        &mut self,
        pieces: &[Object],
        state: &GraphicsState<'a>,
        cursor: &mut TextCursor,
    ) -> Result<(), FetchError> {
        let Some(font) = &state.font else { return Ok(()) };
        for piece in pieces {
            let width = match piece {
                Object::String(codes, _) => {
                    let place = cursor.at.then(state.page);
                    self.lines.separate(place.origin(), state.size.abs() * place.height());
                    font.show(codes, &mut self.lines.text)
                }
                number => number.as_float().map_or(0.0, |back| -back / 1000.0),
            };
            cursor.at = Matrix::translation(width * state.size, 0.0).then(cursor.at);
            if matches!(piece, Object::String(..)) {
                self.lines.set_end(cursor.at.then(state.page).origin());
            }
            if self.lines.text.len() > self.max_text {
                return Err(FetchError::TooLong(self.max_text));
            }
        }
        Ok(())
    }

    fn font(&mut self, resources: &[&'a Dictionary], name: &[u8]) -> Option<Rc<Font<'a>>> {
        let document = self.document;
        let font = find(document, resources, b"Font", name)?.as_dict().ok()?;
        let read =
            self.fonts.entry(std::ptr::from_ref(font)).or_insert_with(|| Rc::new(Font::read(font, document)));
        Some(Rc::clone(read))
    }

    /// Reads a form: a page within the page.
    fn form(
        &mut self,
        operation: &Operation,
        resources: &[&'a Dictionary],
        state: &GraphicsState<'a>,
        depth: usize,
    ) -> Result<(), FetchError> {
        let document = self.document;
        let form = operation
            .operands
            .first()
            .and_then(|name| find(document, resources, b"XObject", name.as_name().ok()?))
            .and_then(|form| form.as_stream().ok())
            .filter(|form| {
                form.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Form")
            });
        let Some(form) = form else { return Ok(()) };
        let content = open::stream_content(form);
        let own = form.dict.get_deref(b"Resources", document).and_then(Object::as_dict).ok();
        let placed = form.dict.get_deref(b"Matrix", document).and_then(Object::as_array).ok();
        let placed = placed.map_or(Matrix::IDENTITY, |numbers| of_numbers(numbers));
        let state = GraphicsState { page: placed.then(state.page), ..state.clone() };
        match own {
            Some(own) => self.content(&content, &[own], state, depth + 1),
            None => self.content(&content, resources, state, depth + 1),
        }
    }
}

impl TextCursor {
    fn set(&mut self, to: Matrix) {
        (self.line, self.at) = (to, to);
    }

    /// Moves to the start of a line, relative to that of this one.
    fn step(&mut self, (x, y): (f32, f32)) {
        self.set(Matrix::translation(x, y).then(self.line));
    }
}

/// Finds a named resource.
fn find<'a>(
    document: &'a Document,
    resources: &[&'a Dictionary],
    kind: &[u8],
    name: &[u8],
) -> Option<&'a Object> {
    resources.iter().find_map(|resources| {
        let named = resources.get_deref(kind, document).and_then(Object::as_dict).ok()?;
        named.get_deref(name, document).ok()
    })
}

fn number(operation: &Operation, at: usize) -> f32 {
    operation.operands.get(at).and_then(|number| number.as_float().ok()).unwrap_or(0.0)
}

fn matrix(operation: &Operation) -> Matrix {
    of_numbers(&operation.operands)
}

/// Matrix of six numbers; the identity for any other count.
fn of_numbers(numbers: &[Object]) -> Matrix {
    let mut matrix = Matrix::IDENTITY;
    if numbers.len() == 6 {
        for (entry, number) in matrix.0.iter_mut().zip(numbers) {
            *entry = number.as_float().unwrap_or(0.0);
        }
    }
    matrix
}
