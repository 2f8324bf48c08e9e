//! What finds personal data in texts, images and PDFs: the engine, the models that are loaded, and how much of it runs
//! at once. Previews sell it, and it stands in front of prompts.
//!
//! All of it is computation, away from the threads that serve connections. Texts take milliseconds and files seconds,
//! so they do not wait for each other.

mod file;
mod part;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::config;
use farebox_pii::PiiEngine;
use farebox_pii::image::ImageModels;
pub use file::{Examined, FACE, File, FileError, FileExaminer, FileKind, FileLimits};
pub use part::{FilePart, is_elsewhere};

/// With [`config::PiiConfig::limit_seconds`] it stays below the time for which a signed transaction is valid, some 25 s.
const PATIENCE: Duration = Duration::from_secs(4);

/// Finds personal data. Cheap to clone.
#[derive(Clone)]
pub struct Examiner {
    files: FileExaminer,
    /// How long a file waits for its turn.
    patience: Duration,
    /// The longest that one request is examined.
    limit: Duration,
    /// One for each text that is examined at once.
    text_permits: Arc<Semaphore>,
    /// The same for requests with files.
    file_permits: Arc<Semaphore>,
}

impl std::fmt::Debug for Examiner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Examiner").field("files", &self.files).finish_non_exhaustive()
    }
}

/// Why a request was not examined. Nothing of it is the caller's mistake but too much at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExaminationError {
    #[error("too many files are being examined at the moment; nothing was charged, send the request again")]
    Busy,
    #[error(
        "examining this takes longer than {0} seconds: send less text, fewer images or fewer pages in one request"
    )]
    Slow(u64),
    #[error("the request could not be examined for personal data; nothing was charged, send it again")]
    Broken,
}

impl Examiner {
    /// With the models of a checked configuration.
    ///
    /// # Errors
    /// When a file of a model is missing or is no such model.
    pub fn load(config: &config::PiiConfig) -> Result<Self, config::ConfigError> {
        let engine = PiiEngine::with_classifiers(config.networks()?);
        let models = config.image_models()?;
        Ok(Self::new(FileExaminer::new(engine, models, FileLimits::new(config)), config))
    }

    /// Without models.
    #[must_use]
    pub fn bare() -> Self {
        let config = config::PiiConfig::default();
        let files = FileExaminer::new(PiiEngine::new(), ImageModels::default(), FileLimits::new(&config));
        Self::new(files, &config)
    }

    fn new(files: FileExaminer, config: &config::PiiConfig) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = if config.files_at_once == 0 { (cores / 2).max(1) } else { config.files_at_once };
        Self {
            files,
            patience: PATIENCE,
            limit: Duration::from_secs(config.limit_seconds),
            text_permits: Arc::new(Semaphore::new(cores)),
            file_permits: Arc::new(Semaphore::new(at_once)),
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

    /// Examines texts. `work` is to look at the flag: it is set when the future is dropped.
    ///
    /// # Errors
    /// When there is not enough time.
    pub async fn texts<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let permit =
            Arc::clone(&self.text_permits).acquire_owned().await.map_err(|_| ExaminationError::Broken)?;
        self.at(permit, work).await
    }

    /// Examines a request with files. `work` is to look at the flag: it is set when the future is dropped.
    ///
    /// # Errors
    /// When there is no permit for it, or not enough time.
    pub async fn request<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let turn = timeout(self.patience, Arc::clone(&self.file_permits).acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(counted(ExaminationError::Busy)) };
        let done = self.at(permit, work).await.map_err(counted)?;
        count("examined");
        Ok(done)
    }

    async fn at<T: Send + 'static>(
        &self,
        permit: OwnedSemaphorePermit,
        work: impl FnOnce(&FileExaminer, &AtomicBool) -> T + Send + 'static,
    ) -> Result<T, ExaminationError> {
        let (files, stop) = (self.files.clone(), StopOnDrop::default());
        let flag = Arc::clone(&stop.0);
        let work = tokio::task::spawn_blocking(move || {
            // Kept until the work ends, also when nobody waits any more.
            let _desk = permit;
            work(&files, &flag)
        });
        match timeout(self.limit, work).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(ExaminationError::Broken),
            Err(_) => Err(ExaminationError::Slow(self.limit.as_secs())),
        }
    }
}

#[cfg(test)]
impl Examiner {
    /// Completes when no text is being examined.
    pub async fn idle(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let all = self.text_permits.acquire_many(u32::try_from(cores).expect("few")).await;
        drop(all.expect("never closed"));
    }
}

fn counted(why: ExaminationError) -> ExaminationError {
    count(match why {
        ExaminationError::Busy => "busy",
        ExaminationError::Slow(_) => "slow",
        ExaminationError::Broken => "broken",
    });
    why
}

fn count(outcome: &'static str) {
    metrics::counter!("farebox_pii_files_total", "outcome" => outcome).increment(1);
}

/// Tells work on another thread that nobody waits for it.
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
    async fn what_takes_too_long_is_stopped_and_leaves_its_desk() {
        let examiner = examiner(0);
        let endless = |stop: &AtomicBool| {
            while !stop.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
        };
        let slow = examiner.request(move |_, stop| endless(stop)).await;
        assert_eq!(slow, Err(ExaminationError::Slow(0)));
        assert!(examiner.file_permits.acquire().await.is_ok(), "the work has ended");
        assert_eq!(examiner.texts(move |_, stop| endless(stop)).await, Err(ExaminationError::Slow(0)));
        examiner.idle().await;
    }

    #[tokio::test]
    async fn whoever_finds_no_desk_is_told_so() {
        let examiner = Examiner { patience: Duration::ZERO, ..examiner(1) };
        let taken = examiner.file_permits.acquire().await.expect("never closed");
        assert_eq!(examiner.request(|_, _| ()).await, Err(ExaminationError::Busy));
        assert_eq!(examiner.texts(|_, _| 7).await, Ok(7), "texts do not wait for files");
        drop(taken);
        assert_eq!(examiner.request(|_, _| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_that_breaks_is_not_the_callers_fault() {
        let broken = examiner(1).request(|_, _| panic!("as a library might")).await;
        assert_eq!(broken, Err::<(), _>(ExaminationError::Broken));
    }
}
