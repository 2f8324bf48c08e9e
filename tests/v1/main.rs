//! The prepaid API: keys, chat and previews from a wallet's credits, and their limits, through the
//! public API, against every way in which such systems were attacked or failed.

mod account;
mod attachments;
mod attack_20_races;
mod attack_21_upstreams;
mod attack_24_keys;
mod attack_25_fetches;
mod attack_28_secrets;
mod attack_36_failover;
mod attack_47_steering;
mod bill;
mod budgets;
mod chat;
mod clients;
mod files;
mod fixture;
mod gate;
mod preview;
mod privacy;
mod rates;
mod top_up;
mod web_server;
