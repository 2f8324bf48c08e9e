//! Rates of API keys: requests and tokens a minute.
//!
//! A window is a minute of the clock. On SQLite there is one process and the
//! count is exact. On PostgreSQL instances take slices of a tenth of the limit
//! from a row of the minute, so that few requests need the database. Then
//! **all instances together never admit more than the limit in a window**; one
//! may refuse a request while others each hold up to a slice that they have not
//! used. Counts start anew with the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Key, KeyId, KeysError};
use crate::db::statements::Row;
use crate::db::{Db, Engine};
use crate::id::Timestamp;
use crate::limits::Share;

const MINUTE_MS: i64 = 60_000;
/// Number of keys in memory at which those of earlier minutes are dropped.
const MAX_TRACKED: usize = 10_000;
/// Minutes for which rows are kept.
const RETENTION_MINUTES: i64 = 5;

/// Unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    Requests,
    Tokens,
}

/// Rate limiter of all keys. Clones share its counts.
#[derive(Debug, Clone)]
pub struct Rates {
    db: Db,
    windows: Arc<Mutex<HashMap<KeyId, MinuteWindow>>>,
    /// Held while a slice is leased from the database.
    lease_lock: Arc<tokio::sync::Mutex<()>>,
    rpm: u32,
    tpm: u32,
}

/// Counts of one key in its current minute.
#[derive(Debug, Clone, Copy)]
struct MinuteWindow {
    minute: i64,
    requests: Share,
    tokens: Share,
}

/// Limits of a key in its current minute, and the part that is left of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateView {
    pub requests: Share,
    pub tokens: Share,
    /// Seconds until the next minute begins.
    pub reset: u32,
}

/// Token reservation of a request. Dropping it releases the tokens that were not used.
#[derive(Debug)]
pub struct TokenReservation {
    rates: Rates,
    key: KeyId,
    minute: i64,
    reserved: u64,
    used: u64,
}

impl Rates {
    /// Creates a limiter; `rpm` and `tpm` are for keys that have no limits of their own.
    #[must_use]
    pub fn new(db: Db, rpm: u32, tpm: u32) -> Self {
        Self { db, windows: Arc::default(), lease_lock: Arc::default(), rpm, tpm }
    }

    /// Counts a request; returns false if it is beyond the limit.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn take_request(&self, key: &Key, now: Timestamp) -> Result<bool, KeysError> {
        self.take(key, RateUnit::Requests, 1, now).await
    }

    /// Reserves the tokens that a request is likely to need, at the most all of a minute: one that needs more is served
    /// while it is the only one. It is counted with what it did use. `None` if not enough are left.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn reserve_tokens(
        &self,
        key: &Key,
        likely: u64,
        now: Timestamp,
    ) -> Result<Option<TokenReservation>, KeysError> {
        let reserved = likely.min(self.view(key, now).tokens.limit());
        let is_reserved = self.take(key, RateUnit::Tokens, reserved, now).await?;
        let reservation = || TokenReservation {
            rates: self.clone(),
            key: key.id.clone(),
            minute: minute(now),
            reserved,
            used: 0,
        };
        Ok(is_reserved.then(reservation))
    }

    /// Returns the limits of a key in its current minute, and the part that is left.
    #[must_use]
    pub fn view(&self, key: &Key, now: Timestamp) -> RateView {
        let window = self.window(&mut self.lock(), key, now);
        let left = MINUTE_MS - now.millis().rem_euclid(MINUTE_MS);
        let reset = u32::try_from((left + 999) / 1000).unwrap_or(60);
        RateView { requests: window.requests, tokens: window.tokens, reset }
    }

    /// Deletes the rows of past minutes.
    ///
    /// # Errors
    /// [`KeysError`] if the database fails.
    pub async fn delete_expired(&self, now: Timestamp) -> Result<(), KeysError> {
        let oldest = minute(now) - RETENTION_MINUTES;
        self.db.execute("DELETE FROM key_minutes WHERE minute < $1", vec![oldest.into()]).await?;
        Ok(())
    }

    /// Takes `amount` of a key's current minute; returns false if that is beyond the limit.
    async fn take(&self, key: &Key, unit: RateUnit, amount: u64, now: Timestamp) -> Result<bool, KeysError> {
        if self.with_share(key, unit, now, |share| share.take(amount)).is_ok() {
            return Ok(true);
        }
        if self.db.engine == Engine::Sqlite {
            return Ok(false);
        }
        // One request leases a slice; the others wait and then find it.
        let _lease = self.lease_lock.lock().await;
        // Other requests may use the slice before this one does: three tries are plenty.
        for _ in 0..3 {
            let minute = self.window(&mut self.lock(), key, now).minute;
            let tried = self.with_share(key, unit, now, |share| {
                share.take(amount).map_err(|missing| (missing, share.slice_size(missing), share.limit()))
            });
            let Err(wanted) = tried else { return Ok(true) };
            let (granted, taken) = self.lease(key, unit, wanted, minute).await?;
            self.grant(key, unit, minute, (granted, taken));
            if granted == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Adds a leased slice to the minute that it is of, if that is still the key's current one.
    fn grant(&self, key: &Key, unit: RateUnit, minute: i64, (granted, taken): (u64, u64)) {
        if let Some(window) = self.lock().get_mut(&key.id).filter(|window| window.minute == minute) {
            window.share_mut(unit).grant(granted, taken);
        }
    }

    /// Calls `work` with a share of a key's current minute.
    fn with_share<T>(
        &self,
        key: &Key,
        unit: RateUnit,
        now: Timestamp,
        work: impl FnOnce(&mut Share) -> T,
    ) -> T {
        let mut windows = self.lock();
        let mut window = self.window(&mut windows, key, now);
        let done = work(window.share_mut(unit));
        windows.insert(key.id.clone(), window);
        done
    }

    /// Takes a slice of a minute for this instance in the database, or what is left of
    /// the minute if that is enough. Returns the amount granted (zero if there is not
    /// enough), and the amount taken by all instances.
    async fn lease(
        &self,
        key: &Key,
        unit: RateUnit,
        (missing, slice, limit): (u64, u64, u64),
        minute: i64,
    ) -> Result<(u64, u64), KeysError> {
        let column = match unit {
            RateUnit::Requests => "requests",
            RateUnit::Tokens => "tokens",
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let row = || vec![key.id.as_str().into(), minute.into()];
        let text = "INSERT INTO key_minutes (key, minute, requests, tokens) VALUES ($1, $2, 0, 0) \
             ON CONFLICT (key, minute) DO NOTHING";
        self.db.execute(text, row()).await?;
        let taken = |row: &Row| row.whole("taken").map(|taken| u64::try_from(taken).unwrap_or(0));
        let mut wanted = slice;
        for _ in 0..3 {
            let text = format!(
                "UPDATE key_minutes SET {column} = {column} + $3 \
                 WHERE key = $1 AND minute = $2 AND {column} + $3 <= $4 RETURNING {column} AS taken"
            );
            let mut values = row();
            values.extend([signed(wanted).into(), signed(limit).into()]);
            if let Some(row) = self.db.fetch_optional(&text, values).await? {
                return Ok((wanted, taken(&row)?));
            }
            let text = format!("SELECT {column} AS taken FROM key_minutes WHERE key = $1 AND minute = $2");
            let taken = taken(&self.db.fetch_one(&text, row()).await?)?;
            wanted = limit.saturating_sub(taken);
            if wanted < missing {
                return Ok((0, taken));
            }
        }
        Ok((0, limit))
    }

    /// Returns the current minute of a key; a new one begins unused. A request whose time lies before that
    /// minute counts in it: the clock of a key never goes back.
    fn window(&self, windows: &mut HashMap<KeyId, MinuteWindow>, key: &Key, now: Timestamp) -> MinuteWindow {
        let minute = minute(now);
        if let Some(window) = windows.get(&key.id).filter(|window| window.minute >= minute) {
            return *window;
        }
        if windows.len() >= MAX_TRACKED {
            windows.retain(|_, window| window.minute >= minute);
        }
        let share = |limit: u32| match self.db.engine {
            Engine::Sqlite => Share::exclusive(limit.into()),
            Engine::Postgres => Share::leased(limit.into()),
        };
        let window = MinuteWindow {
            minute,
            requests: share(key.limits.rpm.unwrap_or(self.rpm)),
            tokens: share(key.limits.tpm.unwrap_or(self.tpm)),
        };
        windows.insert(key.id.clone(), window);
        window
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<KeyId, MinuteWindow>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MinuteWindow {
    fn share_mut(&mut self, unit: RateUnit) -> &mut Share {
        match unit {
            RateUnit::Requests => &mut self.requests,
            RateUnit::Tokens => &mut self.tokens,
        }
    }
}

impl TokenReservation {
    /// Counts the tokens that the request used, and releases the others.
    pub fn use_tokens(mut self, tokens: u64) {
        self.used = tokens;
    }
}

impl Drop for TokenReservation {
    fn drop(&mut self) {
        let mut windows = self.rates.lock();
        // Tokens of an earlier minute are not counted any more.
        if let Some(window) = windows.get_mut(&self.key).filter(|window| window.minute == self.minute) {
            window.tokens.release(self.reserved);
            window.tokens.use_unchecked(self.used);
        }
    }
}

/// Returns the number of the minute since 1970.
fn minute(now: Timestamp) -> i64 {
    now.millis().div_euclid(MINUTE_MS)
}
