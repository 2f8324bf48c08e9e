//! Verification of the three fields that prove a wallet.

use alloy::primitives::{Address, B256};

use super::message::{self, ParsedMessage};
use super::signature::{self, LocalVerdict};
use super::{AuthError, MessageRules, VerifiedMessage, WalletAction};
use crate::chain::{Chain, ChainError};
use crate::id::{AccountId, Timestamp};

/// Refusal of a signature that is not the wallet's.
const FORGED: AuthError = AuthError::Signature("the signature is not this wallet's over this message");

/// Fields that prove a wallet.
#[derive(Clone, Copy)]
pub struct WalletAuthFields<'a> {
    pub wallet: &'a str,
    pub message: &'a str,
    /// 0x and hexadecimal digits.
    pub signature: &'a str,
}

/// Action that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedAction<'a> {
    pub action: WalletAction,
    /// Key that the action is about, where it is about one.
    pub key_id: Option<&'a str>,
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
    let not_an_address = AuthError::Signature("walletAddress is not 0x and 40 hexadecimal digits");
    let account = AccountId::wallet(fields.wallet).map_err(|_| not_an_address)?;
    let wallet: Address = fields.wallet.parse().map_err(|_| not_an_address)?;
    let message = message::read(rules, fields.message, wallet, requested.action, requested.key_id, now)?;
    let signature = fields.signature.strip_prefix("0x").and_then(|digits| hex::decode(digits).ok());
    let signature = signature.ok_or(AuthError::Signature("signature is not 0x and hexadecimal digits"))?;
    let hash = signature::hash(fields.message);
    match signature::verify_local(wallet, hash, &signature) {
        LocalVerdict::Signed => {}
        LocalVerdict::Forged => return Err(FORGED),
        verdict
        @ (LocalVerdict::AccessKey { .. } | LocalVerdict::Contract | LocalVerdict::Counterfactual) => {
            may_ask_chain().map_err(AuthError::RateLimited)?;
            verify_on_chain(chain, verdict, wallet, hash, &signature, now).await?;
        }
    }
    let ParsedMessage { issued_at, .. } = message;
    Ok(VerifiedMessage { wallet, account, message, valid_until: rules.valid_until(issued_at) })
}

/// Asks the chain about a signature that does not decide itself.
async fn verify_on_chain(
    chain: &Chain,
    verdict: LocalVerdict,
    wallet: Address,
    hash: B256,
    signature: &[u8],
    now: Timestamp,
) -> Result<(), AuthError> {
    let accepted = match verdict {
        LocalVerdict::Signed => Ok(true),
        LocalVerdict::Forged => Ok(false),
        LocalVerdict::AccessKey { key, kind } => chain.access_key(wallet, key).await.map(|found| {
            // Any active key of the account may sign, as for the chain's own verifier.
            found.is_some_and(|found| {
                found.kind == kind && i128::from(found.expiry) > i128::from(now.seconds())
            })
        }),
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
