//! Output that waits in fixed memory: the lines `tail` keeps, and what the pager has not shown yet.

use arrayvec::ArrayVec;

/// At most `N` bytes of text, oldest first.
#[derive(Debug)]
pub struct Kept<const N: usize> {
    bytes: ArrayVec<u8, N>,
    /// Bytes in front that are taken out already; they go when their room is needed.
    taken: usize,
    /// Lines' ends among what is left.
    lines: u64,
}

impl<const N: usize> Default for Kept<N> {
    fn default() -> Kept<N> {
        Kept::new()
    }
}

impl<const N: usize> Kept<N> {
    /// Nothing kept.
    pub const fn new() -> Kept<N> {
        Kept { bytes: ArrayVec::new_const(), taken: 0, lines: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        (self.taken, self.lines) = (0, 0);
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// How many lines' ends are kept.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How many bytes more fit.
    pub fn room(&self) -> usize {
        N - (self.bytes.len() - self.taken)
    }

    /// Keeps as much of `text` as fits, whole characters, and tells the rest.
    pub fn push<'a>(&mut self, text: &'a str) -> &'a str {
        let mut fitting = text.len().min(self.room());
        while !text.is_char_boundary(fitting) {
            fitting -= 1;
        }
        let (now, rest) = text.split_at(fitting);
        if now.len() > self.bytes.remaining_capacity() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        // There is room: made above.
        let _ = self.bytes.try_extend_from_slice(now.as_bytes());
        self.lines += now.bytes().filter(|&byte| byte == b'\n').count() as u64;
        rest
    }

    /// What is kept.
    pub fn text(&self) -> &str {
        // Whole characters go in, and whole characters go out.
        core::str::from_utf8(self.bytes.get(self.taken..).unwrap_or_default()).unwrap_or_default()
    }

    /// Takes out the oldest `count` bytes, which end at a character's end.
    pub fn take(&mut self, count: usize) {
        let count = count.min(self.bytes.len() - self.taken);
        let gone = self.bytes.get(self.taken..self.taken + count).unwrap_or_default();
        self.lines -= gone.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.taken += count;
    }

    /// Takes out the oldest line with its end; `false` where there is none.
    pub fn take_line(&mut self) -> bool {
        let end = self.text().find('\n');
        end.inspect(|end| self.take(end + 1)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::String;

    proptest! {
        // Against a plain string: what goes in comes out, in its order, as far as there is room.
        #[test]
        fn keeps(steps in prop::collection::vec(("[a-zé\n]{0,12}", 0usize..12), 0..40)) {
            let (mut kept, mut model) = (Kept::<24>::new(), String::new());
            for (text, take) in steps {
                let rest = kept.push(&text);
                model.push_str(&text[..text.len() - rest.len()]);
                prop_assert!(rest.is_empty() || kept.room() < 2);
                let take = (0..=take.min(model.len())).rev().find(|&at| model.is_char_boundary(at)).unwrap();
                kept.take(take);
                model.drain(..take);
                prop_assert_eq!(kept.text(), &model);
                prop_assert_eq!(kept.lines() as usize, model.matches('\n').count());
            }
            let end = model.find('\n').map(|at| at + 1);
            prop_assert_eq!(kept.take_line(), end.is_some());
            prop_assert_eq!(kept.text(), &model[end.unwrap_or(0)..]);
        }
    }
}
