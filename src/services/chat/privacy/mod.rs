//! Personal data stays here: out of a request before it goes to a model, and back into the answer.
//!
//! ```text
//! ChatRequest -> protect -> Outgoing -> Upstreams        data out: options, texts, files
//!                Restoring <- answer <- ChunkStream       originals in: restore
//! ```
//!
//! Only an [`Outgoing`] can be sent, and only [`ChatRequest::protect`] makes one, so no request gets round it.

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
use super::refusal::ChatError;
use super::request::ChatRequest;
use crate::config::PrivacyMode;
use crate::services::pii::{ExaminationError, Examiner};
use farebox_pii::{self as pii, Concealed, ExistingPlaceholders, PiiEngine, RecognitionModel, Selection};
pub(super) use options::PrivacyOptions;
pub(super) use restore::{Restorer, Restoring};

/// A prompt of more bytes of text than this is examined away from the threads that serve connections.
const LARGE: usize = 8 << 10;

/// How personal data is found, and what happens to it unless a request says so. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Privacy {
    examiner: Examiner,
    default: PrivacyMode,
    everything: Arc<Selection>,
}

/// What was replaced in a request, by entity's name.
pub type Counts = BTreeMap<&'static str, usize>;

/// A request as it may go to a model.
#[derive(Debug, Clone)]
pub struct Outgoing {
    request: ChatRequest,
    /// What was replaced; `None` when nobody looked.
    replaced: Option<Counts>,
    restoring: Option<Restoring>,
}

/// All that matters beside the text is as it was asked for.
impl Deref for Outgoing {
    type Target = ChatRequest;

    fn deref(&self) -> &ChatRequest {
        &self.request
    }
}

impl Outgoing {
    /// The same request for a shorter answer: [`ChatRequest::shortened`].
    #[must_use]
    pub fn shortened(self, tokens: u64) -> Self {
        Self { request: self.request.shortened(tokens), ..self }
    }

    /// What was replaced; `None` when nothing was looked for.
    #[must_use]
    pub fn replaced(&self) -> Option<&Counts> {
        self.replaced.as_ref()
    }

    /// What puts the originals back; `None` when there are none.
    pub(super) fn restoring(&self) -> Option<Restoring> {
        self.restoring.clone()
    }
}

impl Privacy {
    #[must_use]
    pub fn new(examiner: Examiner, default: PrivacyMode) -> Self {
        Self { examiner, default, everything: Arc::new(Selection::all(RecognitionModel::Fast)) }
    }
}

impl ChatRequest {
    /// Refuses what [`ChatRequest::protect`] would refuse whatever the text is; costs nothing.
    ///
    /// # Errors
    /// A part that cannot be examined.
    pub fn check_readable(&self, privacy: &Privacy) -> Result<(), ChatError> {
        if self.options().mode(privacy.default) == PrivacyMode::Off {
            return Ok(());
        }
        files::check(self.body(), privacy.examiner.files(), &self.options().files)
    }

    /// Whether [`ChatRequest::protect`] has files to examine, which takes seconds.
    #[must_use]
    pub fn has_files_to_examine(&self, privacy: &Privacy) -> bool {
        self.options().mode(privacy.default) != PrivacyMode::Off && files::has_any(self.body())
    }

    /// Images and PDFs that are to be examined and are somewhere else: [`ChatRequest::protect`] refuses them unless they
    /// are brought first.
    ///
    /// # Errors
    /// When they could not be examined if they were here.
    pub fn elsewhere(&self, privacy: &Privacy) -> Result<Vec<Attachment>, ChatError> {
        if self.options().mode(privacy.default) == PrivacyMode::Off {
            return Ok(Vec::new());
        }
        files::elsewhere(self.body(), privacy.examiner.files(), &self.options().files)
    }

    /// The same request with the files that are [`elsewhere`](Self::elsewhere), in their order.
    #[must_use]
    pub fn brought(mut self, files: Vec<Vec<u8>>) -> Self {
        files::bring(self.body_mut(), files);
        self
    }

    /// Does with personal data what the request, or the server, wants done with it. Dropping the future ends the work
    /// at the next text.
    ///
    /// # Errors
    /// A part that cannot be examined, and personal data where it is not to be; the text counts, and never quotes.
    pub async fn protect(mut self, privacy: &Privacy) -> Result<Outgoing, ChatError> {
        let mode = self.options().mode(privacy.default);
        if mode == PrivacyMode::Off {
            return Ok(Outgoing { request: self, replaced: None, restoring: None });
        }
        self.check_readable(privacy)?;
        let asked = self.options().selection.clone();
        let selection = asked.map_or_else(|| Arc::clone(&privacy.everything), Arc::new);
        let mut body = std::mem::take(self.body_mut());
        let held = files::take(&mut body);
        let (mut body, mut concealed) = privacy.examine_texts(Arc::clone(&selection), body).await?;
        let refused = |counts: &Counts| mode == PrivacyMode::Block && !counts.is_empty();
        if !held.is_empty() && !refused(&concealed.counts) {
            let options = self.options().files.clone();
            let work = privacy
                .examiner
                .request(move |examiner, stop| files::examine(held, examiner, &selection, &options, stop));
            for (held, examined) in work.await?? {
                examined.found().for_each(|name| *concealed.counts.entry(name).or_default() += 1);
                files::put_back(&mut body, &held, &examined);
            }
        }
        if refused(&concealed.counts) {
            return Err(blocked(&concealed.counts));
        }
        let json_content = asks_for_json(&body);
        let restoring = (mode == PrivacyMode::Placeholder && !concealed.originals.is_empty())
            .then(|| Restoring::new(Arc::new(concealed.originals), json_content));
        Ok(Outgoing { request: self.with_body(body), replaced: Some(concealed.counts), restoring })
    }
}

type ExaminedTexts = (Map<String, Value>, Concealed);

impl Privacy {
    /// Small prompts are examined on the spot.
    async fn examine_texts(
        &self,
        selection: Arc<Selection>,
        body: Map<String, Value>,
    ) -> Result<ExaminedTexts, ExaminationError> {
        let examined = if texts::length(&body) <= LARGE {
            examine(self.examiner.engine(), &selection, body, &AtomicBool::new(false))
        } else {
            let work =
                self.examiner.texts(move |examiner, stop| examine(examiner.engine(), &selection, body, stop));
            work.await?
        };
        examined.ok_or(ExaminationError::Broken)
    }
}

fn examine(
    engine: &PiiEngine,
    selection: &Selection,
    mut body: Map<String, Value>,
    stop: &AtomicBool,
) -> Option<ExaminedTexts> {
    let mut taken = ExistingPlaceholders::default();
    for value in body.values() {
        texts::each(value, &mut |text| taken.record(text));
    }
    let concealed = pii::conceal(engine, selection, &taken, &mut texts::of_request(&mut body), stop)?;
    Some((body, concealed))
}

/// Whether the answer is to be JSON: what is put back is then a part of a JSON string.
fn asks_for_json(body: &Map<String, Value>) -> bool {
    let kind = body.get("response_format").and_then(|format| format["type"].as_str());
    kind.is_some_and(|kind| ["json_object", "json_schema"].contains(&kind))
}

fn blocked(counts: &Counts) -> ChatError {
    let found: Vec<String> = counts.iter().map(|(entity, count)| format!("{count} {entity}")).collect();
    ChatError::refused(
        "messages",
        &format!(
            "holds personal data or secrets ({}), which this request or this server does not send to a model; remove \
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
    use crate::config::ModelConfig;
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

    fn sent(request: &Outgoing) -> Value {
        serde_json::from_slice(&request.upstream_body("m")).expect("JSON")
    }

    #[tokio::test]
    async fn a_prompt_is_priced_as_it_is_sent() {
        let privacy = Privacy::new(Examiner::bare(), PrivacyMode::Placeholder);
        let long = format!("https://quokka.example.com/{}", "path/".repeat(40));
        let messages = json!([{"role": "user", "content": long}]);
        let plain = request(&messages, "");
        let outgoing = plain.clone().protect(&privacy).await.expect("protected");
        assert_eq!(sent(&outgoing)["messages"][0]["content"], "[URL_1]");
        assert!(outgoing.prompt().likely() < plain.prompt().likely());
        let skipped =
            request(&messages, r#","skip_pii_redaction":true"#).protect(&privacy).await.expect("as it is");
        assert_eq!(skipped.prompt(), plain.prompt());
        assert!(skipped.replaced().is_none() && skipped.restoring().is_none());
        assert!(!format!("{outgoing:?}{privacy:?}").contains("quokka"));
    }

    #[tokio::test]
    async fn large_and_small_prompts_are_treated_alike() {
        let privacy = Privacy::new(Examiner::bare(), PrivacyMode::Redact);
        let small = json!([{"role": "user", "content": "jane@example.com"}]);
        let large = json!([{"role": "user", "content": "jane@example.com"}, {"role": "user", "content": "x ".repeat(LARGE)}]);
        for messages in [small, large] {
            let outgoing = request(&messages, "").protect(&privacy).await.expect("protected");
            assert_eq!(sent(&outgoing)["messages"][0]["content"], "[EMAIL_ADDRESS_1]");
            assert_eq!(outgoing.replaced(), Some(&Counts::from([("EMAIL_ADDRESS", 1)])));
            assert!(outgoing.restoring().is_none(), "redacted stays redacted");
        }
    }

    #[tokio::test]
    async fn a_client_that_goes_away_ends_the_work_for_it() {
        let privacy = Privacy::new(Examiner::bare(), PrivacyMode::Placeholder);
        let text = "Call 212-555-0123, SSN 536-22-8765. ".repeat(100);
        let messages = Value::from(vec![json!({"role": "user", "content": text}); 1_000]);
        let request = request(&messages, "");
        let left = tokio::time::timeout(Duration::from_millis(5), request.protect(&privacy)).await;
        assert!(left.is_err(), "it takes longer than that");
        let freed = tokio::time::timeout(Duration::from_secs(2), privacy.examiner.idle()).await;
        assert!(freed.is_ok(), "the permit is free as soon as a text is read");
    }
}
