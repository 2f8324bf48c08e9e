//! Tools that add credits: `top_up` for the account, `buy_credits` for a wallet that pays by the call.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{ToolCall, ToolOutput, available};
use crate::http::error::{Code, HttpError};
use crate::http::gates::payment;
use crate::http::prepaid::top_up;
use crate::http::routes::mpp::purchase;
use crate::money::Money;

/// An amount to add.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TopUpArguments {
    amount_usd: Option<String>,
}

/// Adds credits to the account: asks for the payment, or takes it.
pub(super) async fn top_up(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let arguments: TopUpArguments = call.read()?;
    let amount = arguments.amount_usd.as_deref().map_or(Ok(call.app.config.keys.top_up), amount)?;
    let key = call.key()?;
    let paid = top_up::buy(&call.app, key, &call.payable()?, amount).await?;
    let mut structured = json!({ "creditedUsd": amount.to_dollars() });
    if let Some(balance) = available(call, &key.key().account()).await {
        structured["balanceUsd"] = balance.into();
    }
    Ok(ToolOutput { structured, paid: Some(paid), more: Vec::new() })
}

fn amount(text: &str) -> Result<Money, HttpError> {
    let amount =
        Money::parse_dollars(text).ok().filter(|amount| (top_up::LEAST..=top_up::MOST).contains(amount));
    amount.ok_or_else(|| {
        HttpError::invalid(format!(
            "`amountUsd` must be an amount of dollars such as 10.00, from {} to {}",
            top_up::LEAST.to_dollars(),
            top_up::MOST.to_dollars()
        ))
    })
}

/// A pack to buy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BuyArguments {
    pack_id: String,
}

/// Sells credits to the wallet that pays.
pub(super) async fn buy(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    let arguments: BuyArguments = call.read()?;
    let (pack, offers) = purchase::pack(&call.app, &arguments.pack_id)?;
    let request = call.payable()?;
    let requirement = request.requirement(offers, "credits");
    let delivery = payment::sell(&call.app, request, requirement, move |paid| async move {
        Ok(purchase::credit(&pack, &paid))
    })
    .await?;
    let structured: Value = serde_json::from_str(&delivery.answer)
        .map_err(|_| HttpError::new(Code::InternalError, "the paid answer cannot be read; it stays paid"))?;
    Ok(ToolOutput { structured, paid: Some(delivery), more: Vec::new() })
}
