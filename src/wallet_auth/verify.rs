//! Verification of the three fields that prove a wallet.

use alloy::primitives::{Address, B256};

use super::message::{self, ParsedMessage};
use super::signature::{self, LocalVerdict};
use super::{AuthError, MessageRules, VerifiedMessage, WalletAction};
use crate::chain::signer::AccessKey;
use crate::chain::{Chain, ChainError};
use crate::id::{AccountId, Timestamp};

/// Refusal of a signature that is not the wallet's.
const FORGED: AuthError = AuthError::Signature("the signature is not this wallet's over this message");
/// Refusal of an access key that its account trusts with some calls or amounts only.
const RESTRICTED: AuthError = AuthError::Signature(
    "this access key has spending limits or allowed calls on the chain, which would not bind a key or a payment made \
     with it here; sign with the account's own key, or with an access key without them",
);

/// Fields that prove a wallet.
#[derive(Clone, Copy)]
pub struct WalletAuthFields<'a> {
    pub wallet: &'a str,
    pub message: &'a str,
    /// 0x and hexadecimal digits.
    pub signature: &'a str,
}

/// Terms that a message names: for the person in its statement, and whole by their digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedTerms<'a> {
    /// End of the statement: `scopes=chat; daily=5.00`.
    pub summary: &'a str,
    /// `Request ID`.
    pub digest: &'a str,
}

/// Action that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedAction<'a> {
    pub action: WalletAction,
    /// Key that the action is about, where it is about one.
    pub key_id: Option<&'a str>,
    /// Parameters of the request beside the proof.
    pub parameters: &'a serde_json::Map<String, serde_json::Value>,
    /// Terms that the message must name, where the action is about more than a key.
    pub terms: Option<SignedTerms<'a>>,
}

/// Verifies message, time and signature. `may_ask_chain` says if this caller may cost the chain a
/// question now, and otherwise how many seconds to wait; a plain key's signature costs none.
///
/// # Errors
/// [`AuthError`], all but [`AuthError::Missing`] and [`AuthError::Replay`].
pub async fn verify(
    chain: &Chain,
    rules: &MessageRules,
    fields: WalletAuthFields<'_>,
    requested: RequestedAction<'_>,
    now: Timestamp,
    may_ask_chain: impl FnOnce() -> Result<(), u32>,
) -> Result<VerifiedMessage, AuthError> {
    let (account, wallet) = read_wallet(fields.wallet)?;
    let message = message::read(rules, fields.message, wallet, requested, now)?;
    verify_signature(chain, wallet, fields, requested.action, now, may_ask_chain).await?;
    message.check_body(requested)?;
    let ParsedMessage { issued_at, .. } = message;
    Ok(VerifiedMessage { wallet, account, message, valid_until: rules.valid_until(issued_at) })
}

/// Reads the address of a wallet.
///
/// # Errors
/// [`AuthError::Signature`].
pub(super) fn read_wallet(text: &str) -> Result<(AccountId, Address), AuthError> {
    let not_an_address = AuthError::Signature("walletAddress is not 0x and 40 hexadecimal digits");
    let account = AccountId::wallet(text).map_err(|_| not_an_address)?;
    Ok((account, text.parse().map_err(|_| not_an_address)?))
}

/// Verifies a wallet's signature over a message, whatever the message says.
///
/// # Errors
/// [`AuthError::Signature`], [`AuthError::RateLimited`] or [`AuthError::ChainUnreachable`].
pub(super) async fn verify_signature(
    chain: &Chain,
    wallet: Address,
    fields: WalletAuthFields<'_>,
    action: WalletAction,
    now: Timestamp,
    may_ask_chain: impl FnOnce() -> Result<(), u32>,
) -> Result<(), AuthError> {
    let signature = fields.signature.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
    let signature = signature.ok_or(AuthError::Signature("signature is not 0x and hexadecimal digits"))?;
    let hash = signature::hash(fields.message);
    match signature::verify_local(wallet, hash, &signature) {
        LocalVerdict::Signed => Ok(()),
        LocalVerdict::Forged => Err(FORGED),
        verdict
        @ (LocalVerdict::AccessKey { .. } | LocalVerdict::Contract | LocalVerdict::Counterfactual) => {
            may_ask_chain().map_err(AuthError::RateLimited)?;
            let signed = SignedHash { wallet, hash, signature: &signature };
            verify_on_chain(chain, verdict, signed, action, now).await
        }
    }
}

/// A signature over the hash of a message, with the wallet that it is said to be of.
#[derive(Clone, Copy)]
struct SignedHash<'a> {
    wallet: Address,
    hash: B256,
    signature: &'a [u8],
}

/// Asks the chain about a signature that does not decide itself.
async fn verify_on_chain(
    chain: &Chain,
    verdict: LocalVerdict,
    signed: SignedHash<'_>,
    action: WalletAction,
    now: Timestamp,
) -> Result<(), AuthError> {
    let SignedHash { wallet, hash, signature } = signed;
    let accepted = match verdict {
        LocalVerdict::Signed => Ok(true),
        LocalVerdict::Forged => Ok(false),
        LocalVerdict::AccessKey { key, kind } => {
            let found = chain.access_key(wallet, key).await.map_err(|error| unreachable_chain(&error))?;
            let active = |found: &AccessKey| {
                found.kind == kind && i128::from(found.expiry) > i128::from(now.seconds())
            };
            let found = found.filter(active);
            // Any active key of the account proves who asks, as for the chain's own verifier. What it may do on the
            // chain does not bind what would be made here.
            if action.gives_authority() && found.is_some_and(|found| found.restricted) {
                return Err(RESTRICTED);
            }
            Ok(found.is_some())
        }
        LocalVerdict::Contract => chain.accepts_signature(wallet, hash, signature).await,
        LocalVerdict::Counterfactual => chain.would_accept_signature(wallet, hash, signature).await,
    };
    match accepted {
        Ok(true) => Ok(()),
        Ok(false) => Err(FORGED),
        Err(error) => Err(unreachable_chain(&error)),
    }
}

fn unreachable_chain(error: &ChainError) -> AuthError {
    tracing::warn!(%error, "a wallet's signature cannot be checked");
    metrics::counter!("farebox_wallet_signatures_unverifiable_total").increment(1);
    AuthError::ChainUnreachable
}
