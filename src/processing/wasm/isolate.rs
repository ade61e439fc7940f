//! Finds the records on which a batch fails.
//!
//! Invariant: each record of the batch is in exactly one part that has succeeded, or it has failed alone. Parts come in order.

use std::ops::Range;

/// What has become of a part of a batch.
pub(super) enum Tried<E> {
    Succeeded,
    Failed(E),
    /// Looking on is pointless.
    GivenUp(E),
}

/// Bisects a batch of `records` that has failed as a whole, with `error`, after `attempts`. `attempt` is told which records
/// to try, `failed` gets each record that fails alone with its error and how many attempts it took part in. The error comes
/// back if `attempt` has given up: then what is left has no fate yet.
pub(super) fn isolate<E>(
    records: usize,
    (error, attempts): (E, u32),
    mut attempt: impl FnMut(Range<usize>) -> Tried<E>,
    mut failed: impl FnMut(usize, E, u32),
) -> Result<(), E> {
    if records <= 1 {
        failed(0, error, attempts);
        return Ok(());
    }
    let halves = |part: Range<usize>, attempts| {
        let middle = part.start + part.len() / 2;
        [(middle..part.end, attempts), (part.start..middle, attempts)]
    };
    // The next part is the last one here.
    let mut parts = Vec::from(halves(0..records, attempts));
    while let Some((part, before)) = parts.pop() {
        match attempt(part.clone()) {
            Tried::Succeeded => {}
            Tried::GivenUp(error) => return Err(error),
            Tried::Failed(error) if part.len() == 1 => failed(part.start, error, before + 1),
            Tried::Failed(_) => parts.extend(halves(part, before + 1)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn exactly_the_poison_fails_and_all_else_goes_on_in_order(
            records in 1..300usize,
            poison in prop::collection::btree_set(0..300usize, 1..20),
        ) {
            let poison: BTreeSet<_> = poison.into_iter().map(|at| at % records).collect();
            let (mut passed, mut failed, mut attempts) = (Vec::new(), Vec::new(), 0);
            let attempt = |part: Range<usize>| {
                attempts += 1;
                if poison.range(part.clone()).next().is_some() {
                    return Tried::Failed(());
                }
                passed.extend(part);
                Tried::Succeeded
            };
            isolate(records, ((), 2), attempt, |at, (), _| failed.push(at)).unwrap();
            prop_assert_eq!(&failed, &poison.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(passed, (0..records).filter(|at| !poison.contains(at)).collect::<Vec<_>>());
            let depth = records.next_power_of_two().ilog2() as usize;
            prop_assert!(attempts <= 2 * depth * poison.len(), "{} attempts", attempts);
        }
    }

    #[test]
    fn a_record_alone_has_been_tried_already() {
        let mut failed = Vec::new();
        let never = |_: Range<usize>| -> Tried<&str> { panic!("tried again") };
        isolate(1, ("trap", 2), never, |at, error, attempts| failed.push((at, error, attempts))).unwrap();
        assert_eq!(failed, [(0, "trap", 2)]);
    }

    #[test]
    fn attempts_are_those_the_record_took_part_in() {
        let mut failed = Vec::new();
        let attempt = |part: Range<usize>| if part.contains(&3) { Tried::Failed(()) } else { Tried::Succeeded };
        isolate(8, ((), 2), attempt, |at, (), attempts| failed.push((at, attempts))).unwrap();
        assert_eq!(failed, [(3, 5)]); // Twice with all, then with four, with two, alone.
    }

    #[test]
    fn giving_up_leaves_the_rest_without_a_fate() {
        let mut tried = 0;
        let attempt = |_| {
            tried += 1;
            if tried == 3 { Tried::GivenUp("too long") } else { Tried::Failed("loop") }
        };
        assert_eq!(isolate(64, ("loop", 1), attempt, |_, _, _| panic!("no record failed alone")), Err("too long"));
    }
}
