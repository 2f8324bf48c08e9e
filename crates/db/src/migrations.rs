//! Migrations, compiled in and named one by one. sqlx's macro would read the folder by itself, but compiles sqlx, its
//! drivers and SQLite a second time to do so.

use std::borrow::Cow;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Files of `migrations/`: the name without `.sql`, and the text.
macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../migrations/", $name, ".sql")))),+]
    };
}

/// Migrations in the order in which they run; a test compares them with the folder.
const FILES: &[(&str, &str)] = files![
    "0001_ledger",
    "0002_payments",
    "0003_channels",
    "0004_sponsored_channels",
    "0005_session_challenges",
    "0006_keys",
    "0007_wallet_nonces",
    "0008_card_payments",
    "0009_payment_goods",
    "0010_key_sale",
    "0011_bought_keys",
    "0012_disputes_won",
    "0013_budgets",
    "0014_claims",
    "0015_fewer_indexes",
    "0016_payment_methods",
    "0017_authority",
    "0018_fair_recovery",
    "0019_pushed_payments",
    "0020_prompts_on_channels",
    "0021_card_refunds",
    "0022_oauth",
    "0023_mcp_files",
    "0024_settlement_tries",
    "0025_browser_sessions",
    "0026_usage",
];

/// Returns the schema's migrations, with the versions, descriptions and checksums that databases remember.
#[must_use]
pub fn migrator() -> Migrator {
    Migrator::with_migrations(FILES.iter().map(|&(name, sql)| migration(name, sql)).collect())
}

/// Returns the version of the newest migration.
#[must_use]
pub fn newest() -> i64 {
    migrator().iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Reads a file as sqlx does: `0012_two_words` has version 12 and the description "two words".
fn migration(name: &str, sql: &'static str) -> Migration {
    let (version, description) = name.split_once('_').expect("a number, then words");
    Migration::new(
        version.parse().expect("a number"),
        Cow::Owned(description.replace('_', " ")),
        MigrationType::Simple,
        sql.into_sql_str(),
        sql.starts_with("-- no-transaction"),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn they_are_what_sqlx_reads_from_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let read = Migrator::new(folder).await.expect("the folder");
        let whole = |m: &Migration| {
            format!(
                "{} {} {:?} {:?} {} {}",
                m.version,
                m.description,
                m.migration_type,
                m.checksum,
                m.no_tx,
                m.sql.as_str()
            )
        };
        let [named, read] = [migrator(), read].map(|all| all.iter().map(whole).collect::<Vec<_>>());
        assert_eq!(named, read, "FILES names every file of migrations/");
    }
}
