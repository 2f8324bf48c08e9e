//! Settlements that arrived at a guard and not at the payee: its receive policy (TIP-1028) holds them back. The channel
//! has paid, so its books are right; the money is the operator's matter.

use super::{ChannelError, Channels, TxFailure};
use crate::chain::BlockedTransfer;
use crate::db::statements::Statements as _;
use crate::id::Timestamp;
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// A settlement or close whose money did not arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldBackSettlement {
    /// Hash of the transaction.
    pub reference: String,
    pub channel: String,
    pub amount: Money,
    /// The guard's receipt, in hexadecimal.
    pub claim: String,
}

impl Channels {
    /// Records a settlement that is held back, once.
    pub(super) async fn record_held_back(
        &self,
        channel: ChannelId,
        reference: &str,
        blocked: &BlockedTransfer,
        now: Timestamp,
    ) -> Result<(), ChannelError> {
        let amount = i64::try_from(blocked.amount).map_or(Money::ZERO, Money::from_micros);
        tracing::error!(%channel, %amount, reference, "a settlement is held back by the payee's receive policy");
        let values = || {
            vec![
                reference.into(),
                channel.to_string().into(),
                amount.micros().into(),
                alloy::hex::encode_prefixed(&blocked.claim).into(),
                now.millis().into(),
            ]
        };
        let recorded = self.db.transaction(|mut tx| async move {
            let text = "INSERT INTO held_back_settlements (reference, channel, amount, claim, created_at) \
                 VALUES ($1, $2, $3, $4, $5) ON CONFLICT (reference) DO NOTHING";
            let recorded = tx.execute(text, values()).await? == 1;
            Ok::<_, TxFailure>((tx, recorded))
        });
        if recorded.await? {
            metrics::counter!("farebox_channel_settlements_held_back_total").increment(1);
        }
        Ok(())
    }

    /// Returns the settlements that are held back, the oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub async fn held_back(&self) -> Result<Vec<HeldBackSettlement>, ChannelError> {
        let text = "SELECT reference, channel, amount, claim FROM held_back_settlements \
             ORDER BY created_at, reference";
        let rows = self.db.fetch(text, Vec::new()).await?;
        let read = |row: &crate::db::statements::Row| {
            Ok(HeldBackSettlement {
                reference: row.text("reference")?,
                channel: row.text("channel")?,
                amount: Money::from_micros(row.whole("amount")?),
                claim: row.text("claim")?,
            })
        };
        rows.iter().map(read).collect()
    }
}
