//! Holds of a channel, each with the request that is charged on it.

use super::state::ChannelRequest;
use super::{TxFailure, store};
use crate::db::statements::{Row, Statements as _};
use crate::db::{DbError, Tx};
use crate::id::{HoldId, RequestId, Timestamp};
use crate::ledger::{self, ChargeOutcome, EntryDetails, EntryKind, OpenHold};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// An open hold of a channel's account, and the request it is for.
#[derive(Debug, Clone)]
struct OpenChannelHold {
    pub hold: HoldId,
    pub charged: Money,
    /// Amount that is owed at the least, since an upstream has the prompt.
    pub prompt_due: Money,
    pub request_id: Option<RequestId>,
    pub challenge: String,
    pub service: String,
    pub unit_price: Money,
}

/// Returns the open holds of a channel's account. Account and holds are locked, so
/// what the holds were charged stays so until the transaction ends.
async fn open_holds(tx: &mut Tx, channel: ChannelId) -> Result<Vec<OpenChannelHold>, TxFailure> {
    let open = ledger::open_holds(tx, &store::account(channel)).await?;
    if open.is_empty() {
        return Ok(Vec::new());
    }
    let text = "SELECT hold, request_id, challenge, service, unit_price, prompt_due FROM channel_requests WHERE channel = $1";
    let requests = tx.fetch(text, vec![channel.to_string().into()]).await?;
    let with_request = |hold: OpenHold| {
        let request = requests.iter().find(|row| row.text("hold").is_ok_and(|id| id == hold.id.to_string()));
        Ok(of_request(hold, request)?)
    };
    open.into_iter().map(with_request).collect()
}

/// Joins a hold with the row of its request; without one it counts as a chat request.
fn of_request(hold: OpenHold, request: Option<&Row>) -> Result<OpenChannelHold, DbError> {
    let OpenHold { id, charged } = hold;
    let Some(row) = request else {
        let (challenge, service) = (String::new(), "chat".to_owned());
        let unit_price = Money::ZERO;
        let prompt_due = Money::ZERO;
        return Ok(OpenChannelHold {
            hold: id,
            charged,
            prompt_due,
            request_id: None,
            challenge,
            service,
            unit_price,
        });
    };
    Ok(OpenChannelHold {
        hold: id,
        charged,
        prompt_due: Money::from_micros(row.whole("prompt_due")?),
        request_id: RequestId::from_client(&row.text("request_id")?),
        challenge: row.text("challenge")?,
        service: row.text("service")?,
        unit_price: Money::from_micros(row.whole("unit_price")?),
    })
}

/// Records what is owed of a hold since an upstream has its request's prompt.
pub(super) async fn owe_prompt(tx: &mut Tx, hold: &HoldId, amount: Money) -> Result<(), DbError> {
    let text = "UPDATE channel_requests SET prompt_due = $2 WHERE hold = $1";
    tx.execute(text, vec![hold.to_string().into(), amount.micros().into()]).await?;
    Ok(())
}

/// Records the request of a new hold, in place of earlier requests.
pub(super) async fn set_request(
    tx: &mut Tx,
    channel: ChannelId,
    hold: &HoldId,
    request: &ChannelRequest<'_>,
) -> Result<(), DbError> {
    let channel = channel.to_string();
    tx.execute("DELETE FROM channel_requests WHERE channel = $1", vec![channel.as_str().into()]).await?;
    let text = "INSERT INTO channel_requests (hold, channel, request_id, challenge, service, unit_price) \
         VALUES ($1, $2, $3, $4, $5, $6)";
    let values = vec![
        hold.to_string().into(),
        channel.into(),
        request.id.as_str().into(),
        request.challenge.into(),
        request.service.into(),
        request.unit_price.micros().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Closes the open holds of a channel at what they were charged, or owe for a prompt that an upstream has. Returns their
/// number.
pub(super) async fn close_holds(tx: &mut Tx, id: ChannelId, now: Timestamp) -> Result<usize, TxFailure> {
    let holds = open_holds(tx, id).await?;
    let count = holds.len();
    for open in holds {
        let due = open.prompt_due.checked_sub(open.charged).filter(|due| due.is_positive());
        let mut charged = open.charged;
        if let Some(due) = due
            && let ChargeOutcome::Charged { .. } = ledger::charge(tx, &open.hold, due).await?
        {
            charged = open.prompt_due;
        }
        let units = charged.micros().checked_div(open.unit_price.micros()).unwrap_or(0);
        let details = EntryDetails {
            kind: EntryKind::Usage,
            request_id: open.request_id,
            service: open.service,
            units: u64::try_from(units).unwrap_or(0),
            unit_price: open.unit_price,
            meta: serde_json::json!({
                "channel": id.to_string(), "challenge": open.challenge, "end": "superseded",
            }),
        };
        ledger::close(tx, &open.hold, &details, now).await?;
    }
    Ok(count)
}
