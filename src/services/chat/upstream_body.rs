//! Body of a request, as an upstream gets it.

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

/// Body of a request with the upstream's name of the model.
pub(super) struct UpstreamBody<'a> {
    pub(super) body: &'a Map<String, Value>,
    pub(super) model: &'a str,
}

impl Serialize for UpstreamBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.body.len()))?;
        for (name, value) in self.body {
            if name == "model" {
                map.serialize_entry(name, self.model)?;
            } else {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}
