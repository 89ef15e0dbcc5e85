//! A ring of bytes: the serial line's receive and transmit queues.
//!
//! ```text
//!  bytes:  | free | oldest ... newest | free |      indices wrap around at the end
//! ```

/// A ring of at most `N` bytes. A new ring is all zeros, so a static one lies in `.bss`.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever put in and ever taken out; modulo `N` these are indices.
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

    /// An empty ring.
    pub const fn new() -> Ring<N> {
        let () = Self::POWER_OF_TWO;
        Ring { bytes: [0; N], put: 0, taken: 0 }
    }

    /// How many bytes it holds.
    pub fn waiting(&self) -> usize {
        self.put.wrapping_sub(self.taken)
    }

    /// How many more bytes fit.
    pub fn room(&self) -> usize {
        N - self.waiting()
    }

    /// Appends as many of `bytes` as fit and returns how many.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let fitting = bytes.len().min(self.room());
        for &byte in &bytes[..fitting] {
            self.bytes[self.put % N] = byte;
            self.put = self.put.wrapping_add(1);
        }
        fitting
    }

    /// The oldest bytes, up to the end of the buffer; empty if the ring is.
    pub fn front(&self) -> &[u8] {
        let start = self.taken % N;
        &self.bytes[start..N.min(start + self.waiting())]
    }

    /// Removes the `count` oldest bytes, or all if there are fewer.
    pub fn take(&mut self, count: usize) {
        self.taken = self.taken.wrapping_add(count.min(self.waiting()));
    }
}
