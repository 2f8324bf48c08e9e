//! Names of things: one type each, checked when made, so that an id is never taken for another.

#![expect(clippy::disallowed_methods, reason = "the edge itself: moments and ids are made here")]

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::{Builder, Uuid};

/// Longest id of any kind, in bytes.
const LONGEST: usize = 128;

/// Reason to refuse a text as an id of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not `kind:name`.
    #[error("an account is written kind:name in printable characters, such as wallet:0x52…; at most 128")]
    Account,
    /// Not an address.
    #[error("a wallet address is 0x followed by 40 hexadecimal digits")]
    Address,
    /// Not a channel id.
    #[error("a channel id is 0x followed by 64 hexadecimal digits")]
    Channel,
    /// Not a UUID.
    #[error("a hold is named by a UUID")]
    Hold,
    /// Not a UUID.
    #[error("an entry is named by a UUID")]
    Entry,
    /// Empty, too long or with unprintable characters.
    #[error("use 1 to 128 printable ASCII characters without spaces")]
    Token,
}

/// Gives a text id its reading side: the text itself, `Display` and JSON.
macro_rules! text_id {
    ($name:ident) => {
        impl $name {
            /// The id as stored and as written on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// An account of the ledger: `kind:name`, for example `wallet:0x…` with a lower-case address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct AccountId(String);
text_id!(AccountId);

impl AccountId {
    /// The prepaid account of a wallet. Letter case of the address does not matter.
    ///
    /// # Errors
    /// [`IdError::Address`] unless the address is `0x` and 40 hexadecimal digits.
    pub fn wallet(address: &str) -> Result<Self, IdError> {
        let address = lower_hex(address, 40).ok_or(IdError::Address)?;
        Ok(Self(format!("wallet:{address}")))
    }

    /// The account of a payment channel. Letter case of its id does not matter.
    ///
    /// # Errors
    /// [`IdError::Channel`] unless the id is `0x` and 64 hexadecimal digits.
    pub fn channel(id: &str) -> Result<Self, IdError> {
        let id = lower_hex(id, 64).ok_or(IdError::Channel)?;
        Ok(Self(format!("channel:{id}")))
    }

    /// Reads `kind:name`. The kind is lower-case letters; wallets and channels are brought to
    /// lower case.
    ///
    /// # Errors
    /// [`IdError`] for a text of another form, or with a malformed wallet or channel.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (kind, name) = text.split_once(':').ok_or(IdError::Account)?;
        match kind {
            "wallet" => return Self::wallet(name),
            "channel" => return Self::channel(name),
            _ => {}
        }
        let kind_ok = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase());
        if kind_ok && is_token(text) && !name.is_empty() {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::Account)
        }
    }
}

/// Gives a UUID id what makes it, and its text.
macro_rules! uuid_id {
    ($name:ident, $error:expr) => {
        impl $name {
            /// Returns a new id, which begins with its moment.
            #[must_use]
            pub fn new(now: Timestamp) -> Self {
                Self(in_order(now))
            }

            /// Reads a UUID in its usual hyphenated form.
            ///
            /// # Errors
            /// The text has another form.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                match Uuid::try_parse(text) {
                    Ok(uuid) if text.len() == 36 => Ok(Self(uuid)),
                    _ => Err($error),
                }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
            }
        }
    };
}

/// Id of a hold: a UUID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId(Uuid);
uuid_id!(HoldId, IdError::Hold);

/// Id of an entry: a UUID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Uuid);
uuid_id!(EntryId, IdError::Entry);

/// Key by which a paid request is recognised when it comes again: unique within its account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RequestKey(String);
text_id!(RequestKey);

impl RequestKey {
    /// Takes 1 to 128 printable ASCII characters.
    ///
    /// # Errors
    /// [`IdError::Token`] for any other text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if is_token(text) { Ok(Self(text.to_owned())) } else { Err(IdError::Token) }
    }

    /// A new key, for requests that cannot come again.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(in_order(now).to_string())
    }

    /// Returns the key of a request that is known by its hold alone.
    #[must_use]
    pub fn of(hold: &HoldId) -> Self {
        Self(hold.to_string())
    }
}

/// The evidence behind a credit, unique over the whole ledger: `tx:0x…`, `card:pi_…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SourceRef(String);
text_id!(SourceRef);

impl SourceRef {
    /// Takes 1 to 128 printable ASCII characters, compared byte by byte: the caller brings
    /// hexadecimal to lower case first, or one payment could be credited under two spellings.
    ///
    /// # Errors
    /// [`IdError::Token`] for any other text.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if is_token(text) { Ok(Self(text.to_owned())) } else { Err(IdError::Token) }
    }
}

/// The id under which a request appears in logs, answers and ledger entries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RequestId(String);
text_id!(RequestId);

impl RequestId {
    /// The client's own `X-Request-Id` when it is 1 to 128 characters of `[A-Za-z0-9._:-]`.
    #[must_use]
    pub fn from_client(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
        let fits = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(plain);
        fits.then(|| Self(text.to_owned()))
    }

    /// A new id, in the order of its moment: those of ledger entries are in an index.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(in_order(now).to_string())
    }

    /// The client's id when it is acceptable, else a new one.
    #[must_use]
    pub fn accept(client: Option<&str>, now: Timestamp) -> Self {
        client.and_then(Self::from_client).unwrap_or_else(|| Self::new(now))
    }
}

/// A UUID of version 7 (RFC 9562, section 5.7), which begins with its moment. Tables and their
/// indexes grow at their end: new rows share a few pages, however many rows there are, where random
/// ids would each change a page of their own.
fn in_order(now: Timestamp) -> Uuid {
    let mut random = [0; 10];
    getrandom::fill(&mut random).expect("the system has randomness");
    let millis = u64::try_from(now.millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Printable ASCII without spaces, not empty, not long: safe in logs, URLs and indexes.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic())
}

/// `0x` and exactly this many hexadecimal digits, in lower case.
fn lower_hex(text: &str, digits: usize) -> Option<String> {
    let hex = text.strip_prefix("0x")?;
    let fits = hex.len() == digits && hex.bytes().all(|b| b.is_ascii_hexdigit());
    fits.then(|| text.to_ascii_lowercase())
}

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The current time. Nothing else in the program reads the clock: drivers call this once and
    /// pass the value down, so that everything below them can be tested at any moment.
    #[must_use]
    pub fn now() -> Self {
        let now = OffsetDateTime::now_utc();
        Self(now.unix_timestamp() * 1000 + i64::from(now.millisecond()))
    }

    /// A moment from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Later by `millis`, or `None` when that does not fit.
    #[must_use]
    pub const fn checked_add_millis(self, millis: i64) -> Option<Self> {
        match self.0.checked_add(millis) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// Earlier by `millis`, or `None` when that does not fit.
    #[must_use]
    pub const fn checked_sub_millis(self, millis: i64) -> Option<Self> {
        match self.0.checked_sub(millis) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// Milliseconds from `earlier` to this moment (negative when it is later).
    #[must_use]
    pub const fn checked_millis_since(self, earlier: Self) -> Option<i64> {
        self.0.checked_sub(earlier.0)
    }

    /// RFC 3339 in UTC: `2026-01-31T12:00:00.5Z`. Moments beyond the years 0 to 9999, which that
    /// format cannot write, are shown as milliseconds.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok())
            .unwrap_or_else(|| format!("{} ms", self.0))
    }

    /// Reads an RFC 3339 moment of any offset; parts of a millisecond are dropped.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = moment.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).ok().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_are_one_account_whatever_their_letter_case() {
        let upper = AccountId::wallet("0xABCDEF0123456789abcdef0123456789ABCDEF01").unwrap();
        assert_eq!(upper.as_str(), "wallet:0xabcdef0123456789abcdef0123456789abcdef01");
        let parsed = AccountId::parse("wallet:0xABCDEF0123456789abcdef0123456789abcdef01");
        assert_eq!(parsed, Ok(upper));
        for wrong in ["", "0x", "abcdef", "0xabc", "0xzzcdef0123456789abcdef0123456789abcdef01"] {
            assert_eq!(AccountId::wallet(wrong), Err(IdError::Address), "{wrong}");
        }
    }

    #[test]
    fn attack_13_a_channel_is_one_account_whatever_its_letter_case() {
        let id = format!("0x{}", "aB".repeat(32));
        let channel = AccountId::channel(&id).unwrap();
        assert_eq!(channel.as_str(), format!("channel:{}", id.to_lowercase()));
        assert_eq!(AccountId::parse(&format!("channel:{id}")), Ok(channel));
        assert_eq!(AccountId::channel("0xab"), Err(IdError::Channel));
        assert_eq!(AccountId::parse("channel:7"), Err(IdError::Channel));
    }

    #[test]
    fn accounts_have_a_kind_and_a_name() {
        assert!(AccountId::parse("card:cus_1").is_ok());
        for wrong in ["", "card", ":x", "card:", "Card:x", "card:a b", "card:é"] {
            assert_eq!(AccountId::parse(wrong), Err(IdError::Account), "{wrong}");
        }
        assert!(AccountId::parse(&format!("card:{}", "x".repeat(123))).is_ok());
        assert!(AccountId::parse(&format!("card:{}", "x".repeat(124))).is_err());
    }

    #[test]
    fn a_client_may_name_its_request() {
        let now = Timestamp::from_millis(1_767_225_600_500);
        assert_eq!(RequestId::accept(Some("a.B_9:x-1"), now).as_str(), "a.B_9:x-1");
        let longest = "x".repeat(128);
        assert_eq!(RequestId::accept(Some(&longest), now).as_str(), longest);
        for wrong in [Some(""), Some("a b"), Some("a\r\nb"), Some("é"), Some("a/b"), None] {
            assert_eq!(RequestId::accept(wrong, now).as_str().len(), 36, "{wrong:?}");
        }
        assert!(RequestId::from_client(&"x".repeat(129)).is_none());
    }

    #[test]
    fn holds_are_uuids() {
        let id = HoldId::new(Timestamp::from_millis(1_767_225_600_500));
        let text = id.to_string();
        assert_eq!(HoldId::parse(&text), Ok(id.clone()));
        assert_eq!(HoldId::parse(&text.to_uppercase()), Ok(id.clone()));
        assert_eq!(serde_json::to_value(&id).unwrap(), text);
        for wrong in ["", "1", &text.replace('-', "")] {
            assert_eq!(HoldId::parse(wrong), Err(IdError::Hold), "{wrong}");
            assert_eq!(EntryId::parse(wrong), Err(IdError::Entry), "{wrong}");
        }
    }

    #[test]
    fn later_holds_and_requests_have_greater_ids() {
        // The example of RFC 9562, appendix A.6.
        let moment = Timestamp::from_millis(0x017F_22E2_79B0);
        let (hold, request) = (HoldId::new(moment), RequestKey::new(moment));
        assert!(hold.to_string().starts_with("017f22e2-79b0-7"), "{hold}");
        assert!(request.as_str().starts_with("017f22e2-79b0-7"), "{request}");
        assert_ne!(hold, HoldId::new(moment));
        let later = Timestamp::from_millis(moment.millis() + 1);
        assert!(hold < HoldId::new(later) && request < RequestKey::new(later));
    }

    #[test]
    fn moments_are_written_in_rfc3339() {
        let moment = Timestamp::from_millis(1_767_225_600_500);
        assert_eq!(moment.to_rfc3339(), "2026-01-01T00:00:00.5Z");
        assert_eq!(Timestamp::parse_rfc3339("2026-01-01T01:00:00.5004+01:00"), Some(moment));
        assert_eq!(Timestamp::parse_rfc3339("yesterday"), None);
        assert_eq!(Timestamp::from_millis(i64::MAX).to_rfc3339(), "9223372036854775807 ms");
        assert_eq!(Timestamp::from_millis(i64::MAX).checked_add_millis(1), None);
        assert_eq!(Timestamp::from_millis(i64::MIN).checked_sub_millis(1), None);
        assert_eq!(Timestamp::from_millis(-1).seconds(), -1);
    }
}
