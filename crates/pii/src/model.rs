//! Which models find names, and which of them there are.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// What recognises personal data in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Model {
    /// Rules alone: no names of people, places and organisations.
    Rules,
    /// Rules, and names by a small model that is always there.
    Fast,
    /// As `fast`, and people and addresses by a network as well.
    Accurate,
    /// Rules, and names by a network that the caller configured, with `fast` for the kinds of names it does not know.
    Named(Arc<str>),
}

impl Model {
    /// The name on the wire.
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

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// The models a request may choose from: see [`Engine::offer`](crate::Engine::offer).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    preferred: Model,
    accurate: bool,
    named: Vec<Arc<str>>,
}

impl Offer {
    pub(crate) fn new(preferred: Model, accurate: bool, named: Vec<Arc<str>>) -> Self {
        let mut offer = Self { preferred: Model::Fast, accurate, named };
        if offer.find(preferred.name()).is_some() {
            offer.preferred = preferred;
        }
        offer
    }

    /// The models that are always there.
    #[must_use]
    pub fn built_in(preferred: Model) -> Self {
        Self::new(preferred, false, Vec::new())
    }

    /// What runs when a request says nothing.
    #[must_use]
    pub fn preferred(&self) -> &Model {
        &self.preferred
    }

    /// The model of that name, if it is there.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Model> {
        match name {
            "rules" => Some(Model::Rules),
            "fast" => Some(Model::Fast),
            "accurate" => self.accurate.then_some(Model::Accurate),
            _ => self.named.iter().find(|n| &***n == name).map(|n| Model::Named(Arc::clone(n))),
        }
    }

    /// The names to choose from.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let accurate = self.accurate.then_some("accurate");
        ["rules", "fast"].into_iter().chain(accurate).chain(self.named.iter().map(|name| &**name))
    }
}

/// What [`Engine::new`](crate::Engine::new) has: rules and the small model, rules preferred.
impl Default for Offer {
    fn default() -> Self {
        Self::built_in(Model::Rules)
    }
}
