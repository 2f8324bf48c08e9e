//! A reader of server-sent events that follows the standard to the letter: CR, LF and CRLF all end
//! a line, so whatever could be smuggled into a browser shows here too.

use reqwest::Response;
use serde_json::Value;

/// An event of a metered stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Chunk(Value),
    NeedVoucher(Value),
    Receipt(Value),
    Error(Value),
    Done,
    Comment,
    /// None of these: nothing that the server should say.
    Other(String),
}

/// A running answer.
#[derive(Debug)]
pub struct Stream {
    pub response: Response,
    bytes: Vec<u8>,
}

impl Stream {
    pub fn new(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, bytes: Vec::new() }
    }

    /// The next event; `None` at the end of the connection, however it ends.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(event) = self.take() {
                return Some(Frame::read(&event));
            }
            let more = self.response.chunk().await.ok().flatten()?;
            self.bytes.extend_from_slice(&more);
        }
    }

    /// The next text of the answer, past everything else.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match self.next().await? {
                Frame::Chunk(chunk) => {
                    if let Some(text) = text(&chunk) {
                        return Some(text);
                    }
                }
                Frame::Done => return None,
                _ => {}
            }
        }
    }

    /// Lines up to an empty one.
    fn take(&mut self) -> Option<Vec<String>> {
        let (mut lines, mut start, mut at) = (Vec::new(), 0, 0);
        while at < self.bytes.len() {
            let ending = match self.bytes[at] {
                b'\r' if self.bytes.get(at + 1) == Some(&b'\n') => 2,
                b'\r' | b'\n' => 1,
                _ => {
                    at += 1;
                    continue;
                }
            };
            let line = String::from_utf8(self.bytes[start..at].to_vec()).expect("UTF-8");
            at += ending;
            start = at;
            if line.is_empty() {
                self.bytes.drain(..at);
                return Some(lines);
            }
            lines.push(line);
        }
        None
    }
}

impl Frame {
    fn read(lines: &[String]) -> Self {
        let (mut name, mut data) = (String::new(), Vec::new());
        for line in lines {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("event", value) => value.clone_into(&mut name),
                ("data", value) => data.push(value),
                ("" | ":", _) => {}
                _ => return Self::Other(lines.join("\n")),
            }
        }
        let data = data.join("\n");
        if name.is_empty() && data.is_empty() {
            return Self::Comment;
        }
        if name.is_empty() && data == "[DONE]" {
            return Self::Done;
        }
        let Ok(value) = serde_json::from_str::<Value>(&data) else {
            return Self::Other(lines.join("\n"));
        };
        match name.as_str() {
            "payment-need-voucher" => Self::NeedVoucher(value),
            "payment-receipt" => Self::Receipt(value),
            "" if value.get("error").is_some() => Self::Error(value),
            "" if value["object"] == "chat.completion.chunk" => Self::Chunk(value),
            _ => Self::Other(lines.join("\n")),
        }
    }
}

/// Text of a chunk, if it has any: that is what is paid for.
pub fn text(chunk: &Value) -> Option<String> {
    let text = chunk["choices"][0]["delta"]["content"].as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}
