//! Waking a stream when something happened to its channel: a voucher, a top-up,
//! a newer request, a close.
//!
//! A notify is a hint to look at the channel, never the news itself: nothing is
//! lost when one gets lost, only time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, watch};

use crate::payments::methods::tempo::session::ChannelId;

/// Notifications for other instances that may wait to be sent. More than that are
/// dropped: a stream that is not notified looks by itself a moment later.
const OUTBOUND_QUEUE: usize = 1024;

/// The streams of this process that may be waiting, by channel.
#[derive(Debug, Clone)]
pub struct ChannelNotifier {
    waiters: Arc<Mutex<HashMap<ChannelId, watch::Sender<()>>>>,
    /// Where other instances are told.
    outbound: mpsc::Sender<ChannelId>,
}

/// Hears every notify of a channel since it was made.
#[derive(Debug)]
pub struct Waiter {
    channel: ChannelId,
    notifications: watch::Receiver<()>,
    notifier: ChannelNotifier,
}

impl ChannelNotifier {
    /// Nobody waits yet. What comes out is to be told to other instances, and
    /// may be dropped where there are none.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ChannelId>) {
        let (outbound, notifications) = mpsc::channel(OUTBOUND_QUEUE);
        (Self { waiters: Arc::default(), outbound }, notifications)
    }

    /// A waiter of a channel.
    #[must_use]
    pub fn waiter(&self, channel: ChannelId) -> Waiter {
        let notifications = self.lock().entry(channel).or_default().subscribe();
        Waiter { channel, notifications, notifier: self.clone() }
    }

    /// Wakes the streams of a channel, here and on other instances.
    pub fn notify(&self, channel: ChannelId) {
        self.notify_local(channel);
        let _ = self.outbound.try_send(channel);
    }

    /// Wakes the streams of a channel in this process.
    pub fn notify_local(&self, channel: ChannelId) {
        if let Some(waiter) = self.lock().get(&channel) {
            waiter.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, watch::Sender<()>>> {
        self.waiters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits for a notify that was not tally yet.
    pub async fn notified(&mut self) {
        if self.notifications.changed().await.is_err() {
            // The sender lives as long as this waiter; without one, there is nothing to hear.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.notifier.lock();
        // This one still counts.
        if waiters.get(&self.channel).is_some_and(|waiter| waiter.receiver_count() <= 1) {
            waiters.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(B256::ZERO);

    async fn is_notified(waiter: &mut Waiter) -> bool {
        tokio::select! {
            biased;
            () = waiter.notified() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn every_bell_of_a_channel_hears_a_ring_and_hears_it_once() {
        let (notifier, mut outbound) = ChannelNotifier::new();
        let (mut old, mut new) = (notifier.waiter(CHANNEL), notifier.waiter(CHANNEL));
        assert!(!is_notified(&mut old).await);
        notifier.notify(CHANNEL);
        // A notify before the wait is not lost, and one stream does not take another's.
        assert!(is_notified(&mut old).await && is_notified(&mut new).await);
        assert!(!is_notified(&mut old).await && !is_notified(&mut new).await);
        assert_eq!(outbound.recv().await, Some(CHANNEL));
    }

    #[tokio::test]
    async fn bells_are_forgotten_with_their_last_holder() {
        let (notifier, _abroad) = ChannelNotifier::new();
        let (first, mut second) = (notifier.waiter(CHANNEL), notifier.waiter(CHANNEL));
        drop(first);
        notifier.notify_local(CHANNEL);
        assert!(is_notified(&mut second).await);
        drop(second);
        assert!(notifier.lock().is_empty());
    }
}
