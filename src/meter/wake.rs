//! Waking a stream when its channel got a voucher.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::Notify;

use crate::mpp::session::ChannelId;

/// Streams of this process that may be waiting, by channel.
#[derive(Debug, Clone, Default)]
pub struct Wakers {
    waiting: Arc<Mutex<HashMap<ChannelId, Weak<Notify>>>>,
}

impl Wakers {
    /// The bell of a channel; it is forgotten with its last holder.
    #[must_use]
    pub fn bell(&self, channel: ChannelId) -> Arc<Notify> {
        let mut waiting = self.lock();
        if let Some(bell) = waiting.get(&channel).and_then(Weak::upgrade) {
            return bell;
        }
        let bell = Arc::new(Notify::new());
        waiting.retain(|_, bell| bell.strong_count() > 0);
        waiting.insert(channel, Arc::downgrade(&bell));
        bell
    }

    /// Wakes the streams of a channel.
    pub fn ring(&self, channel: ChannelId) {
        if let Some(bell) = self.lock().get(&channel).and_then(Weak::upgrade) {
            bell.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Weak<Notify>>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
