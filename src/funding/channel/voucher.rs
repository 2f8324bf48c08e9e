//! Vouchers: checked, kept, credited.

use super::state::{Accepted, Channel, Refused};
use super::{ChannelError, Channels, TxFailure, store};
use crate::id::{SourceRef, Timestamp};
use crate::ledger::{self, LedgerError};
use crate::mpp::session::{SignedVoucher, VoucherError};

impl Channels {
    /// Accepts a voucher. The signature comes first: before it is good, nothing
    /// of the channel's state is told or changed.
    ///
    /// # Errors
    /// [`ChannelError`]; a refused voucher changes nothing.
    pub async fn accept(&self, voucher: &SignedVoucher, now: Timestamp) -> Result<Channel, ChannelError> {
        let channel = self.find(voucher.channel).await?.ok_or(Refused::Unknown)?;
        self.check_signature(&channel, voucher)?;
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
