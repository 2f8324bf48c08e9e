//! What reading one file may take: memory and time.
//!
//! lopdf builds all objects of a file at once and asks a plain function about
//! each of them, which can hold no state. The thread holds it, and a file that
//! takes too much is left by unwinding, for there is no other way out.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::time::Instant;

use farebox_pii::pdf::count;
use lopdf::{DecompressError, Dictionary, Document, LoadOptions, Object, ObjectId, Stream};

use super::packed;

/// Objects of one file, those within others counted too, and of what is read at
/// once. One takes some 150 bytes, and twice that while a list grows.
const MAX_OBJECTS: usize = 1_000_000;
/// The same of one stream, whose operators take more.
const MAX_TOKENS: usize = 500_000;
/// What all streams that are read may be unpacked to, and one of them.
const MAX_UNPACKED: usize = 64 << 20;
const MAX_STREAM: usize = 4 << 20;
/// How often a file may have been added to. Each time has a table of its own.
const MAX_TABLES: usize = 32;

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(Left { objects: 0, held: 0, unpacked: 0, until: None }) };
}

#[derive(Clone, Copy)]
struct Left {
    objects: usize,
    /// Bytes that objects hold.
    held: usize,
    unpacked: usize,
    until: Option<Instant>,
}

/// What an exhausted budget unwinds with.
pub(super) struct Exhausted;

/// Runs `work` on a fresh budget, for a file of so many bytes. Each of them is held
/// once, and so is what is unpacked.
pub(super) fn within<T>(until: Instant, length: usize, work: impl FnOnce() -> T) -> T {
    let held = length.saturating_add(MAX_UNPACKED);
    LEFT.set(Left { objects: MAX_OBJECTS, held, unpacked: MAX_UNPACKED, until: Some(until) });
    work()
}

/// How lopdf is to read a file.
pub(super) fn options() -> LoadOptions {
    LoadOptions { filter: Some(keep), max_decompressed_size: Some(MAX_STREAM), ..LoadOptions::default() }
}

/// lopdf's question whether to keep an object. What is answered is used for
/// objects within others, which streams never are.
#[expect(clippy::unnecessary_wraps, reason = "lopdf asks for it in this form")]
fn keep(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let (objects, bytes) = weight(object);
    take(objects, bytes, 0);
    if let Object::Stream(stream) = object
        && stream.dict.has_type(b"ObjStm")
    {
        packed::separate(stream);
    }
    let kept = if matches!(object, Object::Stream(_)) { Object::Null } else { object.clone() };
    Some((id, kept))
}

/// Leaves a file that takes too much.
pub(super) fn exhaust() -> ! {
    resume_unwind(Box::new(Exhausted))
}

/// What a stream holds; nothing when it is damaged.
pub(super) fn plain(stream: &Stream) -> Vec<u8> {
    let content = match stream.get_plain_content_with_limit(MAX_STREAM) {
        Ok(content) => content,
        Err(lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => exhaust(),
        Err(_) => Vec::new(),
    };
    take(0, 0, content.len());
    content
}

/// What all streams of a page hold.
pub(super) fn page(document: &Document, page: ObjectId) -> Vec<u8> {
    let content = document.get_page_content_with_limit(page, MAX_STREAM).unwrap_or_else(|_| exhaust());
    take(0, 0, content.len());
    content
}

/// Checks that text does not become more objects than may be in memory.
pub(super) fn readable(text: &[u8]) {
    if count::tokens(text) > MAX_TOKENS {
        exhaust();
    }
}

/// Checks a whole file before it is read.
pub(super) fn file(data: &[u8]) {
    if count::largest(data).is_none_or(|largest| largest > MAX_OBJECTS) || count::tables(data) > MAX_TABLES {
        exhaust();
    }
}

/// Checks the time.
pub(super) fn tick() {
    take(0, 0, 0);
}

fn take(objects: usize, held: usize, unpacked: usize) {
    let left = LEFT.get();
    let in_time = left.until.is_some_and(|until| Instant::now() < until);
    let after = (
        left.objects.checked_sub(objects).filter(|_| in_time),
        left.held.checked_sub(held),
        left.unpacked.checked_sub(unpacked),
    );
    let (Some(objects), Some(held), Some(unpacked)) = after else { exhaust() };
    LEFT.set(Left { objects, held, unpacked, ..left });
}

/// How many objects an object is, and how many bytes it holds.
fn weight(object: &Object) -> (usize, usize) {
    let sum = |(count, bytes): (usize, usize), (more, larger): (usize, usize)| (count + more, bytes + larger);
    let members = |members: &Dictionary| {
        let each = members.iter().map(|(name, value)| sum(weight(value), (1, name.len())));
        each.fold((1, 0), sum)
    };
    match object {
        Object::Array(items) => items.iter().map(weight).fold((1, 0), sum),
        Object::Dictionary(dict) => members(dict),
        Object::Stream(stream) => sum(members(&stream.dict), (0, stream.content.len())),
        Object::String(bytes, _) | Object::Name(bytes) => (1, bytes.len()),
        _ => (1, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;
    use std::time::Duration;

    use super::*;

    /// A table can name one long object again and again; each copy counts.
    #[test]
    fn attack_25_what_objects_hold_is_counted() {
        let keep_it = |times: usize| {
            let mut object = Object::string_literal(vec![b'x'; 16 << 20]);
            let until = Instant::now() + Duration::from_secs(9);
            within(until, 0, || (0..times).for_each(|_| drop(keep((1, 0), &mut object))));
        };
        assert!(catch_unwind(|| keep_it(4)).is_ok());
        assert!(catch_unwind(|| keep_it(5)).is_err_and(|reason| reason.is::<Exhausted>()));
    }
}
