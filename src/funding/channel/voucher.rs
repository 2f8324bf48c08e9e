//! Vouchers: checked, kept, credited.

use super::state::{Accepted, Channel, Phase, Refused};
use super::{ChannelError, Channels, TxFailure, store};
use crate::id::{SourceRef, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::mpp::session::{SignedVoucher, VoucherError};

/// How old our knowledge of a channel may be when it is used, in milliseconds.
/// The worker keeps it much younger while it runs.
const STALE_MS: i64 = 60_000;

impl Channels {
    /// Accepts a voucher. The signature comes first: before it is good, nothing
    /// of the channel's state is told or changed.
    ///
    /// # Errors
    /// [`ChannelError`]; a refused voucher changes nothing.
    pub async fn accept(&self, voucher: &SignedVoucher, now: Timestamp) -> Result<Channel, ChannelError> {
        let channel = self.find(voucher.channel).await?.ok_or(Refused::Unknown)?;
        self.check_signature(&channel, voucher)?;
        self.vouchers.take(channel.id, now).map_err(|often| ChannelError::TooOften(often.wait))?;
        // After a sleep the chain may know better: a payer may have asked to
        // close, or be gone with its deposit.
        let age = now.checked_millis_since(channel.checked_at).unwrap_or(i64::MAX);
        if channel.phase == Phase::Open && channel.pending.is_none() && age > STALE_MS {
            self.refresh(&channel, now).await?;
        }
        self.credit(voucher, now).await
    }

    pub(super) fn check_signature(
        &self,
        channel: &Channel,
        voucher: &SignedVoucher,
    ) -> Result<(), VoucherError> {
        voucher.verify(channel.descriptor.signer(), self.terms.escrow, self.terms.chain_id)
    }

    /// Keeps a voucher whose signature is good and credits what it adds.
    pub(super) async fn credit(
        &self,
        voucher: &SignedVoucher,
        now: Timestamp,
    ) -> Result<Channel, ChannelError> {
        let step = self.terms.min_voucher_delta;
        let accepted = self
            .db
            .transaction(|mut tx| async move {
                let mut channel = store::lock(&mut tx, voucher.channel).await?.ok_or(Refused::Unknown)?;
                let accepted = channel.accept(voucher.amount, step)?;
                if let Accepted::More(more) = accepted {
                    store::keep_voucher(&mut tx, voucher, channel.spent, now).await?;
                    if more.is_positive() {
                        let account = store::account(voucher.channel);
                        let source = source(voucher)?;
                        ledger::credit(&mut tx, &account, more, &source, now).await?;
                    }
                    channel.voucher = Some(voucher.clone());
                }
                Ok::<_, TxFailure>((tx, channel))
            })
            .await?;
        metrics::counter!("farebox_vouchers_total").increment(1);
        Ok(accepted)
    }
}

/// Each amount of a channel is credited once.
fn source(voucher: &SignedVoucher) -> Result<SourceRef, LedgerError> {
    let text = format!("voucher:{}:{}", voucher.channel, voucher.amount.micros());
    SourceRef::parse(&text).map_err(|_| LedgerError::Corrupt(format!("voucher of {}", voucher.channel)))
}
