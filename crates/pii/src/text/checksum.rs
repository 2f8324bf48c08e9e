//! Check digit algorithms shared by several numbers.
//!
//! All read ASCII strings of upper-case letters and digits and answer `false` to anything else.

/// Digits of a string; none if it has other characters.
pub(super) fn digits(text: &str) -> Option<Vec<u32>> {
    text.chars().map(|c| c.to_digit(10)).collect()
}

/// Sum of digit times weight over the shorter of the two.
pub(super) fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(d, w)| d * w).sum()
}

/// Luhn, ISO/IEC 7812-1 annex B.
pub(super) fn luhn(text: &str) -> bool {
    let Some(digits) = digits(text) else { return false };
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, d)| match (place % 2, d * 2) {
            (0, _) => *d,
            (_, doubled) if doubled > 9 => doubled - 9,
            (_, doubled) => doubled,
        })
        .sum();
    !digits.is_empty() && sum.is_multiple_of(10)
}

/// Remainder by 97 with letters read as 10 to 35, ISO/IEC 7064 MOD 97-10.
pub(super) fn mod97(text: impl Iterator<Item = char>) -> Option<u32> {
    text.into_iter().try_fold(0, |rest, c| {
        let value = c.to_digit(36)?;
        Some(if value < 10 { rest * 10 + value } else { rest * 100 + value } % 97)
    })
}

/// ISO/IEC 7064 MOD 11,10 over all digits, the check digit last.
pub(super) fn mod11_10(text: &str) -> bool {
    let Some(digits) = digits(text) else { return false };
    let Some((check, body)) = digits.split_last() else { return false };
    let product = body.iter().fold(10, |product, d| {
        let sum = (d + product) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    });
    (11 - product) % 10 == *check
}

const DIHEDRAL: [[u8; 10]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
    [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
    [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
    [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
    [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
    [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
    [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
    [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
];

/// Verhoeff's permutation, applied once more for each place.
const PERMUTATION: [usize; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];

/// Verhoeff, 1969: the dihedral group of order ten.
pub(super) fn verhoeff(text: &str) -> bool {
    let Some(digits) = digits(text) else { return false };
    let sum = digits.iter().rev().enumerate().fold(0_u8, |sum, (place, digit)| {
        let permuted = (0..place % 8).fold(*digit as usize, |d, _| PERMUTATION[d]);
        DIHEDRAL[usize::from(sum)][permuted]
    });
    !digits.is_empty() && sum == 0
}

/// True if all characters are the same, as in made-up numbers.
pub(super) fn all_same(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    chars.all(|c| Some(c) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_numbers() {
        assert!(luhn("4111111111111111") && !luhn("4111111111111112") && !luhn("") && !luhn("41a"));
        assert!(verhoeff("2363") && !verhoeff("2364"), "the textbook example");
        assert!(mod11_10("86095742719") && !mod11_10("86095742718"));
        assert_eq!(mod97("3214282912345698765432161182".chars()), Some(1));
    }

    #[test]
    fn verhoeff_catches_every_single_error_and_swap() {
        let valid: Vec<char> = "234123412346".chars().collect();
        let text = |digits: &[char]| digits.iter().collect::<String>();
        assert!(verhoeff(&text(&valid)));
        for place in 0..valid.len() {
            for other in ('0'..='9').filter(|c| *c != valid[place]) {
                let mut wrong = valid.clone();
                wrong[place] = other;
                assert!(!verhoeff(&text(&wrong)));
            }
            let mut swapped = valid.clone();
            swapped.swap(place, (place + 1) % valid.len());
            assert!(place + 1 == valid.len() || swapped == valid || !verhoeff(&text(&swapped)));
        }
    }
}
