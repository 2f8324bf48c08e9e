//! Order in which the upstreams of a model are asked, and the keys of an upstream. Pure: rests and randomness are
//! parameters.

/// Returns the order in which upstreams are asked: group by group, and within a group at random by weight. Those that
/// rest come after all others. `draw` returns a random number below its argument.
pub(super) fn order<'a, T>(
    groups: &'a [Vec<T>],
    weight: impl Fn(&T) -> u32,
    rests: impl Fn(&T) -> bool,
    draw: &mut impl FnMut(u64) -> u64,
) -> Vec<&'a T> {
    let (mut ready, mut resting) = (Vec::new(), Vec::new());
    for group in groups {
        let (mut later, mut first): (Vec<&T>, Vec<&T>) = group.iter().partition(|one| rests(one));
        shuffle(&mut first, &weight, draw);
        shuffle(&mut later, &weight, draw);
        ready.append(&mut first);
        resting.append(&mut later);
    }
    ready.append(&mut resting);
    ready
}

/// Puts items into a random order in which each is first, among those that are left, with the probability of its weight.
fn shuffle<T>(items: &mut [&T], weight: &impl Fn(&T) -> u32, draw: &mut impl FnMut(u64) -> u64) {
    for first in 0..items.len().saturating_sub(1) {
        let left = &items[first..];
        let total: u64 = left.iter().map(|item| u64::from(weight(item))).sum();
        let mut drawn = draw(total.max(1));
        let chosen = left.iter().position(|item| match drawn.checked_sub(weight(item).into()) {
            Some(beyond) => {
                drawn = beyond;
                false
            }
            None => true,
        });
        items.swap(first, first + chosen.unwrap_or(0));
    }
}

/// Returns the key to ask with next, of `count`: the first one from `turn` on that does not rest and is not among the
/// `asked`; before any was asked, and if all rest, the one whose rest ends first.
pub(super) fn next_key<R: Ord>(
    count: usize,
    turn: usize,
    asked: &[usize],
    admits: impl Fn(usize) -> bool,
    rest_left: impl Fn(usize) -> R,
) -> Option<usize> {
    let in_turn = || (0..count).map(|offset| turn.wrapping_add(offset) % count);
    let ready = in_turn().find(|key| !asked.contains(key) && admits(*key));
    ready.or_else(|| in_turn().min_by_key(|key| rest_left(*key)).filter(|_| asked.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Numbers that look random, the same in each run.
    fn draws() -> impl FnMut(u64) -> u64 {
        let mut state = 7_u64;
        move |below| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        }
    }

    type Named = (&'static str, u32);

    fn asked(
        groups: &[Vec<Named>],
        resting: &[&str],
        draw: &mut impl FnMut(u64) -> u64,
    ) -> Vec<&'static str> {
        let order = order(groups, |(_, weight)| *weight, |(name, _)| resting.contains(name), draw);
        order.into_iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn groups_are_asked_in_order_and_what_rests_last() {
        let groups = [vec![("a", 1)], vec![("b", 1), ("c", 1)], vec![("d", 1)]];
        let mut draw = draws();
        for _ in 0..50 {
            let order = asked(&groups, &[], &mut draw);
            assert_eq!((order[0], order[3], order.len()), ("a", "d", 4));
            let order = asked(&groups, &["a", "c"], &mut draw);
            assert_eq!(order, ["b", "d", "a", "c"]);
        }
        assert!(asked(&[], &[], &mut draw).is_empty());
    }

    #[test]
    fn within_a_group_each_is_first_as_often_as_its_weight_says() {
        let groups = [vec![("a", 5), ("b", 3), ("c", 2)]];
        let (mut first, mut second_after_a) = (BTreeMap::new(), BTreeMap::new());
        let mut draw = draws();
        for _ in 0..10_000 {
            let order = asked(&groups, &[], &mut draw);
            *first.entry(order[0]).or_insert(0) += 1;
            if order[0] == "a" {
                *second_after_a.entry(order[1]).or_insert(0) += 1;
            }
        }
        let near = |count: i32, expected: i32| (count - expected).abs() < 200;
        assert!(near(first["a"], 5000) && near(first["b"], 3000) && near(first["c"], 2000), "{first:?}");
        assert!(near(second_after_a["b"], 3000) && near(second_after_a["c"], 2000), "{second_after_a:?}");
        // One that rests is left out, and the others share what it had.
        let mut first = BTreeMap::new();
        for _ in 0..10_000 {
            *first.entry(asked(&groups, &["a"], &mut draw)[0]).or_insert(0) += 1;
        }
        assert!(near(first["b"], 6000) && near(first["c"], 4000), "{first:?}");
    }

    #[test]
    fn keys_take_turns_and_those_that_rest_are_left_out() {
        let rests = [0, 9, 0, 5];
        let next = |turn, asked: &[usize]| next_key(4, turn, asked, |key| rests[key] == 0, |key| rests[key]);
        assert_eq!([0, 1, 2, 3].map(|turn| next(turn, &[])), [Some(0), Some(2), Some(2), Some(0)]);
        assert_eq!((next(0, &[0]), next(0, &[0, 2])), (Some(2), None));
        let all = next_key(2, 0, &[], |_| false, |key| [9, 5][key]);
        assert_eq!(all, Some(1), "where all rest, the one that rests least");
        assert_eq!(next_key(0, 3, &[], |_| true, |_| 0), None);
        assert_eq!(next_key(1, usize::MAX, &[], |_| true, |_| 0), Some(0));
    }
}
