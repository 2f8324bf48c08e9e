//! Everything that the session route needs, built once: channels, models, upstreams, offers.

use std::collections::HashMap;

use alloy::signers::local::PrivateKeySigner;

use crate::chain::{Chain, Fees};
use crate::config::{Config, ConfigError, Secret};
use crate::db::Db;
use crate::funding::channel::{Channels, Operator, SettlementPolicy};
use crate::funding::{FeeAccount, Sponsor};
use crate::limits::Rate;
use crate::meter::{ChannelNotifier, VoucherWindow};
use crate::money::Money;
use crate::payments::Issuer;
use crate::payments::methods::tempo::session::{SessionOffer, SessionTerms};
use crate::services::chat::{Catalog, ChatRequest, Models, Upstreams};

/// Chat that is paid from channels.
pub struct Sessions {
    pub channels: Channels,
    pub notifier: ChannelNotifier,
    pub catalog: Catalog,
    pub upstreams: Upstreams,
    /// Issuer of session challenges. They are valid for long: the vouchers of a stream all carry its challenge.
    pub issuer: Issuer,
    pub window: VoucherWindow,
    /// Offers whose payers pay the network fees.
    unsponsored: OfferSet,
    /// Offers for which this server pays the network fees of opening and topping up.
    sponsored: Option<OfferSet>,
}

/// Deposit that a challenge suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuggestedDeposit {
    /// A usual number of chunks; the highest price of an answer that is not streamed.
    Usual,
    /// A usual number of chunks and the longest answer: for a client that takes the suggestion for the most that it may
    /// sign on the channel, and signs for whole answers by their highest price.
    WithLongestAnswer,
}

/// Offers with common terms.
struct OfferSet {
    terms: SessionTerms,
    /// Units that the suggested deposit of a streamed answer pays for.
    suggested_units: u64,
    /// Offers for streamed answers, by the model's id.
    streamed: HashMap<String, SessionOffer>,
}

impl Sessions {
    /// Creates the sessions of a configuration; `None` if it offers none.
    ///
    /// # Errors
    /// [`ConfigError`] if `sessions.operator_key` or `sessions.previous_operator_key` is not a private key.
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
        let signer = private_key("sessions.operator_key", key)?;
        let previous = config.sessions.previous_operator_key.as_ref();
        let previous = previous.map(|key| private_key("sessions.previous_operator_key", key)).transpose()?;
        let is_recipient = signer.address() == config.payments.recipient;
        let terms = SessionTerms {
            currency: config.chain.currency,
            recipient: config.payments.recipient,
            chain_id: config.chain.chain_id,
            escrow: config.sessions.escrow,
            operator: if is_recipient { alloy::primitives::Address::ZERO } else { signer.address() },
            min_voucher_delta: config.sessions.min_voucher_delta,
            sponsored: false,
        };
        let account = FeeAccount::new(
            "operator",
            signer.address(),
            config.chain.currency,
            config.sessions.low_fee_balance,
        );
        let fees = Fees {
            token: config.chain.currency,
            gas: config.sessions.gas,
            max_fee_per_gas: 0,
            max_priority_fee_per_gas: 0,
        };
        let Models { catalog, upstreams, .. } = models.clone();
        let units = config.sessions.suggested_deposit_units;
        let sponsored = SessionTerms { sponsored: true, ..terms.clone() };
        Ok(Some(Self {
            channels: Channels::new(
                db.clone(),
                chain.clone(),
                sponsor.cloned(),
                Operator { signer, previous, fees, account },
                terms.clone(),
                settlement_policy(config),
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
            unsponsored: OfferSet::new(terms, &catalog, units),
            sponsored: sponsor.map(|_| OfferSet::new(sponsored, &catalog, units)),
            catalog,
        }))
    }

    /// Returns the price of one chunk of the answer.
    #[must_use]
    pub fn price_per_chunk(&self, chat: &ChatRequest) -> Money {
        chat.model().price_per_chunk
    }

    /// Returns the highest price of a request's answer with its prompt.
    #[must_use]
    pub fn highest_price(&self, chat: &ChatRequest) -> Money {
        self.price_per_chunk(chat)
            .checked_mul(chat.max_units().saturating_add(chat.prompt_units()))
            .unwrap_or(Money::from_micros(i64::MAX))
    }

    /// Returns the amount that a channel must be able to spend before a request is
    /// served: the price of one chunk of a streamed answer, or the highest price of a
    /// non-streaming one with its prompt. Without a request, the price of the cheapest chunk.
    #[must_use]
    pub fn required_amount(&self, chat: Option<&ChatRequest>) -> Money {
        match chat {
            Some(chat) if !chat.stream() => self.highest_price(chat),
            Some(chat) => self.price_per_chunk(chat),
            None => self.catalog.iter().map(|model| model.price_per_chunk).min().unwrap_or(Money::ZERO),
        }
    }

    /// Returns the offer for a request; `None` if `sponsored` is set and this server
    /// sponsors no fees. Without a request (a voucher, a close) the cheapest model's offer.
    ///
    /// `deposit` is for how much of the answer one is suggested.
    #[must_use]
    pub fn offer(
        &self,
        chat: Option<&ChatRequest>,
        sponsored: bool,
        deposit: SuggestedDeposit,
    ) -> Option<SessionOffer> {
        let offers = if sponsored { self.sponsored.as_ref()? } else { &self.unsponsored };
        Some(offers.offer(chat, self.required_amount(chat), deposit))
    }

    /// Returns the offers for streamed answers, with the ids of their models.
    pub fn offers(&self) -> impl Iterator<Item = (&str, &SessionOffer)> {
        self.unsponsored.streamed.iter().map(|(model, offer)| (model.as_str(), offer))
    }
}

impl OfferSet {
    fn new(terms: SessionTerms, catalog: &Catalog, suggested_units: u64) -> Self {
        let streamed = catalog
            .iter()
            .map(|model| {
                let price = model.price_per_chunk;
                let deposit = price.checked_mul(suggested_units).unwrap_or(price);
                let description = format!("One chunk of {}", model.id);
                (model.id.clone(), SessionOffer::new(&terms, "chunk", price, deposit, &description))
            })
            .collect();
        Self { terms, suggested_units, streamed }
    }

    /// Returns the offer for a request that costs `maximum` at the most. A streamed
    /// answer is priced by the chunk and requests vouchers on the way. A non-streaming
    /// one cannot, so its challenge is for `maximum`, and its actual length is charged.
    fn offer(&self, chat: Option<&ChatRequest>, maximum: Money, deposit: SuggestedDeposit) -> SessionOffer {
        let offer = match chat {
            Some(chat) => self.streamed.get(&chat.model().id).map(|offer| {
                let beside = match deposit {
                    SuggestedDeposit::Usual if !chat.stream() => {
                        return self.one_answer(chat, maximum, maximum);
                    }
                    SuggestedDeposit::Usual => 0,
                    SuggestedDeposit::WithLongestAnswer => chat.max_tokens(),
                };
                let units = self.suggested_units.saturating_add(chat.prompt_units()).saturating_add(beside);
                let deposit = offer.unit_price().checked_mul(units).unwrap_or(maximum);
                if chat.stream() {
                    offer.for_request(chat.prompt_units(), deposit)
                } else {
                    self.one_answer(chat, maximum, deposit)
                }
            }),
            None => self.streamed.values().min_by_key(|offer| offer.unit_price()).cloned(),
        };
        offer.expect("sessions are offered only when there is a model, and each model has an offer")
    }

    fn one_answer(&self, chat: &ChatRequest, maximum: Money, deposit: Money) -> SessionOffer {
        let description = format!("One answer of {}, at most", chat.model().id);
        SessionOffer::new(&self.terms, "request", maximum, deposit, &description)
    }
}

fn private_key(setting: &str, key: &Secret) -> Result<PrivateKeySigner, ConfigError> {
    key.expose().parse().map_err(|_| ConfigError::Invalid {
        key: setting.into(),
        why: "is not 0x and 64 hex digits of a private key".into(),
    })
}

fn settlement_policy(config: &Config) -> SettlementPolicy {
    let millis = |seconds: u64| i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
    SettlementPolicy {
        settle_above: config.sessions.settle_above,
        settle_after_ms: millis(config.sessions.settle_after_seconds),
        close_idle_ms: millis(config.sessions.close_idle_seconds),
    }
}
