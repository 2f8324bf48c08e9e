//! Confirmation of results that are durable.
//!
//! On PostgreSQL a result is durable when its transaction has ended. On SQLite the WAL is synced first, on a thread of
//! its own: one sync for all that was committed before it, while the next batch is written.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_db::wal::{self, Wal};
use farebox_db::writer_connection::WriterConnection;

/// Sender of the result of one command.
pub(super) type Reply<T> = oneshot::Sender<Result<T, LedgerError>>;

type Replies<T> = Vec<(Reply<T>, Result<T, LedgerError>)>;

/// Results of committed captures and charges, to be sent when they are durable.
#[derive(Default)]
pub(super) struct Unconfirmed {
    pub captures: Replies<CloseOutcome>,
    pub charges: Replies<ChargeOutcome>,
}

impl Unconfirmed {
    /// Sends all results, or the error of the sync: nobody is told of what may not be durable.
    fn send(self, synced: &Result<(), LedgerError>) {
        fn each<T>(replies: Replies<T>, synced: &Result<(), LedgerError>) {
            for (reply, result) in replies {
                // An error here means that nobody waits any more.
                let _ = reply.send(synced.clone().and(result));
            }
        }
        each(self.captures, synced);
        each(self.charges, synced);
    }
}

/// Sender of results that are durable.
pub(super) enum Durability {
    /// Commits are durable when they end.
    AtCommit,
    /// Commits are durable after a sync, by a thread that ends with this, after it has sent everything.
    AfterSync(mpsc::Sender<Unconfirmed>),
    /// No commit can be called durable.
    Never(LedgerError),
}

impl Durability {
    /// Starts the confirmation of commits on `connection`. `spawn` starts a thread.
    pub(super) fn start(connection: &WriterConnection, spawn: impl FnOnce(Box<dyn FnOnce() + Send>)) -> Self {
        match connection.wal() {
            Ok(None) => Self::AtCommit,
            Ok(Some(wal)) => {
                let (sender, committed) = mpsc::channel();
                spawn(Box::new(move || sync(wal, &committed)));
                Self::AfterSync(sender)
            }
            Err(error) => Self::Never(error.into()),
        }
    }

    pub(super) fn confirm(&self, unconfirmed: Unconfirmed) {
        if unconfirmed.captures.is_empty() && unconfirmed.charges.is_empty() {
            return;
        }
        match self {
            Self::AtCommit => unconfirmed.send(&Ok(())),
            Self::AfterSync(sender) => {
                if let Err(mpsc::SendError(unconfirmed)) = sender.send(unconfirmed) {
                    unconfirmed.send(&Err(LedgerError::Stopped));
                }
            }
            Self::Never(error) => unconfirmed.send(&Err(error.clone())),
        }
    }
}

fn sync(mut wal: Wal, committed: &mpsc::Receiver<Unconfirmed>) {
    while let Ok(first) = committed.recv() {
        let all: Vec<_> = std::iter::once(first).chain(committed.try_iter()).collect();
        let synced = wal.sync().map_err(|error| {
            wal::abort_process(&error);
            tracing::error!(%error, "charges cannot be made durable");
            LedgerError::from(error)
        });
        for unconfirmed in all {
            unconfirmed.send(&synced);
        }
    }
}
