//! SQL of channels and vouchers.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use alloy::primitives::Bytes;

use super::policy::SettlementTries;
use super::state::{Channel, PendingTx, Phase, Reservation, TxPurpose};
use crate::db::rows::{self, Column};
use crate::db::statements::{Row, Statements as _};
use crate::db::{Db, DbError, Tx};
use crate::funding::StoreError;
use crate::id::{AccountId, Timestamp};
use crate::ledger;
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher};

const COLUMNS: &str = "c.id, c.payer, c.payee, c.operator, c.token, c.salt, c.authorized_signer, \
    c.expiring_nonce_hash, c.state, c.deposit, c.settled, c.published, c.close_requested_at, c.pending_kind, \
    c.pending_amount, c.pending_hash, c.pending_raw, c.pending_until, c.pending_fee, \
    c.pending_fee_at, c.close_hash, c.active_at, c.checked_at, c.settlement_tries, c.settlement_tried_at, \
    v.amount AS voucher_amount, v.signature AS voucher_signature";

/// Channels, each with its highest voucher.
const FROM: &str = "channels c \
    LEFT JOIN vouchers v ON v.channel = c.id \
        AND v.amount = (SELECT max(amount) FROM vouchers WHERE channel = c.id)";

/// Returns the query for the channels that `rest` selects. Money spent is the ledger's, read in the same
/// query: every request of a channel reads it.
fn select(rest: &str) -> String {
    let spent = ledger::spent_of("'channel:' || c.id");
    format!("SELECT {COLUMNS}, {spent} AS spent FROM {FROM} {rest}")
}

/// Returns the ledger account of a channel.
pub(super) fn account(channel: ChannelId) -> AccountId {
    AccountId::channel(&channel.to_string()).expect("a channel id is 0x and 64 hex digits")
}

pub(super) async fn find(db: &Db, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
    let row = db.fetch_optional(&select("WHERE c.id = $1"), vec![channel.to_string().into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Returns the payer's channel that was used last and can still be used.
pub(super) async fn of_payer(db: &Db, payer: &str, token: &str) -> Result<Option<Channel>, StoreError> {
    let text = select(
        "WHERE c.payer = $1 AND c.token = $2 AND c.state = 'open' AND c.close_requested_at = 0 \
         ORDER BY c.active_at DESC LIMIT 1",
    );
    let row = db.fetch_optional(&text, vec![payer.into(), token.into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Channels whose state on the chain was read too long ago, between `$1` and now, `$2`. A moment that is yet to come is
/// that of a clock that has been set back since.
const IS_STALE: &str = "(c.checked_at <= $1 OR c.checked_at > $2)";

/// Returns channels whose state on the chain was last read `age` milliseconds ago or before, in the order of their ids,
/// from the one that follows `after`.
pub(super) async fn unchecked(
    db: &Db,
    age: i64,
    now: Timestamp,
    after: Option<ChannelId>,
    limit: i64,
) -> Result<Vec<Channel>, StoreError> {
    let text = select(&format!(
        "WHERE c.state IN ('opening', 'open') AND {IS_STALE} AND c.id > $3 ORDER BY c.id LIMIT $4"
    ));
    let after = after.map_or_else(String::new, |id| id.to_string());
    let before = now.millis().saturating_sub(age);
    let rows = db.fetch(&text, vec![before.into(), now.millis().into(), after.into(), limit.into()]).await?;
    rows.iter().map(read).collect()
}

/// Returns channels whose state on the chain was last read `age` milliseconds ago or before and that cannot wait: their
/// payer wants to close, or a request runs on them. One with a pending transaction has its turn with the
/// others: nothing can be done on it before.
pub(super) async fn urgent(
    db: &Db,
    age: i64,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Channel>, StoreError> {
    let runs = ledger::has_open_hold("'channel:' || c.id");
    let text = select(&format!(
        "WHERE c.state = 'open' AND c.pending_kind IS NULL AND {IS_STALE} \
         AND (c.close_requested_at > 0 OR {runs}) \
         ORDER BY CASE WHEN c.close_requested_at > 0 THEN 0 ELSE 1 END, c.checked_at LIMIT $3"
    ));
    let before = now.millis().saturating_sub(age);
    let rows = db.fetch(&text, vec![before.into(), now.millis().into(), limit.into()]).await?;
    rows.iter().map(read).collect()
}

/// Returns the newest channels, the newest first.
pub(super) async fn newest(db: &Db, limit: i64) -> Result<Vec<Channel>, StoreError> {
    let rows = db.fetch(&select("ORDER BY c.created_at DESC LIMIT $1"), vec![limit.into()]).await?;
    rows.iter().map(read).collect()
}

/// Locks a channel until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut Tx, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
    let id = channel.to_string();
    let text = format!("SELECT id FROM channels WHERE id = $1{}", tx.engine().for_update());
    if tx.fetch_optional(&text, vec![id.as_str().into()]).await?.is_none() {
        return Ok(None);
    }
    let row = tx.fetch_one(&select("WHERE c.id = $1"), vec![id.into()]).await?;
    read(&row).map(Some)
}

/// Locks channels until the transaction ends, in the order of their ids, and
/// reads those that are known.
pub(super) async fn lock_all(
    tx: &mut Tx,
    ids: BTreeSet<ChannelId>,
) -> Result<BTreeMap<ChannelId, Channel>, StoreError> {
    let ids: Vec<_> = ids.iter().map(|id| [id.to_string()]).collect();
    let given = rows::given(tx.engine(), &[Column::Text("id")], ids.len());
    let lock = tx.engine().for_update();
    if !lock.is_empty() {
        let text =
            format!("{given} SELECT id FROM channels WHERE id IN (SELECT id FROM given) ORDER BY id{lock}");
        tx.fetch(&text, vec![rows::cells(&ids)]).await?;
    }
    let text = format!("{given} {}", select("WHERE c.id IN (SELECT id FROM given)"));
    let rows = tx.fetch(&text, vec![rows::cells(&ids)]).await?;
    rows.iter().map(|row| read(row).map(|channel| (channel.id, channel))).collect()
}

/// Stores a new channel before its opening transaction is sent; `false` when it is known already.
pub(super) async fn insert(
    tx: &mut Tx,
    channel: ChannelId,
    descriptor: &Descriptor,
    now: Timestamp,
) -> Result<bool, DbError> {
    let text = "INSERT INTO channels (id, payer, payee, operator, token, salt, authorized_signer, \
         expiring_nonce_hash, state, deposit, settled, close_requested_at, created_at, active_at, \
         checked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'opening', 0, 0, 0, $9, $9, $9) \
         ON CONFLICT (id) DO NOTHING";
    let values = vec![
        channel.to_string().into(),
        format!("{:#x}", descriptor.payer).into(),
        format!("{:#x}", descriptor.payee).into(),
        format!("{:#x}", descriptor.operator).into(),
        format!("{:#x}", descriptor.token).into(),
        format!("{:#x}", descriptor.salt).into(),
        format!("{:#x}", descriptor.authorized_signer).into(),
        format!("{:#x}", descriptor.expiring_nonce_hash).into(),
        now.millis().into(),
    ];
    Ok(tx.execute(text, values).await? == 1)
}

/// Records the pending transaction of a channel before it is sent; `false` when
/// another one is pending. A settlement makes its voucher public.
pub(super) async fn set_pending(
    tx: &mut Tx,
    channel: ChannelId,
    pending: &PendingTx,
) -> Result<bool, DbError> {
    let text = "UPDATE channels SET pending_kind = $2, pending_amount = $3, pending_hash = $4, \
         pending_raw = $5, pending_until = $6, pending_fee = $7, pending_fee_at = $8, \
         published = CASE WHEN $2 = 'settle' AND published < $3 THEN $3 ELSE published END \
         WHERE id = $1 AND pending_kind IS NULL AND state IN ('opening', 'open')";
    let values = vec![
        channel.to_string().into(),
        pending.purpose.as_str().into(),
        pending.amount.micros().into(),
        pending.hash.as_str().into(),
        pending.raw.as_str().into(),
        pending.valid_until.map(Timestamp::millis).into(),
        pending.sponsored.map(|reservation| reservation.fee.micros()).into(),
        pending.sponsored.map(|reservation| reservation.at.millis()).into(),
    ];
    Ok(tx.execute(text, values).await? == 1)
}

/// State of a channel after its pending transaction was included, failed or expired.
#[derive(Debug, Clone, Copy)]
pub(super) struct TxOutcome {
    pub phase: Phase,
    pub deposit: Money,
    pub settled: Money,
    /// Network fee that was paid; zero when no block has the transaction.
    pub fee: Money,
}

/// Ends the pending transaction with this hash. Deposit and settled amount
/// only rise; a top-up cancels a requested close (TIP-1034).
pub(super) async fn resolve(
    tx: &mut Tx,
    channel: ChannelId,
    pending: &PendingTx,
    outcome: TxOutcome,
    now: Timestamp,
) -> Result<bool, DbError> {
    let text = "UPDATE channels SET state = $3, \
         deposit = CASE WHEN deposit < $4 THEN $4 ELSE deposit END, \
         settled = CASE WHEN settled < $5 THEN $5 ELSE settled END, \
         close_requested_at = CASE WHEN pending_kind = 'topUp' AND $4 > deposit THEN 0 ELSE close_requested_at END, \
         settlement_tries = CASE WHEN settled < $5 THEN 0 ELSE settlement_tries END, \
         close_hash = CASE WHEN $3 = 'closed' AND state <> 'closed' THEN pending_hash ELSE close_hash END, \
         pending_kind = NULL, pending_amount = NULL, pending_hash = NULL, pending_raw = NULL, \
         pending_until = NULL, pending_fee = NULL, pending_fee_at = NULL, \
         active_at = CASE WHEN pending_kind IN ('open', 'topUp') THEN $6 ELSE active_at END, \
         checked_at = $6 WHERE id = $1 AND pending_hash = $2";
    let values = vec![
        channel.to_string().into(),
        pending.hash.as_str().into(),
        outcome.phase.as_str().into(),
        outcome.deposit.micros().into(),
        outcome.settled.micros().into(),
        now.millis().into(),
    ];
    Ok(tx.execute(text, values).await? == 1)
}

/// Records a channel's state as the chain reports it. Nothing is ever lowered: a node
/// that is behind must not reopen a closing channel or lower a deposit.
pub(super) async fn observe(
    tx: &mut Tx,
    channel: ChannelId,
    deposit: Money,
    settled: Money,
    close_requested_at: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    let text = "UPDATE channels SET \
         deposit = CASE WHEN deposit < $2 THEN $2 ELSE deposit END, \
         settled = CASE WHEN settled < $3 THEN $3 ELSE settled END, \
         close_requested_at = CASE WHEN close_requested_at < $4 THEN $4 ELSE close_requested_at END, \
         checked_at = $5 WHERE id = $1";
    let values = vec![
        channel.to_string().into(),
        deposit.micros().into(),
        settled.micros().into(),
        close_requested_at.into(),
        now.millis().into(),
    ];
    tx.execute(text, values).await?;
    Ok(())
}

/// Records a try of the worker to settle or close a channel, before it is made: what comes of it may never be known.
pub(super) async fn count_try(tx: &mut Tx, channel: ChannelId, now: Timestamp) -> Result<(), DbError> {
    let text =
        "UPDATE channels SET settlement_tries = settlement_tries + 1, settlement_tried_at = $2 WHERE id = $1";
    tx.execute(text, vec![channel.to_string().into(), now.millis().into()]).await?;
    Ok(())
}

/// Records that a channel was closed externally.
pub(super) async fn set_closed_externally(
    tx: &mut Tx,
    channel: ChannelId,
    now: Timestamp,
) -> Result<(), DbError> {
    let text = "UPDATE channels SET state = 'closed', checked_at = $2 \
         WHERE id = $1 AND state = 'open' AND pending_kind IS NULL";
    tx.execute(text, vec![channel.to_string().into(), now.millis().into()]).await?;
    Ok(())
}

/// Stores the voucher of each of these channels, and deletes those that no settlement
/// needs any more: of the vouchers within the spent amount, only the highest is of use.
pub(super) async fn store_vouchers(
    tx: &mut Tx,
    channels: &[&Channel],
    now: Timestamp,
) -> Result<(), DbError> {
    let engine = tx.engine();
    let vouchers: Vec<_> = channels
        .iter()
        .filter_map(|channel| channel.voucher.as_ref().map(|voucher| (channel, voucher)))
        .map(|(channel, voucher)| {
            let signature = alloy::hex::encode_prefixed(&voucher.signature);
            (channel.id.to_string(), voucher.amount.micros(), signature)
        })
        .collect();
    let columns = [Column::Text("id"), Column::Whole("amount"), Column::Text("signature")];
    let given = rows::given(engine, &columns, vouchers.len());
    let insert = format!(
        "{given} INSERT INTO vouchers (channel, amount, signature) SELECT id, amount, signature FROM given"
    );
    tx.execute(&insert, vec![rows::cells(&vouchers)]).await?;
    let spent: Vec<_> = channels
        .iter()
        .map(|channel| (channel.id.to_string(), channel.spent.micros(), now.millis()))
        .collect();
    let columns = [Column::Text("id"), Column::Whole("spent"), Column::Whole("now")];
    let given = rows::given(engine, &columns, spent.len());
    let spent = rows::cells(&spent);
    let delete = format!(
        "{given} DELETE FROM vouchers WHERE (channel, amount) IN
           (SELECT lower.channel, lower.amount FROM given
              CROSS JOIN vouchers spent CROSS JOIN vouchers lower
             WHERE spent.channel = given.id AND spent.amount <= given.spent
               AND lower.channel = spent.channel AND lower.amount < spent.amount)"
    );
    tx.execute(&delete, vec![spent.clone()]).await?;
    let touch =
        format!("{given} UPDATE channels SET active_at = given.now FROM given WHERE channels.id = given.id");
    tx.execute(&touch, vec![spent]).await?;
    Ok(())
}

/// Vouchers that a settlement may make public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Publish {
    /// All.
    All,
    /// All but the channel's highest one, with which its payer can close it by itself as long as it is not public.
    AllButLast,
}

/// Returns the highest voucher within the spent amount, of those that may be made public.
pub(super) async fn settleable(
    db: &Db,
    channel: ChannelId,
    spent: Money,
    publish: Publish,
) -> Result<Option<SignedVoucher>, StoreError> {
    let text = match publish {
        Publish::All => {
            "SELECT amount, signature FROM vouchers WHERE channel = $1 AND amount <= $2 \
             ORDER BY amount DESC LIMIT 1"
        }
        Publish::AllButLast => {
            "SELECT amount, signature FROM vouchers WHERE channel = $1 AND amount <= $2 \
             AND amount < (SELECT max(amount) FROM vouchers WHERE channel = $1) ORDER BY amount DESC LIMIT 1"
        }
    };
    let row = db.fetch_optional(text, vec![channel.to_string().into(), spent.micros().into()]).await?;
    row.map(|row| voucher(channel, row.whole("amount")?, &row.text("signature")?)).transpose()
}

fn voucher(channel: ChannelId, amount: i64, signature: &str) -> Result<SignedVoucher, StoreError> {
    let signature: Bytes = signature.parse().map_err(|_| corrupt(channel, "signature", "(not shown)"))?;
    Ok(SignedVoucher { channel, amount: Money::from_micros(amount), signature })
}

fn corrupt(channel: ChannelId, column: &'static str, value: &str) -> StoreError {
    StoreError::Corrupt { id: channel.to_string(), column, value: value.to_owned() }
}

fn money(row: &Row, column: &str) -> Result<Money, DbError> {
    row.whole(column).map(Money::from_micros)
}

fn moment(row: &Row, column: &str) -> Result<Timestamp, DbError> {
    row.whole(column).map(Timestamp::from_millis)
}

fn read(row: &Row) -> Result<Channel, StoreError> {
    let id = row.text("id")?;
    let id: ChannelId =
        id.parse().map_err(|_| StoreError::Corrupt { id: id.clone(), column: "id", value: id.clone() })?;
    let phase = row.text("state")?;
    let phase =
        Phase::ALL.into_iter().find(|p| p.as_str() == phase).ok_or_else(|| corrupt(id, "state", &phase))?;
    let voucher = match (row.whole_or_null("voucher_amount")?, row.text_or_null("voucher_signature")?) {
        (Some(amount), Some(signature)) => Some(voucher(id, amount, &signature)?),
        _ => None,
    };
    Ok(Channel {
        id,
        descriptor: descriptor(row, id)?,
        phase,
        deposit: money(row, "deposit")?,
        settled: money(row, "settled")?,
        published: money(row, "published")?,
        close_requested_at: row.whole("close_requested_at")?,
        pending: pending(row, id)?,
        voucher,
        spent: money(row, "spent")?,
        close_hash: row.text_or_null("close_hash")?,
        active_at: moment(row, "active_at")?,
        checked_at: moment(row, "checked_at")?,
        tries: SettlementTries {
            count: row.whole("settlement_tries")?,
            last_at: moment(row, "settlement_tried_at")?,
        },
    })
}

fn descriptor(row: &Row, id: ChannelId) -> Result<Descriptor, StoreError> {
    fn field<T: FromStr>(row: &Row, id: ChannelId, column: &'static str) -> Result<T, StoreError> {
        let text = row.text(column)?;
        text.parse().map_err(|_| corrupt(id, column, &text))
    }
    Ok(Descriptor {
        payer: field(row, id, "payer")?,
        payee: field(row, id, "payee")?,
        operator: field(row, id, "operator")?,
        token: field(row, id, "token")?,
        salt: field(row, id, "salt")?,
        authorized_signer: field(row, id, "authorized_signer")?,
        expiring_nonce_hash: field(row, id, "expiring_nonce_hash")?,
    })
}

fn pending(row: &Row, id: ChannelId) -> Result<Option<PendingTx>, StoreError> {
    let Some(kind) = row.text_or_null("pending_kind")? else {
        return Ok(None);
    };
    let purpose = TxPurpose::ALL
        .into_iter()
        .find(|purpose| purpose.as_str() == kind)
        .ok_or_else(|| corrupt(id, "pending_kind", &kind))?;
    Ok(Some(PendingTx {
        purpose,
        amount: money(row, "pending_amount")?,
        hash: row.text("pending_hash")?,
        raw: row.text("pending_raw")?,
        valid_until: row.whole_or_null("pending_until")?.map(Timestamp::from_millis),
        sponsored: match (row.whole_or_null("pending_fee")?, row.whole_or_null("pending_fee_at")?) {
            (Some(fee), Some(at)) => {
                Some(Reservation { fee: Money::from_micros(fee), at: Timestamp::from_millis(at) })
            }
            _ => None,
        },
    }))
}
