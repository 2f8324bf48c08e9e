//! Parser of server-sent events (WHATWG HTML, "Server-sent events").
//!
//! It takes bytes as the network delivers them and returns complete events. Its memory is
//! bounded by [`MAX_EVENT`], whatever an upstream sends.

/// Size of the largest event, and length of the longest line, in bytes.
pub const MAX_EVENT: usize = 1 << 20;
/// Capacity up to which an empty buffer is kept, in bytes.
const MAX_KEPT_CAPACITY: usize = 16 << 10;

/// Event with data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Contents of the `data` lines, joined by line feeds.
    pub data: Vec<u8>,
    /// True if its type is `error`.
    pub is_error: bool,
}

/// Error of an event or a line that is larger than [`MAX_EVENT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {MAX_EVENT} bytes")]
pub struct TooLarge;

/// Parser of one stream.
#[derive(Debug, Default)]
pub struct Parser {
    /// Beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// True if the last byte was a carriage return, after which a line feed may follow.
    after_cr: bool,
    /// True after the first line, which alone may begin with a byte order mark.
    started: bool,
    data: Option<Vec<u8>>,
    is_error: bool,
}

impl Parser {
    /// Parses the next bytes and appends the events that they complete to `events`.
    ///
    /// # Errors
    /// [`TooLarge`]; the parser cannot be used after it.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        if self.after_cr
            && let Some((&first, rest)) = bytes.split_first()
        {
            self.after_cr = false;
            if first == b'\n' {
                bytes = rest;
            }
        }
        while let Some(end) = bytes.iter().position(|&b| b == b'\n' || b == b'\r') {
            let (line, ending) = (&bytes[..end], bytes[end]);
            bytes = &bytes[end + 1..];
            if ending == b'\r' {
                match bytes.split_first() {
                    Some((b'\n', rest)) => bytes = rest,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.end_line(line, events)?;
        }
        if self.line.len() + bytes.len() > MAX_EVENT {
            return Err(TooLarge);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the stream: returns the event that an empty line would have completed.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let mut events = Vec::new();
        // Two line ends cannot make an event too large.
        let _ = self.push(b"\n", &mut events).and_then(|()| self.push(b"\n", &mut events));
        events.pop()
    }

    fn end_line(&mut self, tail: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        if self.line.is_empty() {
            return self.line(tail, events);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(tail);
        let result = self.line(&line, events);
        if line.capacity() <= MAX_KEPT_CAPACITY {
            line.clear();
            self.line = line;
        }
        result
    }

    fn line(&mut self, mut line: &[u8], events: &mut Vec<SseEvent>) -> Result<(), TooLarge> {
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            let is_error = std::mem::take(&mut self.is_error);
            if let Some(data) = self.data.take() {
                events.push(SseEvent { data, is_error });
            }
            return Ok(());
        }
        let (field, value) = match line.iter().position(|&b| b == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => self.add(value),
            b"event" => {
                self.is_error = value == b"error";
                Ok(())
            }
            // Comments, `id`, `retry` and unknown fields.
            _ => Ok(()),
        }
    }

    fn add(&mut self, value: &[u8]) -> Result<(), TooLarge> {
        match &mut self.data {
            None if value.len() > MAX_EVENT => Err(TooLarge),
            None => {
                self.data = Some(value.to_vec());
                Ok(())
            }
            Some(data) if data.len() + value.len() >= MAX_EVENT => Err(TooLarge),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<SseEvent>, TooLarge> {
        let (mut parser, mut events) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.push(piece, &mut events)?;
        }
        events.extend(parser.finish());
        Ok(events)
    }

    fn data(text: &str) -> Vec<String> {
        let events = parse([text.as_bytes()]).expect("small");
        events.into_iter().map(|event| String::from_utf8(event.data).expect("UTF-8")).collect()
    }

    #[test]
    fn events_in_all_forms_are_read() {
        for (text, expected) in [
            ("data: a\n\ndata: b\n\n", vec!["a", "b"]),
            ("data: a\r\n\r\ndata: b\r\n\r\n", vec!["a", "b"]),
            ("data: a\r\rdata: b\r\r", vec!["a", "b"]),
            ("\u{feff}data: a\n\n", vec!["a"]),
            ("data:a\n\n", vec!["a"]),
            ("data:  a\n\n", vec![" a"]),
            ("data\n\n", vec![""]),
            ("data: a\ndata: b\n\n", vec!["a\nb"]),
            (": ping\n\n: ping\n\ndata: a\n\n", vec!["a"]),
            ("id: 1\nretry: 5\nevent: x\ndata: a\n\n", vec!["a"]),
            ("\n\n\n", vec![]),
            ("data: unfinished", vec!["unfinished"]),
            ("datax: a\n data: b\n\n", vec![]),
        ] {
            assert_eq!(data(text), expected, "{text:?}");
        }
    }

    #[test]
    fn error_events_are_marked() {
        let events = parse([&b"event: error\ndata: {}\n\ndata: {}\n\n"[..]]).expect("small");
        assert_eq!(events.iter().map(|event| event.is_error).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn attack_21_what_is_remembered_is_bounded() {
        let block = vec![b'x'; 64 << 10];
        let endless_line = std::iter::repeat_n(block.as_slice(), 17);
        assert_eq!(parse(endless_line), Err(TooLarge));
        let line = [&b"data: "[..], &block[..], &b"\n"[..]].concat();
        let endless_event = std::iter::repeat_n(line.as_slice(), 17);
        assert_eq!(parse(endless_event), Err(TooLarge));
        let comments = [&b": "[..], &block[..], &b"\n"[..]].concat();
        assert_eq!(parse(std::iter::repeat_n(comments.as_slice(), 64)), Ok(Vec::new()));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            lines in proptest::collection::vec(
                ("(data: ?|event: |: |id|)[a-zé\u{1f600} :]{0,12}", "(\n|\r\n|\r)"), 0..24),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: String = lines.iter().flat_map(|(line, end)| [line.as_str(), end]).collect();
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut pieces, mut from) = (Vec::new(), 0);
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(parse(pieces), parse([bytes]));
        }

        #[test]
        fn any_bytes_are_read_without_harm(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..16)) {
            let whole = pieces.concat();
            let split: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(parse(split), parse([whole.as_slice()]));
        }
    }
}
