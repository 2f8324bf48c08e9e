//! What reading one file may take: memory and time.
//!
//! lopdf builds all objects of a file at once and asks a plain function about
//! each of them, which can hold no state. The thread holds it, and a file that
//! takes too much is left by unwinding, for there is no other way out.

use std::cell::Cell;
use std::panic::resume_unwind;
use std::time::Instant;

use lopdf::{Object, ObjectId};

/// Objects of one file, those within others counted too. One takes about 100 bytes.
const MAX_OBJECTS: usize = 2_000_000;
/// What all streams that are read may be unpacked to.
const MAX_UNPACKED: usize = 64 << 20;

thread_local! {
    static LEFT: Cell<Left> = const { Cell::new(Left { objects: 0, unpacked: 0, until: None }) };
}

#[derive(Clone, Copy)]
struct Left {
    objects: usize,
    unpacked: usize,
    until: Option<Instant>,
}

/// What an exhausted budget unwinds with.
pub(super) struct Exhausted;

/// Runs `work` on a fresh budget.
pub(super) fn within<T>(until: Instant, work: impl FnOnce() -> T) -> T {
    LEFT.set(Left { objects: MAX_OBJECTS, unpacked: MAX_UNPACKED, until: Some(until) });
    work()
}

/// lopdf's question whether to keep an object. What is answered is used for
/// objects within others, which streams never are.
#[expect(clippy::unnecessary_wraps, reason = "lopdf asks for it in this form")]
pub(super) fn keep(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    take(weight(object), 0);
    let kept = if matches!(object, Object::Stream(_)) { Object::Null } else { object.clone() };
    Some((id, kept))
}

/// Checks the time.
pub(super) fn tick() {
    take(0, 0);
}

/// Counts what a stream was unpacked to.
pub(super) fn unpacked(bytes: usize) {
    take(0, bytes);
}

fn take(objects: usize, unpacked: usize) {
    let left = LEFT.get();
    let after = left.objects.checked_sub(objects).zip(left.unpacked.checked_sub(unpacked));
    match after {
        Some((objects, unpacked)) if left.until.is_some_and(|until| Instant::now() < until) => {
            LEFT.set(Left { objects, unpacked, ..left });
        }
        _ => resume_unwind(Box::new(Exhausted)),
    }
}

fn weight(object: &Object) -> usize {
    match object {
        Object::Array(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Object::Dictionary(members) => 1 + members.iter().map(|(_, value)| 1 + weight(value)).sum::<usize>(),
        Object::Stream(stream) => 1 + stream.dict.iter().map(|(_, value)| 1 + weight(value)).sum::<usize>(),
        _ => 1,
    }
}

/// Whether a name occurs in a file, in clear or with its characters escaped.
pub(super) fn names(data: &[u8], name: &[u8]) -> bool {
    data.iter().enumerate().filter(|(_, byte)| **byte == b'/').any(|(at, _)| {
        let mut rest = data.get(at + 1..).unwrap_or_default();
        let begins = name.iter().all(|expected| match unescape(rest) {
            Some((byte, after)) => {
                rest = after;
                byte == *expected
            }
            None => false,
        });
        begins && !unescape(rest).is_some_and(|(byte, _)| byte.is_ascii_alphanumeric())
    })
}

fn unescape(text: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'#', high, low, rest @ ..] = text
        && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
    {
        return Some((u8::try_from(high * 16 + low).ok()?, rest));
    }
    text.split_first().map(|(byte, rest)| (*byte, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_25_names_are_found_however_they_are_written() {
        for (data, found) in [
            (&b"<< /Encrypt 5 0 R >>"[..], true),
            (b"<</Encrypt<<>>", true),
            (b"/#45ncr#79pt", true),
            (b"/Encrypt", true),
            (b"/EncryptMetadata true", false),
            (b"/Encryp", false),
            (b"Encrypt", false),
            (b"/#4", false),
            (b"", false),
        ] {
            assert_eq!(names(data, b"Encrypt"), found, "{}", String::from_utf8_lossy(data));
        }
    }
}
