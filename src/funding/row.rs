//! Rows of `payments` as payments, whose state carries what is known at it.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::store::StoreError;
use crate::id::{AccountId, Timestamp};
use crate::money::Money;
use crate::payments::core::payment::Failure;
use crate::payments::{
    Method, Network, Payer, Payment, PaymentState, Purchase, Settled, Submission, Transfer,
};

/// Reads a row.
///
/// # Errors
/// [`StoreError::Corrupt`] names the column that holds what no payment has.
pub(super) fn payment(row: &AnyRow) -> Result<Payment, StoreError> {
    let id: String = row.try_get("id")?;
    let corrupt = |column, value: &str| StoreError::Corrupt { id: id.clone(), column, value: value.into() };
    let (proof, method): (String, String) = (row.try_get("proof")?, row.try_get("method")?);
    let account: Option<String> = row.try_get("account")?;
    let account = account.map(|text| AccountId::parse(&text).map_err(|_| corrupt("account", &text)));
    let time = |column| row.try_get::<i64, _>(column).map(Timestamp::from_millis).map_err(StoreError::from);
    Ok(Payment {
        state: state(row, &corrupt)?,
        method: Method::parse(&method).ok_or_else(|| corrupt("method", &method))?,
        network: Network::from_stored(row.try_get::<&str, _>("network")?),
        submission: Submission::parse(&proof).ok_or_else(|| corrupt("proof", &proof))?,
        fingerprint: row.try_get("fingerprint")?,
        pushed: row.try_get("pushed")?,
        resource: row.try_get("route")?,
        digest: row.try_get("digest")?,
        amount: Money::from_micros(row.try_get("amount")?),
        currency: row.try_get("currency")?,
        idempotency_key: row.try_get("idempotency_key")?,
        request_id: row.try_get("request_id")?,
        top_up: account.transpose()?,
        expires_at: time("expires_at")?,
        lease_until: time("lease_until")?,
        created_at: time("created_at")?,
        updated_at: time("updated_at")?,
        id,
    })
}

/// The state of a row, with what is known at it.
fn state(
    row: &AnyRow,
    corrupt: &impl Fn(&'static str, &str) -> StoreError,
) -> Result<PaymentState, StoreError> {
    let text = |column: &'static str| row.try_get::<Option<String>, _>(column).map_err(StoreError::from);
    let required = |column| text(column)?.ok_or_else(|| corrupt(column, "(none)"));
    let payer = || {
        let name = required("payer")?;
        Payer::wallet(&name).map_err(|_| corrupt("payer", &name))
    };
    let settled = || {
        Ok::<_, StoreError>(Settled {
            payer: payer()?,
            reference: text("reference")?,
            answer: text("answer")?,
            goods: text("goods")?,
            receipt: required("receipt")?,
        })
    };
    let name: String = row.try_get("state")?;
    match name.as_str() {
        "claimed" => Ok(PaymentState::Claimed),
        "broadcast" => Ok(PaymentState::Broadcast {
            payer: payer()?,
            transfer: Transfer {
                reference: required("reference")?,
                instruction: required("instruction")?,
                fee_limit: Some(Money::from_micros(row.try_get("fee_limit")?))
                    .filter(|limit| limit.is_positive()),
                valid_before: row.try_get::<Option<i64>, _>("valid_before")?.map(Timestamp::from_millis),
            },
            purchase: Purchase { answer: required("answer")?, goods: text("goods")? },
        }),
        "settled" => settled().map(PaymentState::Settled),
        "delivered" => settled().map(PaymentState::Delivered),
        "failed" => {
            let payer = text("payer")?.is_some().then(payer).transpose()?;
            let failure = match text("failure")?.as_deref() {
                None => Failure::Undone,
                Some("held_back") => Failure::HeldBack,
                Some(other) => return Err(corrupt("failure", other)),
            };
            Ok(PaymentState::Failed { payer, reference: text("reference")?, failure })
        }
        other => Err(corrupt("state", other)),
    }
}
