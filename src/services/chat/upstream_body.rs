//! Body of a request, as an upstream gets it.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value, json};

use super::request::LENGTH_FIELDS;
use crate::config::KindProfile;

/// Body of a request with the upstream's name of the model, and with the fields that its kind of server takes.
pub(super) struct UpstreamBody<'a> {
    pub(super) body: &'a Map<String, Value>,
    pub(super) model: &'a str,
    pub(super) profile: &'a KindProfile,
    /// Fields that the operator passes on, whatever the kind.
    pub(super) passed: &'a [String],
}

impl UpstreamBody<'_> {
    fn takes(&self, name: &str) -> bool {
        if name == "usage" && self.profile.asks_for_usage {
            return false;
        }
        // The service tier is the operator's.
        name == "service_tier" || self.profile.takes(name) || self.passed.iter().any(|passed| passed == name)
    }

    /// Returns the field that limits the answer, if the server takes only one: all that are set have the same value.
    fn length(&self) -> Option<(&'static str, &Value)> {
        let field = self.profile.length_field?.as_str();
        let mut set = LENGTH_FIELDS.into_iter().filter_map(|name| self.body.get(name));
        Some((field, set.find(|value| !value.is_null())?))
    }
}

impl Serialize for UpstreamBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let length = self.length();
        for (name, value) in self.body.iter().filter(|(name, _)| self.takes(name)) {
            if name == "model" {
                map.serialize_entry(name, self.model)?;
            } else if length.is_none() || !LENGTH_FIELDS.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some((name, value)) = length {
            map.serialize_entry(name, value)?;
        }
        if self.profile.asks_for_usage {
            map.serialize_entry("usage", &json!({"include": true}))?;
        }
        map.end()
    }
}
