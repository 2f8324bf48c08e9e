//! Recognition models, and the ones that a request may choose from.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// Model that recognises personal data in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecognitionModel {
    /// Rules only: no names of people, places and organisations.
    Rules,
    /// Rules, and names by the small model that is compiled in.
    Fast,
    /// `fast`, with people and addresses by a network as well.
    Accurate,
    /// Rules, and names by a network that the caller configured; `fast` for the entities that it does not know.
    Named(Arc<str>),
}

impl RecognitionModel {
    /// Stable name on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rules => "rules",
            Self::Fast => "fast",
            Self::Accurate => "accurate",
            Self::Named(name) => name,
        }
    }
}

impl fmt::Display for RecognitionModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for RecognitionModel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Models that a request may choose from: see [`PiiEngine::offer`](crate::PiiEngine::offer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableModels {
    preferred: RecognitionModel,
    accurate: bool,
    named: Vec<Arc<str>>,
}

impl AvailableModels {
    pub(crate) fn new(preferred: RecognitionModel, accurate: bool, named: Vec<Arc<str>>) -> Self {
        let mut offer = Self { preferred: RecognitionModel::Fast, accurate, named };
        if offer.find(preferred.name()).is_some() {
            offer.preferred = preferred;
        }
        offer
    }

    /// Returns the models that are compiled in: `rules` and `fast`.
    #[must_use]
    pub fn built_in(preferred: RecognitionModel) -> Self {
        Self::new(preferred, false, Vec::new())
    }

    /// Model that runs when a request names none.
    #[must_use]
    pub fn preferred(&self) -> &RecognitionModel {
        &self.preferred
    }

    /// Returns the model of that name, if it is loaded.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<RecognitionModel> {
        match name {
            "rules" => Some(RecognitionModel::Rules),
            "fast" => Some(RecognitionModel::Fast),
            "accurate" => self.accurate.then_some(RecognitionModel::Accurate),
            _ => self.named.iter().find(|n| &***n == name).map(|n| RecognitionModel::Named(Arc::clone(n))),
        }
    }

    /// Names of the models, as requests write them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let accurate = self.accurate.then_some("accurate");
        ["rules", "fast"].into_iter().chain(accurate).chain(self.named.iter().map(|name| &**name))
    }
}

/// Models of [`PiiEngine::new`](crate::PiiEngine::new): `rules` and `fast`, with `rules` preferred.
impl Default for AvailableModels {
    fn default() -> Self {
        Self::built_in(RecognitionModel::Rules)
    }
}
