//! Channels, models, upstreams and offers that the session route needs, built once.

use std::collections::HashMap;

use alloy::signers::local::PrivateKeySigner;

use crate::chain::{Chain, Fees};
use crate::config::{Config, ConfigError};
use crate::db::Db;
use crate::funding::channel::{Channels, Operator, SettlementPolicy};
use crate::funding::{FeeAccount, Sponsor};
use crate::limits::Rate;
use crate::meter::{ChannelNotifier, VoucherWindow};
use crate::money::Money;
use crate::payments::Issuer;
use crate::payments::methods::tempo::session::{SessionOffer, SessionTerms};
use crate::services::chat::{Catalog, ChatRequest, Models, Upstreams};

/// Streamed chat, paid from channels.
pub struct Sessions {
    pub channels: Channels,
    pub notifier: ChannelNotifier,
    pub catalog: Catalog,
    pub upstreams: Upstreams,
    /// Session challenges live long: vouchers echo theirs for a whole stream.
    pub issuer: Issuer,
    pub window: VoucherWindow,
    plain: OfferSet,
    /// The same with the network fees of opening and topping up paid by us.
    sponsored: Option<OfferSet>,
}

/// Offers on the same terms.
struct OfferSet {
    terms: SessionTerms,
    /// By model, for streamed answers.
    streamed: HashMap<String, SessionOffer>,
}

impl Sessions {
    /// The sessions of a configuration; `None` when it offers none.
    ///
    /// # Errors
    /// When a key cannot be used.
    pub fn new(
        config: &Config,
        models: &Models,
        db: &Db,
        chain: &Chain,
        sponsor: Option<&Sponsor>,
        notifier: ChannelNotifier,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(key) = config.sessions.operator_key.as_ref().filter(|_| !config.models.is_empty()) else {
            return Ok(None);
        };
        let signer: PrivateKeySigner = key.expose().parse().map_err(|_| ConfigError::Invalid {
            key: "sessions.operator_key".into(),
            why: "is not 0x and 64 hex digits of a private key".into(),
        })?;
        let own = signer.address() == config.payments.recipient;
        let terms = SessionTerms {
            currency: config.chain.currency,
            recipient: config.payments.recipient,
            chain_id: config.chain.chain_id,
            escrow: config.sessions.escrow,
            operator: if own { alloy::primitives::Address::ZERO } else { signer.address() },
            min_voucher_delta: config.sessions.min_voucher_delta,
            sponsored: false,
        };
        let account = FeeAccount::new(
            "operator",
            signer.address(),
            config.chain.currency,
            config.sessions.low_fee_balance,
        );
        let fees = Fees { token: config.chain.currency, gas: config.sessions.gas, highest: 0, priority: 0 };
        let Models { catalog, upstreams, .. } = models.clone();
        let units = config.sessions.suggested_deposit_units;
        let sponsored = SessionTerms { sponsored: true, ..terms.clone() };
        Ok(Some(Self {
            channels: Channels::new(
                db.clone(),
                chain.clone(),
                sponsor.cloned(),
                Operator { signer, fees, account },
                terms.clone(),
                policy(config),
                Rate::new(
                    config.sessions.vouchers_per_second,
                    config.sessions.vouchers_per_second.saturating_mul(10),
                ),
            ),
            notifier,
            upstreams,
            issuer: Issuer::new(
                config.realm(),
                &config.payments.secret,
                config.payments.previous_secret.as_ref(),
                config.sessions.challenge_ttl_seconds,
            ),
            window: VoucherWindow {
                low: config.sessions.window_low,
                size: config.sessions.window_size,
                step: config.sessions.min_voucher_delta,
            },
            plain: OfferSet::new(terms, &catalog, units),
            sponsored: sponsor.map(|_| OfferSet::new(sponsored, &catalog, units)),
            catalog,
        }))
    }

    /// What one chunk of the answer costs.
    #[must_use]
    pub fn price(&self, chat: &ChatRequest) -> Money {
        chat.model().price_per_chunk
    }

    /// What a request must be able to spend before it is served: one chunk of a
    /// streamed answer, all that a whole one can cost. Without a request, the
    /// cheapest chunk there is.
    #[must_use]
    pub fn minimum(&self, chat: Option<&ChatRequest>) -> Money {
        match chat {
            Some(chat) if !chat.stream() => {
                self.price(chat).checked_mul(chat.max_tokens()).unwrap_or(Money::from_micros(i64::MAX))
            }
            Some(chat) => self.price(chat),
            None => self.catalog.iter().map(|model| model.price_per_chunk).min().unwrap_or(Money::ZERO),
        }
    }

    /// What a request is offered; `None` when fees are to be sponsored and are not.
    /// Without a request (a voucher, a close) any model's offer serves.
    #[must_use]
    pub fn offer(&self, chat: Option<&ChatRequest>, sponsored: bool) -> Option<SessionOffer> {
        let menu = if sponsored { self.sponsored.as_ref()? } else { &self.plain };
        Some(menu.offer(chat, self.minimum(chat)))
    }

    /// Every model's offer for streamed answers, by the model's id.
    pub fn offers(&self) -> impl Iterator<Item = (&str, &SessionOffer)> {
        self.plain.streamed.iter().map(|(model, offer)| (model.as_str(), offer))
    }
}

impl OfferSet {
    fn new(terms: SessionTerms, catalog: &Catalog, suggested_units: u64) -> Self {
        let streamed = catalog
            .iter()
            .map(|model| {
                let price = model.price_per_chunk;
                let deposit = price.checked_mul(suggested_units).unwrap_or(price);
                let words = format!("One chunk of {}", model.id);
                (model.id.clone(), SessionOffer::new(&terms, "chunk", price, deposit, &words))
            })
            .collect();
        Self { terms, streamed }
    }

    /// A streamed answer costs per chunk, and asks for vouchers on the way. A
    /// whole answer cannot ask, so its challenge is for the most it can cost,
    /// and its real length is charged.
    fn offer(&self, chat: Option<&ChatRequest>, minimum: Money) -> SessionOffer {
        let offer = match chat {
            Some(chat) if !chat.stream() => {
                let words = format!("One answer of {}, at most", chat.model().id);
                Some(SessionOffer::new(&self.terms, "request", minimum, minimum, &words))
            }
            Some(chat) => self.streamed.get(&chat.model().id).cloned(),
            None => self.streamed.values().min_by_key(|offer| offer.unit_price()).cloned(),
        };
        offer.expect("sessions are offered only when there is a model, and each model has an offer")
    }
}

fn policy(config: &Config) -> SettlementPolicy {
    let millis = |seconds: u64| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    SettlementPolicy {
        settle_above: config.sessions.settle_above,
        settle_after_ms: millis(config.sessions.settle_after_seconds),
        close_idle_ms: millis(config.sessions.close_idle_seconds),
    }
}
