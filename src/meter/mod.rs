//! Charge before delivery.
//!
//! [`state`] decides (pure): how much of what is ready can be paid for, and
//! when to ask for the next voucher. [`stream`] carries it out: it reads the
//! upstream, charges the tab on the ledger, and only then hands chunks on.
//! [`whole`] is the same for answers that come in one piece.

pub mod state;
mod stream;
mod wake;
mod whole;

pub use state::{Ask, Standing, Window};
pub use stream::{Delivered, End, Event, Metered, Tab};
pub use wake::{Bell, Wakers};
pub use whole::{Failed, Served, whole};
