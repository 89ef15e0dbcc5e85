//! Copies and zeroes megabytes in steps of 64 bytes.
//!
//! The compiler's own way is one `rep` instruction. An emulator leaves its translated code and comes back for each of that
//! instruction's iterations, 8 bytes, and executes several times as many instructions of its own for the same.

use core::hint::black_box;

/// Bytes of one step: eight loads and stores of a register, without a call.
const STEP: usize = 64;

/// Copies `from` to the start of `to`, as far as it fits.
pub fn copy(to: &mut [u8], from: &[u8]) {
    let bytes = to.len().min(from.len());
    let (Some(to), Some(from)) = (to.get_mut(..bytes), from.get(..bytes)) else { return };
    let (to, to_rest) = to.as_chunks_mut::<STEP>();
    let (from, from_rest) = from.as_chunks::<STEP>();
    for (to, from) in to.iter_mut().zip(from) {
        // Hidden from the compiler, which would make one `rep` of the loop.
        *to = *black_box(from);
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = *from;
    }
}

/// Fills `bytes` with zeros.
pub fn zero(bytes: &mut [u8]) {
    let (steps, rest) = bytes.as_chunks_mut::<STEP>();
    for step in steps {
        // As in `copy`.
        *black_box(step) = [0; STEP];
    }
    rest.fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that every byte is written, none beside them, whatever the lengths, of which most are no multiple of a step.
    /// Fails when the rest behind the last step is left, or taken from another place.
    #[test]
    fn every_byte_and_no_other() {
        let source: Vec<u8> = (1..=255).collect();
        for length in 0..=source.len() {
            let mut to = vec![0; 300];
            copy(&mut to[10..10 + length], &source);
            assert_eq!(to[10..10 + length], source[..length]);
            assert!(to[..10].iter().chain(&to[10 + length..]).all(|&byte| byte == 0), "{length}");
            let mut to = vec![0; 300];
            copy(&mut to, &source[..length]);
            assert_eq!((&to[..length], &to[length..]), (&source[..length], &vec![0; 300 - length][..]));
            let mut bytes = vec![7; 300];
            zero(&mut bytes[10..10 + length]);
            assert!((0..300).all(|at| (bytes[at] == 0) == (10..10 + length).contains(&at)), "{length}");
        }
    }
}
