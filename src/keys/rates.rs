//! Requests and tokens a minute, per key.
//!
//! A window is a minute of the clock. On SQLite there is one process and the
//! count is exact. On PostgreSQL instances take slices of a tenth of the limit
//! from a row of the minute, so that a request seldom asks the database. What
//! is promised then: **all instances together never let through more than the
//! limit in a window**; one may refuse while others hold up to a slice each
//! that they have not used. Counts start anew when a process does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::Row as _;

use super::{Key, KeyId, KeysError};
use crate::db::{Db, Engine};
use crate::id::Timestamp;
use crate::limits::Share;

const MINUTE_MS: i64 = 60_000;
/// Keys remembered before those of earlier minutes are dropped.
const MAX_TRACKED: usize = 10_000;
/// Minutes whose rows are kept.
const KEPT_MINUTES: i64 = 5;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateUnit {
    Requests,
    Tokens,
}

/// The minutes of all keys. Clones share them.
#[derive(Debug, Clone)]
pub struct Rates {
    db: Db,
    windows: Arc<Mutex<HashMap<KeyId, MinuteWindow>>>,
    /// Held while a slice is asked for.
    leasing: Arc<tokio::sync::Mutex<()>>,
    rpm: u32,
    tpm: u32,
}

/// One key's current minute.
#[derive(Debug, Clone, Copy)]
struct MinuteWindow {
    minute: i64,
    requests: Share,
    tokens: Share,
}

/// How a key stands in its minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateView {
    pub requests: Share,
    pub tokens: Share,
    /// When the next minute begins, in seconds.
    pub reset: u32,
}

/// Tokens set aside for a request. What was not used is given back when this is dropped.
#[derive(Debug)]
pub struct TokenReservation {
    rates: Rates,
    key: KeyId,
    minute: i64,
    reserved: u64,
    used: u64,
}

impl Rates {
    /// `rpm` and `tpm` are for keys that have no limits of their own.
    #[must_use]
    pub fn new(db: Db, rpm: u32, tpm: u32) -> Self {
        Self { db, windows: Arc::default(), leasing: Arc::default(), rpm, tpm }
    }

    /// Counts a request. False when it is one too many.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn request(&self, key: &Key, now: Timestamp) -> Result<bool, KeysError> {
        self.take(key, RateUnit::Requests, 1, now).await
    }

    /// Sets tokens aside, the whole minute's at the most: a request that may
    /// need more than that is served when there is nothing beside it. `None`
    /// when there are not enough left.
    ///
    /// # Errors
    /// When the database cannot say.
    pub async fn tokens(
        &self,
        key: &Key,
        estimate: u64,
        now: Timestamp,
    ) -> Result<Option<TokenReservation>, KeysError> {
        let reserved = estimate.min(self.view(key, now).tokens.limit());
        let taken = self.take(key, RateUnit::Tokens, reserved, now).await?;
        let reservation = || TokenReservation {
            rates: self.clone(),
            key: key.id.clone(),
            minute: minute(now),
            reserved,
            used: 0,
        };
        Ok(taken.then(reservation))
    }

    /// How a key stands.
    #[must_use]
    pub fn view(&self, key: &Key, now: Timestamp) -> RateView {
        let window = self.window(&mut self.lock(), key, now);
        let left = MINUTE_MS - now.millis().rem_euclid(MINUTE_MS);
        let reset = u32::try_from((left + 999) / 1000).unwrap_or(60);
        RateView { requests: window.requests, tokens: window.tokens, reset }
    }

    /// Removes the rows of past minutes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, now: Timestamp) -> Result<(), KeysError> {
        sqlx::query("DELETE FROM key_minutes WHERE minute < $1")
            .bind(minute(now) - KEPT_MINUTES)
            .execute(&self.db.pool)
            .await?;
        Ok(())
    }

    async fn take(&self, key: &Key, what: RateUnit, amount: u64, now: Timestamp) -> Result<bool, KeysError> {
        if self.with(key, what, now, |share| share.take(amount)).is_ok() {
            return Ok(true);
        }
        if self.db.engine == Engine::Sqlite {
            return Ok(false);
        }
        // One asks for a slice, and whoever waited finds it there.
        let _leasing = self.leasing.lock().await;
        // What was granted may be used by others before it is taken: three tries are plenty.
        for _ in 0..3 {
            let minute = self.window(&mut self.lock(), key, now).minute;
            let tried = self.with(key, what, now, |share| {
                share.take(amount).map_err(|missing| (missing, share.slice(missing), share.limit()))
            });
            let Err(wanted) = tried else { return Ok(true) };
            let (granted, taken) = self.lease(key, what, wanted, minute).await?;
            self.grant(key, what, minute, (granted, taken));
            if granted == 0 {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Adds a slice of a minute to that minute, if it is still the key's.
    fn grant(&self, key: &Key, what: RateUnit, minute: i64, (granted, taken): (u64, u64)) {
        if let Some(window) = self.lock().get_mut(&key.id).filter(|window| window.minute == minute) {
            window.of(what).grant(granted, taken);
        }
    }

    /// Looks at a share of a key's current minute, or changes it.
    fn with<T>(&self, key: &Key, what: RateUnit, now: Timestamp, work: impl FnOnce(&mut Share) -> T) -> T {
        let mut windows = self.lock();
        let mut window = self.window(&mut windows, key, now);
        let done = work(window.of(what));
        windows.insert(key.id.clone(), window);
        done
    }

    /// Takes a slice of what all instances share, or the rest of it where that
    /// is enough. What was taken, and what all have taken.
    async fn lease(
        &self,
        key: &Key,
        what: RateUnit,
        (missing, slice, limit): (u64, u64, u64),
        minute: i64,
    ) -> Result<(u64, u64), KeysError> {
        let column = match what {
            RateUnit::Requests => "requests",
            RateUnit::Tokens => "tokens",
        };
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        sqlx::query(
            "INSERT INTO key_minutes (key, minute, requests, tokens) VALUES ($1, $2, 0, 0) \
             ON CONFLICT (key, minute) DO NOTHING",
        )
        .bind(key.id.as_str().to_owned())
        .bind(minute)
        .execute(&self.db.pool)
        .await?;
        let mut wanted = slice;
        for _ in 0..3 {
            let sql = format!(
                "UPDATE key_minutes SET {column} = {column} + $3 \
                 WHERE key = $1 AND minute = $2 AND {column} + $3 <= $4 RETURNING {column} AS taken"
            );
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(key.id.as_str().to_owned())
                .bind(minute)
                .bind(signed(wanted))
                .bind(signed(limit))
                .fetch_optional(&self.db.pool)
                .await?;
            if let Some(row) = row {
                let taken: i64 = row.try_get("taken")?;
                return Ok((wanted, u64::try_from(taken).unwrap_or(0)));
            }
            let sql = format!("SELECT {column} AS taken FROM key_minutes WHERE key = $1 AND minute = $2");
            let row = sqlx::query(sqlx::AssertSqlSafe(sql))
                .bind(key.id.as_str().to_owned())
                .bind(minute)
                .fetch_one(&self.db.pool)
                .await?;
            let taken = u64::try_from(row.try_get::<i64, _>("taken")?).unwrap_or(0);
            wanted = limit.saturating_sub(taken);
            if wanted < missing {
                return Ok((0, taken));
            }
        }
        Ok((0, limit))
    }

    /// The current minute of a key; a new one begins full. A request that comes a little late, when
    /// others have begun the next minute, counts there: the clock of a key never goes back.
    fn window(&self, windows: &mut HashMap<KeyId, MinuteWindow>, key: &Key, now: Timestamp) -> MinuteWindow {
        let minute = minute(now);
        if let Some(window) = windows.get(&key.id).filter(|window| window.minute >= minute) {
            return *window;
        }
        if windows.len() >= MAX_TRACKED {
            windows.retain(|_, window| window.minute >= minute);
        }
        let share = |limit: u32| match self.db.engine {
            Engine::Sqlite => Share::whole(limit.into()),
            Engine::Postgres => Share::empty(limit.into()),
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
    fn of(&mut self, what: RateUnit) -> &mut Share {
        match what {
            RateUnit::Requests => &mut self.requests,
            RateUnit::Tokens => &mut self.tokens,
        }
    }
}

impl TokenReservation {
    /// What the request came to.
    pub fn used(mut self, tokens: u64) {
        self.used = tokens;
    }
}

impl Drop for TokenReservation {
    fn drop(&mut self) {
        let mut windows = self.rates.lock();
        // The tokens of an earlier minute are gone with it.
        if let Some(window) = windows.get_mut(&self.key).filter(|window| window.minute == self.minute) {
            window.tokens.give_back(self.reserved);
            window.tokens.overdraw(self.used);
        }
    }
}

fn minute(now: Timestamp) -> i64 {
    now.millis().div_euclid(MINUTE_MS)
}
