//! Charge before delivery.
//!
//! [`state`] decides (pure): how much of what is ready can be paid for, and
//! when to ask for the next voucher. [`stream`] carries it out: it reads the
//! upstream, charges the tab on the ledger, and only then hands chunks on.

pub mod state;
mod stream;
mod wake;

pub use state::{Ask, Standing, Window};
pub use stream::{Delivered, End, Event, Metered, Tab};
pub use wake::Wakers;
