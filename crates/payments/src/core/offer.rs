//! Offers: one way each to pay for a resource.

use std::fmt;
use std::sync::Arc;

use farebox_types::money::Money;

/// A way that money moves, by its identifier on the wire (draft-httpauth-payment-00, "Payment Methods").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Transfers of TIP-20 tokens on the Tempo chain (draft-tempo-charge-00).
    Tempo,
}

impl Method {
    /// Every method.
    pub const ALL: [Self; 1] = [Self::Tempo];

    /// The identifier on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tempo => "tempo",
        }
    }

    /// The method of an identifier; `None` when it is unknown here.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == name)
    }
}

/// The kind of payment that a method makes (draft-httpauth-payment-00, "Payment Intents").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intent {
    /// A one-time payment (draft-payment-intent-charge-00).
    Charge,
    /// A metered payment channel (draft-payment-intent-session-00).
    Session,
}

impl Intent {
    /// The identifier on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Charge => "charge",
            Self::Session => "session",
        }
    }
}

/// The network that a method moves money on: a CAIP-2 chain id such as `eip155:4217`, or the name of a
/// payment processor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Network(Arc<str>);

impl Network {
    /// The network of an EVM chain (CAIP-2, namespace `eip155`).
    #[must_use]
    pub fn evm(chain_id: u64) -> Self {
        Self(format!("eip155:{chain_id}").into())
    }

    /// The stored form of [`Network::as_str`].
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }

    /// The name, as stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The chain id, where the network is an EVM chain.
    #[must_use]
    pub fn chain_id(&self) -> Option<u64> {
        self.0.strip_prefix("eip155:")?.parse().ok()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of an offer that a challenge repeats.
pub trait Offered {
    /// The method that it is paid by.
    fn method(&self) -> Method;
    /// The intent of the payment.
    fn intent(&self) -> Intent;
    /// The `request` parameter: base64url of canonical JSON, whose meaning is the method's.
    fn encoded_request(&self) -> &Arc<str>;
    /// Text for people; never relied upon (draft-httpauth-payment-00, "Amount Verification").
    fn description(&self) -> &Arc<str>;
}

/// One way to pay for a resource once. A 402 carries one challenge for each. The methods make them:
/// [`methods`](crate::methods).
#[derive(Debug, Clone)]
pub struct Offer {
    pub(crate) method: Method,
    pub(crate) network: Network,
    pub(crate) amount: Money,
    pub(crate) currency: Arc<str>,
    pub(crate) sponsored: bool,
    pub(crate) description: Arc<str>,
    pub(crate) request: Arc<str>,
}

impl Offer {
    /// The network that it is paid on.
    #[must_use]
    pub const fn network(&self) -> &Network {
        &self.network
    }

    /// The price, without network fees.
    #[must_use]
    pub const fn amount(&self) -> Money {
        self.amount
    }

    /// The currency, as the method names it: a token's address in lower case, or a currency code.
    #[must_use]
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// True if the server pays the network fee.
    #[must_use]
    pub const fn is_sponsored(&self) -> bool {
        self.sponsored
    }
}

impl Offered for Offer {
    fn method(&self) -> Method {
        self.method
    }

    fn intent(&self) -> Intent {
        Intent::Charge
    }

    fn encoded_request(&self) -> &Arc<str> {
        &self.request
    }

    fn description(&self) -> &Arc<str> {
        &self.description
    }
}
