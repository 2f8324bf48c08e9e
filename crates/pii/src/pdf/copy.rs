//! Plain copy of the selected pages: their visible content and nothing else.
//!
//! Only this copy is given to the interpreter. It has one revision, no packed objects, no encryption, no names,
//! actions, attachments or metadata, and every stream in it has been measured: it unpacks to no more than the
//! limits.

use std::collections::{HashMap, HashSet};

use lopdf::{Dictionary, Document, Object, ObjectId, Stream};

use super::measure::{self, StreamBudget};
use super::{PdfError, PdfLimits};

/// Most levels of the page tree that attributes are inherited through, and of values within values.
const MAX_DEPTH: usize = 64;
/// Keys of a page that are copied.
const PAGE_KEYS: [&[u8]; 5] = [b"MediaBox", b"CropBox", b"Rotate", b"Resources", b"Contents"];
/// Keys of an annotation that are copied: its picture is a part of the page, its text is dropped.
const ANNOTATION_KEYS: [&[u8]; 6] = [b"Subtype", b"Rect", b"AP", b"AS", b"F", b"OC"];
/// Keys of images and forms that are dropped: metadata, and references to external files. Other dictionaries keep
/// them: among resources or glyphs the same words may be names that the file gave.
const DROPPED_KEYS: [&[u8]; 7] =
    [b"Metadata", b"PieceInfo", b"StructParent", b"StructParents", b"F", b"FFilter", b"FDecodeParms"];

/// Writes a PDF that shows the given pages, and returns its bytes.
pub(super) fn plain(
    document: &Document,
    pages: &[ObjectId],
    limits: &PdfLimits,
) -> Result<Vec<u8>, PdfError> {
    let mut copy = PageCopier {
        from: document,
        into: Document::with_version("1.7"),
        budget: StreamBudget::new(limits),
        queue: Vec::new(),
        seen: HashSet::new(),
        lengths: HashMap::new(),
        contents: Vec::new(),
    };
    copy.into.max_id = document.max_id;
    let root = copy.into.new_object_id();
    let mut kids = Vec::with_capacity(pages.len());
    for page in pages {
        let mut page = copy.page(*page)?;
        page.set("Parent", root);
        kids.push(Object::Reference(copy.into.add_object(page)));
    }
    let mut tree = Dictionary::new();
    tree.set("Type", "Pages");
    tree.set("Count", i64::try_from(kids.len()).unwrap_or(i64::MAX));
    tree.set("Kids", kids);
    copy.into.objects.insert(root, Object::Dictionary(tree));
    let mut catalog = Dictionary::new();
    catalog.set("Type", "Catalog");
    catalog.set("Pages", root);
    // Visibility of layers.
    if let Some(layers) = document.catalog().ok().and_then(|catalog| catalog.get(b"OCProperties").ok()) {
        let layers = copy.value(layers, 0)?;
        catalog.set("OCProperties", layers);
    }
    copy.copy_referenced()?;
    copy.count_contents()?;
    let catalog = copy.into.add_object(catalog);
    copy.into.trailer.set("Root", catalog);
    let mut bytes = Vec::new();
    copy.into.save_to(&mut bytes).map_err(|_| PdfError::Damaged)?;
    Ok(bytes)
}

/// Copy of pages under construction.
struct PageCopier<'d> {
    from: &'d Document,
    into: Document,
    budget: StreamBudget,
    queue: Vec<ObjectId>,
    seen: HashSet<ObjectId>,
    /// Bytes that each stream unpacks to.
    lengths: HashMap<ObjectId, usize>,
    /// Content streams of the pages, each as often as it is named.
    contents: Vec<ObjectId>,
}

impl PageCopier<'_> {
    fn page(&mut self, id: ObjectId) -> Result<Dictionary, PdfError> {
        let from = self.from;
        let source = from.get_dictionary(id).map_err(|_| PdfError::Damaged)?;
        let mut page = Dictionary::new();
        page.set("Type", "Page");
        for key in PAGE_KEYS {
            if let Some(value) = inherited(from, source, key) {
                page.set(key, self.value(value, 0)?);
            }
        }
        if let Ok(contents) = source.get(b"Contents") {
            let parts = match from.dereference(contents) {
                Ok((_, Object::Array(parts))) => parts.as_slice(),
                _ => std::slice::from_ref(contents),
            };
            let streams = parts.iter().filter_map(|part| from.dereference(part).ok()?.0);
            self.contents.extend(streams);
        }
        let annotations = source.get_deref(b"Annots", from).and_then(Object::as_array);
        let mut shown = Vec::new();
        for annotation in annotations.into_iter().flatten() {
            let annotation = from.dereference(annotation).map(|(_, object)| object);
            let Ok(Object::Dictionary(annotation)) = annotation else { continue };
            let mut kept = Dictionary::new();
            for key in ANNOTATION_KEYS {
                if let Ok(value) = annotation.get(key) {
                    kept.set(key, self.value(value, 0)?);
                }
            }
            shown.push(Object::Dictionary(kept));
        }
        page.set("Annots", shown);
        Ok(page)
    }

    /// Copies all objects that are referred to, directly or not.
    fn copy_referenced(&mut self) -> Result<(), PdfError> {
        while let Some(id) = self.queue.pop() {
            let from = self.from;
            let Some(object) = from.objects.get(&id) else { continue };
            let object = match object {
                Object::Stream(stream) => Object::Stream(self.stream(id, stream)?),
                other => self.value(other, 0)?,
            };
            self.into.objects.insert(id, object);
        }
        Ok(())
    }

    fn value(&mut self, object: &Object, depth: usize) -> Result<Object, PdfError> {
        if depth > MAX_DEPTH {
            return Err(PdfError::TooComplex);
        }
        Ok(match object {
            Object::Reference(id) => {
                if self.seen.insert(*id) {
                    self.queue.push(*id);
                }
                Object::Reference(*id)
            }
            Object::Array(items) => {
                Object::Array(items.iter().map(|item| self.value(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Object::Dictionary(dict) => Object::Dictionary(self.dictionary(dict, depth)?),
            // Streams stand for themselves only.
            Object::Stream(_) => Object::Null,
            other => other.clone(),
        })
    }

    fn dictionary(&mut self, dict: &Dictionary, depth: usize) -> Result<Dictionary, PdfError> {
        self.budget.take_widths(self.from, dict)?;
        let mut kept = Dictionary::new();
        for (key, value) in dict {
            kept.set(key.as_slice(), self.value(value, depth + 1)?);
        }
        Ok(kept)
    }

    /// Takes repeated content streams from the budget: the interpreter unpacks the content of each page in one piece,
    /// and a file may name one stream any number of times.
    fn count_contents(&mut self) -> Result<(), PdfError> {
        let mut once = HashSet::new();
        for id in &self.contents {
            if !once.insert(*id) {
                // More than its length: each takes a moment, however short it is.
                self.budget
                    .take_repeated(self.lengths.get(id).copied().unwrap_or_default().saturating_add(64))?;
            }
        }
        Ok(())
    }

    fn stream(&mut self, id: ObjectId, stream: &Stream) -> Result<Stream, PdfError> {
        let mut source = stream.clone();
        for key in DROPPED_KEYS {
            source.dict.remove(key);
        }
        measure::resolve_description(self.from, &mut source.dict);
        let dict = self.dictionary(&source.dict, 0)?;
        let length = self.budget.take_stream(&source)?;
        let content = if length.is_some() { source.content } else { Vec::new() };
        self.lengths.insert(id, length.unwrap_or_default());
        Ok(Stream { allows_compression: false, ..Stream::new(dict, content) })
    }
}

/// Attribute of a page, or of the nearest node of the page tree that has it.
fn inherited<'d>(from: &'d Document, page: &'d Dictionary, key: &[u8]) -> Option<&'d Object> {
    let mut node = page;
    for _ in 0..MAX_DEPTH {
        if let Ok(value) = node.get(key) {
            return Some(value);
        }
        if key == b"Contents" {
            return None;
        }
        node = node.get_deref(b"Parent", from).and_then(Object::as_dict).ok()?;
    }
    None
}
