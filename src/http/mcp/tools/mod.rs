//! Tools: each reads its arguments, asks the same code as `/v1`, and returns an object.

mod account;
mod chat;
mod credits;
mod files;
mod models;
mod preview;

use super::call::{ToolCall, ToolOutput};
use super::catalog::ToolName;
use crate::http::error::HttpError;
use crate::id::AccountId;

/// Runs a tool.
///
/// # Errors
/// The reason for which it returns nothing; it costs nothing then.
pub async fn run(call: &ToolCall) -> Result<ToolOutput, HttpError> {
    match call.tool {
        ToolName::ListModels => models::list(call),
        ToolName::Chat => chat::ask(call).await,
        ToolName::PiiPreview => preview::run(call).await,
        ToolName::CreateUpload => files::create_upload(call).await,
        ToolName::RedactFile => files::redact(call).await,
        ToolName::GetBalance => account::balance(call).await,
        ToolName::ListUsage => account::usage(call).await,
        ToolName::ListKeys => account::keys(call).await,
        ToolName::RevokeKey => account::revoke_key(call).await,
        ToolName::TopUp => credits::top_up(call).await,
        ToolName::BuyCredits => credits::buy(call).await,
    }
}

/// Returns what an account has available, in dollars; `None` where it cannot be read, which is not worth failing a paid
/// answer for.
async fn available(call: &ToolCall, account: &AccountId) -> Option<String> {
    call.app.ledger.balance(account).await.ok().map(|balance| balance.available().to_dollars())
}
