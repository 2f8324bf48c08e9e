//! Random numbers that a seed repeats.

/// The seed of a run: `FAREBOX_TEST_SEED`, else `usual`.
pub fn seed(usual: u64) -> u64 {
    std::env::var("FAREBOX_TEST_SEED").map_or(usual, |seed| seed.parse().expect("a number"))
}

/// `SplitMix64`.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}
