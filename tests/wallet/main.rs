//! Wallets that manage keys and credits: signatures of every kind, card payments, credits bought on
//! the chain, through the public API and against every way in which such systems were attacked.

mod attack_22_cards;
mod attack_23_messages;
mod attack_23_signatures;
mod attack_28_secrets;
mod attack_31_authority;
mod attack_32_servers;
mod billing;
mod debts;
mod keys;
mod management;
mod model;
mod purchase;
mod receipts;
mod stripe_double;
mod upgrade;
mod usage;
