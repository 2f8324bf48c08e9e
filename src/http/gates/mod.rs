//! Gates: extractors and functions that let a handler run only with a proof.

pub mod access_token;
pub mod bearer;
pub mod browser;
pub mod delivery;
pub mod payable;
pub mod payment;
pub mod rated_key;
pub mod wallet;

pub use access_token::AccessToken;
pub use bearer::Bearer;
pub use rated_key::RatedKey;
