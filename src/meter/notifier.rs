//! Notifications that something happened to a channel: a voucher, a top-up, a newer
//! request, a close. They wake the stream that runs on it.
//!
//! A notification says that the channel has to be read, not what happened: one that is
//! lost costs time and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, watch};

use crate::payments::methods::tempo::session::ChannelId;

/// Capacity of the queue of notifications for other instances. What does not fit is
/// dropped: a stream that is not notified reads its channel by itself a moment later.
const OUTBOUND_QUEUE: usize = 1024;

/// Notifier of the streams in this process, by channel. Clones share them.
#[derive(Debug, Clone)]
pub struct ChannelNotifier {
    waiters: Arc<Mutex<HashMap<ChannelId, watch::Sender<()>>>>,
    /// Queue of the notifications for other instances.
    outbound: mpsc::Sender<ChannelId>,
}

/// Receiver of a channel's notifications, from its creation on.
#[derive(Debug)]
pub struct Waiter {
    channel: ChannelId,
    notifications: watch::Receiver<()>,
    notifier: ChannelNotifier,
}

impl ChannelNotifier {
    /// Creates a notifier without waiters, and the receiver of the notifications for
    /// other instances. Drop the receiver if there are none.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ChannelId>) {
        let (outbound, notifications) = mpsc::channel(OUTBOUND_QUEUE);
        (Self { waiters: Arc::default(), outbound }, notifications)
    }

    /// Creates a waiter for a channel.
    #[must_use]
    pub fn waiter(&self, channel: ChannelId) -> Waiter {
        let notifications = self.lock().entry(channel).or_default().subscribe();
        Waiter { channel, notifications, notifier: self.clone() }
    }

    /// Wakes the streams of a channel, in this process and on other instances.
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
    /// Waits for a notification that this waiter has not received yet.
    pub async fn notified(&mut self) {
        if self.notifications.changed().await.is_err() {
            // The sender lives as long as this waiter; without it no notification can come.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.notifier.lock();
        // The receiver of this waiter is still counted.
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
    async fn every_waiter_of_a_channel_gets_a_notification_and_gets_it_once() {
        let (notifier, mut outbound) = ChannelNotifier::new();
        let (mut old, mut new) = (notifier.waiter(CHANNEL), notifier.waiter(CHANNEL));
        assert!(!is_notified(&mut old).await);
        notifier.notify(CHANNEL);
        // A notification before the wait is not lost, and one stream does not take another's.
        assert!(is_notified(&mut old).await && is_notified(&mut new).await);
        assert!(!is_notified(&mut old).await && !is_notified(&mut new).await);
        assert_eq!(outbound.recv().await, Some(CHANNEL));
    }

    #[tokio::test]
    async fn a_channel_without_waiters_is_forgotten() {
        let (notifier, _outbound) = ChannelNotifier::new();
        let (first, mut second) = (notifier.waiter(CHANNEL), notifier.waiter(CHANNEL));
        drop(first);
        notifier.notify_local(CHANNEL);
        assert!(is_notified(&mut second).await);
        drop(second);
        assert!(notifier.lock().is_empty());
    }
}
