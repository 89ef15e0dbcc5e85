//! A ring of bytes: what waits between the serial line and the rest of the kernel.
//!
//! ```text
//!  bytes:  | free | taken next ... put last | free |      places wrap around at the end
//! ```

/// A ring of at most `N` bytes; all zeros while it is new.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever put in and ever taken out: their places are these modulo `N`.
    put: usize,
    taken: usize,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Ring<N> {
        Ring::new()
    }
}

impl<const N: usize> Ring<N> {
    const POWER_OF_TWO: () = assert!(N.is_power_of_two(), "the counters wrap around at a multiple of N");

    /// A ring with nothing in it.
    pub const fn new() -> Ring<N> {
        let () = Self::POWER_OF_TWO;
        Ring { bytes: [0; N], put: 0, taken: 0 }
    }

    /// How many bytes are in it.
    pub fn waiting(&self) -> usize {
        self.put.wrapping_sub(self.taken)
    }

    /// How many bytes more fit.
    pub fn room(&self) -> usize {
        N - self.waiting()
    }

    /// Puts in as many of `bytes` as fit, and says how many.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.len().min(self.room());
        for &byte in &bytes[..fitting] {
            self.bytes[self.put % N] = byte;
            self.put = self.put.wrapping_add(1);
        }
        fitting
    }

    /// The oldest bytes, as far as they lie in one piece; none if there is nothing.
    pub fn front(&self) -> &[u8] {
        let start = self.taken % N;
        &self.bytes[start..N.min(start + self.waiting())]
    }

    /// Takes out the `count` oldest bytes, or all if there are fewer.
    pub fn take(&mut self, count: usize) {
        self.taken = self.taken.wrapping_add(count.min(self.waiting()));
    }
}
