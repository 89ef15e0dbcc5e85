//! The history of lines, in fixed memory: the oldest lines are dropped for new ones. Each line has a number, from 1 on,
//! that never changes.

use arrayvec::ArrayVec;

/// Bytes of text kept, newlines included.
const CAPACITY: usize = 4096;

/// Lines, oldest first, each followed by a newline.
#[derive(Debug, Default)]
pub struct History {
    text: ArrayVec<u8, CAPACITY>,
    /// Lines ever kept: the number of the newest.
    newest: u64,
}

/// A recalled line of the history, and the text after it: `!! -J`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recall<'a> {
    /// Which.
    pub which: Which,
    /// The text after it.
    pub behind: &'a str,
}

/// The recalled line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `!N`: the line of this number.
    Number(u64),
    /// `!!` (1) and `!-N`: the line this many lines ago.
    Back(u64),
}

/// Parses a line that starts with `!`. `None`: it does not start so, or recalls no line.
pub fn recall(line: &str) -> Option<Recall<'_>> {
    let asked = line.trim_ascii_start().strip_prefix('!')?;
    if let Some(behind) = asked.strip_prefix('!') {
        return Some(Recall { which: Which::Back(1), behind });
    }
    let digits = asked.strip_prefix('-').unwrap_or(asked);
    let (number, behind) =
        digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let number = number.parse().ok()?;
    let which = if digits.len() < asked.len() { Which::Back(number) } else { Which::Number(number) };
    Some(Recall { which, behind })
}

impl History {
    /// An empty history.
    pub const fn new() -> History {
        History { text: ArrayVec::new_const(), newest: 0 }
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
        // Cannot fail: the loop above freed enough bytes.
        let _ = self.text.try_extend_from_slice(line);
        let _ = self.text.try_push(b'\n');
        self.newest += 1;
    }

    /// The number of the newest line; 0 if no line was ever kept.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The recalled line, if the history still has it.
    pub fn find(&self, which: Which) -> Option<&[u8]> {
        let back = match which {
            Which::Number(number) if number > 0 => self.newest.checked_sub(number)?,
            Which::Number(_) => return None,
            Which::Back(lines) => lines.checked_sub(1)?,
        };
        self.get(usize::try_from(back).ok()?)
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

    // A line keeps its number as long as the history has it.
    #[test]
    fn numbers() {
        let mut history = History::new();
        assert_eq!(
            (history.newest(), history.find(Which::Back(1)), history.find(Which::Number(0))),
            (0, None, None)
        );
        for line in ["a", "b", "b", "c"] {
            history.push(line.as_bytes());
        }
        assert_eq!(history.newest(), 3);
        for (which, line) in [
            (Which::Number(1), Some("a")),
            (Which::Number(3), Some("c")),
            (Which::Number(4), None),
            (Which::Number(0), None),
            (Which::Back(1), Some("c")),
            (Which::Back(3), Some("a")),
            (Which::Back(4), None),
            (Which::Back(0), None),
        ] {
            assert_eq!(history.find(which), line.map(str::as_bytes), "{which:?}");
        }
        for n in 0..1000 {
            history.push(format!("line number {n}").as_bytes());
        }
        assert_eq!((history.newest(), history.find(Which::Number(1))), (1003, None));
        assert_eq!(history.find(Which::Number(1003)), Some(&b"line number 999"[..]));
    }

    // The forms that recall a line, and similar ones that do not.
    #[test]
    fn recalls() {
        let found = |which, behind| Some(Recall { which, behind });
        assert_eq!(recall("!!"), found(Which::Back(1), ""));
        assert_eq!(recall(" !! | head"), found(Which::Back(1), " | head"));
        assert_eq!(recall("!12 -J"), found(Which::Number(12), " -J"));
        assert_eq!(recall("!-2"), found(Which::Back(2), ""));
        for line in ["", "x !!", "!", "!x", "!-", "!99999999999999999999999"] {
            assert_eq!(recall(line), None, "{line}");
        }
    }

    // A full history drops whole lines, the oldest first, and always has the newest.
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
