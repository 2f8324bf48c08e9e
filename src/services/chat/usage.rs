//! Usage that an upstream reports: used only if it is possible.

use serde_json::{Map, Value, json};

/// Tokens of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    /// Prompt tokens that were cached.
    pub cached_tokens: Option<u64>,
    /// Completion tokens that were reasoning.
    pub reasoning_tokens: Option<u64>,
}

/// Largest usage that a request can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageBounds {
    pub prompt_tokens: u64,
    /// Completion tokens, all choices together.
    pub completion_tokens: u64,
}

/// Error of usage that is impossible: negative, fractional, contradictory, or larger than
/// the request allows. Nothing is charged by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reported usage is impossible")]
pub struct ImpossibleUsage;

impl Usage {
    /// Reads a `usage` member; `null` is no usage.
    ///
    /// # Errors
    /// [`ImpossibleUsage`].
    pub fn parse(value: &Value, bounds: UsageBounds) -> Result<Option<Self>, ImpossibleUsage> {
        if value.is_null() {
            return Ok(None);
        }
        let detail = |details: &str, name: &str| match &value[details][name] {
            Value::Null => Ok(None),
            number => number.as_u64().map(Some).ok_or(ImpossibleUsage),
        };
        let usage = Self {
            prompt_tokens: value["prompt_tokens"].as_u64().ok_or(ImpossibleUsage)?,
            completion_tokens: value["completion_tokens"].as_u64().ok_or(ImpossibleUsage)?,
            cached_tokens: detail("prompt_tokens_details", "cached_tokens")?,
            reasoning_tokens: detail("completion_tokens_details", "reasoning_tokens")?,
        };
        let possible = usage.prompt_tokens <= bounds.prompt_tokens
            && usage.completion_tokens <= bounds.completion_tokens
            && usage.cached_tokens.unwrap_or(0) <= usage.prompt_tokens
            && usage.reasoning_tokens.unwrap_or(0) <= usage.completion_tokens;
        if possible { Ok(Some(usage)) } else { Err(ImpossibleUsage) }
    }

    /// Returns the tokens of prompt and completion together.
    #[must_use]
    pub fn total_tokens(&self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }

    /// Returns the `usage` member for clients: tokens, without the prices that the upstream
    /// charges its operator.
    #[must_use]
    pub fn to_json(self) -> Value {
        let mut json = Map::new();
        json.insert("prompt_tokens".into(), self.prompt_tokens.into());
        json.insert("completion_tokens".into(), self.completion_tokens.into());
        json.insert("total_tokens".into(), self.total_tokens().into());
        if let Some(cached) = self.cached_tokens {
            json.insert("prompt_tokens_details".into(), json!({"cached_tokens": cached}));
        }
        if let Some(reasoning) = self.reasoning_tokens {
            json.insert("completion_tokens_details".into(), json!({"reasoning_tokens": reasoning}));
        }
        Value::Object(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: UsageBounds = UsageBounds { prompt_tokens: 1000, completion_tokens: 100 };

    #[test]
    fn possible_usage_is_read() {
        let value = json!({"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": -5, "cost": 0.1,
            "prompt_tokens_details": {"cached_tokens": 7}, "completion_tokens_details": {"reasoning_tokens": 3}});
        let usage = Usage::parse(&value, BOUNDS).expect("possible").expect("present");
        assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (Some(7), Some(3)));
        let json = usage.to_json();
        assert_eq!(json["total_tokens"], 1100);
        assert!(json.get("cost").is_none());
        assert_eq!(Usage::parse(&Value::Null, BOUNDS), Ok(None));
    }

    #[test]
    fn attack_21_impossible_usage_is_refused() {
        for value in [
            json!({}),
            json!([]),
            json!("many"),
            json!({"prompt_tokens": 1}),
            json!({"prompt_tokens": -1, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": 1.5}),
            json!({"prompt_tokens": 1, "completion_tokens": 1e300}),
            json!({"prompt_tokens": 1, "completion_tokens": "5"}),
            json!({"prompt_tokens": 1, "completion_tokens": 101}),
            json!({"prompt_tokens": 1001, "completion_tokens": 1}),
            json!({"prompt_tokens": 1, "completion_tokens": u64::MAX}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 2}}),
            json!({"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -2}}),
        ] {
            assert_eq!(Usage::parse(&value, BOUNDS), Err(ImpossibleUsage), "{value}");
        }
    }
}
