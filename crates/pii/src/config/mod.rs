//! What the caller wants found and how, read from the request.

mod error;
mod files;

use serde_json::{Map, Value};

use super::{
    entity::Entity,
    model::{Model, Offer},
};
pub use error::ConfigError;
pub use files::FileOptions;

/// Least score of a finding unless the request says otherwise.
pub const DEFAULT_THRESHOLD: f32 = 0.5;

/// The entities to find, each with the least score of a finding, and the model that finds them. The default is what
/// rules find, at [`DEFAULT_THRESHOLD`].
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    model: Model,
    /// By [`Entity::index`]; none when not wanted.
    thresholds: Vec<Option<f32>>,
}

impl Default for Selection {
    fn default() -> Self {
        Self::all(Model::Rules)
    }
}

impl Selection {
    /// Everything that a model finds, at [`DEFAULT_THRESHOLD`].
    #[must_use]
    pub fn all(model: Model) -> Self {
        Self::at(model, DEFAULT_THRESHOLD)
    }

    fn at(model: Model, threshold: f32) -> Self {
        let thresholds = Entity::ALL.iter().map(|e| finds(&model, *e).then_some(threshold)).collect();
        Self { model, thresholds }
    }

    /// Reads `piiEntities` and `piiConfig`, in camel or snake case, from the body of a request that may choose from
    /// the models of `offer`.
    ///
    /// # Errors
    /// A [`ConfigError`] for whatever could not be honoured: nothing is ignored.
    pub fn from_request(body: &Map<String, Value>, offer: &Offer) -> Result<Self, ConfigError> {
        let entities = either(body, "piiEntities", "pii_entities")?;
        let config = either(body, "piiConfig", "pii_config")?;
        let mut selection = match config {
            None => Self::all(offer.preferred().clone()),
            Some((key, config)) => Self::from_config(key, config, offer)?,
        };
        if let Some((key, list)) = entities {
            selection.keep(&entity_list(key, list, &selection.model)?);
        }
        Ok(selection)
    }

    /// The same entities, all at one threshold.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f32) -> Self {
        self.thresholds.iter_mut().flatten().for_each(|least| *least = threshold);
        self
    }

    /// The model that runs.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Keeps only the given entities, with the thresholds they have.
    fn keep(&mut self, entities: &[Entity]) {
        for entity in Entity::ALL.iter().filter(|entity| !entities.contains(entity)) {
            self.thresholds[entity.index()] = None;
        }
    }

    /// Everything that `config` asks for, at its thresholds.
    fn from_config(key: &str, config: &Value, offer: &Offer) -> Result<Self, ConfigError> {
        let Value::Object(config) = config else {
            return Err(ConfigError::Type { key: key.to_owned(), expected: "an object" });
        };
        known("", config, &SETTINGS)?;
        let model = model(config.get("model"), offer)?;
        only("language", config.get("language"), "en")?;
        let global = config.get("threshold").filter(|v| !v.is_null());
        let global = global.map_or(Ok(DEFAULT_THRESHOLD), |value| threshold("threshold", value))?;
        let mut selection = Self::at(model, global);
        match config.get("thresholds") {
            None | Some(Value::Null) => {}
            Some(Value::Object(each)) => {
                for (name, value) in each {
                    let entity = entity(name, &selection.model)?;
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

/// What `piiConfig` can say. [`FileOptions`] reads those of images and PDFs.
const SETTINGS: [&str; 8] =
    ["threshold", "thresholds", "model", "language", "faceBlur", "face_blur", "ocr", "pdf"];

/// Refuses settings at `place` that are not in `names`, which have their camel spelling before the other.
fn known(place: &str, settings: &Map<String, Value>, names: &[&'static str]) -> Result<(), ConfigError> {
    let Some(key) = settings.keys().find(|key| !names.contains(&key.as_str())) else { return Ok(()) };
    let names = names.iter().filter(|name| !name.contains('_')).map(|name| format!("`{name}`"));
    let key = format!("{place}{}", shorten(key));
    Err(ConfigError::UnknownKey { key, known: names.collect::<Vec<_>>().join(", ") })
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

fn finds(model: &Model, entity: Entity) -> bool {
    entity.has_rules() || *model != Model::Rules
}

fn model(value: Option<&Value>, offer: &Offer) -> Result<Model, ConfigError> {
    let name = match value {
        None | Some(Value::Null) => return Ok(offer.preferred().clone()),
        Some(Value::String(name)) => name,
        Some(_) => return Err(ConfigError::Type { key: "model".to_owned(), expected: "a string" }),
    };
    offer.find(name).ok_or_else(|| {
        let available = offer.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if name == Model::Accurate.name() {
            ConfigError::NoAccurateModel { available }
        } else {
            ConfigError::UnknownModel { name: shorten(name), available }
        }
    })
}

fn entity_list(key: &str, list: &Value, model: &Model) -> Result<Vec<Entity>, ConfigError> {
    let wrong_type = || ConfigError::Type { key: key.to_owned(), expected: "a list of entity names" };
    let names = list.as_array().ok_or_else(wrong_type)?;
    if names.is_empty() {
        return Err(ConfigError::Empty { key: key.to_owned() });
    }
    names
        .iter()
        .map(|name| name.as_str().ok_or_else(wrong_type).and_then(|name| entity(name, model)))
        .collect()
}

fn entity(name: &str, model: &Model) -> Result<Entity, ConfigError> {
    match Entity::from_name(name) {
        Some(entity) if finds(model, entity) => Ok(entity),
        Some(entity) => Err(ConfigError::NeedsModel(entity)),
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
        Selection::from_request(&body, &Offer::default())
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
    fn models_are_chosen_from_what_is_offered() {
        let offer = |preferred, accurate| Offer::new(preferred, accurate, vec!["bert".into()]);
        let chosen = |body: Value, offer: &Offer| {
            let selection = Selection::from_request(body.as_object().expect("object"), offer).expect("valid");
            (selection.model().to_string(), selection.threshold(Entity::Person).is_some())
        };
        let table = [
            (json!({}), offer(Model::Fast, true), ("fast", true)),
            (json!({}), offer(Model::Accurate, true), ("accurate", true)),
            (json!({}), offer(Model::Accurate, false), ("fast", true)),
            (json!({ "piiConfig": { "model": "rules" } }), offer(Model::Fast, true), ("rules", false)),
            (json!({ "piiConfig": { "model": "accurate" } }), offer(Model::Fast, true), ("accurate", true)),
            (json!({ "piiConfig": { "model": "bert" } }), offer(Model::Fast, true), ("bert", true)),
            (json!({ "piiConfig": { "threshold": 0.7 } }), offer(Model::Rules, true), ("rules", false)),
            (json!({ "piiEntities": ["NAME"] }), offer(Model::Fast, true), ("fast", true)),
        ];
        for (body, offer, (model, person)) in table {
            assert_eq!(chosen(body.clone(), &offer), (model.to_owned(), person), "{body}");
        }
    }

    #[test]
    fn refusals_say_what_to_do() {
        let table = [
            (json!({ "piiEntities": ["EMIAL"] }), "`EMIAL` is not an entity; did you mean `EMAIL`?"),
            (
                json!({ "piiEntities": ["person"] }),
                "`PERSON` is not found by the `rules` model: set `model` to `fast`, or leave it out",
            ),
            (
                json!({ "piiConfig": { "thresholds": { "NAME": 0.5 } } }),
                "`PERSON` is not found by the `rules` model: set `model` to `fast`, or leave it out",
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
                json!({ "piiConfig": { "faces": true } }),
                "`faces` is not a setting; there are `threshold`, `thresholds`, `model`, `language`, `faceBlur`, `ocr`, `pdf`",
            ),
            (
                json!({ "piiConfig": { "model": "accurate" } }),
                "`model` `accurate` needs the Rampart model, which is not loaded here: use `rules`, `fast`, or have the server run with `models/rampart`",
            ),
            (
                json!({ "piiConfig": { "model": "bert" } }),
                "`model` `bert` is not loaded here; use `rules`, `fast`",
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
