//! Trained weights: of features by label, and of transitions between labels.

static DATA: &[u8] = include_bytes!("../../../data/names/weights.bin");

/// Number of labels: outside, then begin and inside of a person, a place and an organisation.
pub(super) const LABELS: usize = 7;

pub(super) struct Weights {
    /// Weight of going from one label (row) to the next (column).
    pub(super) transitions: [[f32; LABELS]; LABELS],
    /// Value of one step of a quantised feature weight.
    pub(super) step: f32,
    /// Open-addressing table: a power of two in length, at most half full. A row of zeros is empty.
    keys: Vec<u32>,
    rows: Vec<[i8; 8]>,
}

impl Weights {
    /// Reads the file that `train/train.py` writes: the step, the transitions, the number of features, their keys, for
    /// each a mask of the labels that it has weights for, then those weights.
    pub(super) fn new() -> Self {
        let mut data = WeightsReader(DATA);
        let step = data.float();
        let mut transitions = [[0.0; LABELS]; LABELS];
        for weight in transitions.iter_mut().flatten() {
            *weight = data.float();
        }
        let count = u32::from_le_bytes(data.take()) as usize;
        let keys: Vec<u32> = (0..count).map(|_| u32::from_le_bytes(data.take())).collect();
        let masks: Vec<u8> = (0..count).map(|_| data.take::<1>()[0]).collect();
        let size = (2 * count).next_power_of_two();
        let mut weights = Self { transitions, step, keys: vec![0; size], rows: vec![[0; 8]; size] };
        for (key, mask) in keys.into_iter().zip(masks) {
            let mut row = [0; 8];
            for (label, weight) in row.iter_mut().enumerate().filter(|(label, _)| mask >> label & 1 == 1) {
                debug_assert!(label < LABELS);
                *weight = i8::from_le_bytes(data.take());
            }
            let at = weights.find(key);
            weights.keys[at] = key;
            weights.rows[at] = row;
        }
        weights
    }

    /// Adds the weights of one feature, in steps.
    pub(super) fn add(&self, key: u32, sums: &mut [i16; 8]) {
        let row = &self.rows[self.find(key)];
        for (sum, weight) in sums.iter_mut().zip(row) {
            *sum += i16::from(*weight);
        }
    }

    /// Index of a key, or of the empty slot where it belongs.
    fn find(&self, key: u32) -> usize {
        let mask = self.keys.len() - 1;
        let mut at = key as usize & mask;
        while self.keys[at] != key && self.rows[at] != [0; 8] {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Reader of the weights file, which is compiled in: a missing byte is a broken build.
struct WeightsReader(&'static [u8]);

impl WeightsReader {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect("the file is whole");
        self.0 = rest;
        *bytes
    }

    fn float(&mut self) -> f32 {
        f32::from_le_bytes(self.take())
    }
}
