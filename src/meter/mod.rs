//! Charge before delivery.
//!
//! [`state`] decides (pure): how much of what is ready can be paid for, and
//! when to ask for the next voucher. [`stream`] carries it out: it reads the
//! upstream, charges the tab on the ledger, and only then hands chunks on.
//! [`whole`] is the same for answers that come in one piece. What pays is a
//! [`Purse`]: a channel with its [`Vouchers`], or [`Prepaid`] credits, a tab that
//! has no vouchers to ask for.

mod prepaid;
mod purse;
pub mod state;
mod stream;
mod vouchers;
mod wake;
mod whole;

pub use prepaid::{Prepaid, PrepaidTab};
pub use purse::{Purse, Tab};
pub use state::{Ask, Standing, Window};
pub use stream::{Delivered, End, Event, Metered};
pub use vouchers::{ChannelTab, Vouchers};
pub use wake::{Bell, Wakers};
pub use whole::{Failed, Served, whole};
