//! Answers that are given when what they say is durable.
//!
//! On PostgreSQL that is when the transaction has ended. On SQLite the log is synced first, on a
//! thread of its own: one sync for all that was committed before it, while the next batch is written.

use std::sync::mpsc;

use tokio::sync::oneshot;

use super::{ChargeOutcome, CloseOutcome, LedgerError};
use farebox_db::wal::{self, Wal};
use farebox_db::writer_connection::WriterConnection;

/// Who waits for an outcome.
pub(super) type Answer<T> = oneshot::Sender<Result<T, LedgerError>>;

type Answers<T> = Vec<(Answer<T>, Result<T, LedgerError>)>;

/// What became of charges and of holds that were to be settled, and who waits to hear it.
#[derive(Default)]
pub(super) struct Charged {
    pub charges: Answers<ChargeOutcome>,
    pub captures: Answers<CloseOutcome>,
}

impl Charged {
    /// Answers everybody. What is not durable may be or not: that is an error.
    fn tell(self, synced: &Result<(), LedgerError>) {
        fn each<T>(answers: Answers<T>, synced: &Result<(), LedgerError>) {
            for (answer, done) in answers {
                // Nobody waits any more, or is told.
                let _ = answer.send(synced.clone().and(done));
            }
        }
        each(self.charges, synced);
        each(self.captures, synced);
    }
}

/// Gives the answers.
pub(super) enum Confirming {
    /// Commits are durable already.
    AtOnce,
    /// By a thread that ends with this, after it has answered everybody.
    Synced(mpsc::Sender<Charged>),
    /// Nothing can be called durable.
    Never(LedgerError),
}

impl Confirming {
    /// For what `own` commits. `spawn` starts a thread.
    pub(super) fn start(own: &WriterConnection, spawn: impl FnOnce(Box<dyn FnOnce() + Send>)) -> Self {
        match own.log() {
            Ok(None) => Self::AtOnce,
            Ok(Some(log)) => {
                let (sender, committed) = mpsc::channel();
                spawn(Box::new(move || sync(log, &committed)));
                Self::Synced(sender)
            }
            Err(error) => Self::Never(error.into()),
        }
    }

    pub(super) fn send(&self, charged: Charged) {
        if charged.charges.is_empty() && charged.captures.is_empty() {
            return;
        }
        match self {
            Self::AtOnce => charged.tell(&Ok(())),
            Self::Synced(sender) => {
                if let Err(mpsc::SendError(charged)) = sender.send(charged) {
                    charged.tell(&Err(LedgerError::Stopped));
                }
            }
            Self::Never(error) => charged.tell(&Err(error.clone())),
        }
    }
}

fn sync(mut log: Wal, committed: &mpsc::Receiver<Charged>) {
    while let Ok(first) = committed.recv() {
        let charged: Vec<_> = std::iter::once(first).chain(committed.try_iter()).collect();
        let synced = log.sync().map_err(|error| {
            wal::abort_process(&error);
            tracing::error!(%error, "charges cannot be made durable");
            LedgerError::from(error)
        });
        for charged in charged {
            charged.tell(&synced);
        }
    }
}
