//! Streams of packed objects (PDF 1.7, 7.5.7), each object with an end that lopdf cannot read beyond.
//!
//! lopdf reads each from where it begins, however far it goes, so a short file can have one long object
//! read a hundred thousand times. Here each is given an end before lopdf sees it.

use lopdf::{Object, Stream};

use super::budget;

/// Most objects of one stream. Real ones have some hundreds.
const MAX_PACKED: usize = 20_000;
/// Bytes that end whatever an object leaves open: a comment, strings as deep as lopdf follows them, a
/// hexadecimal string; and then a byte that no list or dictionary can hold.
const TERMINATOR: [u8; 106] = terminator();

const fn terminator() -> [u8; 106] {
    let mut terminator = [b')'; 106];
    terminator[0] = b'\n';
    terminator[103] = b'>';
    terminator[104] = b'}';
    terminator[105] = b' ';
    terminator
}

/// Unpacks a stream of objects and rewrites it with a terminator behind each of them.
pub(super) fn delimit_objects(stream: &mut Stream) {
    let content = budget::stream_content(stream);
    budget::check_tokens(&content);
    let first = stream.dict.get(b"First").and_then(Object::as_i64).ok();
    let first = first.and_then(|first| usize::try_from(first).ok()).unwrap_or(usize::MAX);
    let (index, objects) = content.split_at_checked(first).unwrap_or_default();
    let mut offsets = object_offsets(index);
    // Of several objects at one offset one is enough.
    offsets.sort_unstable_by_key(|(_, start)| *start);
    offsets.dedup_by_key(|(_, start)| *start);
    let ends = offsets.iter().skip(1).map(|(_, start)| *start).chain([objects.len()]);
    let (mut index, mut delimited) = (Vec::new(), Vec::with_capacity(objects.len()));
    for ((id, start), end) in offsets.iter().zip(ends) {
        if let Some(object) = objects.get(*start..end) {
            index.extend_from_slice(format!("{id} {} ", delimited.len()).as_bytes());
            delimited.extend_from_slice(object);
            delimited.extend_from_slice(&TERMINATOR);
        }
    }
    stream.dict.set("First", i64::try_from(index.len()).unwrap_or_default());
    stream.set_plain_content([index, delimited].concat());
}

/// Numbers of the objects in a stream and the offsets at which they begin.
fn object_offsets(index: &[u8]) -> Vec<(u32, usize)> {
    let text = String::from_utf8_lossy(index);
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u32>);
    let mut offsets = Vec::new();
    while let (Some(Ok(id)), Some(Ok(start))) = (numbers.next(), numbers.next()) {
        if offsets.len() == MAX_PACKED {
            budget::exhaust();
        }
        offsets.push((id, usize::try_from(start).unwrap_or(usize::MAX)));
    }
    offsets
}

#[cfg(test)]
mod tests {
    use lopdf::{Dictionary, ObjectStream};

    use super::*;

    fn objects(index: &str, objects: &str) -> Vec<(u32, String)> {
        budget::with_budget(
            0,
            || false,
            || {
                let mut dict = Dictionary::new();
                dict.set("First", i64::try_from(index.len()).expect("short"));
                dict.set("N", 3);
                let mut stream = Stream::new(dict, format!("{index}{objects}").into_bytes());
                delimit_objects(&mut stream);
                let read = ObjectStream::new_with_limit(&stream, None).expect("readable");
                read.objects.into_iter().map(|((id, _), object)| (id, format!("{object:?}"))).collect()
            },
        )
    }

    #[test]
    fn attack_25_packed_objects_end_where_the_next_begins() {
        let read = |index, text| objects(index, text).into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(objects("7 0 8 6 9 10 ", "[1 2] (a) << /A 1 >>").len(), 3);
        assert_eq!(read("8 6 7 0 ", "[1 2] (a)"), [7, 8]);
        assert_eq!(read("7 0 8 0 9 0 ", "[1 2]").len(), 1);
        // Lists that hold each other do not.
        assert_eq!(read("7 0 8 1 9 2 ", "[[[1]]]"), [9]);
        assert_eq!(read("7 0 8 4 ", "<</A [5] >>"), [8]);
        // An open string ends at its own end.
        let strings = objects("7 0 8 1 9 2 ", "(((x)))");
        assert!(strings.iter().all(|(_, object)| object.len() < 300), "{strings:?}");
        assert!(read("7 99 8 x ", "[1]").is_empty());
        assert!(read("", "").is_empty());
    }
}
