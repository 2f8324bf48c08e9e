//! Notifications from one instance to the others that share its PostgreSQL database
//! (`NOTIFY` and `LISTEN`). SQLite has one owner, which notifies itself directly.
//!
//! Notifications are sent outside of the transactions they are about, because a `NOTIFY` makes
//! commits wait for each other. A crash can therefore lose one: they may carry hints only.

#![expect(clippy::disallowed_methods, reason = "an instance names itself once, when it starts")]

use std::fmt::Display;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::mpsc;

use super::{Db, Engine};

/// Most messages in one notification; PostgreSQL takes up to 8,000 bytes.
const MESSAGES_PER_NOTIFICATION: usize = 64;
/// Pause before connecting again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Sends what comes in by `outgoing` to the other instances on the database at `url`, and calls
/// `received` with each message of theirs. Ends with `outgoing`; at once on SQLite.
///
/// A message must not hold a comma, and may have up to a hundred bytes.
pub async fn relay(
    db: &Db,
    url: &str,
    topic: &'static str,
    mut outgoing: mpsc::Receiver<impl Display>,
    received: impl Fn(&str),
) {
    if db.engine == Engine::Sqlite {
        return;
    }
    // Every listener gets every notification, so each names its sender: an instance skips its own.
    let sender = uuid::Uuid::new_v4().simple().to_string();
    while !outgoing.is_closed() {
        match listen(url, topic).await {
            Ok(listener) => {
                if let Err(error) = pass_on(db, topic, &sender, listener, &mut outgoing, &received).await {
                    tracing::warn!(%error, "notifications from other instances are interrupted");
                }
            }
            Err(error) => tracing::warn!(%error, "notifications from other instances are interrupted"),
        }
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn listen(url: &str, topic: &str) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(topic).await?;
    Ok(listener)
}

/// Passes messages on in both directions until a connection fails or `outgoing` ends.
async fn pass_on(
    db: &Db,
    topic: &str,
    sender: &str,
    mut listener: PgListener,
    outgoing: &mut mpsc::Receiver<impl Display>,
    received: &impl Fn(&str),
) -> Result<(), sqlx::Error> {
    let mut messages = Vec::with_capacity(MESSAGES_PER_NOTIFICATION);
    loop {
        messages.clear();
        tokio::select! {
            notification = listener.recv() => {
                let notification = notification?;
                if let Some((from, messages)) = notification.payload().split_once(':')
                    && from != sender
                {
                    messages.split(',').for_each(received);
                }
            }
            count = outgoing.recv_many(&mut messages, MESSAGES_PER_NOTIFICATION) => {
                if count == 0 {
                    return Ok(());
                }
                let messages: Vec<String> = messages.iter().map(ToString::to_string).collect();
                let payload = format!("{sender}:{}", messages.join(","));
                sqlx::query("SELECT pg_notify($1, $2)").bind(topic).bind(payload).execute(&db.pool).await?;
            }
        }
    }
}
