//! Prepaid credits: the packs that are sold, and the card processor that takes the money.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{ConfigError, Secret};
use crate::money::Money;

/// Prices, limits and the card processor.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BillingConfig {
    /// Credits that are sold as a whole, by card and on the chain.
    pub packs: Vec<Pack>,
    /// Least amount of a card payment without a pack.
    pub min_checkout: Money,
    /// Largest amount of a card payment without a pack.
    pub max_checkout: Money,
    /// Stripe's secret key. Without it card payments are not offered.
    pub stripe_secret_key: Option<Secret>,
    /// Signing secret of the webhook endpoint at Stripe.
    pub stripe_webhook_secret: Option<Secret>,
    /// Origin of Stripe's API.
    pub stripe_api_url: String,
    /// URL of the proxy to Stripe; `None` for none.
    pub proxy: Option<Secret>,
    /// True for a page with a button in place of a card payment. `farebox dev` sets it; no file can.
    #[serde(skip)]
    pub test_checkout: bool,
}

/// Credits at a price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Id in requests.
    pub id: String,
    /// Name shown to people.
    pub name: String,
    /// Price, in whole cents.
    pub price: Money,
    /// Amount that is credited: never less than the price.
    pub credits: Money,
}

/// Millionths of a dollar in one cent.
const CENT: i64 = 10_000;

impl Default for BillingConfig {
    fn default() -> Self {
        let pack = |id: &str, name: &str, dollars: i64| Pack {
            id: id.into(),
            name: name.into(),
            price: Money::from_micros(dollars * 100 * CENT),
            credits: Money::from_micros(dollars * 100 * CENT),
        };
        Self {
            packs: vec![pack("starter", "Starter", 10), pack("plus", "Plus", 50), pack("pro", "Pro", 100)],
            min_checkout: Money::from_micros(500 * CENT),
            max_checkout: Money::from_micros(100_000 * CENT),
            stripe_secret_key: None,
            stripe_webhook_secret: None,
            stripe_api_url: "https://api.stripe.com".into(),
            proxy: None,
            test_checkout: false,
        }
    }
}

impl BillingConfig {
    /// Returns the pack of that id.
    #[must_use]
    pub fn pack(&self, id: &str) -> Option<&Pack> {
        self.packs.iter().find(|pack| pack.id == id)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let bad = |key: &str, reason: &str| Err(ConfigError::invalid(key, reason));
        let mut ids = HashSet::new();
        for pack in &self.packs {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            if !(1..=64).contains(&pack.id.len()) || !pack.id.bytes().all(plain) {
                return bad(
                    "billing.packs",
                    "an id must be 1 to 64 letters, digits, dots, dashes or underscores",
                );
            }
            if !ids.insert(&pack.id) {
                return bad("billing.packs", &format!("two packs have the id \"{}\"; rename one", pack.id));
            }
            if !pack.price.is_positive() || !is_whole_cents(pack.price) {
                return bad("billing.packs", "a price must be at least one cent, and whole cents");
            }
            if pack.credits < pack.price {
                return bad("billing.packs", "a pack cannot credit less than it costs");
            }
        }
        if !self.min_checkout.is_positive() || self.max_checkout < self.min_checkout {
            return bad("billing.min_checkout", "must be more than zero and at most billing.max_checkout");
        }
        if self.stripe_secret_key.is_some() != self.stripe_webhook_secret.is_some() {
            return bad(
                "billing.stripe_webhook_secret",
                "set both billing.stripe_secret_key and billing.stripe_webhook_secret, or neither: \
                 without the webhook nobody would get what was paid for",
            );
        }
        let url = &self.stripe_api_url;
        if url.ends_with('/') || !(url.starts_with("https://") || url.starts_with("http://")) {
            return bad(
                "billing.stripe_api_url",
                "must be an origin such as https://api.stripe.com, without a path",
            );
        }
        Ok(())
    }
}

/// Returns true if a card can be charged exactly this amount.
#[must_use]
pub fn is_whole_cents(amount: Money) -> bool {
    amount.micros() % CENT == 0
}
