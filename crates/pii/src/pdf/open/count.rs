//! Upper bounds of the objects in a file, counted before lopdf reads it.

/// Most bytes scanned for one file, whose objects may be within each other.
const MAX_SCANNED: usize = 64 << 20;

/// Most tokens of any one object of a file, from each position where lopdf may begin to read. `None` if counting
/// takes too long.
pub(super) fn max_object_tokens(data: &[u8]) -> Option<usize> {
    let (mut most, mut scanned) = (0, 0);
    for (at, _) in data.windows(3).enumerate().filter(|(_, word)| [&b"obj"[..], b"ler"].contains(word)) {
        let before = data.get(..at).and_then(<[u8]>::last).copied().unwrap_or(b' ');
        // A number, or `trailer`.
        if before.is_ascii_digit() || before.is_ascii_whitespace() || before == 0 || before == b'i' {
            let (tokens, length) = object(data.get(at + 3..).unwrap_or_default());
            most = most.max(tokens);
            scanned += length;
        }
        if scanned > MAX_SCANNED {
            return None;
        }
    }
    Some(most)
}

/// Number of tokens that can be read as objects at the start of a text, and their length in bytes.
fn object(text: &[u8]) -> (usize, usize) {
    let (mut at, mut count) = (0, 0);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        at += match rest[0] {
            b'%' => rest.iter().position(|byte| b"\r\n".contains(byte)).unwrap_or(rest.len()),
            b'(' => string(rest),
            b'/' => 1 + word(&rest[1..]),
            b'<' if rest.get(1) != Some(&b'<') => {
                rest.iter().position(|byte| *byte == b'>').map_or(rest.len(), |end| end + 1)
            }
            b'<' | b'>' | b'[' | b']' => 1,
            byte if byte.is_ascii_whitespace() || byte == 0 => {
                at += 1;
                continue;
            }
            b'0'..=b'9' | b'+' | b'-' | b'.' | b't' | b'f' | b'n' | b'R' => {
                let length = word(rest);
                count += max_tokens(&rest[..length]);
                at += length;
                continue;
            }
            // No object begins with another byte.
            _ => break,
        };
        count += 1;
    }
    (count, at)
}

/// Length of a string in bytes, with nested parentheses.
fn string(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth <= 1 => return at + 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    text.len()
}

fn word(text: &[u8]) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0 || b"()<>[]{}/%".contains(byte);
    text.iter().position(ends).unwrap_or(text.len())
}

/// Most objects that a text can be read as: the number of positions where one may begin.
pub(super) fn max_tokens(text: &[u8]) -> usize {
    let (mut count, mut last, mut run, mut dots) = (0, b' ', 0, 0);
    for byte in text {
        let kind = match byte {
            b'0'..=b'9' | b'+' | b'-' | b'.' => b'0',
            b'(' | b')' | b'<' | b'>' | b'[' | b']' | b'{' | b'}' | b'/' | b'%' => b'(',
            _ if byte.is_ascii_whitespace() || *byte == 0 => b' ',
            _ => b'a',
        };
        if kind != last {
            (run, dots) = (0, 0);
        }
        run += 1;
        dots += usize::from(*byte == b'.');
        count += usize::from(match kind {
            b' ' => false,
            b'(' => true,
            b'0' => run == 1 || matches!(byte, b'+' | b'-') || (*byte == b'.' && dots > 1),
            // The shortest words that are objects have four letters.
            _ => run % 4 == 1,
        });
        last = kind;
    }
    count
}

/// Number of cross-reference tables with a predecessor: `/Prev` and a number. In outlines it is a reference.
pub(super) fn xref_tables(data: &[u8]) -> usize {
    let after = |at: usize| data.get(at..).and_then(|rest| after_name(rest, b"Prev"));
    let names = data.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    names.filter_map(|(at, _)| after(at + 1)).filter(|rest| !is_reference(rest)).count()
}

/// True if a text begins with two numbers and an `R`.
fn is_reference(text: &[u8]) -> bool {
    let text = text.get(..text.len().min(32)).unwrap_or_default();
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut number = || words.next().is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    number() && number() && words.next().is_some_and(|word| word.starts_with(b"R"))
}

/// Number of occurrences of a name in a file, with its characters escaped or not.
pub(super) fn name_occurrences(data: &[u8], name: &[u8]) -> usize {
    let after = |at: usize| data.get(at..).and_then(|rest| after_name(rest, name));
    data.iter().enumerate().filter(|(at, byte)| **byte == b'/' && after(at + 1).is_some()).count()
}

/// Bytes of all objects of a file, each from where it may begin to the next end of one.
pub(super) fn object_bytes(data: &[u8]) -> usize {
    let (mut sum, mut end) = (0_usize, data.len());
    for at in (0..data.len().saturating_sub(2)).rev() {
        if data[at..].starts_with(b"obj") {
            if data[..at].ends_with(b"end") {
                end = at;
            } else {
                sum = sum.saturating_add(end.saturating_sub(at));
            }
        }
    }
    sum
}

/// Text behind a name, if the text begins with it.
fn after_name<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    for expected in name {
        let (byte, after) = unescape(rest)?;
        rest = after;
        if byte != *expected {
            return None;
        }
    }
    let ends = !unescape(rest).is_some_and(|(byte, _)| byte.is_ascii_alphanumeric());
    ends.then_some(rest)
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
            assert_eq!(name_occurrences(data, b"Encrypt") > 0, found, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn attack_25_whatever_may_become_an_object_is_counted() {
        for (text, least) in [
            ("", 0),
            ("0 0 0", 3),
            ("[][][]", 3),
            ("1.2.3.4", 3),
            ("1-2+3", 3),
            ("0q0q", 4),
            ("/A/B(x)<41>", 4),
            ("truetruenull", 3),
            ("<</A 1>>", 3),
        ] {
            assert!(max_tokens(text.as_bytes()) >= least, "{text}");
        }
        assert_eq!(max_tokens(b"123.45 -6.7 l\n"), 3);
    }

    #[test]
    fn objects_within_each_other_are_counted_each() {
        assert_eq!(object_bytes(b"1 0 obj 5 endobj 2 0 obj 6 endobj"), 2 * 9);
        assert_eq!(object_bytes(b"1 0 obj 2 0 obj endobj"), 15 + 7);
        assert_eq!(object_bytes(b"1 0 obj"), 3);
        assert_eq!(object_bytes(b"ob"), 0);
    }

    #[test]
    fn attack_25_the_largest_object_is_found() {
        let noise: Vec<u8> =
            (0..100_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let noise =
            [b"1 0 obj <</Length 400000>> stream\n", noise.as_slice(), b"\nendstream endobj"].concat();
        assert!(
            max_object_tokens(&noise).is_some_and(|most| most < 1_000),
            "{:?}",
            max_object_tokens(&noise)
        );
        for (text, expected) in [
            ("1 0 obj [0 0 0] endobj 2 0 obj [0] endobj", 5),
            ("1 0 obj[(\\)(])) 0%]\n0]endobj", 6),
            ("trailer [/A 1]", 4),
            ("endobj 0 0 0", 0),
            ("1 0 obj [/A 1] stream 0 0 0 0 0 0 0 0", 4),
        ] {
            assert_eq!(max_object_tokens(text.as_bytes()), Some(expected), "{text}");
        }
        assert!(max_object_tokens(&b"1 0 obj [ ".repeat(100_000)).is_some());
        assert_eq!(max_object_tokens(&b"1 0 obj 0 ".repeat(100_000)), Some(3));
        assert_eq!(max_object_tokens(&b"1 0 obj (".repeat(100_000)), None);
    }

    #[test]
    fn attack_25_tables_are_told_from_outlines() {
        for (data, expected) in [
            (&b"/Prev 123 /Root 1 0 R"[..], 1),
            (b"/Prev 12 0 R", 0),
            (b"/Prev\n12 0\tR>>", 0),
            (b"/Pr#65v%x\n123/Prev 5>>", 2),
            (b"/Previous 5", 0),
        ] {
            assert_eq!(xref_tables(data), expected, "{}", String::from_utf8_lossy(data));
        }
    }
}
