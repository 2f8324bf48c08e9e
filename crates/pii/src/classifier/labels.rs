//! Labels of a token classifier, and the entities that they mean.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ClassifierError;
use crate::Entity;

/// Most labels of a network.
const MAX_LABELS: usize = 512;

/// Fields of `config.json` that are used.
#[derive(Deserialize)]
struct ClassifierConfig {
    id2label: BTreeMap<String, String>,
    max_position_embeddings: Option<usize>,
}

/// Label of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    /// Entity that it means; none for tokens outside of entities and labels that are not known here.
    pub(super) entity: Option<Entity>,
    /// Number of the label's kind: `B-` and `I-` labels of one kind share it.
    pub(super) kind: usize,
    pub(super) begins: bool,
}

#[derive(Debug)]
pub(super) struct Labels {
    /// Labels by their number in the network.
    pub(super) all: Vec<Label>,
    /// Most tokens of a window, with the special tokens at its two ends.
    pub(super) window: usize,
}

impl Labels {
    pub(super) fn parse(config: &str) -> Result<Self, ClassifierError> {
        let config: ClassifierConfig =
            serde_json::from_str(config).map_err(|error| ClassifierError::Config(error.to_string()))?;
        let count = config.id2label.len();
        if count > MAX_LABELS {
            return Err(ClassifierError::Config(format!("`id2label` has more than {MAX_LABELS} labels")));
        }
        let mut kinds: Vec<String> = Vec::new();
        let mut all = Vec::with_capacity(count);
        for number in 0..count {
            let name = config.id2label.get(&number.to_string()).ok_or_else(|| {
                ClassifierError::Config(format!("`id2label` has {count} labels, and no label {number}"))
            })?;
            let (begins, kind) = split(name);
            let place = kinds.iter().position(|known| known == kind).unwrap_or_else(|| {
                kinds.push(kind.to_owned());
                kinds.len() - 1
            });
            all.push(Label { entity: entity(kind), kind: place, begins });
        }
        if all.iter().all(|label| label.entity.is_none()) {
            return Err(ClassifierError::Config("none of the labels in `id2label` is known here".to_owned()));
        }
        Ok(Self { all, window: config.max_position_embeddings.unwrap_or(512).clamp(16, 512) })
    }
}

/// Splits `B-PER` into true, for a label that begins an entity, and `PER`. Labels without a prefix continue one.
fn split(name: &str) -> (bool, &str) {
    match name.split_once(['-', '_']) {
        Some(("B" | "S" | "U", kind)) => (true, kind),
        Some(("I" | "E" | "L" | "M", kind)) => (false, kind),
        _ => (false, name),
    }
}

fn entity(kind: &str) -> Option<Entity> {
    let kind: String =
        kind.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    match kind.as_str() {
        "PER" | "PERSON" | "NAME" | "FULLNAME" | "PERSONNAME" | "GIVENNAME" | "FIRSTNAME" | "MIDDLENAME"
        | "SURNAME" | "LASTNAME" | "PATIENT" | "DOCTOR" => Some(Entity::Person),
        "LOC" | "GPE" | "LOCATION" | "FAC" | "ADDRESS" | "CITY" | "STATE" | "COUNTY" | "COUNTRY"
        | "STREET" | "STREETNAME" | "STREETADDRESS" | "BUILDINGNUMBER" | "BUILDINGNUM"
        | "SECONDARYADDRESS" | "ZIP" | "ZIPCODE" | "POSTCODE" | "POSTALCODE" => Some(Entity::Location),
        "ORG" | "ORGANIZATION" | "ORGANISATION" | "COMPANY" | "COMPANYNAME" => Some(Entity::Organization),
        "PHONE" | "PHONENUMBER" | "TELEPHONENUM" => Some(Entity::PhoneNumber),
        "DATE" | "TIME" => Some(Entity::DateTime),
        _ => Entity::ALL
            .iter()
            .copied()
            .find(|e| e.name().replace('_', "") == kind)
            .or_else(|| Entity::from_name(&kind)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Result<Labels, ClassifierError> {
        let names: BTreeMap<String, &str> =
            names.iter().enumerate().map(|(i, n)| (i.to_string(), *n)).collect();
        Labels::parse(&serde_json::json!({ "id2label": names }).to_string())
    }

    #[test]
    fn prefixes_and_synonyms() {
        let labels = labels(&["O", "B-PER", "I-PER", "S-ORG", "E-GPE", "B-given_name", "EMAIL", "B-FLAVOUR"]);
        let read: Vec<_> = labels.expect("valid").all.iter().map(|l| (l.entity, l.kind, l.begins)).collect();
        assert_eq!(
            read,
            [
                (None, 0, false),
                (Some(Entity::Person), 1, true),
                (Some(Entity::Person), 1, false),
                (Some(Entity::Organization), 2, true),
                (Some(Entity::Location), 3, false),
                (Some(Entity::Person), 4, true),
                (Some(Entity::EmailAddress), 5, false),
                (None, 6, true),
            ]
        );
    }

    #[test]
    fn refuses_what_is_no_classifier() {
        assert!(labels(&["O", "B-FLAVOUR"]).is_err());
        for config in ["", "{}", r#"{"id2label": {"1": "B-PER"}}"#, r#"{"id2label": {"0": 1}}"#] {
            assert!(Labels::parse(config).is_err(), "{config}");
        }
    }
}
