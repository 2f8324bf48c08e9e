//! What a page shows, as text: its operators carried out as far as text needs it
//! (PDF 1.7, 8.4 and 9.4).

use std::collections::HashMap;
use std::rc::Rc;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::font::Font;
use super::layout::{Lines, Matrix};
use super::{budget, damage};
use crate::fetch::error::FetchError;

/// Forms within forms.
const MAX_DEPTH: usize = 4;
/// States saved within states.
const MAX_SAVED: usize = 256;

/// Reads the pages of one document.
pub(super) struct Reader<'a> {
    document: &'a Document,
    /// By the place of their dictionary, which the document keeps.
    fonts: HashMap<*const Dictionary, Rc<Font<'a>>>,
    lines: Lines,
    most: usize,
}

#[derive(Clone)]
struct State<'a> {
    page: Matrix,
    font: Option<Rc<Font<'a>>>,
    size: f32,
    leading: f32,
}

/// Where text stands within a text object.
struct Pen {
    line: Matrix,
    at: Matrix,
}

impl<'a> Reader<'a> {
    /// `most` is how many bytes of text there may be.
    pub(super) fn new(document: &'a Document, most: usize) -> Self {
        Self { document, fonts: HashMap::new(), lines: Lines::default(), most }
    }

    /// Reads a page.
    ///
    /// # Errors
    /// When there is too much text, or the page cannot be unpacked.
    pub(super) fn page(&mut self, page: ObjectId) -> Result<(), FetchError> {
        let document = self.document;
        let content = budget::page(document, page);
        let (direct, named) = document.get_page_resources(page).map_err(|error| damage(&error))?;
        let named = named.into_iter().filter_map(|id| document.get_dictionary(id).ok());
        let resources: Vec<&Dictionary> = direct.into_iter().chain(named).collect();
        self.lines.page();
        let state = State { page: Matrix::IDENTITY, font: None, size: 1.0, leading: 0.0 };
        self.content(&content, &resources, state, 0)
    }

    /// The text of all pages read.
    pub(super) fn finish(self) -> String {
        self.lines.text.trim().to_owned()
    }

    fn content(
        &mut self,
        content: &[u8],
        resources: &[&'a Dictionary],
        state: State<'a>,
        depth: usize,
    ) -> Result<(), FetchError> {
        budget::readable(content);
        // A page that is damaged beyond reading shows nothing.
        let Ok(content) = Content::decode(content) else { return Ok(()) };
        let (mut state, mut saved) = (state, Vec::new());
        let mut pen = Pen { line: Matrix::IDENTITY, at: Matrix::IDENTITY };
        for operation in &content.operations {
            budget::tick();
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
                _ => self.text_operator(operation, &mut state, &mut pen)?,
            }
        }
        Ok(())
    }

    fn text_operator(
        &mut self,
        operation: &Operation,
        state: &mut State<'a>,
        pen: &mut Pen,
    ) -> Result<(), FetchError> {
        let next_line = (0.0, -state.leading);
        match operation.operator.as_str() {
            "BT" => pen.set(Matrix::IDENTITY),
            "Tm" => pen.set(matrix(operation)),
            "Td" => pen.step((number(operation, 0), number(operation, 1))),
            "TD" => {
                state.leading = -number(operation, 1);
                pen.step((number(operation, 0), number(operation, 1)));
            }
            "T*" => pen.step(next_line),
            "Tj" => self.show(&operation.operands, state, pen)?,
            "'" | "\"" => {
                pen.step(next_line);
                self.show(&operation.operands, state, pen)?;
            }
            "TJ" => {
                let pieces = operation.operands.first().and_then(|list| list.as_array().ok());
                self.show(pieces.map(Vec::as_slice).unwrap_or_default(), state, pen)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Shows strings; numbers between them move the pen back, in thousandths.
    fn show(&mut self, pieces: &[Object], state: &State<'a>, pen: &mut Pen) -> Result<(), FetchError> {
        let Some(font) = &state.font else { return Ok(()) };
        for piece in pieces {
            let width = match piece {
                Object::String(codes, _) => {
                    let place = pen.at.then(state.page);
                    self.lines.place(place.origin(), state.size.abs() * place.height());
                    font.show(codes, &mut self.lines.text)
                }
                number => number.as_float().map_or(0.0, |back| -back / 1000.0),
            };
            pen.at = Matrix::translation(width * state.size, 0.0).then(pen.at);
            if matches!(piece, Object::String(..)) {
                self.lines.ended(pen.at.then(state.page).origin());
            }
            if self.lines.text.len() > self.most {
                return Err(FetchError::TooLong(self.most));
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

    /// A form is a page within the page.
    fn form(
        &mut self,
        operation: &Operation,
        resources: &[&'a Dictionary],
        state: &State<'a>,
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
        let content = budget::plain(form);
        let own = form.dict.get_deref(b"Resources", document).and_then(Object::as_dict).ok();
        let placed = form.dict.get_deref(b"Matrix", document).and_then(Object::as_array).ok();
        let placed = placed.map_or(Matrix::IDENTITY, |numbers| of_numbers(numbers));
        let state = State { page: placed.then(state.page), ..state.clone() };
        match own {
            Some(own) => self.content(&content, &[own], state, depth + 1),
            None => self.content(&content, resources, state, depth + 1),
        }
    }
}

impl Pen {
    fn set(&mut self, to: Matrix) {
        (self.line, self.at) = (to, to);
    }

    /// To the beginning of a line, from that of this one.
    fn step(&mut self, (x, y): (f32, f32)) {
        self.set(Matrix::translation(x, y).then(self.line));
    }
}

/// A named resource.
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

/// Six numbers, or nothing happens.
fn of_numbers(numbers: &[Object]) -> Matrix {
    let mut matrix = Matrix::IDENTITY;
    if numbers.len() == 6 {
        for (entry, number) in matrix.0.iter_mut().zip(numbers) {
            *entry = number.as_float().unwrap_or(0.0);
        }
    }
    matrix
}
