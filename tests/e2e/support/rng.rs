//! Randomness from a seed that is printed, so that a failure can be had again.

/// SplitMix64: small, and good enough for choosing moments and faults.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// At least `low`, less than `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.between(0, i as u64 + 1) as usize);
        }
    }
}

/// From `HYDRANT_TEST_SEED`, else from the clock; printed either way, and shown by the test runner when the test fails.
pub fn seed(test: &str) -> u64 {
    let seed = match std::env::var("HYDRANT_TEST_SEED") {
        Ok(text) => text.parse().expect("HYDRANT_TEST_SEED is a number"),
        Err(_) => {
            let now =
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is past 1970");
            now.as_nanos() as u64 ^ u64::from(std::process::id())
        }
    };
    println!("{test}: HYDRANT_TEST_SEED={seed}");
    seed
}
