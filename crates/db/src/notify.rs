//! Words from one instance to the others that share its PostgreSQL database
//! (`NOTIFY` and `LISTEN`). SQLite has one owner, who need not tell itself.
//!
//! Words are sent outside of the transactions they are about, because a
//! `NOTIFY` makes commits wait for each other. So one can get lost in a crash:
//! they may carry hints only.

#![expect(clippy::disallowed_methods, reason = "an instance names itself once, when it starts")]

use std::fmt::Display;
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::mpsc;

use super::{Db, Engine};

/// Words in one notification; PostgreSQL takes up to 8,000 bytes.
const AT_ONCE: usize = 64;
/// Pause before connecting again.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends what comes in by `outgoing` to the other instances on the database at
/// `url`, and calls `heard` with what they send. Ends with `outgoing`; at once
/// on SQLite.
///
/// A word must not hold a comma, and may have up to a hundred bytes.
pub async fn relay(
    db: &Db,
    url: &str,
    topic: &'static str,
    mut outgoing: mpsc::Receiver<impl Display>,
    heard: impl Fn(&str),
) {
    if db.engine == Engine::Sqlite {
        return;
    }
    // Our own words come back: these we know already.
    let own = uuid::Uuid::new_v4().simple().to_string();
    while !outgoing.is_closed() {
        match listen(url, topic).await {
            Ok(listener) => {
                if let Err(error) = pass_on(db, topic, &own, listener, &mut outgoing, &heard).await {
                    tracing::warn!(%error, "other instances cannot be heard");
                }
            }
            Err(error) => tracing::warn!(%error, "other instances cannot be heard"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(url: &str, topic: &str) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect(url).await?;
    listener.listen(topic).await?;
    Ok(listener)
}

/// Passes words on both ways until a connection fails or nobody sends any more.
async fn pass_on(
    db: &Db,
    topic: &str,
    own: &str,
    mut listener: PgListener,
    outgoing: &mut mpsc::Receiver<impl Display>,
    heard: &impl Fn(&str),
) -> Result<(), sqlx::Error> {
    let mut words = Vec::with_capacity(AT_ONCE);
    loop {
        words.clear();
        tokio::select! {
            notification = listener.recv() => {
                let notification = notification?;
                if let Some((sender, words)) = notification.payload().split_once(':')
                    && sender != own
                {
                    words.split(',').for_each(heard);
                }
            }
            count = outgoing.recv_many(&mut words, AT_ONCE) => {
                if count == 0 {
                    return Ok(());
                }
                let words: Vec<String> = words.iter().map(ToString::to_string).collect();
                let payload = format!("{own}:{}", words.join(","));
                sqlx::query("SELECT pg_notify($1, $2)").bind(topic).bind(payload).execute(&db.pool).await?;
            }
        }
    }
}
