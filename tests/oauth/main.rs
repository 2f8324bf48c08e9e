//! The authorization server of the MCP server: clients that register or publish a document, wallets that sign what they
//! grant, codes and tokens, through the public API and against every way in which such servers were attacked.

mod attack_28_secrets;
mod attack_30_kills;
mod attack_60_clients;
mod attack_61_redirects;
mod attack_62_codes;
mod attack_64_audience;
mod attack_66_consent;
mod attack_67_documents;
mod attack_68_refresh;
mod attack_69_grants;
mod authorizing;
mod browsers;
mod complaints;
mod model;

use farebox_test_support::login as fixture;

const FAREBOX: &str = env!("CARGO_BIN_EXE_farebox");
