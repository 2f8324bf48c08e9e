//! Most likely labels of a token sequence, and the probability of each label.

use super::weights::LABELS;

type LabelScores = [f32; LABELS];

/// Decoder of token sequences; reuses its memory from one sequence to the next.
#[derive(Default)]
pub(super) struct CrfDecoder {
    /// Scores by token and label, set by the caller.
    pub(super) scores: Vec<LabelScores>,
    back: Vec<[u8; LABELS]>,
    forward: Vec<LabelScores>,
    factors: Vec<LabelScores>,
    /// Marginal probability of each label of each token, after [`CrfDecoder::marginals`].
    pub(super) marginals: Vec<LabelScores>,
    /// Most likely sequence of labels, after [`CrfDecoder::path`].
    pub(super) path: Vec<u8>,
}

impl CrfDecoder {
    /// Computes the most likely sequence of labels by Viterbi's algorithm.
    pub(super) fn path(&mut self, transitions: &[LabelScores; LABELS]) {
        self.back.clear();
        self.path.clear();
        let Some((first, rest)) = self.scores.split_first() else { return };
        let mut best = *first;
        for scores in rest {
            let mut next = *scores;
            let mut from = [0; LABELS];
            for (to, (next, from)) in next.iter_mut().zip(&mut from).enumerate() {
                let mut highest = f32::NEG_INFINITY;
                for (label, row) in (0..).zip(transitions) {
                    let score = best[usize::from(label)] + row[to];
                    if score > highest {
                        (highest, *from) = (score, label);
                    }
                }
                *next += highest;
            }
            self.back.push(from);
            best = next;
        }
        let mut label = highest(&best);
        self.path.push(label);
        for from in self.back.iter().rev() {
            label = from[usize::from(label)];
            self.path.push(label);
        }
        self.path.reverse();
    }

    /// Computes marginal probabilities by the forward-backward algorithm, scaled at each token. `factors` are the
    /// exponentials of the transition weights.
    pub(super) fn marginals(&mut self, factors: &[LabelScores; LABELS]) {
        self.factors.clear();
        self.factors.extend(self.scores.iter().map(|scores| {
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            scores.map(|score| (score - top).exp())
        }));
        self.forward.clear();
        let mut before = [1.0; LABELS];
        for (index, own) in self.factors.iter().enumerate() {
            let mut now = *own;
            if index > 0 {
                for (to, now) in now.iter_mut().enumerate() {
                    *now *= before.iter().zip(factors).map(|(b, row)| b * row[to]).sum::<f32>();
                }
            }
            before = normalized(now);
            self.forward.push(before);
        }
        self.marginals.clear();
        self.marginals.resize(self.scores.len(), [0.0; LABELS]);
        let mut after = [1.0; LABELS];
        for (index, own) in self.factors.iter().enumerate().rev() {
            let mut marginals = self.forward[index];
            for (marginal, after) in marginals.iter_mut().zip(&after) {
                *marginal *= after;
            }
            self.marginals[index] = normalized(marginals);
            let mut earlier = [0.0; LABELS];
            for (earlier, row) in earlier.iter_mut().zip(factors) {
                *earlier = row.iter().zip(own).zip(&after).map(|((t, o), a)| t * o * a).sum();
            }
            after = normalized(earlier);
        }
    }
}

fn normalized(scores: LabelScores) -> LabelScores {
    let sum: f32 = scores.iter().sum();
    scores.map(|score| score / sum.max(f32::MIN_POSITIVE))
}

fn highest(scores: &LabelScores) -> u8 {
    let mut best = 0;
    for (label, score) in (0..).zip(scores) {
        if *score > scores[usize::from(best)] {
            best = label;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of labels with its score.
    fn all(scores: &[LabelScores], transitions: &[LabelScores; LABELS]) -> Vec<(Vec<u8>, f32)> {
        let mut paths = vec![(Vec::new(), 0.0)];
        for own in scores {
            paths = paths
                .iter()
                .flat_map(|(path, sum)| {
                    (0..7_u8).map(move |label| {
                        let step = path
                            .last()
                            .map_or(0.0, |last: &u8| transitions[usize::from(*last)][usize::from(label)]);
                        let mut path = path.clone();
                        path.push(label);
                        (path, sum + step + own[usize::from(label)])
                    })
                })
                .collect();
        }
        paths
    }

    #[test]
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    fn agrees_with_trying_everything() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 40) as f32 / (1 << 22) as f32 - 2.0
        };
        for length in 1..5 {
            let transitions: [LabelScores; LABELS] =
                std::array::from_fn(|_| std::array::from_fn(|_| random()));
            let scores: Vec<LabelScores> = (0..length).map(|_| std::array::from_fn(|_| random())).collect();
            let paths = all(&scores, &transitions);
            let best = paths.iter().max_by(|a, b| a.1.total_cmp(&b.1)).expect("some");
            let mut decoder = CrfDecoder { scores, ..CrfDecoder::default() };
            decoder.path(&transitions);
            assert_eq!(decoder.path, best.0);
            decoder.marginals(&transitions.map(|row| row.map(f32::exp)));
            let total: f32 = paths.iter().map(|(_, score)| score.exp()).sum();
            for (at, marginals) in decoder.marginals.iter().enumerate() {
                for (label, marginal) in (0..).zip(marginals) {
                    let with = paths.iter().filter(|(path, _)| path[at] == label);
                    let expected = with.map(|(_, score)| score.exp()).sum::<f32>() / total;
                    assert!((marginal - expected).abs() < 1e-4, "{marginal} instead of {expected}");
                }
            }
        }
    }
}
