//! Selection of entities, thresholds and a model, read from a request.

mod error;
mod files;

use serde_json::{Map, Value};

use super::{
    entity::Entity,
    model::{AvailableModels, RecognitionModel},
};
pub use error::PiiConfigError;
pub use files::FileOptions;

/// Least score of a finding unless the request sets another.
pub const DEFAULT_THRESHOLD: f32 = 0.5;

/// Entities to find, each with its least score, and the model that finds them. The default is all entities that
/// rules find, at [`DEFAULT_THRESHOLD`].
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    model: RecognitionModel,
    /// Least score, 0 to 1, by [`Entity::index`]; none if the entity is not selected.
    thresholds: Vec<Option<f32>>,
}

impl Default for Selection {
    fn default() -> Self {
        Self::all(RecognitionModel::Rules)
    }
}

impl Selection {
    /// Selects all entities that a model finds, at [`DEFAULT_THRESHOLD`].
    #[must_use]
    pub fn all(model: RecognitionModel) -> Self {
        Self::at(model, DEFAULT_THRESHOLD)
    }

    fn at(model: RecognitionModel, threshold: f32) -> Self {
        let thresholds = Entity::ALL.iter().map(|e| finds(&model, *e).then_some(threshold)).collect();
        Self { model, thresholds }
    }

    /// Reads `piiEntities` and `piiConfig`, in camel or snake case, from the body of a request that may choose from
    /// `models`.
    ///
    /// # Errors
    /// [`PiiConfigError`] for any setting that cannot be applied: none is ignored.
    pub fn from_request(body: &Map<String, Value>, models: &AvailableModels) -> Result<Self, PiiConfigError> {
        let entities = either(body, "piiEntities", "pii_entities")?;
        let config = either(body, "piiConfig", "pii_config")?;
        let mut selection = match config {
            None => Self::all(models.preferred().clone()),
            Some((key, config)) => Self::from_config(key, config, models)?,
        };
        if let Some((key, list)) = entities {
            selection.keep(&entity_list(key, list, &selection.model)?);
        }
        Ok(selection)
    }

    /// Sets one threshold for all selected entities.
    #[must_use]
    pub fn with_threshold(mut self, threshold: f32) -> Self {
        self.thresholds.iter_mut().flatten().for_each(|least| *least = threshold);
        self
    }

    /// Model that finds the entities.
    #[must_use]
    pub fn model(&self) -> &RecognitionModel {
        &self.model
    }

    /// Drops all entities but the given ones, which keep their thresholds.
    fn keep(&mut self, entities: &[Entity]) {
        for entity in Entity::ALL.iter().filter(|entity| !entities.contains(entity)) {
            self.thresholds[entity.index()] = None;
        }
    }

    /// Reads the selection of a `piiConfig` object found under `key`.
    fn from_config(key: &str, config: &Value, models: &AvailableModels) -> Result<Self, PiiConfigError> {
        let Value::Object(config) = config else {
            return Err(PiiConfigError::Type { key: key.to_owned(), expected: "an object" });
        };
        known("", config, &SETTINGS)?;
        let model = model(config.get("model"), models)?;
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
                return Err(PiiConfigError::Type {
                    key: "thresholds".to_owned(),
                    expected: "an object of numbers by entity",
                });
            }
        }
        Ok(selection)
    }

    /// Least score of a finding of this entity, 0 to 1; none if it is not selected.
    #[must_use]
    pub fn threshold(&self, entity: Entity) -> Option<f32> {
        self.thresholds[entity.index()]
    }

    /// Selected entities, in the order of [`Entity::ALL`].
    pub fn entities(&self) -> impl Iterator<Item = Entity> {
        Entity::ALL.iter().copied().filter(|entity| self.threshold(*entity).is_some())
    }
}

/// Keys of `piiConfig`. [`FileOptions`] reads those of images and PDFs.
const SETTINGS: [&str; 8] =
    ["threshold", "thresholds", "model", "language", "faceBlur", "face_blur", "ocr", "pdf"];

/// Refuses keys of `settings` that are not in `names`. `place` is the path of the object, for the message, which
/// lists the names in camel case.
fn known(place: &str, settings: &Map<String, Value>, names: &[&'static str]) -> Result<(), PiiConfigError> {
    let Some(key) = settings.keys().find(|key| !names.contains(&key.as_str())) else { return Ok(()) };
    let names = names.iter().filter(|name| !name.contains('_')).map(|name| format!("`{name}`"));
    let key = format!("{place}{}", shorten(key));
    Err(PiiConfigError::UnknownKey { key, known: names.collect::<Vec<_>>().join(", ") })
}

/// Returns the value under one of two spellings of a key, with the spelling. `null` counts as absent.
fn either<'b>(
    body: &'b Map<String, Value>,
    camel: &'static str,
    snake: &'static str,
) -> Result<Option<(&'static str, &'b Value)>, PiiConfigError> {
    let given = |key: &'static str| body.get(key).filter(|value| !value.is_null()).map(|value| (key, value));
    match (given(camel), given(snake)) {
        (Some(_), Some(_)) => Err(PiiConfigError::Twice { first: camel, second: snake }),
        (first, second) => Ok(first.or(second)),
    }
}

fn finds(model: &RecognitionModel, entity: Entity) -> bool {
    entity.has_rules() || *model != RecognitionModel::Rules
}

fn model(value: Option<&Value>, models: &AvailableModels) -> Result<RecognitionModel, PiiConfigError> {
    let name = match value {
        None | Some(Value::Null) => return Ok(models.preferred().clone()),
        Some(Value::String(name)) => name,
        Some(_) => return Err(PiiConfigError::Type { key: "model".to_owned(), expected: "a string" }),
    };
    models.find(name).ok_or_else(|| {
        let available = models.names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        if name == RecognitionModel::Accurate.name() {
            PiiConfigError::NoAccurateModel { available }
        } else {
            PiiConfigError::UnknownModel { name: shorten(name), available }
        }
    })
}

fn entity_list(key: &str, list: &Value, model: &RecognitionModel) -> Result<Vec<Entity>, PiiConfigError> {
    let wrong_type = || PiiConfigError::Type { key: key.to_owned(), expected: "a list of entity names" };
    let names = list.as_array().ok_or_else(wrong_type)?;
    if names.is_empty() {
        return Err(PiiConfigError::Empty { key: key.to_owned() });
    }
    names
        .iter()
        .map(|name| name.as_str().ok_or_else(wrong_type).and_then(|name| entity(name, model)))
        .collect()
}

fn entity(name: &str, model: &RecognitionModel) -> Result<Entity, PiiConfigError> {
    match Entity::from_name(name) {
        Some(entity) if finds(model, entity) => Ok(entity),
        Some(entity) => Err(PiiConfigError::NeedsModel(entity)),
        None => {
            Err(PiiConfigError::UnknownEntity { name: shorten(name), nearest: Entity::nearest_name(name) })
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a threshold needs no more precision")]
fn threshold(key: &str, value: &Value) -> Result<f32, PiiConfigError> {
    let Some(number) = value.as_f64() else {
        return Err(PiiConfigError::Type { key: key.to_owned(), expected: "a number from 0 to 1" });
    };
    if (0.0..=1.0).contains(&number) {
        Ok(number as f32)
    } else {
        Err(PiiConfigError::Threshold { key: key.to_owned(), value: value.to_string() })
    }
}

fn only(key: &'static str, value: Option<&Value>, available: &'static str) -> Result<(), PiiConfigError> {
    match value {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(value)) if value == available => Ok(()),
        Some(Value::String(value)) => {
            Err(PiiConfigError::Unavailable { key, value: shorten(value), available })
        }
        Some(_) => Err(PiiConfigError::Type { key: key.to_owned(), expected: "a string" }),
    }
}

/// Returns the first 64 characters of the caller's text, for an error message.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: Value) -> Result<Selection, PiiConfigError> {
        let Value::Object(body) = body else { unreachable!("tests send objects") };
        Selection::from_request(&body, &AvailableModels::default())
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
        let models = |preferred, accurate| AvailableModels::new(preferred, accurate, vec!["bert".into()]);
        let chosen = |body: Value, models: &AvailableModels| {
            let selection =
                Selection::from_request(body.as_object().expect("object"), models).expect("valid");
            (selection.model().to_string(), selection.threshold(Entity::Person).is_some())
        };
        let table = [
            (json!({}), models(RecognitionModel::Fast, true), ("fast", true)),
            (json!({}), models(RecognitionModel::Accurate, true), ("accurate", true)),
            (json!({}), models(RecognitionModel::Accurate, false), ("fast", true)),
            (
                json!({ "piiConfig": { "model": "rules" } }),
                models(RecognitionModel::Fast, true),
                ("rules", false),
            ),
            (
                json!({ "piiConfig": { "model": "accurate" } }),
                models(RecognitionModel::Fast, true),
                ("accurate", true),
            ),
            (
                json!({ "piiConfig": { "model": "bert" } }),
                models(RecognitionModel::Fast, true),
                ("bert", true),
            ),
            (
                json!({ "piiConfig": { "threshold": 0.7 } }),
                models(RecognitionModel::Rules, true),
                ("rules", false),
            ),
            (json!({ "piiEntities": ["NAME"] }), models(RecognitionModel::Fast, true), ("fast", true)),
        ];
        for (body, models, (model, person)) in table {
            assert_eq!(chosen(body.clone(), &models), (model.to_owned(), person), "{body}");
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
