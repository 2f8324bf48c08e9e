//! The database and the chain, as `/readyz` tells of them.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::chain::Chain;
use crate::db::Db;

/// Time within which a dependency must answer to be ready.
const DEPENDENCY_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for which its answer is passed on.
const CACHED_FOR: Duration = Duration::from_secs(2);

/// Result of the last look at what the server depends on, which anybody can ask for as often as they like.
#[derive(Debug, Default)]
pub struct DependencyCache(Mutex<Option<(Instant, String, String)>>);

impl DependencyCache {
    /// Returns what is said of the database and of the chain: `ok`, or a reason. Both are asked every few seconds at the
    /// most.
    pub async fn get(&self, db: &Db, chain: &Chain) -> (String, String) {
        let mut cache = self.0.lock().await;
        if let Some((at, database, chain)) = &*cache
            && at.elapsed() < CACHED_FOR
        {
            return (database.clone(), chain.clone());
        }
        let database = tokio::time::timeout(DEPENDENCY_TIMEOUT, db.ping());
        let chain = tokio::time::timeout(DEPENDENCY_TIMEOUT, chain.check());
        let (database, chain) = tokio::join!(database, chain);
        let database = match database {
            Ok(Ok(())) => "ok".to_owned(),
            // The driver's text can name hosts and users.
            Ok(Err(_)) => "the database is unreachable".to_owned(),
            Err(_) => format!("the database does not answer within {} s", DEPENDENCY_TIMEOUT.as_secs()),
        };
        let chain = match chain {
            Ok(Ok(())) => "ok".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the node does not answer within {} s", DEPENDENCY_TIMEOUT.as_secs()),
        };
        *cache = Some((Instant::now(), database.clone(), chain.clone()));
        (database, chain)
    }
}
