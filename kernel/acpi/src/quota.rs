//! How much of the same may be said: a few lines in a while, the others counted.
//!
//! Firmware can tell something as often as it likes (a device that is notified whenever it is answered), and each
//! time a line of the log would be due. What is left out is counted, and the count is told: once when
//! the burst is over, else with the first line after the while.

/// Lines that are said in one [`WHILE_US`].
pub const LINES: u32 = 8;
/// The while, in microseconds.
pub const WHILE_US: u64 = 10_000_000;

/// What has been said about one thing lately. `now` below is any clock in microseconds that does not go back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// When the while began; `None` before the first line.
    began: Option<u64>,
    said: u32,
    left_out: u64,
    settled: Settled,
}

/// Whether the count has been told in this while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Settled {
    #[default]
    No,
    Yes,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is said; before it, that so many were left out (0: nothing to say about that).
    Say {
        /// How many.
        left_out: u64,
    },
    /// It is counted only.
    LeaveOut,
}

impl Quota {
    /// A line is due.
    pub fn take(&mut self, now: u64) -> Turn {
        let over = self.began.is_none_or(|began| now.saturating_sub(began) >= WHILE_US);
        if over {
            let left_out = self.left_out;
            *self = Quota { began: Some(now), said: 1, left_out: 0, settled: Settled::No };
            return Turn::Say { left_out };
        }
        if self.said < LINES {
            self.said = self.said.saturating_add(1);
            return Turn::Say { left_out: 0 };
        }
        self.left_out = self.left_out.saturating_add(1);
        Turn::LeaveOut
    }

    /// The burst is over: how many lines were left out, if any were and that has not been told lately.
    pub fn settle(&mut self) -> Option<u64> {
        if self.left_out == 0 || self.settled == Settled::Yes {
            return None;
        }
        self.settled = Settled::Yes;
        Some(core::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Proves that a few lines are said and the rest counted, that the count is told once when the burst is
    // over, and that nothing of it is lost: what comes after that is told with the next while's first line.
    #[test]
    fn a_flood_is_counted() {
        let mut quota = Quota::default();
        let said = (0..1000).filter(|&now| quota.take(now) == Turn::Say { left_out: 0 }).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(quota.settle(), Some(1000 - u64::from(LINES)));
        assert_eq!(quota.settle(), None);
        assert_eq!(quota.take(1000), Turn::LeaveOut);
        assert_eq!(quota.settle(), None, "told once in a while");
        assert_eq!(quota.take(WHILE_US - 1), Turn::LeaveOut);
        assert_eq!(quota.take(WHILE_US), Turn::Say { left_out: 2 });
        assert_eq!(quota.take(WHILE_US), Turn::Say { left_out: 0 });
    }

    // Proves that what comes seldom is always said, and that a clock which stands still, or is at its end,
    // does no harm.
    #[test]
    fn seldom_lines_are_said() {
        let mut quota = Quota::default();
        for n in 0..100 {
            assert_eq!(quota.take(n * WHILE_US), Turn::Say { left_out: 0 });
            assert_eq!(quota.settle(), None);
        }
        let mut quota = Quota::default();
        assert_eq!(quota.take(u64::MAX), Turn::Say { left_out: 0 });
        assert_eq!(quota.take(0), Turn::Say { left_out: 0 });
    }
}
