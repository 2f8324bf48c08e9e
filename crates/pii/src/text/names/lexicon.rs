//! Word lists (given names, surnames, places, ordinary words), as hashes.

use super::hash;

static DATA: &[u8] = include_bytes!("../../../data/names/lexicon.bin");

/// Bit of the list of ordinary words: `LISTS` in `train/train.py` numbers the bits, given names, surnames, places and
/// regions before it, words of organisations, titles and brands behind it.
pub(super) const ORDINARY: u8 = 16;

/// Words by 24 bits of their hash. Of the words on no list, one in a few hundred collides with a listed one.
pub(super) struct Lexicon {
    /// Open-addressing table: hash in the upper 24 bits, lists in the lower 8, zero for an empty slot. A power of two
    /// in length, at most half full.
    table: Vec<u32>,
}

impl Lexicon {
    pub(super) fn new() -> Self {
        let (entries, _) = DATA.as_chunks::<4>();
        let mut table = vec![0; (2 * entries.len()).next_power_of_two()];
        let mask = table.len() - 1;
        for entry in entries {
            let entry = u32::from_le_bytes(*entry);
            let mut at = place(entry >> 8, mask);
            while table[at] != 0 {
                at = (at + 1) & mask;
            }
            table[at] = entry;
        }
        Self { table }
    }

    /// Lists that a word with this hash is on, one bit each.
    pub(super) fn lists(&self, word: u64) -> u8 {
        let wanted = short(word);
        let mask = self.table.len() - 1;
        let mut at = place(wanted, mask);
        while self.table[at] != 0 {
            if self.table[at] >> 8 == wanted {
                return self.table[at].to_le_bytes()[0];
            }
            at = (at + 1) & mask;
        }
        0
    }
}

/// Key of 24 bits under which a word is stored.
pub(super) fn short(word: u64) -> u32 {
    hash::key(255, word) >> 8
}

fn place(short: u32, mask: usize) -> usize {
    short as usize & mask
}
