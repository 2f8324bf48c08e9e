//! Scopes: the parts of the account that a client may use. Pure.

use std::collections::BTreeSet;
use std::fmt;

/// One part of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask models, at the account's cost.
    Chat,
    /// Look for personal data in text and files, at the account's cost.
    Pii,
    /// Read balance, statement and names of keys.
    AccountRead,
    /// Revoke keys.
    KeysWrite,
}

impl Scope {
    /// All scopes, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Pii, Self::AccountRead, Self::KeysWrite];

    /// Returns the name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Pii => "pii",
            Self::AccountRead => "account:read",
            Self::KeysWrite => "keys:write",
        }
    }

    /// Returns a sentence for the person who grants it.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Chat => "Ask AI models, and spend your credits on it",
            Self::Pii => "Look for personal data in text and files, and spend your credits on it",
            Self::AccountRead => "See your balance, what was spent, and the names of your keys",
            Self::KeysWrite => "Revoke your API keys",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Scopes of a client that asks for none in particular: all but those that change the account.
    #[must_use]
    pub fn defaults() -> Self {
        Self::from_iter([Scope::Chat, Scope::Pii, Scope::AccountRead])
    }

    /// Reads the scopes that a client asks for: the defaults where it asks for none. Names that this server does not
    /// have, such as `offline_access`, are passed over; `None` if no other is there.
    #[must_use]
    pub fn requested(text: Option<&str>) -> Option<Self> {
        let names: Vec<&str> = text.unwrap_or_default().split_ascii_whitespace().collect();
        if names.is_empty() {
            return Some(Self::defaults());
        }
        let scopes: Self = names.into_iter().filter_map(Scope::parse).collect();
        (!scopes.0.is_empty()).then_some(scopes)
    }

    /// Reads scopes of which each must be known, and at least one be there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let scopes: Option<BTreeSet<Scope>> = text.split_ascii_whitespace().map(Scope::parse).collect();
        scopes.filter(|scopes| !scopes.is_empty()).map(Self)
    }

    #[must_use]
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// Returns true if all of them are among `others`.
    #[must_use]
    pub fn is_within(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Returns those that both have.
    #[must_use]
    pub fn intersection(&self, others: &Self) -> Self {
        self.iter().filter(|scope| others.contains(*scope)).collect()
    }

    /// Returns those that either has.
    #[must_use]
    pub fn union(&self, others: &Self) -> Self {
        self.iter().chain(others.iter()).collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.0.iter().copied()
    }

    /// Returns the names, in one order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.iter().map(Scope::as_str).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        Self(scopes.into_iter().collect())
    }
}

impl fmt::Display for Scopes {
    /// Writes the names as the wire and the database have them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_asks_for_and_this_server_has() {
        let text = |asked| Scopes::requested(asked).map(|scopes| scopes.to_string());
        let defaults = Some("chat pii account:read".to_owned());
        assert_eq!(text(None), defaults);
        assert_eq!(text(Some("  ")), defaults);
        assert_eq!(text(Some("keys:write chat chat")), Some("chat keys:write".into()));
        assert_eq!(text(Some("openid offline_access chat")), Some("chat".into()));
        assert_eq!(text(Some("offline_access")), None);
        assert_eq!(text(Some("CHAT")), None, "scopes are case-sensitive");
        assert_eq!(Scopes::parse("chat admin"), None);
        assert_eq!(Scopes::parse(""), None);
    }
}
