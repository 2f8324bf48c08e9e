//! Lists of given names, surnames, places and ordinary words, as hashes.

use super::hash;

static DATA: &[u8] = include_bytes!("../../../data/names/lexicon.bin");

/// The list of ordinary words: as `LISTS` in `train/train.py` numbers the bits, after given names, surnames, places and
/// regions, before words of organisations, titles and brands.
pub(super) const ORDINARY: u8 = 16;

/// Words by 24 bits of their hash; one word in a few hundred that is on no list seems to be on one.
pub(super) struct Lexicon {
    /// Hash above, lists below; zero is an empty place. A power of two in length, at most half full.
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

    /// The lists that a word with this hash is on.
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

/// What a word is stored under.
pub(super) fn short(word: u64) -> u32 {
    hash::key(255, word) >> 8
}

fn place(short: u32, mask: usize) -> usize {
    short as usize & mask
}
