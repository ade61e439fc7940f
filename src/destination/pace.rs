//! How much is sent to a receiver at a time: at once less where it pushes back, step by step more while all goes well.
//!
//! Pure. Always true: one request at a time may be under way, and never more than may be; an attempt that was too large is not made
//! as large again before many smaller ones went well.

/// A batch has so many steps between nothing and all that is wanted.
const STEPS: u64 = 64;
/// So many of them an attempt adds that went well.
const STEPS_UP: u64 = 4;
/// What is left of them after an outage.
const STEPS_AGAIN: u64 = 8;
/// By such a part of itself an attempt that went well raises what was too large.
const RAISE: u64 = 64;

#[derive(Debug)]
pub struct Pace {
    in_flight_max: usize,
    in_flight: usize,
    /// Attempts that went well with as many under way.
    successes: usize,
    steps: u64,
    bytes_max: u64,
}

impl Pace {
    pub fn new(in_flight_max: usize) -> Self {
        let in_flight_max = in_flight_max.max(1);
        Self { in_flight_max, in_flight: in_flight_max, successes: 0, steps: STEPS, bytes_max: u64::MAX }
    }

    /// Requests that may be under way at a time.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Bytes of an attempt, of which so many are wanted.
    pub fn bytes(&self, wanted: u64) -> u64 {
        let part = u128::from(wanted) * u128::from(self.steps) / u128::from(STEPS);
        u64::try_from(part).unwrap_or(u64::MAX).min(self.bytes_max)
    }

    pub fn succeeded(&mut self) {
        self.steps = (self.steps + STEPS_UP).min(STEPS);
        self.bytes_max = self.bytes_max.saturating_add(self.bytes_max / RAISE + 1);
        self.successes += 1;
        if self.successes >= self.in_flight {
            self.successes = 0;
            self.in_flight = (self.in_flight + 1).min(self.in_flight_max);
        }
    }

    pub fn pushed_back(&mut self) {
        self.steps = (self.steps / 2).max(1);
        self.in_flight = (self.in_flight / 2).max(1);
        self.successes = 0;
    }

    /// An attempt of so many bytes, with several requests, was too large.
    pub fn was_too_large(&mut self, bytes: u64) {
        self.bytes_max = self.bytes_max.min(bytes / 2);
    }

    /// The receiver is away: when it is back it is not met by all that has waited.
    pub fn stopped(&mut self) {
        self.steps = self.steps.min(STEPS_AGAIN);
        self.in_flight = 1;
        self.successes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn after_an_outage_it_grows_step_by_step() {
        let mut pace = Pace::new(4);
        assert_eq!((pace.in_flight(), pace.bytes(6400)), (4, 6400));
        pace.stopped();
        let mut seen = vec![(pace.in_flight(), pace.bytes(6400))];
        for _ in 0..14 {
            pace.succeeded();
            seen.push((pace.in_flight(), pace.bytes(6400)));
        }
        assert_eq!(seen[0], (1, 800));
        assert_eq!(seen[1], (2, 1200));
        assert_eq!(seen[3].0, 3);
        assert_eq!(seen[6].0, 4);
        assert_eq!(seen[14], (4, 6400));
        assert!(seen.is_sorted());
    }

    #[test]
    fn what_pushes_back_gets_half_and_what_was_too_large_does_not_come_again_soon() {
        let mut pace = Pace::new(4);
        pace.pushed_back();
        assert_eq!((pace.in_flight(), pace.bytes(6400)), (2, 3200));
        pace.was_too_large(3200);
        (0..16).for_each(|_| pace.succeeded());
        assert_eq!(pace.in_flight(), 4);
        assert!((1600..2400).contains(&pace.bytes(6400)), "{pace:?}");
        (0..100).for_each(|_| pace.succeeded());
        assert_eq!(pace.bytes(6400), 6400);
    }

    proptest! {
        #[test]
        fn there_is_always_something_under_way(in_flight in 0usize..9, events in prop::collection::vec(0u8..3, 0..60)) {
            let mut pace = Pace::new(in_flight);
            for event in events {
                match event {
                    0 => pace.succeeded(),
                    1 => pace.pushed_back(),
                    _ => pace.stopped(),
                }
                prop_assert!((1..=in_flight.max(1)).contains(&pace.in_flight()));
                prop_assert!((1..=6400).contains(&pace.bytes(6400)));
            }
        }
    }
}
