//! SQL of channels and vouchers.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::Bytes;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::state::{Channel, Pending, Phase, Reservation, TxPurpose};
use crate::db::rows::{self, Column};
use crate::db::{Db, DbError, Tx};
use crate::funding::StoreError;
use crate::id::{AccountId, Timestamp};
use crate::money::Money;
use crate::payments::methods::tempo::session::{ChannelId, Descriptor, SignedVoucher};

const COLUMNS: &str = "c.id, c.payer, c.payee, c.operator, c.token, c.salt, c.authorized_signer, \
    c.expiring_nonce_hash, c.state, c.deposit, c.settled, c.published, c.close_requested_at, c.pending_kind, \
    c.pending_amount, c.pending_hash, c.pending_raw, c.pending_until, c.pending_fee, \
    c.pending_fee_at, c.close_hash, c.active_at, c.checked_at, \
    v.amount AS voucher_amount, v.signature AS voucher_signature, \
    coalesce((SELECT posted + charged FROM balances WHERE id = 'channel:' || c.id), 0) AS spent";

/// A channel with its highest voucher.
const FROM: &str = "channels c \
    LEFT JOIN vouchers v ON v.channel = c.id \
        AND v.amount = (SELECT max(amount) FROM vouchers WHERE channel = c.id)";

/// The ledger account of a channel.
pub(super) fn account(channel: ChannelId) -> AccountId {
    AccountId::channel(&channel.to_string()).expect("a channel id is 0x and 64 hex digits")
}

pub(super) async fn find(db: &Db, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE c.id = $1");
    let row =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(channel.to_string()).fetch_optional(&db.pool).await?;
    row.as_ref().map(read).transpose()
}

/// The payer's channel that was used last and can still be used.
pub(super) async fn of_payer(db: &Db, payer: &str, token: &str) -> Result<Option<Channel>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE c.payer = $1 AND c.token = $2 AND c.state = 'open' \
         AND c.close_requested_at = 0 ORDER BY c.active_at DESC LIMIT 1"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(payer.to_owned())
        .bind(token.to_owned())
        .fetch_optional(&db.pool)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Channels that the worker has not looked at since `before`.
pub(super) async fn unchecked(db: &Db, before: Timestamp, limit: i64) -> Result<Vec<Channel>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM {FROM} WHERE c.state IN ('opening', 'open') AND c.checked_at <= $1 \
         ORDER BY c.checked_at LIMIT $2"
    );
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(before.millis()).bind(limit).fetch_all(&db.pool).await?;
    rows.iter().map(read).collect()
}

/// Every channel, the newest first, for operators.
pub(super) async fn all(db: &Db, limit: i64) -> Result<Vec<Channel>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM {FROM} ORDER BY c.created_at DESC LIMIT $1");
    let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(limit).fetch_all(&db.pool).await?;
    rows.iter().map(read).collect()
}

/// Locks a channel until the transaction ends, and reads it.
pub(super) async fn lock(tx: &mut Tx, channel: ChannelId) -> Result<Option<Channel>, StoreError> {
    let sql = format!("SELECT id FROM channels WHERE id = $1{}", tx.engine().for_update());
    let locked =
        sqlx::query(sqlx::AssertSqlSafe(sql)).bind(channel.to_string()).fetch_optional(tx.conn()).await?;
    if locked.is_none() {
        return Ok(None);
    }
    let sql = format!("SELECT {COLUMNS} FROM {FROM} WHERE c.id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(channel.to_string()).fetch_one(tx.conn()).await?;
    read(&row).map(Some)
}

/// Locks channels until the transaction ends, in the order of their ids, and
/// reads those that are known.
pub(super) async fn lock_all(
    tx: &mut Tx,
    ids: BTreeSet<ChannelId>,
) -> Result<BTreeMap<ChannelId, Channel>, StoreError> {
    let rows: Vec<_> = ids.iter().map(|id| [id.to_string()]).collect();
    let given = rows::given(tx.engine(), &[Column::Text("id")], rows.len());
    let lock = tx.engine().for_update();
    if !lock.is_empty() {
        let lock =
            format!("{given} SELECT id FROM channels WHERE id IN (SELECT id FROM given) ORDER BY id{lock}");
        rows::with_rows(lock, &rows).fetch_all(tx.conn()).await?;
    }
    let sql = format!("{given} SELECT {COLUMNS} FROM {FROM} WHERE c.id IN (SELECT id FROM given)");
    let rows = rows::with_rows(sql, &rows).fetch_all(tx.conn()).await?;
    rows.iter().map(|row| read(row).map(|channel| (channel.id, channel))).collect()
}

/// A new channel whose opening transaction is about to leave; `false` when it is known already.
pub(super) async fn insert(
    tx: &mut Tx,
    channel: ChannelId,
    descriptor: &Descriptor,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO channels (id, payer, payee, operator, token, salt, authorized_signer, \
         expiring_nonce_hash, state, deposit, settled, close_requested_at, created_at, active_at, \
         checked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'opening', 0, 0, 0, $9, $9, $9) \
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(channel.to_string())
    .bind(format!("{:#x}", descriptor.payer))
    .bind(format!("{:#x}", descriptor.payee))
    .bind(format!("{:#x}", descriptor.operator))
    .bind(format!("{:#x}", descriptor.token))
    .bind(format!("{:#x}", descriptor.salt))
    .bind(format!("{:#x}", descriptor.authorized_signer))
    .bind(format!("{:#x}", descriptor.expiring_nonce_hash))
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Records, before it leaves, the one transaction about a channel; `false`
/// when another one is out. A settlement makes its voucher public.
pub(super) async fn set_pending(tx: &mut Tx, channel: ChannelId, pending: &Pending) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE channels SET pending_kind = $2, pending_amount = $3, pending_hash = $4, \
         pending_raw = $5, pending_until = $6, pending_fee = $7, pending_fee_at = $8, \
         published = CASE WHEN $2 = 'settle' AND published < $3 THEN $3 ELSE published END \
         WHERE id = $1 AND pending_kind IS NULL",
    )
    .bind(channel.to_string())
    .bind(pending.purpose.as_str())
    .bind(pending.amount.micros())
    .bind(pending.hash.clone())
    .bind(pending.raw.clone())
    .bind(pending.until.map(Timestamp::millis))
    .bind(pending.sponsored.map(|reserved| reserved.fee.micros()))
    .bind(pending.sponsored.map(|reserved| reserved.at.millis()))
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// What became of the pending transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct TxOutcome {
    pub phase: Phase,
    pub deposit: Money,
    pub settled: Money,
    /// What it cost whoever paid its fee.
    pub fee: Money,
}

/// Ends the pending transaction with this hash. Deposit and settled amount
/// only rise; a top-up cancels a requested close (TIP-1034).
pub(super) async fn resolve(
    tx: &mut Tx,
    channel: ChannelId,
    pending: &Pending,
    outcome: TxOutcome,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE channels SET state = $3, \
         deposit = CASE WHEN deposit < $4 THEN $4 ELSE deposit END, \
         settled = CASE WHEN settled < $5 THEN $5 ELSE settled END, \
         close_requested_at = CASE WHEN pending_kind = 'topUp' AND $4 > deposit THEN 0 ELSE close_requested_at END, \
         close_hash = CASE WHEN $3 = 'closed' THEN pending_hash ELSE close_hash END, \
         pending_kind = NULL, pending_amount = NULL, pending_hash = NULL, pending_raw = NULL, \
         pending_until = NULL, pending_fee = NULL, pending_fee_at = NULL, \
         active_at = CASE WHEN pending_kind IN ('open', 'topUp') THEN $6 ELSE active_at END, \
         checked_at = $6 WHERE id = $1 AND pending_hash = $2",
    )
    .bind(channel.to_string())
    .bind(pending.hash.clone())
    .bind(outcome.phase.as_str())
    .bind(outcome.deposit.micros())
    .bind(outcome.settled.micros())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes note of what the chain says. Nothing is ever lowered: a node that is
/// behind must not reopen a closing channel or shrink a deposit.
pub(super) async fn observe(
    tx: &mut Tx,
    channel: ChannelId,
    deposit: Money,
    settled: Money,
    close_requested_at: i64,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE channels SET \
         deposit = CASE WHEN deposit < $2 THEN $2 ELSE deposit END, \
         settled = CASE WHEN settled < $3 THEN $3 ELSE settled END, \
         close_requested_at = CASE WHEN close_requested_at < $4 THEN $4 ELSE close_requested_at END, \
         checked_at = $5 WHERE id = $1",
    )
    .bind(channel.to_string())
    .bind(deposit.micros())
    .bind(settled.micros())
    .bind(close_requested_at)
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The channel ended on the chain without us.
pub(super) async fn set_closed_externally(
    tx: &mut Tx,
    channel: ChannelId,
    now: Timestamp,
) -> Result<(), DbError> {
    sqlx::query(
        "UPDATE channels SET state = 'closed', checked_at = $2 \
         WHERE id = $1 AND state = 'open' AND pending_kind IS NULL",
    )
    .bind(channel.to_string())
    .bind(now.millis())
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Keeps the voucher of each of these channels, and drops those that can settle
/// nothing any more: of the ones that what was spent covers, only the highest is
/// of use.
pub(super) async fn keep_vouchers(tx: &mut Tx, channels: &[&Channel], now: Timestamp) -> Result<(), DbError> {
    let engine = tx.engine();
    let rows: Vec<_> = channels
        .iter()
        .filter_map(|channel| channel.voucher.as_ref().map(|voucher| (channel, voucher)))
        .map(|(channel, voucher)| {
            let signature = alloy::hex::encode_prefixed(&voucher.signature);
            (channel.id.to_string(), voucher.amount.micros(), signature)
        })
        .collect();
    let columns = [Column::Text("id"), Column::Whole("amount"), Column::Text("signature")];
    let given = rows::given(engine, &columns, rows.len());
    let insert = format!(
        "{given} INSERT INTO vouchers (channel, amount, signature) SELECT id, amount, signature FROM given"
    );
    rows::with_rows(insert, &rows).execute(tx.conn()).await?;
    let rows: Vec<_> = channels
        .iter()
        .map(|channel| (channel.id.to_string(), channel.spent.micros(), now.millis()))
        .collect();
    let columns = [Column::Text("id"), Column::Whole("spent"), Column::Whole("now")];
    let given = rows::given(engine, &columns, rows.len());
    let delete = format!(
        "{given} DELETE FROM vouchers WHERE (channel, amount) IN
           (SELECT lower.channel, lower.amount FROM given
              CROSS JOIN vouchers spent CROSS JOIN vouchers lower
             WHERE spent.channel = given.id AND spent.amount <= given.spent
               AND lower.channel = spent.channel AND lower.amount < spent.amount)"
    );
    rows::with_rows(delete, &rows).execute(tx.conn()).await?;
    let touch =
        format!("{given} UPDATE channels SET active_at = given.now FROM given WHERE channels.id = given.id");
    rows::with_rows(touch, &rows).execute(tx.conn()).await?;
    Ok(())
}

/// The highest voucher that takes nothing beyond `spent`.
pub(super) async fn settleable(
    db: &Db,
    channel: ChannelId,
    spent: Money,
) -> Result<Option<SignedVoucher>, StoreError> {
    let row = sqlx::query(
        "SELECT amount, signature FROM vouchers WHERE channel = $1 AND amount <= $2 \
         ORDER BY amount DESC LIMIT 1",
    )
    .bind(channel.to_string())
    .bind(spent.micros())
    .fetch_optional(&db.pool)
    .await?;
    row.map(|row| {
        let signature: String = row.try_get("signature")?;
        voucher(channel, row.try_get("amount")?, &signature)
    })
    .transpose()
}

fn voucher(channel: ChannelId, amount: i64, signature: &str) -> Result<SignedVoucher, StoreError> {
    let signature: Bytes = signature.parse().map_err(|_| corrupt(channel, "signature", "(not shown)"))?;
    Ok(SignedVoucher { channel, amount: Money::from_micros(amount), signature })
}

pub(super) fn corrupt(channel: ChannelId, column: &'static str, value: &str) -> StoreError {
    StoreError::Corrupt { id: channel.to_string(), column, value: value.to_owned() }
}

fn read(row: &AnyRow) -> Result<Channel, StoreError> {
    let id: String = row.try_get("id")?;
    let id: ChannelId =
        id.parse().map_err(|_| StoreError::Corrupt { id: id.clone(), column: "id", value: id.clone() })?;
    let phase: String = row.try_get("state")?;
    let phase =
        Phase::ALL.into_iter().find(|p| p.as_str() == phase).ok_or_else(|| corrupt(id, "state", &phase))?;
    let held: Option<i64> = row.try_get("voucher_amount")?;
    let signature: Option<String> = row.try_get("voucher_signature")?;
    let voucher = match (held, signature) {
        (Some(amount), Some(signature)) => Some(voucher(id, amount, &signature)?),
        _ => None,
    };
    Ok(Channel {
        id,
        descriptor: descriptor(row, id)?,
        phase,
        deposit: Money::from_micros(row.try_get("deposit")?),
        settled: Money::from_micros(row.try_get("settled")?),
        published: Money::from_micros(row.try_get("published")?),
        close_requested_at: row.try_get("close_requested_at")?,
        pending: pending(row, id)?,
        voucher,
        spent: Money::from_micros(row.try_get("spent")?),
        close_hash: row.try_get("close_hash")?,
        active_at: Timestamp::from_millis(row.try_get("active_at")?),
        checked_at: Timestamp::from_millis(row.try_get("checked_at")?),
    })
}

fn descriptor(row: &AnyRow, id: ChannelId) -> Result<Descriptor, StoreError> {
    fn text<T: std::str::FromStr>(
        row: &AnyRow,
        id: ChannelId,
        column: &'static str,
    ) -> Result<T, StoreError> {
        let text: String = row.try_get(column)?;
        text.parse().map_err(|_| corrupt(id, column, &text))
    }
    Ok(Descriptor {
        payer: text(row, id, "payer")?,
        payee: text(row, id, "payee")?,
        operator: text(row, id, "operator")?,
        token: text(row, id, "token")?,
        salt: text(row, id, "salt")?,
        authorized_signer: text(row, id, "authorized_signer")?,
        expiring_nonce_hash: text(row, id, "expiring_nonce_hash")?,
    })
}

fn pending(row: &AnyRow, id: ChannelId) -> Result<Option<Pending>, StoreError> {
    let Some(kind) = row.try_get::<Option<String>, _>("pending_kind")? else {
        return Ok(None);
    };
    let purpose = TxPurpose::ALL
        .into_iter()
        .find(|purpose| purpose.as_str() == kind)
        .ok_or_else(|| corrupt(id, "pending_kind", &kind))?;
    Ok(Some(Pending {
        purpose,
        amount: Money::from_micros(row.try_get("pending_amount")?),
        hash: row.try_get("pending_hash")?,
        raw: row.try_get("pending_raw")?,
        until: row.try_get::<Option<i64>, _>("pending_until")?.map(Timestamp::from_millis),
        sponsored: match (row.try_get("pending_fee")?, row.try_get("pending_fee_at")?) {
            (Some(fee), Some(at)) => {
                Some(Reservation { fee: Money::from_micros(fee), at: Timestamp::from_millis(at) })
            }
            _ => None,
        },
    }))
}
