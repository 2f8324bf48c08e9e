//! The log of the program during all tests, kept to be searched for secrets.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// More than an operator would ever switch on.
const FILTER: &str = "info,farebox=trace,mpp=trace";

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Installs the subscriber of the test program.
pub fn install() {
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(FILTER))
        .with_ansi(false)
        .with_writer(Log)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the first subscriber");
}

/// The log so far.
pub fn logged() -> String {
    String::from_utf8_lossy(&log()).into_owned()
}

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        log().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}
