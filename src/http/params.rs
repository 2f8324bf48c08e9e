//! Parameters of a management request: a JSON body, or query parameters where there is none.

use axum::extract::Query;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::HttpError;
use super::request::Received;
use crate::money::Money;

/// Characters of a parameter's name that an error repeats.
const MAX_NAME_SHOWN: usize = 64;
/// Characters of serde's message that an error repeats.
const MAX_DETAIL: usize = 200;

/// Named values of a body or a query.
pub struct Params(Map<String, Value>);

/// A number that may be written as text, as every query parameter is.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Number {
    Text(String),
    Number(serde_json::Number),
}

impl Number {
    /// Returns the number as it was written.
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
        }
    }

    /// Returns an amount in dollars.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub fn dollars(&self, name: &str) -> Result<Money, HttpError> {
        Money::parse_dollars(&self.text()).map_err(|error| HttpError::invalid(format!("{name}: {error}")))
    }

    /// Returns a whole number of that range.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub fn whole(&self, name: &str, range: std::ops::RangeInclusive<u32>) -> Result<u32, HttpError> {
        self.text().parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
            HttpError::invalid(format!(
                "{name} must be a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }
}

impl Params {
    /// Reads the body, or the query where there is no body.
    ///
    /// # Errors
    /// 400 for a body that is not a JSON object, and for a parameter that is given twice.
    pub fn of(request: &Received) -> Result<Self, HttpError> {
        if !request.body.is_empty() {
            return match request.parse_json(|text| serde_json::from_str(text))? {
                Ok(Value::Object(fields)) => Ok(Self(fields)),
                // serde's own message could quote what was sent.
                Ok(_) | Err(_) => Err(HttpError::invalid("the body is not a JSON object; send one")),
            };
        }
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&request.uri)
            .map_err(|_| HttpError::invalid("the query cannot be read; encode it as UTF-8 in %XX"))?;
        let mut fields = Map::new();
        for (name, value) in pairs.0 {
            if fields.contains_key(&name) {
                let name: String = name.chars().take(MAX_NAME_SHOWN).collect();
                return Err(HttpError::invalid(format!(
                    "query parameter `{name}` is given twice; send it once"
                )));
            }
            fields.insert(name, Value::String(value));
        }
        Ok(Self(fields))
    }

    /// Makes parameters without any value.
    pub fn none() -> Self {
        Self(Map::new())
    }

    /// Returns true if there is a value of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns a text and leaves it there.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Takes a text out. A value of another type is dropped.
    pub fn take_text(&mut self, name: &str) -> Option<String> {
        match self.0.remove(name)? {
            Value::String(text) => Some(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Returns the values without some.
    pub fn without(&self, names: &[&str]) -> Self {
        let others = self.0.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        Self(others.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Returns the remaining values.
    pub const fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Reads the remaining values as a type.
    ///
    /// # Errors
    /// 400 that names the field which is missing, unknown or of another type.
    pub fn read<T: DeserializeOwned>(self) -> Result<T, HttpError> {
        serde_json::from_value(Value::Object(self.0)).map_err(|error| {
            let text: String = error.to_string().chars().take(MAX_DETAIL).collect();
            HttpError::invalid(text)
        })
    }
}
