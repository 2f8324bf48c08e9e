//! Offers of the routes that are paid with a charge, made once from the configuration.

pub mod sessions;

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::Address;

use crate::config::Config;
use crate::money::Money;
use crate::payments::Offer;
use crate::payments::methods::tempo::ChargeTerms;

/// Offers by route.
pub struct Offers {
    /// `POST /mpp/pii/preview`.
    pub preview: Arc<[Offer]>,
    /// `POST /mpp/pii/preview?feePayer=true`: the server pays the network fee.
    pub preview_sponsored: Option<Arc<[Offer]>>,
    /// `GET /mpp/account`: free, but the wallet must prove itself.
    pub account: Arc<[Offer]>,
    /// `POST /mpp/credits` and `POST /mpp/keys`, by pack.
    pub packs: HashMap<String, Arc<[Offer]>>,
    terms: ChargeTerms,
    currencies: Vec<Address>,
}

impl Offers {
    /// Makes the offers of a configuration. `sponsored` is true if this server pays network fees.
    #[must_use]
    pub fn new(config: &Config, sponsored: bool) -> Self {
        let terms = ChargeTerms {
            recipient: config.payments.recipient,
            chain_id: config.chain.chain_id,
            modes: config.payments.modes.clone(),
        };
        let price = config.pii.preview_price;
        let currencies: Vec<Address> = std::iter::once(config.chain.currency)
            .chain(config.chain.also_accepted.iter().copied())
            .collect();
        let each = |amount, sponsored, description: &str| -> Arc<[Offer]> {
            let offer = |token: &Address| terms.offer(*token, amount, sponsored, description);
            currencies.iter().map(offer).collect()
        };
        let packs = config.billing.packs.iter().map(|pack| {
            let description = format!("{} of credits", pack.credits);
            (pack.id.clone(), each(pack.price, false, &description))
        });
        Self {
            packs: packs.collect(),
            preview: each(price, false, "One PII preview"),
            preview_sponsored: (sponsored && price.is_positive())
                .then(|| each(price, true, "One PII preview, network fee included")),
            // A proof moves no money: one offer is enough.
            account: [terms.offer(
                config.chain.currency,
                Money::ZERO,
                false,
                "Proof of the wallet whose account is shown",
            )]
            .into(),
            currencies,
            terms,
        }
    }

    /// Makes the offers of a top-up by `amount`.
    #[must_use]
    pub fn top_up(&self, amount: Money) -> Arc<[Offer]> {
        self.of_amount(amount, &format!("Add ${} of credits", amount.to_dollars()))
    }

    /// Makes the offers of a call that costs `amount` at the most.
    #[must_use]
    pub fn call(&self, amount: Money) -> Arc<[Offer]> {
        let amount_text = amount.to_dollars();
        self.of_amount(
            amount,
            &format!("One call for ${amount_text} at the most, the rest as credits of your wallet"),
        )
    }

    fn of_amount(&self, amount: Money, description: &str) -> Arc<[Offer]> {
        let offer = |token: &Address| self.terms.offer(*token, amount, false, description);
        self.currencies.iter().map(offer).collect()
    }
}
