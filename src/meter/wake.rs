//! Waking a stream when something happened to its channel: a voucher, a top-up,
//! a newer request, a close.
//!
//! A ring is a hint to look at the channel, never the news itself: nothing is
//! lost when one gets lost, only time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{mpsc, watch};

use crate::mpp::session::ChannelId;

/// Rings for other instances that may wait to be sent. More than that are
/// dropped: a stream that is not rung looks by itself a moment later.
const OUTGOING: usize = 1024;

/// The streams of this process that may be waiting, by channel.
#[derive(Debug, Clone)]
pub struct Wakers {
    bells: Arc<Mutex<HashMap<ChannelId, watch::Sender<()>>>>,
    /// Where other instances are told.
    outgoing: mpsc::Sender<ChannelId>,
}

/// Hears every ring of a channel since it was made.
#[derive(Debug)]
pub struct Bell {
    channel: ChannelId,
    rings: watch::Receiver<()>,
    wakers: Wakers,
}

impl Wakers {
    /// Nobody waits yet. What comes out is to be told to other instances, and
    /// may be dropped where there are none.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<ChannelId>) {
        let (outgoing, abroad) = mpsc::channel(OUTGOING);
        (Self { bells: Arc::default(), outgoing }, abroad)
    }

    /// A bell of a channel.
    #[must_use]
    pub fn bell(&self, channel: ChannelId) -> Bell {
        let rings = self.lock().entry(channel).or_default().subscribe();
        Bell { channel, rings, wakers: self.clone() }
    }

    /// Wakes the streams of a channel, here and on other instances.
    pub fn ring(&self, channel: ChannelId) {
        self.ring_here(channel);
        let _ = self.outgoing.try_send(channel);
    }

    /// Wakes the streams of a channel in this process.
    pub fn ring_here(&self, channel: ChannelId) {
        if let Some(bell) = self.lock().get(&channel) {
            bell.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, watch::Sender<()>>> {
        self.bells.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Bell {
    /// Waits for a ring that was not heard yet.
    pub async fn rung(&mut self) {
        if self.rings.changed().await.is_err() {
            // The sender lives as long as this bell; without one, there is nothing to hear.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let mut bells = self.wakers.lock();
        // This one still counts.
        if bells.get(&self.channel).is_some_and(|bell| bell.receiver_count() <= 1) {
            bells.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    const CHANNEL: ChannelId = ChannelId(B256::ZERO);

    async fn is_rung(bell: &mut Bell) -> bool {
        tokio::select! {
            biased;
            () = bell.rung() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn every_bell_of_a_channel_hears_a_ring_and_hears_it_once() {
        let (wakers, mut abroad) = Wakers::new();
        let (mut old, mut new) = (wakers.bell(CHANNEL), wakers.bell(CHANNEL));
        assert!(!is_rung(&mut old).await);
        wakers.ring(CHANNEL);
        // A ring before the wait is not lost, and one stream does not take another's.
        assert!(is_rung(&mut old).await && is_rung(&mut new).await);
        assert!(!is_rung(&mut old).await && !is_rung(&mut new).await);
        assert_eq!(abroad.recv().await, Some(CHANNEL));
    }

    #[tokio::test]
    async fn bells_are_forgotten_with_their_last_holder() {
        let (wakers, _abroad) = Wakers::new();
        let (first, mut second) = (wakers.bell(CHANNEL), wakers.bell(CHANNEL));
        drop(first);
        wakers.ring_here(CHANNEL);
        assert!(is_rung(&mut second).await);
        drop(second);
        assert!(wakers.lock().is_empty());
    }
}
