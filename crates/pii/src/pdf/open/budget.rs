//! Memory and time that reading one file may take.
//!
//! lopdf builds all objects of a file at once and asks a plain function about each of them, which can hold
//! no state. The thread holds it, and a file that takes too much is left by unwinding, for there is no
//! other way out.

use std::cell::RefCell;
use std::panic::resume_unwind;

use lopdf::{DecompressError, Dictionary, Document, LoadOptions, Object, ObjectId, Stream};

use super::{count, object_stream};

/// Most objects of one file, those within others included. One takes some 150 bytes of memory, and twice that
/// while a list grows.
const MAX_OBJECTS: usize = 1_000_000;
/// Most objects or operators of one unpacked stream. Operators take more memory than objects.
const MAX_TOKENS: usize = 500_000;
/// Most bytes that all streams together unpack to.
const MAX_UNPACKED: usize = 64 << 20;
/// Most bytes that one stream unpacks to.
const MAX_STREAM: usize = 4 << 20;
/// Most bytes that one stream of an encrypted file unpacks to. lopdf reads packed objects of such files without
/// asking [`keep_object`], and may read one object once for every few bytes of the stream.
const MAX_STREAM_ENCRYPTED: usize = 128 << 10;
/// Most streams of packed objects in an encrypted file.
const MAX_STREAMS_ENCRYPTED: usize = 256;
/// Most cross-reference tables: one for each time that the file was added to.
const MAX_TABLES: usize = 32;

/// Remaining memory and time for the file that this thread reads.
#[derive(Default)]
struct RemainingBudget {
    objects: usize,
    /// Bytes that objects hold.
    object_bytes: usize,
    /// Bytes that streams unpack to.
    unpacked_bytes: usize,
    /// Deadline check of the caller: this crate reads no clock. Absent outside of [`with_budget`], where
    /// nothing may be spent.
    expired: Option<Box<dyn Fn() -> bool>>,
}

thread_local! {
    static REMAINING: RefCell<RemainingBudget> = const {
        RefCell::new(RemainingBudget { objects: 0, object_bytes: 0, unpacked_bytes: 0, expired: None })
    };
}

/// Payload of the unwinding that ends the reading of a file which takes too much.
#[derive(Clone, Copy, Debug)]
pub struct BudgetExhausted;

/// Budget to put back when the current one ends, also by unwinding.
struct PreviousBudget(RemainingBudget);

impl Drop for PreviousBudget {
    fn drop(&mut self) {
        REMAINING.set(std::mem::take(&mut self.0));
    }
}

/// Runs `work` on a fresh budget, for a file of `file_bytes` bytes. Each of them may be held once by objects, and
/// so may each unpacked byte. `expired` tells whether the time is over; it is asked whenever something is spent.
pub fn with_budget<T>(
    file_bytes: usize,
    expired: impl Fn() -> bool + 'static,
    work: impl FnOnce() -> T,
) -> T {
    let _previous = PreviousBudget(REMAINING.replace(RemainingBudget {
        objects: MAX_OBJECTS,
        object_bytes: file_bytes.saturating_add(MAX_UNPACKED),
        unpacked_bytes: MAX_UNPACKED,
        expired: Some(Box::new(expired)),
    }));
    work()
}

/// Options with which lopdf reads a file.
pub(super) fn load_options(encrypted: bool) -> LoadOptions {
    let limit = if encrypted { MAX_STREAM_ENCRYPTED } else { MAX_STREAM };
    LoadOptions {
        filter: Some(keep_object),
        max_decompressed_size: Some(limit),
        password: encrypted.then(String::new),
        ..LoadOptions::default()
    }
}

/// Answers lopdf's question whether to keep an object. The answer is used for objects within others, which
/// streams never are.
#[expect(clippy::unnecessary_wraps, reason = "lopdf asks for it in this form")]
fn keep_object(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let (objects, bytes) = weight(object);
    spend(objects, bytes, 0);
    if let Object::Stream(stream) = object
        && stream.dict.has_type(b"ObjStm")
    {
        object_stream::delimit_objects(stream);
    }
    let kept = if matches!(object, Object::Stream(_)) { Object::Null } else { object.clone() };
    Some((id, kept))
}

/// Leaves a file that takes too much, by unwinding with [`BudgetExhausted`].
pub(super) fn exhaust() -> ! {
    resume_unwind(Box::new(BudgetExhausted))
}

/// Unpacked content of a stream; empty when it is damaged. Unwinds when it is more than the budget.
#[must_use]
pub fn stream_content(stream: &Stream) -> Vec<u8> {
    let content = match stream.get_plain_content_with_limit(MAX_STREAM) {
        Ok(content) => content,
        Err(lopdf::Error::Decompress(DecompressError::MemoryLimitExceeded { .. })) => exhaust(),
        Err(_) => Vec::new(),
    };
    spend(0, 0, content.len());
    content
}

/// Unpacked content of all streams of a page. Unwinds when it is more than the budget.
#[must_use]
pub fn page_content(document: &Document, page: ObjectId) -> Vec<u8> {
    let content = document.get_page_content_with_limit(page, MAX_STREAM).unwrap_or_else(|_| exhaust());
    spend(0, 0, content.len());
    content
}

/// Unwinds when unpacked text may become more objects or operators than fit in memory.
pub fn check_tokens(text: &[u8]) {
    if count::max_tokens(text) > MAX_TOKENS {
        exhaust();
    }
}

/// Unwinds when a file cannot be read within the budget, which its bytes tell before they are parsed.
pub(super) fn check_file(data: &[u8], encrypted: bool) {
    if count::max_object_tokens(data).is_none_or(|most| most > MAX_OBJECTS)
        || count::xref_tables(data) > MAX_TABLES
    {
        exhaust();
    }
    if encrypted
        && (count::name_occurrences(data, b"ObjStm") > MAX_STREAMS_ENCRYPTED
            || count::object_bytes(data) > data.len().saturating_add(MAX_UNPACKED))
    {
        exhaust();
    }
}

/// Unwinds when the time is over.
pub fn check_time() {
    spend(0, 0, 0);
}

/// Takes objects and bytes from the budget. Unwinds when one of them, or the time, runs out.
fn spend(objects: usize, object_bytes: usize, unpacked_bytes: usize) {
    let spent = REMAINING.with_borrow_mut(|left| {
        if left.expired.as_ref().is_none_or(|expired| expired()) {
            return None;
        }
        left.objects = left.objects.checked_sub(objects)?;
        left.object_bytes = left.object_bytes.checked_sub(object_bytes)?;
        left.unpacked_bytes = left.unpacked_bytes.checked_sub(unpacked_bytes)?;
        Some(())
    });
    if spent.is_none() {
        exhaust();
    }
}

/// Number of objects that an object consists of, and the bytes that they hold.
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
    use std::cell::Cell;
    use std::panic::catch_unwind;

    use super::*;

    /// A table can name one long object again and again; each copy counts.
    #[test]
    fn attack_25_what_objects_hold_is_counted() {
        let keep_it = |times: usize| {
            let mut object = Object::string_literal(vec![b'x'; 16 << 20]);
            with_budget(0, || false, || (0..times).for_each(|_| drop(keep_object((1, 0), &mut object))));
        };
        assert!(catch_unwind(|| keep_it(4)).is_ok());
        assert!(catch_unwind(|| keep_it(5)).is_err_and(|reason| reason.is::<BudgetExhausted>()));
    }

    #[test]
    fn attack_25_time_is_part_of_the_budget() {
        let spend_twice = || {
            let asked = Cell::new(0);
            let expired = move || asked.replace(asked.get() + 1) > 0;
            with_budget(0, expired, || {
                check_time();
                check_time();
            });
        };
        assert!(catch_unwind(|| with_budget(0, || false, check_time)).is_ok());
        assert!(catch_unwind(|| with_budget(0, || true, check_time)).is_err());
        assert!(catch_unwind(spend_twice).is_err_and(|reason| reason.is::<BudgetExhausted>()));
    }

    #[test]
    fn a_budget_ends_with_its_file() {
        assert!(catch_unwind(check_time).is_err_and(|reason| reason.is::<BudgetExhausted>()));
        with_budget(
            0,
            || false,
            || {
                assert!(catch_unwind(|| with_budget(0, || true, check_time)).is_err());
                // The outer budget is in force again.
                check_time();
            },
        );
        assert!(catch_unwind(check_time).is_err());
    }
}
