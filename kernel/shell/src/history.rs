//! The lines typed before, in fixed memory: newest kept, oldest dropped when room is needed.

use arrayvec::ArrayVec;

/// Bytes of text kept, newlines included.
const CAPACITY: usize = 4096;

/// Lines, oldest first, each followed by a newline.
#[derive(Debug, Default)]
pub struct History {
    text: ArrayVec<u8, CAPACITY>,
}

impl History {
    /// An empty history.
    pub const fn new() -> History {
        History { text: ArrayVec::new_const() }
    }

    /// Keeps `line` as the newest one. Not kept: an empty line, one equal to the newest, one with a
    /// newline in it, one that is longer than the whole history.
    pub fn push(&mut self, line: &[u8]) {
        let needed = line.len() + 1;
        if line.is_empty() || needed > CAPACITY || line.contains(&b'\n') || self.get(0) == Some(line) {
            return;
        }
        while self.text.remaining_capacity() < needed {
            let oldest =
                self.text.iter().position(|&byte| byte == b'\n').map_or(self.text.len(), |at| at + 1);
            self.text.drain(..oldest);
        }
        // Cannot fail: the room was made above.
        let _ = self.text.try_extend_from_slice(line);
        let _ = self.text.try_push(b'\n');
    }

    /// The line `back` lines ago; 0 is the newest.
    pub fn get(&self, back: usize) -> Option<&[u8]> {
        let text = self.text.strip_suffix(b"\n")?;
        text.rsplit(|&byte| byte == b'\n').nth(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;
    use std::vec::Vec;

    // Newest first; repetitions and empty lines are not kept.
    #[test]
    fn order() {
        let mut history = History::new();
        assert_eq!(history.get(0), None);
        for line in ["a", "", "b", "b", "a"] {
            history.push(line.as_bytes());
        }
        let lines: Vec<_> = (0..).map_while(|back| history.get(back)).collect();
        assert_eq!(lines, [b"a", b"b", b"a"]);
    }

    // With the room used up the oldest lines go, whole ones, and the newest is always there.
    #[test]
    fn full() {
        let mut history = History::new();
        for n in 0..2000 {
            let line = format!("line {n} {}", "x".repeat(n % 100));
            history.push(line.as_bytes());
            assert_eq!(history.get(0), Some(line.as_bytes()));
            if n > 0 {
                let before = format!("line {} {}", n - 1, "x".repeat((n - 1) % 100));
                assert_eq!(history.get(1), Some(before.as_bytes()));
            }
        }
        let oldest = (0..).map_while(|back| history.get(back)).last().unwrap();
        assert!(oldest.starts_with(b"line "));
        history.push(&[b'y'; CAPACITY]);
        assert_ne!(history.get(0).unwrap()[0], b'y');
        history.push(&[b'y'; CAPACITY - 1]);
        assert_eq!((history.get(0).unwrap().len(), history.get(1)), (CAPACITY - 1, None));
    }
}
