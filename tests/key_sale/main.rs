//! The key sale end to end: wallets buy on a real chain, the server follows the contract's logs.

mod attack_30_databases;
mod attack_30_kills;
mod attack_30_nodes;
mod attack_31_authority;
mod attack_34_held_back;
mod attack_35_many_at_once;
mod buying;
mod debts;
mod deploying;
mod fixture;
mod following;
mod model;
mod several;
mod upgrade;

/// The built program. Cargo tells its path to the test programs only, so they pass it on.
const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
