//! Protection of personal data: it is replaced in a request before the request goes to a model, and put back into the
//! answer.
//!
//! ```text
//! ChatRequest -> protect -> ProtectedRequest -> Upstreams      replaces data: options, texts, files
//!                AnswerRestorer <- answer <- ChunkStream       puts it back: restore
//! ```
//!
//! Upstreams accept only a [`ProtectedRequest`], and only [`ChatRequest::protect`] makes one.

mod files;
mod options;
mod restore;
mod texts;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Map, Value};

use super::attachments::Attachment;
use super::chat_error::ChatError;
use super::delivery::UpstreamDelivery;
use super::messages;
use super::request::ChatRequest;
use crate::config::PrivacyMode;
use crate::services::pii::{ExaminationError, Examiner};
use farebox_pii::{self as pii, Concealed, ExistingPlaceholders, PiiEngine, RecognitionModel, Selection};
pub(super) use options::PrivacyOptions;
pub(super) use restore::{AnswerRestorer, StreamRestorer};

/// Bytes of text up to which a prompt is examined on the thread that serves the connection.
const INLINE_LIMIT: usize = 8 << 10;

/// Protection of personal data on this server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Privacy {
    examiner: Examiner,
    /// Mode of requests that set none.
    default: PrivacyMode,
    /// Selection of requests that make none.
    all_entities: Arc<Selection>,
}

/// Numbers of findings that were replaced in a request, by the entity's name.
pub type EntityCounts = BTreeMap<&'static str, usize>;

/// Request that may go to a model: its personal data was treated as the request or the server demands.
#[derive(Debug, Clone)]
pub struct ProtectedRequest {
    request: ChatRequest,
    replaced: Option<EntityCounts>,
    restorer: Option<AnswerRestorer>,
    delivery: UpstreamDelivery,
}

/// Everything but the text is as the client sent it.
impl Deref for ProtectedRequest {
    type Target = ChatRequest;

    fn deref(&self) -> &ChatRequest {
        &self.request
    }
}

impl ProtectedRequest {
    /// Limits the length of the answer: [`ChatRequest::with_max_tokens`].
    #[must_use]
    pub fn with_max_tokens(self, tokens: u64) -> Self {
        Self { request: self.request.with_max_tokens(tokens), ..self }
    }

    /// Returns the numbers of findings that were replaced; `None` if the request was not examined.
    #[must_use]
    pub fn replaced(&self) -> Option<&EntityCounts> {
        self.replaced.as_ref()
    }

    /// Returns the state of its delivery to upstreams.
    #[must_use]
    pub fn delivery(&self) -> &UpstreamDelivery {
        &self.delivery
    }

    /// Returns a request of a unit test, which goes to no model.
    #[cfg(test)]
    pub(crate) fn unexamined(request: ChatRequest) -> Self {
        Self { request, replaced: None, restorer: None, delivery: UpstreamDelivery::default() }
    }

    /// Returns the restorer of the original values; `None` if there are none.
    pub(super) fn restorer(&self) -> Option<AnswerRestorer> {
        self.restorer.clone()
    }
}

impl Privacy {
    #[must_use]
    pub fn new(examiner: Examiner, default: PrivacyMode) -> Self {
        Self { examiner, default, all_entities: Arc::new(Selection::all(RecognitionModel::Fast)) }
    }

    /// Returns the protection of an account's requests: [`Examiner::for_account`].
    #[must_use]
    pub fn for_account(&self, account: &str) -> Self {
        Self { examiner: self.examiner.for_account(account), ..self.clone() }
    }
}

impl ChatRequest {
    /// Checks that all parts of the request can be examined, without examining them.
    ///
    /// # Errors
    /// [`ChatError`] of a part for which [`ChatRequest::protect`] would fail.
    pub fn check_examinable(&self, privacy: &Privacy) -> Result<(), ChatError> {
        if self.privacy_options().mode(privacy.default) == PrivacyMode::Off {
            return Ok(());
        }
        files::check(self.body(), privacy.examiner.files(), &self.privacy_options().files)
    }

    /// Returns true if [`ChatRequest::protect`] has files to examine, which takes seconds.
    #[must_use]
    pub fn has_files_to_examine(&self, privacy: &Privacy) -> bool {
        self.privacy_options().mode(privacy.default) != PrivacyMode::Off && files::has_any(self.body())
    }

    /// Returns true if personal data is looked for in it.
    #[must_use]
    pub fn is_examined(&self, privacy: &Privacy) -> bool {
        self.privacy_options().mode(privacy.default) != PrivacyMode::Off
    }

    /// Returns true if [`ChatRequest::protect`] is work that is done for those alone who could pay.
    #[must_use]
    pub fn is_costly_to_examine(&self, privacy: &Privacy) -> bool {
        self.is_examined(privacy)
            && (files::has_any(self.body()) || texts::total_bytes(self.body()) > INLINE_LIMIT)
    }

    /// Returns the images and PDFs that are to be examined and are given as URLs: [`ChatRequest::protect`] refuses them
    /// unless [`with_fetched_files`](Self::with_fetched_files) replaced the URLs.
    ///
    /// # Errors
    /// [`ChatError`] of a file that cannot be examined on this server.
    pub fn remote_files(&self, privacy: &Privacy) -> Result<Vec<Attachment>, ChatError> {
        if self.privacy_options().mode(privacy.default) == PrivacyMode::Off {
            return Ok(Vec::new());
        }
        files::remote(self.body(), privacy.examiner.files(), &self.privacy_options().files)
    }

    /// Replaces the URLs of [`remote_files`](Self::remote_files) by the files, in the same order.
    #[must_use]
    pub fn with_fetched_files(mut self, files: Vec<Vec<u8>>) -> Self {
        files::insert_fetched(self.body_mut(), files);
        self
    }

    /// Finds personal data and treats it as the request, or else the server, demands. Dropping the future ends the work
    /// at the next text.
    ///
    /// # Errors
    /// [`ChatError`] of a part that cannot be examined, or of personal data in mode `block`; its text has the numbers of
    /// findings and never quotes them.
    pub async fn protect(mut self, privacy: &Privacy) -> Result<ProtectedRequest, ChatError> {
        let mode = self.privacy_options().mode(privacy.default);
        if mode != PrivacyMode::Off {
            self.check_examinable(privacy)?;
        }
        messages::check_urls(self.body().get("messages"))?;
        if mode == PrivacyMode::Off {
            return Ok(ProtectedRequest {
                request: self,
                replaced: None,
                restorer: None,
                delivery: UpstreamDelivery::default(),
            });
        }
        let selection = self.privacy_options().selection.clone();
        let selection = selection.map_or_else(|| Arc::clone(&privacy.all_entities), Arc::new);
        let mut body = std::mem::take(self.body_mut());
        let extracted = files::extract(&mut body);
        let (mut body, mut concealed) = privacy.examine_texts(Arc::clone(&selection), body).await?;
        let is_blocked = |counts: &EntityCounts| mode == PrivacyMode::Block && !counts.is_empty();
        if !extracted.is_empty() && !is_blocked(&concealed.counts) {
            let options = self.privacy_options().files.clone();
            let work = privacy.examiner.examine_files(move |examiner, stop| {
                files::examine(extracted, examiner, &selection, &options, stop)
            });
            for (file, redacted) in work.await?? {
                redacted.finding_names().for_each(|name| *concealed.counts.entry(name).or_default() += 1);
                files::put_back(&mut body, &file, &redacted);
            }
        }
        if is_blocked(&concealed.counts) {
            return Err(blocked(&concealed.counts));
        }
        let is_json = requests_json(&body);
        let restorer = (mode == PrivacyMode::Placeholder && !concealed.originals.is_empty())
            .then(|| AnswerRestorer::new(Arc::new(concealed.originals), is_json));
        Ok(ProtectedRequest {
            request: self.with_body(body),
            replaced: Some(concealed.counts),
            restorer,
            delivery: UpstreamDelivery::default(),
        })
    }
}

type ExaminedTexts = (Map<String, Value>, Concealed);

impl Privacy {
    /// Examines the texts of a request: small ones on this thread, large ones on another.
    async fn examine_texts(
        &self,
        selection: Arc<Selection>,
        body: Map<String, Value>,
    ) -> Result<ExaminedTexts, ExaminationError> {
        let examined = if texts::total_bytes(&body) <= INLINE_LIMIT {
            examine(self.examiner.engine(), &selection, body, &AtomicBool::new(false))
        } else {
            let work = self
                .examiner
                .examine_texts(move |examiner, stop| examine(examiner.engine(), &selection, body, stop));
            work.await?
        };
        examined.ok_or(ExaminationError::Failed)
    }
}

/// Replaces the personal data in the texts of a request; `None` if it was stopped.
fn examine(
    engine: &PiiEngine,
    selection: &Selection,
    mut body: Map<String, Value>,
    stop: &AtomicBool,
) -> Option<ExaminedTexts> {
    let mut taken = ExistingPlaceholders::default();
    for value in body.values() {
        texts::for_each_string(value, &mut |text| taken.record(text));
    }
    let concealed = pii::conceal(engine, selection, &taken, &mut texts::request_texts(&mut body), stop)?;
    Some((body, concealed))
}

/// Returns true if the answer is to be JSON: original values are then put into JSON strings.
fn requests_json(body: &Map<String, Value>) -> bool {
    let kind = body.get("response_format").and_then(|format| format["type"].as_str());
    kind.is_some_and(|kind| ["json_object", "json_schema"].contains(&kind))
}

/// Returns the error of a request whose personal data must not be sent.
fn blocked(counts: &EntityCounts) -> ChatError {
    let found: Vec<String> = counts.iter().map(|(entity, count)| format!("{count} {entity}")).collect();
    ChatError::invalid(
        "messages",
        &format!(
            "holds personal data or secrets ({}), which must not be sent to a model in mode `block`; remove \
             it, or send `privacyMode: \"placeholder\"`",
            found.join(", ")
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::config::{ModelConfig, UpstreamKind};
    use crate::services::chat::{Catalog, RequestLimits};

    fn request(messages: &Value, more: &str) -> ChatRequest {
        let model = ModelConfig {
            id: "m".into(),
            context_length: 1 << 20,
            max_output_tokens: 9,
            ..ModelConfig::default()
        };
        let body = format!(r#"{{"model":"m","messages":{messages}{more}}}"#);
        ChatRequest::parse(&body, &Catalog::new(&[model]), RequestLimits::default()).expect("valid")
    }

    fn sent(request: &ProtectedRequest) -> Value {
        serde_json::from_slice(&request.upstream_body("m", UpstreamKind::Openai.profile())).expect("JSON")
    }

    #[tokio::test]
    async fn a_prompt_is_priced_as_it_is_sent() {
        let privacy = Privacy::new(Examiner::without_models(), PrivacyMode::Placeholder);
        let long = format!("https://quokka.example.com/{}", "path/".repeat(40));
        let messages = json!([{"role": "user", "content": long}]);
        let plain = request(&messages, "");
        let protected = plain.clone().protect(&privacy).await.expect("protected");
        assert_eq!(sent(&protected)["messages"][0]["content"], "[URL_1]");
        assert!(protected.prompt().estimated_tokens() < plain.prompt().estimated_tokens());
        let skipped =
            request(&messages, r#","skip_pii_redaction":true"#).protect(&privacy).await.expect("as it is");
        assert_eq!(skipped.prompt(), plain.prompt());
        assert!(skipped.replaced().is_none() && skipped.restorer().is_none());
        assert!(!format!("{protected:?}{privacy:?}").contains("quokka"));
    }

    #[tokio::test]
    async fn large_and_small_prompts_are_treated_alike() {
        let privacy = Privacy::new(Examiner::without_models(), PrivacyMode::Redact);
        let small = json!([{"role": "user", "content": "jane@example.com"}]);
        let large = json!([{"role": "user", "content": "jane@example.com"}, {"role": "user", "content": "x ".repeat(INLINE_LIMIT)}]);
        for messages in [small, large] {
            let protected = request(&messages, "").protect(&privacy).await.expect("protected");
            assert_eq!(sent(&protected)["messages"][0]["content"], "[EMAIL_ADDRESS_1]");
            assert_eq!(protected.replaced(), Some(&EntityCounts::from([("EMAIL_ADDRESS", 1)])));
            assert!(protected.restorer().is_none(), "redacted values are not put back");
        }
    }

    #[tokio::test]
    async fn a_client_that_disconnects_ends_its_examination() {
        let privacy = Privacy::new(Examiner::without_models(), PrivacyMode::Placeholder);
        let text = "Call 212-555-0123, SSN 536-22-8765. ".repeat(100);
        let messages = Value::from(vec![json!({"role": "user", "content": text}); 1_000]);
        let request = request(&messages, "");
        let cancelled = tokio::time::timeout(Duration::from_millis(5), request.protect(&privacy)).await;
        assert!(cancelled.is_err(), "it takes longer than that");
        let freed = tokio::time::timeout(Duration::from_secs(2), privacy.examiner.idle()).await;
        assert!(freed.is_ok(), "the permit is free as soon as a text is read");
    }
}
