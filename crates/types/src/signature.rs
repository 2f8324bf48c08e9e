//! The compact form of secp256k1 signatures (EIP-2098). Bytes only: nothing is verified here.

/// Length of a compact signature: `r`, then `s` whose highest bit is the parity.
const COMPACT: usize = 64;
/// Length of a signature as `r`, `s` and `v`.
const EXPANDED: usize = COMPACT + 1;
/// Highest bit of `s` in the compact form: the parity of the point's y. A canonical `s` leaves it
/// free.
const PARITY_BIT: u8 = 0x80;
/// `v` of an even parity.
const V_EVEN: u8 = 27;

/// Expands an EIP-2098 compact signature to its 65 bytes, with 27 or 28 as `v`; `None` for a
/// signature of any other length, which is not compact.
#[must_use]
pub fn expand_compact(signature: &[u8]) -> Option<[u8; EXPANDED]> {
    let compact: &[u8; COMPACT] = signature.try_into().ok()?;
    let mut expanded = [0; EXPANDED];
    expanded[..COMPACT].copy_from_slice(compact);
    let s = COMPACT / 2;
    let odd = expanded[s] & PARITY_BIT != 0;
    expanded[s] &= !PARITY_BIT;
    expanded[COMPACT] = V_EVEN + u8::from(odd);
    Some(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
    }

    /// The examples of EIP-2098.
    #[test]
    fn compact_signatures_are_expanded() {
        for (r, compact_s, s, v) in [
            (
                "68a020a209d3d56c46f38cc50a33f704f4a9a10a59377f8dd762ac66910e9b90",
                "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
                "7e865ad05c4035ab5792787d4a0297a43617ae897930a6fe4d822b8faea52064",
                "1b",
            ),
            (
                "9328da16089fcba9bececa81663203989f2df5fe1faa6291a45381c81bd17f76",
                "939c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
                "139c6d6b623b42da56557e5e734a43dc83345ddfadec52cbe24d0cc64f550793",
                "1c",
            ),
        ] {
            let expanded = expand_compact(&bytes(&format!("{r}{compact_s}"))).expect("64 bytes");
            assert_eq!(expanded.as_slice(), bytes(&format!("{r}{s}{v}")));
        }
    }

    #[test]
    fn only_64_bytes_are_compact() {
        for length in [0, 1, 32, 63, 65, 66, 128] {
            assert_eq!(expand_compact(&vec![0x80; length]), None, "{length} bytes");
        }
    }
}
