//! Hash of features and words. The files in `data` depend on it.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of a word, which must be in lower case.
pub(super) fn text(word: &str) -> u64 {
    let mut hash = word.len() as u64;
    for chunk in word.as_bytes().chunks(8) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        hash = combine(hash, u64::from_le_bytes(bytes));
    }
    hash
}

/// Hash of two values, in order.
pub(super) fn combine(first: u64, second: u64) -> u64 {
    let mixed = (first.rotate_left(23) ^ second).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 29)
}

/// Key of 32 bits under which a feature is stored.
#[allow(clippy::cast_possible_truncation, reason = "the upper half is meant")]
pub(super) fn key(template: u8, value: u64) -> u32 {
    (combine(u64::from(template) + 1, value).wrapping_mul(MULTIPLIER) >> 32) as u32
}
