//! What was said of the records of an attempt, cut where its requests end.
//!
//! Pure. Always true: the pieces hold each record of each request once and in order; what nothing was said of is not accepted.

use super::Request;

/// What a receiver says of a record, or what is made of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    Accepted,
    /// For good, on these of the answer's grounds.
    Refused(usize),
    /// It may be taken later.
    Later(usize),
}

/// Records of one request of which the same was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its number in the attempt.
    pub request: usize,
    pub first: u64,
    pub end: u64,
    pub said: Said,
}

/// The pieces of the requests of an attempt, in their order. `said` are runs of their records, in the same order; `rest` counts
/// for those that it does not reach.
pub fn pieces<'a>(requests: impl IntoIterator<Item = &'a Request>, said: &[(u64, Said)], rest: Said) -> Vec<Piece> {
    let (mut runs, mut pieces) = (said.iter().copied(), Vec::<Piece>::new());
    let (mut left, mut now) = (0, rest);
    for (number, request) in requests.into_iter().enumerate() {
        let mut at = request.first;
        while at < request.end {
            if left == 0 {
                (left, now) = runs.next().unwrap_or((u64::MAX, rest));
                continue;
            }
            let end = request.end.min(at.saturating_add(left));
            match pieces.last_mut().filter(|last| last.request == number && last.said == now) {
                Some(last) => last.end = end,
                None => pieces.push(Piece { request: number, first: at, end, said: now }),
            }
            (left, at) = (left - (end - at), end);
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![Just(Said::Accepted), (0usize..3).prop_map(Said::Refused), (0usize..3).prop_map(Said::Later)]
    }

    proptest! {
        #[test]
        fn each_record_has_what_was_said_of_it(
            requests in prop::collection::vec((0u64..5, 1u64..6), 0..8),
            runs in prop::collection::vec((0u64..5, said()), 0..20),
        ) {
            let mut at = 0;
            let requests: Vec<_> = requests.into_iter().map(|(gap, records)| {
                let request = Request::planned(at + gap, at + gap + records);
                at = request.end;
                request
            }).collect();
            let rest = Said::Later(9);
            let pieces = pieces(&requests, &runs, rest);
            let found: Vec<_> = pieces.iter()
                .flat_map(|piece| (piece.first..piece.end).map(|record| (piece.request, record, piece.said)))
                .collect();
            let each = runs.iter().flat_map(|&(records, said)| (0..records).map(move |_| said));
            let expected: Vec<_> = requests.iter().enumerate()
                .flat_map(|(number, request)| (request.first..request.end).map(move |record| (number, record)))
                .zip(each.chain(std::iter::repeat(rest)))
                .map(|((number, record), said)| (number, record, said))
                .collect();
            prop_assert_eq!(found, expected);
            let is_one = |two: &[Piece]| two[0].request == two[1].request && two[0].said == two[1].said;
            prop_assert!(!pieces.windows(2).any(is_one), "no more of them than there have to be");
        }
    }
}
