//! Evidence of payment becomes credit on the ledger.
//!
//! A one-time charge ([`charge`]) follows one row of the `payments` table
//! through `claimed -> broadcast -> settled -> delivered`. The next step for a
//! credential is decided by a pure function ([`decide`](crate::payments::core::payment::decide)); the driver
//! executes it, and [`recover`] finishes what a crash left open.
//! [`channel`] does so for payment channels, [`key_sale`] for purchases from a
//! contract, [`card`] for card payments. Credit that stays on a wallet's account
//! goes through [`income`], which pays the wallet's debts first.

mod abandoned;
pub mod audit;
pub mod card;
pub mod channel;
pub mod charge;
mod fees;
mod goods;
mod idempotency;
mod income;
pub mod key_sale;
mod method;
mod outcome;
pub mod payee;
mod payment_lease;
pub mod recover;
mod row;
mod settle;
pub mod sponsor;
mod store;
mod tempo;
pub mod uncredited;
mod unused;
mod worker_lease;

pub use charge::{Charges, Paid};
pub use fees::FeeAccount;
pub use goods::{Goods, SoldKey, WorkResult};
pub use key_sale::KeySales;
pub use method::Authority;
pub use payee::Payee;
pub use sponsor::Sponsor;
pub use store::{Payments, StoreError};
