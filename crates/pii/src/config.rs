//! What the caller wants found, read from the request.

use serde_json::{Map, Value};

use super::entity::Entity;

/// Least score of a finding unless the request says otherwise.
pub const DEFAULT_THRESHOLD: f32 = 0.5;

/// Why a selection was refused. Messages say what to send instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key has a value of another type than it takes.
    #[error("`{key}` must be {expected}")]
    Type {
        /// The key as written by the caller.
        key: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A threshold outside 0 to 1.
    #[error("`{key}` must be a number from 0 to 1, not {value}")]
    Threshold {
        /// The key as written by the caller.
        key: String,
        /// The number as written.
        value: String,
    },
    /// No such entity.
    #[error("`{name}` is not an entity; did you mean `{nearest}`?")]
    UnknownEntity {
        /// The name as written, shortened.
        name: String,
        /// The valid name nearest to it.
        nearest: &'static str,
    },
    /// A known entity that this version cannot find.
    #[error("`{}` is not available in this version: the `rules` model does not recognise it; leave it out", .0.name())]
    UnavailableEntity(Entity),
    /// A list of entities that selects nothing.
    #[error("`{key}` selects nothing: name at least one entity, or leave it out to select all")]
    Empty {
        /// The key as written by the caller.
        key: String,
    },
    /// A setting that does nothing yet, or never existed.
    #[error(
        "`{key}` is not a setting of this version; supported are `threshold`, `thresholds`, `model` and `language`"
    )]
    UnknownKey {
        /// The key as written, shortened.
        key: String,
    },
    /// A value that is not offered.
    #[error("`{key}` `{value}` is not available in this version; use `{available}`")]
    Unavailable {
        /// The key as written by the caller.
        key: &'static str,
        /// The value as written, shortened.
        value: String,
        /// The one value that works.
        available: &'static str,
    },
    /// The same setting under two spellings.
    #[error("`{first}` and `{second}` are the same setting: send one of them")]
    Twice {
        /// One spelling.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

/// The entities to find, each with the least score of a finding. The default is everything at
/// [`DEFAULT_THRESHOLD`].
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// By [`Entity::index`]; none when not wanted.
    thresholds: Vec<Option<f32>>,
}

impl Default for Selection {
    fn default() -> Self {
        Self::all(DEFAULT_THRESHOLD)
    }
}

impl Selection {
    fn all(threshold: f32) -> Self {
        Self { thresholds: Entity::ALL.iter().map(|e| e.has_rules().then_some(threshold)).collect() }
    }

    /// Reads `piiEntities` and `piiConfig`, in camel or snake case, from the body of a request.
    ///
    /// # Errors
    /// A [`ConfigError`] for whatever could not be honoured: nothing is ignored.
    pub fn from_request(body: &Map<String, Value>) -> Result<Self, ConfigError> {
        let entities = either(body, "piiEntities", "pii_entities")?;
        let config = either(body, "piiConfig", "pii_config")?;
        let mut selection = match config {
            None => Self::default(),
            Some((key, config)) => Self::from_config(key, config)?,
        };
        if let Some((key, list)) = entities {
            selection.keep(&entity_list(key, list)?);
        }
        Ok(selection)
    }

    /// Keeps only the given entities, with the thresholds they have.
    fn keep(&mut self, entities: &[Entity]) {
        for entity in Entity::ALL.iter().filter(|entity| !entities.contains(entity)) {
            self.thresholds[entity.index()] = None;
        }
    }

    /// Everything that `config` asks for, at its thresholds.
    fn from_config(key: &str, config: &Value) -> Result<Self, ConfigError> {
        let Value::Object(config) = config else {
            return Err(ConfigError::Type { key: key.to_owned(), expected: "an object" });
        };
        if let Some(key) = config
            .keys()
            .find(|key| !matches!(key.as_str(), "threshold" | "thresholds" | "model" | "language"))
        {
            return Err(ConfigError::UnknownKey { key: shorten(key) });
        }
        only("model", config.get("model"), "rules")?;
        only("language", config.get("language"), "en")?;
        let global = config.get("threshold").filter(|v| !v.is_null());
        let global = global.map_or(Ok(DEFAULT_THRESHOLD), |value| threshold("threshold", value))?;
        let mut selection = Self::all(global);
        match config.get("thresholds") {
            None | Some(Value::Null) => {}
            Some(Value::Object(each)) => {
                for (name, value) in each {
                    let entity = entity(name)?;
                    let key = format!("thresholds.{}", shorten(name));
                    selection.thresholds[entity.index()] = Some(threshold(&key, value)?);
                }
            }
            Some(_) => {
                return Err(ConfigError::Type {
                    key: "thresholds".to_owned(),
                    expected: "an object of numbers by entity",
                });
            }
        }
        Ok(selection)
    }

    /// The least score of a finding of this entity; none when it is not wanted.
    #[must_use]
    pub fn threshold(&self, entity: Entity) -> Option<f32> {
        self.thresholds[entity.index()]
    }

    /// The entities wanted, in the order of [`Entity::ALL`].
    pub fn entities(&self) -> impl Iterator<Item = Entity> {
        Entity::ALL.iter().copied().filter(|entity| self.threshold(*entity).is_some())
    }
}

/// The value under one of two spellings of a key. `null` counts as absent.
fn either<'b>(
    body: &'b Map<String, Value>,
    camel: &'static str,
    snake: &'static str,
) -> Result<Option<(&'static str, &'b Value)>, ConfigError> {
    let given = |key: &'static str| body.get(key).filter(|value| !value.is_null()).map(|value| (key, value));
    match (given(camel), given(snake)) {
        (Some(_), Some(_)) => Err(ConfigError::Twice { first: camel, second: snake }),
        (first, second) => Ok(first.or(second)),
    }
}

fn entity_list(key: &str, list: &Value) -> Result<Vec<Entity>, ConfigError> {
    let wrong_type = || ConfigError::Type { key: key.to_owned(), expected: "a list of entity names" };
    let names = list.as_array().ok_or_else(wrong_type)?;
    if names.is_empty() {
        return Err(ConfigError::Empty { key: key.to_owned() });
    }
    names.iter().map(|name| name.as_str().ok_or_else(wrong_type).and_then(entity)).collect()
}

fn entity(name: &str) -> Result<Entity, ConfigError> {
    match Entity::from_name(name) {
        Some(entity) if entity.has_rules() => Ok(entity),
        Some(entity) => Err(ConfigError::UnavailableEntity(entity)),
        None => Err(ConfigError::UnknownEntity { name: shorten(name), nearest: Entity::nearest_name(name) }),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a threshold needs no more precision")]
fn threshold(key: &str, value: &Value) -> Result<f32, ConfigError> {
    let Some(number) = value.as_f64() else {
        return Err(ConfigError::Type { key: key.to_owned(), expected: "a number from 0 to 1" });
    };
    if (0.0..=1.0).contains(&number) {
        Ok(number as f32)
    } else {
        Err(ConfigError::Threshold { key: key.to_owned(), value: value.to_string() })
    }
}

fn only(key: &'static str, value: Option<&Value>, available: &'static str) -> Result<(), ConfigError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(value)) if value == available => Ok(()),
        Some(Value::String(value)) => Err(ConfigError::Unavailable { key, value: shorten(value), available }),
        Some(_) => Err(ConfigError::Type { key: key.to_owned(), expected: "a string" }),
    }
}

/// Enough of the caller's own text to recognise it in an error.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> Result<Selection, ConfigError> {
        let Value::Object(body) = body else { unreachable!("tests send objects") };
        Selection::from_request(&body)
    }

    #[test]
    fn selects_by_name_synonym_and_case() {
        for key in ["piiEntities", "pii_entities"] {
            let selection = parse(json!({ key: ["email", "SSN", "Credit-Debit-Number", "EMAIL_ADDRESS"] }))
                .expect("valid");
            assert!(selection.entities().eq([Entity::EmailAddress, Entity::CreditCard, Entity::UsSsn]));
        }
        assert_eq!(parse(json!({ "piiEntities": null, "model": "m" })), Ok(Selection::default()));
        assert_eq!(Selection::default().threshold(Entity::Person), None);
    }

    #[test]
    fn thresholds_are_global_then_per_entity() {
        let config = json!({ "threshold": 0.8, "thresholds": { "ssn": 0, "URL": 1 }, "model": "rules", "language": "en" });
        let selection =
            parse(json!({ "pii_config": config, "pii_entities": ["URL", "US_SSN", "AGE"] })).expect("valid");
        assert_eq!(selection.threshold(Entity::Url), Some(1.0));
        assert_eq!(selection.threshold(Entity::UsSsn), Some(0.0));
        assert_eq!(selection.threshold(Entity::Age), Some(0.8));
        assert_eq!(selection.threshold(Entity::Pin), None);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let table = [
            (json!({ "piiEntities": ["EMIAL"] }), "`EMIAL` is not an entity; did you mean `EMAIL`?"),
            (
                json!({ "piiEntities": ["person"] }),
                "`PERSON` is not available in this version: the `rules` model does not recognise it; leave it out",
            ),
            (
                json!({ "piiConfig": { "thresholds": { "NAME": 0.5 } } }),
                "`PERSON` is not available in this version: the `rules` model does not recognise it; leave it out",
            ),
            (
                json!({ "pii_entities": [] }),
                "`pii_entities` selects nothing: name at least one entity, or leave it out to select all",
            ),
            (json!({ "piiEntities": "EMAIL" }), "`piiEntities` must be a list of entity names"),
            (json!({ "piiEntities": [7] }), "`piiEntities` must be a list of entity names"),
            (json!({ "piiConfig": [] }), "`piiConfig` must be an object"),
            (
                json!({ "piiConfig": { "threshold": 1.5 } }),
                "`threshold` must be a number from 0 to 1, not 1.5",
            ),
            (json!({ "piiConfig": { "threshold": "high" } }), "`threshold` must be a number from 0 to 1"),
            (
                json!({ "piiConfig": { "thresholds": { "URL": -1 } } }),
                "`thresholds.URL` must be a number from 0 to 1, not -1",
            ),
            (
                json!({ "piiConfig": { "thresholds": 1 } }),
                "`thresholds` must be an object of numbers by entity",
            ),
            (
                json!({ "piiConfig": { "faceBlur": true } }),
                "`faceBlur` is not a setting of this version; supported are `threshold`, `thresholds`, `model` and `language`",
            ),
            (
                json!({ "piiConfig": { "model": "accurate" } }),
                "`model` `accurate` is not available in this version; use `rules`",
            ),
            (
                json!({ "piiConfig": { "language": "de" } }),
                "`language` `de` is not available in this version; use `en`",
            ),
            (json!({ "piiConfig": { "model": 1 } }), "`model` must be a string"),
            (
                json!({ "piiConfig": {}, "pii_config": {} }),
                "`piiConfig` and `pii_config` are the same setting: send one of them",
            ),
        ];
        for (body, message) in table {
            assert_eq!(parse(body).expect_err(message).to_string(), message);
        }
    }
}
