//! Money: whole millionths of a US dollar, parsed strictly, added only with a check.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Millionths of a dollar in one dollar.
const MICROS_PER_DOLLAR: i64 = 1_000_000;
/// Decimals of a dollar that can be expressed.
const DECIMALS: usize = 6;

/// An amount of money in millionths of a US dollar.
///
/// A TIP-20 dollar token has six decimals, so one base unit of the token is exactly
/// one `Money` unit. There is no `Add`: every sum is checked and every overflow is an error.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(i64);

/// Reason to refuse a text as an amount of money. The message says what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not `digits[.digits]`.
    #[error(
        "write the amount in dollars with plain digits and an optional decimal point, such as \"0.05\" or \"12\""
    )]
    NotDollars,
    /// Not a plain run of digits.
    #[error("write the amount in base units with plain digits, such as \"50000\"")]
    NotBaseUnits,
    /// Finer than a millionth of a dollar.
    #[error("use at most 6 decimals: the smallest amount is 0.000001")]
    TooFine,
    /// Does not fit in 64 bits.
    #[error(
        "use a smaller amount: the largest is 9223372036854.775807 dollars (9223372036854775807 base units)"
    )]
    TooLarge,
}

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// An amount from millionths of a dollar.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The amount in millionths of a dollar.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The sum, or `None` when it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// The difference (possibly negative), or `None` when it does not fit.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// `times` times the amount, or `None` when it does not fit.
    #[must_use]
    pub fn checked_mul(self, times: u64) -> Option<Self> {
        let times = i64::try_from(times).ok()?;
        self.0.checked_mul(times).map(Self)
    }

    /// True if the amount is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// True if the amount is more than zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// Reads a dollar amount such as `0.05`: digits, then optionally a point and one to six digits.
    ///
    /// # Errors
    /// [`MoneyError`] for everything else: signs, spaces, exponents, `_`, `0x`, leading zeros, an empty side of the
    /// point, a seventh decimal, or an amount that does not fit.
    pub fn parse_dollars(text: &str) -> Result<Self, MoneyError> {
        let (whole, decimals) = match text.split_once('.') {
            None => (text, ""),
            Some((_, "")) => return Err(MoneyError::NotDollars),
            Some(sides) => sides,
        };
        if !is_plain_number(whole) || !decimals.bytes().all(|b| b.is_ascii_digit()) {
            return Err(MoneyError::NotDollars);
        }
        if decimals.len() > DECIMALS {
            return Err(MoneyError::TooFine);
        }
        // Both sides as one run of digits is the amount in millionths.
        let zeros = std::iter::repeat_n(b'0', DECIMALS - decimals.len());
        digits_to_micros(whole.bytes().chain(decimals.bytes()).chain(zeros))
    }

    /// Reads an amount in TIP-20 base units such as `50000`.
    ///
    /// # Errors
    /// [`MoneyError`] unless the text is a plain decimal number without leading zeros that fits in
    /// 63 bits.
    pub fn parse_base_units(text: &str) -> Result<Self, MoneyError> {
        if !is_plain_number(text) {
            return Err(MoneyError::NotBaseUnits);
        }
        digits_to_micros(text.bytes())
    }

    /// The amount in TIP-20 base units, as written on the wire. Meant for amounts that are not
    /// negative: the wire knows no sign, so a negative amount is written as `0`.
    #[must_use]
    pub fn to_base_units(self) -> String {
        debug_assert!(self.0 >= 0, "a negative amount has no wire form");
        self.0.max(0).to_string()
    }

    /// The amount in dollars without the currency sign: `0.05`, `12.00`, `0.000001`.
    #[must_use]
    pub fn to_dollars(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let micros = self.0.unsigned_abs();
        let per_dollar = MICROS_PER_DOLLAR.unsigned_abs();
        let mut decimals = format!("{:06}", micros % per_dollar);
        while decimals.len() > 2 && decimals.ends_with('0') {
            decimals.pop();
        }
        format!("{sign}{}.{decimals}", micros / per_dollar)
    }
}

/// A decimal number written the one canonical way: `0`, or digits that do not begin with `0`.
fn is_plain_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
}

fn digits_to_micros(mut digits: impl Iterator<Item = u8>) -> Result<Money, MoneyError> {
    digits
        .try_fold(0_i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')))
        .map(Money)
        .ok_or(MoneyError::TooLarge)
}

/// `$0.05`: at least two decimals, at most six.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dollars = self.to_dollars();
        match dollars.strip_prefix('-') {
            Some(dollars) => write!(f, "-${dollars}"),
            None => write!(f, "${dollars}"),
        }
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// [`Money::parse_dollars`].
impl FromStr for Money {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, MoneyError> {
        Self::parse_dollars(text)
    }
}

/// A string of dollars, so that no JSON or TOML reader ever makes a float of it.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_dollars())
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dollars;
        impl de::Visitor<'_> for Dollars {
            type Value = Money;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount in dollars written as a string, such as \"0.05\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Money, E> {
                Money::parse_dollars(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Dollars)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_and_written() {
        for (text, micros, shown) in [
            ("0", 0, "$0.00"),
            ("0.0", 0, "$0.00"),
            ("0.05", 50_000, "$0.05"),
            ("0.000001", 1, "$0.000001"),
            ("0.5", 500_000, "$0.50"),
            ("1", 1_000_000, "$1.00"),
            ("12.340", 12_340_000, "$12.34"),
            ("1.2345", 1_234_500, "$1.2345"),
            ("100", 100_000_000, "$100.00"),
            ("9223372036854.775807", i64::MAX, "$9223372036854.775807"),
        ] {
            let money = Money::parse_dollars(text).unwrap();
            assert_eq!(money.micros(), micros, "{text}");
            assert_eq!(money.to_string(), shown, "{text}");
        }
        assert_eq!(Money::from_micros(-50_000).to_string(), "-$0.05");
        assert_eq!(Money::from_micros(i64::MIN).to_string(), "-$9223372036854.775808");
    }

    #[test]
    fn attack_05_malformed_dollar_amounts_are_refused() {
        use MoneyError::{NotDollars, TooFine, TooLarge};
        for (text, error) in [
            ("", NotDollars),
            (".", NotDollars),
            (".5", NotDollars),
            ("5.", NotDollars),
            ("+1", NotDollars),
            ("-1", NotDollars),
            ("1_0", NotDollars),
            ("0x1", NotDollars),
            ("1e3", NotDollars),
            ("1E3", NotDollars),
            ("00.1", NotDollars),
            ("01", NotDollars),
            (" 1", NotDollars),
            ("1 ", NotDollars),
            ("1.2.3", NotDollars),
            ("1,5", NotDollars),
            ("$1", NotDollars),
            ("1.-5", NotDollars),
            ("1.+5", NotDollars),
            ("NaN", NotDollars),
            ("inf", NotDollars),
            ("١", NotDollars),
            ("1\0", NotDollars),
            ("0.0000001", TooFine),
            ("0.0000000", TooFine),
            ("9223372036854.775808", TooLarge),
            ("9223372036855", TooLarge),
            ("18446744073709551616", TooLarge),
            ("340282366920938463463374607431768211456", TooLarge),
        ] {
            assert_eq!(Money::parse_dollars(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn attack_05_malformed_base_units_are_refused() {
        use MoneyError::{NotBaseUnits, TooLarge};
        for (text, error) in [
            ("", NotBaseUnits),
            ("+1", NotBaseUnits),
            ("-1", NotBaseUnits),
            ("0x1", NotBaseUnits),
            ("1_0", NotBaseUnits),
            ("1.0", NotBaseUnits),
            ("1e3", NotBaseUnits),
            ("00", NotBaseUnits),
            ("050000", NotBaseUnits),
            ("9223372036854775808", TooLarge),
            ("79228162514264337593543950336", TooLarge),
        ] {
            assert_eq!(Money::parse_base_units(text), Err(error), "{text:?}");
        }
        for text in ["0", "1", "50000", "9223372036854775807"] {
            assert_eq!(Money::parse_base_units(text).unwrap().to_base_units(), text);
        }
    }

    #[test]
    fn arithmetic_is_checked() {
        let (one, most) = (Money::from_micros(1), Money::from_micros(i64::MAX));
        assert_eq!(most.checked_add(one), None);
        assert_eq!(Money::from_micros(i64::MIN).checked_sub(one), None);
        assert_eq!(one.checked_sub(Money::from_micros(3)), Some(Money::from_micros(-2)));
        assert_eq!(one.checked_mul(u64::MAX), None);
        assert_eq!(most.checked_mul(2), None);
        assert_eq!(one.checked_mul(7), Some(Money::from_micros(7)));
    }

    #[test]
    fn serde_speaks_strings_of_dollars() {
        let price: Money = serde_json::from_str("\"0.05\"").unwrap();
        assert_eq!(serde_json::to_string(&price).unwrap(), "\"0.05\"");
        for wrong in ["0.05", "5", "\"1e3\"", "null"] {
            assert!(serde_json::from_str::<Money>(wrong).is_err(), "{wrong}");
        }
    }
}
