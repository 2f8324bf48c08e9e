//! Examiner of texts, images and PDFs for personal data: the engine, the models that are loaded, and limits on the
//! number of examinations at once. It serves previews, and protects prompts.
//!
//! Examinations run away from the threads that serve connections. Texts take milliseconds and files seconds, so each
//! kind has permits of its own.

mod file;
mod part;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config;
use farebox_pii::PiiEngine;
use farebox_pii::image::ImageModels;
pub use file::{FACE, File, FileError, FileExaminer, FileKind, FileLimits, RedactedFile};
pub use part::{FilePart, is_remote};

/// Time that a request waits for a permit. Together with [`config::PiiConfig::limit_seconds`] it is shorter
/// than the time for which a signed transaction is valid, some 25 s.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(4);

/// Examiner of texts and files for personal data. Cheap to clone.
#[derive(Clone)]
pub struct Examiner {
    files: FileExaminer,
    /// Time that a request waits for a permit.
    permit_timeout: Duration,
    /// Time in which the examination of a request must end.
    time_limit: Duration,
    /// Permits of requests with texts only.
    text_permits: Arc<Semaphore>,
    /// Permits of requests with files.
    file_permits: Arc<Semaphore>,
    /// Shares of accounts in both.
    shares: AccountShares,
    /// Account that the examinations are for.
    account: Option<Arc<str>>,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examiner").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Permit for one examination, with its place in the account's share.
struct ExaminationPermit {
    _share: Option<OwnedSemaphorePermit>,
    _permit: OwnedSemaphorePermit,
}

/// Places of accounts. Clones share them.
#[derive(Clone)]
struct AccountShares {
    places: usize,
    accounts: Arc<Mutex<HashMap<String, Weak<Semaphore>>>>,
}

impl AccountShares {
    fn new(places: usize) -> Self {
        Self { places, accounts: Arc::default() }
    }

    /// Returns the places of an account.
    fn of(&self, account: &str) -> Arc<Semaphore> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(places) = accounts.get(account).and_then(Weak::upgrade) {
            return places;
        }
        accounts.retain(|_, places| places.strong_count() > 0);
        let places = Arc::new(Semaphore::new(self.places));
        accounts.insert(account.to_owned(), Arc::downgrade(&places));
        places
    }
}

/// Reason for which a request was not examined. The client is at fault only for a request that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExaminationError {
    /// No permit became free in time.
    #[error("too much is being examined at the moment; nothing was charged, send the request again")]
    Busy,
    /// The examination took longer than this number of seconds.
    #[error(
        "examining this takes longer than {0} seconds: send less text, fewer images or fewer pages in one request"
    )]
    TooSlow(u64),
    /// A model or a library failed.
    #[error("the request could not be examined for personal data; nothing was charged, send it again")]
    Failed,
}

impl Examiner {
    /// Loads the models of a checked configuration.
    ///
    /// # Errors
    /// [`config::ConfigError`] if the file of a model is missing or is not such a model.
    pub fn load(config: &config::PiiConfig) -> Result<Self, config::ConfigError> {
        let engine = PiiEngine::with_classifiers(config.networks()?);
        let models = config.image_models()?;
        Ok(Self::new(FileExaminer::new(engine, models, FileLimits::new(config)), config))
    }

    /// Creates an examiner without models.
    #[must_use]
    pub fn without_models() -> Self {
        let config = config::PiiConfig::default();
        let files = FileExaminer::new(PiiEngine::new(), ImageModels::default(), FileLimits::new(&config));
        Self::new(files, &config)
    }

    fn new(files: FileExaminer, config: &config::PiiConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let file_permits = if config.files_at_once == 0 { (cores / 2).max(1) } else { config.files_at_once };
        Self {
            files,
            permit_timeout: PERMIT_TIMEOUT,
            time_limit: Duration::from_secs(config.limit_seconds),
            text_permits: Arc::new(Semaphore::new(cores)),
            file_permits: Arc::new(Semaphore::new(file_permits)),
            shares: AccountShares::new((cores / 2).max(1)),
            account: None,
        }
    }

    /// Returns the examiner for an account, whose examinations take a share of the permits at the most: others are
    /// served while it has many.
    #[must_use]
    pub fn for_account(&self, account: &str) -> Self {
        Self { account: Some(account.into()), ..self.clone() }
    }

    /// Waits for a permit, and for a place in the account's share.
    async fn permit(&self, permits: &Arc<Semaphore>) -> Result<ExaminationPermit, ExaminationError> {
        let share = self.account.as_deref().map(|account| self.shares.of(account));
        let permit = async {
            let share = match share {
                Some(share) => Some(share.acquire_owned().await.ok()?),
                None => None,
            };
            Some(ExaminationPermit {
                _share: share,
                _permit: Arc::clone(permits).acquire_owned().await.ok()?,
            })
        };
        match timeout(self.permit_timeout, permit).await {
            Ok(Some(permit)) => Ok(permit),
            Ok(None) => Err(ExaminationError::Failed),
            Err(_) => Err(ExaminationError::Busy),
        }
    }

    #[must_use]
    pub fn engine(&self) -> &PiiEngine {
        self.files.engine()
    }

    #[must_use]
    pub fn files(&self) -> &FileExaminer {
        &self.files
    }

    /// Runs `work`, which examines texts. It must end soon after the flag is set: when the future is dropped.
    ///
    /// # Errors
    /// [`ExaminationError`] if no permit is free, or if `work` takes too long or panics.
    pub async fn examine_texts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let permit = self.permit(&self.text_permits).await?;
        self.run(permit, work).await
    }

    /// Runs `work`, which examines a request with files. It must end soon after the flag is set: when the future is
    /// dropped.
    ///
    /// # Errors
    /// [`ExaminationError`] if no permit is free, or if `work` takes too long or panics.
    pub async fn examine_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let permit = self.permit(&self.file_permits).await.map_err(count_error)?;
        let result = self.run(permit, work).await.map_err(count_error)?;
        count("examined");
        Ok(result)
    }

    /// Runs `work` on another thread, which keeps the permit until it ends.
    async fn run<T: Send + 'static>(
        &self,
        permit: ExaminationPermit,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let (files, stop) = (self.files.clone(), StopOnDrop::default());
        let flag = Arc::clone(&stop.0);
        let work = tokio::task::spawn_blocking(move || {
            // Kept until the work ends, even if the future was dropped.
            let _permit = permit;
            work(&files, &flag)
        });
        match timeout(self.time_limit, work).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(ExaminationError::Failed),
            Err(_) => Err(ExaminationError::TooSlow(self.time_limit.as_secs())),
        }
    }
}

#[cfg(test)]
impl Examiner {
    /// Waits until no text is being examined.
    pub async fn idle(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let all = self.text_permits.acquire_many(u32::try_from(cores).expect("few")).await;
        drop(all.expect("never closed"));
    }
}

fn count_error(error: ExaminationError) -> ExaminationError {
    count(match error {
        ExaminationError::Busy => "busy",
        ExaminationError::TooSlow(_) => "slow",
        ExaminationError::Failed => "broken",
    });
    error
}

fn count(outcome: &'static str) {
    metrics::counter!("farebox_pii_files_total", "outcome" => outcome).increment(1);
}

/// Flag for work on another thread, set when nobody waits for the work any more.
#[derive(Default)]
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examiner(limit_seconds: u64) -> Examiner {
        let config = config::PiiConfig { limit_seconds, files_at_once: 1, ..config::PiiConfig::default() };
        let files = FileExaminer::new(PiiEngine::new(), ImageModels::default(), FileLimits::new(&config));
        Examiner::new(files, &config)
    }

    #[tokio::test]
    async fn an_examination_that_takes_too_long_is_stopped_and_frees_its_permit() {
        let examiner = examiner(0);
        let endless = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        let slow = examiner.examine_files(move |_, stop| endless(stop)).await;
        assert_eq!(slow, Err(ExaminationError::TooSlow(0)));
        assert!(examiner.file_permits.acquire().await.is_ok(), "the work has ended");
        let slow = examiner.examine_texts(move |_, stop| endless(stop)).await;
        assert_eq!(slow, Err(ExaminationError::TooSlow(0)));
        examiner.idle().await;
    }

    #[tokio::test]
    async fn a_request_without_a_permit_is_busy() {
        let examiner = Examiner { permit_timeout: Duration::ZERO, ..examiner(1) };
        let taken = examiner.file_permits.acquire().await.expect("never closed");
        assert_eq!(examiner.examine_files(|_, _| ()).await, Err(ExaminationError::Busy));
        assert_eq!(examiner.examine_texts(|_, _| 7).await, Ok(7), "texts do not wait for files");
        drop(taken);
        assert_eq!(examiner.examine_files(|_, _| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn attack_38_an_account_with_many_examinations_leaves_room_for_others() {
        let examiner = Examiner { permit_timeout: Duration::from_millis(50), ..examiner(1) };
        let examiner =
            Examiner { text_permits: Arc::new(Semaphore::new(2)), shares: AccountShares::new(1), ..examiner };
        let (busy, other) = (examiner.for_account("busy"), examiner.for_account("other"));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let running = tokio::spawn({
            let busy = busy.clone();
            async move { busy.examine_texts(move |_, _| wait.recv().is_err()).await }
        });
        while examiner.text_permits.available_permits() > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(busy.examine_texts(|_, _| 7).await, Err(ExaminationError::Busy));
        assert_eq!(other.examine_texts(|_, _| 7).await, Ok(7));
        drop(release);
        assert_eq!(running.await.expect("it runs"), Ok(true));
        assert_eq!(busy.examine_texts(|_, _| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failure() {
        let failed = examiner(1).examine_files(|_, _| panic!("as a library might")).await;
        assert_eq!(failed, Err::<(), _>(ExaminationError::Failed));
    }
}
