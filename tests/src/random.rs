//! Random numbers from a seed that is printed, so that a failure can be seen again.

use std::time::{SystemTime, UNIX_EPOCH};

/// Splitmix64 (Steele, Lea and Flood, 2014): one word of state, good enough to choose with.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// From the environment's `CARAPACE_SEED`, else from the clock; prints the seed.
    #[track_caller]
    pub fn seeded() -> Random {
        let seed = match std::env::var("CARAPACE_SEED") {
            Ok(text) => text.parse().expect("CARAPACE_SEED is a number"),
            Err(_) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
                now.as_nanos() as u64 % 1_000_000
            }
        };
        println!("CARAPACE_SEED={seed}");
        Random { seed, state: seed }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}
