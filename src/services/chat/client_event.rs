//! Answers and events as clients get them, and the usage and the cost that they end with.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::usage::Usage;
use crate::money::Money;

/// Non-streaming answer, as the client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// JSON of the body, but for the usage and the end.
    pub(super) body: Vec<u8>,
    pub usage: Usage,
}

impl Completion {
    /// Returns the JSON of the body, with what it cost.
    #[must_use]
    pub fn into_json(self, cost: Option<Money>) -> Bytes {
        let mut json = self.body;
        json.extend_from_slice(b",\"usage\":");
        json.extend_from_slice(self.usage.to_json(cost).to_string().as_bytes());
        json.push(b'}');
        json.into()
    }
}

/// Name of an answer, which every chunk has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerHead {
    /// Id of the answer, `chatcmpl-…`.
    pub id: String,
    /// Time of the request, in seconds since 1970.
    pub created: i64,
}

impl AnswerHead {
    /// Returns the last chunk of a stream whose client asked for usage.
    #[must_use]
    pub fn usage_chunk(&self, model: &str, usage: Usage, cost: Option<Money>) -> Bytes {
        let event = ClientEvent {
            id: &self.id,
            object: CHUNK,
            created: self.created,
            model,
            system_fingerprint: None,
            choices: Vec::new(),
            passed: BTreeMap::new(),
            usage: Some(usage.to_json(cost)),
        };
        to_json(&event, 0).into()
    }
}

/// Kind of a stream's events.
pub(super) const CHUNK: &str = "chat.completion.chunk";

/// Event or answer as clients get it.
#[derive(Serialize)]
pub(super) struct ClientEvent<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created: i64,
    pub(super) model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system_fingerprint: Option<&'a str>,
    pub(super) choices: Vec<ClientChoice<'a>>,
    #[serde(flatten)]
    pub(super) passed: BTreeMap<&'static str, &'a Value>,
    /// Usage; `Some(Null)` is written as `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Value>,
}

#[derive(Serialize)]
pub(super) struct ClientChoice<'a> {
    pub(super) index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delta: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs: Option<&'a Value>,
    pub(super) finish_reason: Option<&'a str>,
}

/// Serialises an event; `length` is about that of the upstream's.
pub(super) fn to_json(client_event: &ClientEvent<'_>, length: usize) -> Vec<u8> {
    let mut json = Vec::with_capacity(length + 128);
    serde_json::to_writer(&mut json, client_event).expect("plain data is valid JSON");
    json
}
