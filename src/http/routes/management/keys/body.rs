//! Bodies of requests about keys, and their checks.

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::config::KeysConfig;
use crate::http::error::HttpError;
use crate::http::params::Number;
use crate::id::Timestamp;
use crate::keys::{KeyExpiry, KeyLimits};

/// Longest name of a key, in characters.
const MAX_NAME_CHARS: usize = 100;
/// Models that a key's limits name at the most.
const MAX_MODELS: usize = 100;
/// Longest id of a model, in bytes.
const MAX_MODEL_ID: usize = 200;

/// A new key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyBody {
    #[schema(example = "laptop")]
    pub(super) name: Option<String>,
    pub(super) limits: Option<LimitsBody>,
    /// RFC 3339.
    pub(super) expires_at: Option<String>,
}

/// Page of a wallet's keys.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyListQuery {
    /// 1 to 1000, 100 unless given.
    #[schema(value_type = Option<String>)]
    pub(super) limit: Option<Number>,
    /// `next` of the page before.
    pub(super) cursor: Option<String>,
}

/// Limits of a key; nothing set is the server's defaults and no budget.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsBody {
    /// Requests a minute.
    rpm: Option<u32>,
    /// Tokens a minute.
    tpm: Option<u32>,
    /// Dollars on a UTC day.
    #[schema(value_type = Option<String>)]
    daily_usd: Option<Number>,
    /// Dollars in all.
    #[schema(value_type = Option<String>)]
    total_usd: Option<Number>,
    /// Models that the key may use; all when unset.
    models: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotateBody {
    /// Seconds for which the secret before still works, 86400 unless given.
    #[schema(value_type = Option<String>)]
    pub(super) grace_seconds: Option<Number>,
}

/// Changes of a key; what is not given stays as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateBody {
    pub(super) name: Option<String>,
    /// All limits of the key from now on: `{}` is none.
    pub(super) limits: Option<LimitsBody>,
    /// RFC 3339; null for a key that does not expire.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    pub(super) expires_at: Option<ExpiryBody>,
}

/// End of a key as it was sent.
#[derive(Debug)]
pub(super) enum ExpiryBody {
    Never,
    At(String),
}

/// Tells a null from a field that is not there.
fn given<'de, D: Deserializer<'de>>(value: D) -> Result<Option<ExpiryBody>, D::Error> {
    let text: Option<String> = Option::deserialize(value)?;
    Ok(Some(text.map_or(ExpiryBody::Never, ExpiryBody::At)))
}

impl ExpiryBody {
    /// Returns the end of the key.
    ///
    /// # Errors
    /// 400 unless it is a time in the future, or never.
    pub(super) fn checked(&self, now: Timestamp) -> Result<KeyExpiry, HttpError> {
        match self {
            Self::Never => Ok(KeyExpiry::Never),
            Self::At(text) => checked_expiry(text, now).map(KeyExpiry::At),
        }
    }
}

impl KeyBody {
    /// Makes a key with a name and nothing else.
    pub fn named(name: Option<String>) -> Self {
        Self { name, ..Self::default() }
    }

    /// Returns the name, or a plain one.
    ///
    /// # Errors
    /// 400 for a name that is empty, too long or of several lines.
    pub fn name(&self) -> Result<&str, HttpError> {
        checked_name(self.name.as_deref().unwrap_or("API key"))
    }
}

/// Returns a key's name, trimmed.
///
/// # Errors
/// 400 for one that is empty, too long or of several lines.
pub(super) fn checked_name(name: &str) -> Result<&str, HttpError> {
    let name = name.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    let wrong =
        || HttpError::invalid(format!("name must be 1 to {MAX_NAME_CHARS} characters, without line breaks"));
    fits.then_some(name).ok_or_else(wrong)
}

/// Reads the moment at which a key expires.
///
/// # Errors
/// 400 unless it is a time in the future.
pub fn checked_expiry(text: &str, now: Timestamp) -> Result<Timestamp, HttpError> {
    let moment = Timestamp::parse_rfc3339(text).filter(|moment| *moment > now);
    moment.ok_or_else(|| {
        HttpError::invalid("expiresAt must be an RFC 3339 time in the future, such as 2027-01-31T12:00:00Z")
    })
}

impl LimitsBody {
    /// Returns the limits, which are within those that the server gives to any key.
    ///
    /// # Errors
    /// 400 that names the limit which cannot be used.
    pub fn checked(&self, server: &KeysConfig) -> Result<KeyLimits, HttpError> {
        for (name, limit, most) in [("rpm", self.rpm, server.max_rpm), ("tpm", self.tpm, server.max_tpm)] {
            if limit.is_some_and(|limit| limit > most) {
                return Err(HttpError::invalid(format!("limits.{name} can be {most} at the most")));
            }
        }
        if self.rpm == Some(0) || self.tpm == Some(0) {
            return Err(HttpError::invalid(
                "limits.rpm and limits.tpm must be at least 1; revoke a key to stop it",
            ));
        }
        let models = self.models.as_ref();
        if models.is_some_and(|ids| ids.len() > MAX_MODELS || ids.iter().any(|id| id.len() > MAX_MODEL_ID)) {
            return Err(HttpError::invalid(format!(
                "limits.models can name {MAX_MODELS} models, each id of at most {MAX_MODEL_ID} bytes"
            )));
        }
        let dollars = |name: &str, amount: &Option<Number>| {
            amount.as_ref().map(|amount| amount.dollars(name)).transpose()
        };
        Ok(KeyLimits {
            rpm: self.rpm,
            tpm: self.tpm,
            daily: dollars("limits.dailyUsd", &self.daily_usd)?,
            total: dollars("limits.totalUsd", &self.total_usd)?,
            models: self.models.clone(),
        })
    }
}
