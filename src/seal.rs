//! Sealed values: what this server gave out and recognises again without remembering it. Pure.
//!
//! Keys follow from the server's secret, as those of challenges do: the secret before the last rotation still
//! opens, and never seals. Each use has a label of its own, so that a value of one is none of another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use crate::config::Secret;

/// Beginning of every label: nothing else that the secret is used for has it.
const DOMAIN: &[u8] = b"farebox oauth\0";
/// Bytes of the MAC in a sealed value: half of it, which RFC 2104 allows, because a `client_id` should be short.
const SEAL_BYTES: usize = 16;

/// Sealer of values, with the server's secrets.
#[derive(Clone)]
pub struct Sealer {
    current: Hmac<Sha256>,
    previous: Option<Hmac<Sha256>>,
}

impl Sealer {
    /// Makes a sealer. `previous` only opens.
    #[must_use]
    pub fn new(secret: &Secret, previous: Option<&Secret>) -> Self {
        let keyed = |secret: &Secret| {
            Hmac::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes keys of any length")
        };
        Self { current: keyed(secret), previous: previous.map(keyed) }
    }

    /// Returns a value as a text that only this server can make.
    #[must_use]
    pub fn seal(&self, label: &str, value: &impl Serialize) -> String {
        let json = serde_json::to_vec(value).expect("plain data is valid JSON");
        let mac = mac(&self.current, label, &json);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&json), URL_SAFE_NO_PAD.encode(&mac[..SEAL_BYTES]))
    }

    /// Returns the value of a text that this server made under that label.
    #[must_use]
    pub fn open<T: DeserializeOwned>(&self, label: &str, text: &str) -> Option<T> {
        let (json, seal) = text.split_once('.')?;
        let (json, seal) = (URL_SAFE_NO_PAD.decode(json).ok()?, URL_SAFE_NO_PAD.decode(seal).ok()?);
        let is_ours = |key: &Hmac<Sha256>| {
            seal.len() == SEAL_BYTES && updated(key, label, &json).verify_truncated_left(&seal).is_ok()
        };
        let is_ours = is_ours(&self.current) || self.previous.as_ref().is_some_and(is_ours);
        if is_ours { serde_json::from_slice(&json).ok() } else { None }
    }

    /// Returns the bytes that follow from an input: by the secret of now, then by the one before.
    pub fn derive(&self, label: &str, input: &str) -> impl Iterator<Item = [u8; 32]> {
        let keys = std::iter::once(&self.current).chain(&self.previous);
        keys.map(move |key| mac(key, label, input.as_bytes()))
    }
}

fn updated(key: &Hmac<Sha256>, label: &str, input: &[u8]) -> Hmac<Sha256> {
    key.clone().chain_update(DOMAIN).chain_update(label).chain_update(b"\0").chain_update(input)
}

fn mac(key: &Hmac<Sha256>, label: &str, input: &[u8]) -> [u8; 32] {
    updated(key, label, input).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_opened_under_its_label_and_either_secret() {
        let [first, second, third] = ["a", "b", "c"].map(Secret::from);
        let old = Sealer::new(&first, None);
        let text = old.seal("client", &("name", 7));
        let open = |sealer: &Sealer, label, text: &str| sealer.open::<(String, u8)>(label, text);
        assert_eq!(open(&old, "client", &text), Some(("name".into(), 7)));
        let rotated = Sealer::new(&second, Some(&first));
        assert_eq!(open(&rotated, "client", &text), Some(("name".into(), 7)));
        assert_eq!(open(&Sealer::new(&third, Some(&second)), "client", &text), None);
        assert_eq!(open(&old, "request", &text), None);
        let (json, seal) = text.split_once('.').expect("two parts");
        for forged in [
            String::new(),
            json.to_owned(),
            format!("{json}."),
            format!("{json}.{}", &seal[..20]),
            format!("{json}.{seal}x"),
            format!("{json}A.{seal}"),
            format!("{}.{seal}", URL_SAFE_NO_PAD.encode(r#"["name",8]"#)),
        ] {
            assert_eq!(open(&old, "client", &forged), None, "{forged}");
        }
        assert_eq!(rotated.derive("x", "y").nth(1), old.derive("x", "y").next());
        assert_ne!(old.derive("x", "y").next(), old.derive("x", "z").next());
    }
}
