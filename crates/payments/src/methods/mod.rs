//! Payment methods. Each makes offers and reads the payloads of its credentials; what carries
//! them out, with a network behind it, is the server's.

pub mod tempo;

use mpp::protocol::core::PaymentCredential;

use crate::core::{CredentialError, Identity, Method, Submission};

/// Reads the payload of a charge credential: who moves the money, and the payload's identity, a text
/// that is the same for payloads that mean the same.
///
/// # Errors
/// [`CredentialError::Malformed`].
pub(crate) fn read_charge(
    method: Method,
    credential: &PaymentCredential,
) -> Result<(Submission, Identity), CredentialError> {
    match method {
        Method::Tempo => tempo::read_charge(credential),
    }
}
