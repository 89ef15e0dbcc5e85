//! A rate limit for log lines: a burst per interval, the rest suppressed and counted (Linux: `printk_ratelimit`).
//!
//! Firmware can raise the same event as often as it likes (a device that is notified whenever it is answered), and
//! each event would log a line. Suppressed lines are counted, and the count is logged: once when the burst is over,
//! else with the first line of the next interval.

/// Lines that are logged per [`INTERVAL_US`].
pub const BURST: u32 = 8;
/// The interval, in microseconds.
pub const INTERVAL_US: u64 = 10_000_000;

/// The state of one rate limit. `now` below is any monotonic clock in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// When the interval began; `None` before the first line.
    began: Option<u64>,
    logged: u32,
    suppressed: u64,
    flushed: Flushed,
}

/// Whether the count has been logged in this interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flushed {
    #[default]
    No,
    Yes,
}

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Log it; before it, log that so many lines were suppressed (0: log nothing about that).
    Log {
        /// How many.
        suppressed: u64,
    },
    /// Suppress it; it is counted.
    Suppress,
}

impl RateLimit {
    /// Decides whether to log a line now.
    pub fn check(&mut self, now: u64) -> Verdict {
        let over = self.began.is_none_or(|began| now.saturating_sub(began) >= INTERVAL_US);
        if over {
            let suppressed = self.suppressed;
            *self = RateLimit { began: Some(now), logged: 1, suppressed: 0, flushed: Flushed::No };
            return Verdict::Log { suppressed };
        }
        if self.logged < BURST {
            self.logged = self.logged.saturating_add(1);
            return Verdict::Log { suppressed: 0 };
        }
        self.suppressed = self.suppressed.saturating_add(1);
        Verdict::Suppress
    }

    /// Takes the number of suppressed lines at the end of a burst; `None` if there are none, or if it was taken in this
    /// interval already.
    pub fn flush_suppressed(&mut self) -> Option<u64> {
        if self.suppressed == 0 || self.flushed == Flushed::Yes {
            return None;
        }
        self.flushed = Flushed::Yes;
        Some(core::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Proves that a burst is logged and the rest counted, that the count is returned once when the burst is over, and
    // that no line is lost from it: later ones are reported with the next interval's first line. Fails when a flood
    // reaches the log, or a suppressed line is not counted.
    #[test]
    fn a_flood_is_counted() {
        let mut limit = RateLimit::default();
        let logged = (0..1000).filter(|&now| limit.check(now) == Verdict::Log { suppressed: 0 }).count();
        assert_eq!(logged, BURST as usize);
        assert_eq!(limit.flush_suppressed(), Some(1000 - u64::from(BURST)));
        assert_eq!(limit.flush_suppressed(), None);
        assert_eq!(limit.check(1000), Verdict::Suppress);
        assert_eq!(limit.flush_suppressed(), None, "once per interval");
        assert_eq!(limit.check(INTERVAL_US - 1), Verdict::Suppress);
        assert_eq!(limit.check(INTERVAL_US), Verdict::Log { suppressed: 2 });
        assert_eq!(limit.check(INTERVAL_US), Verdict::Log { suppressed: 0 });
    }

    // Proves that rare lines are always logged, and that a clock which stands still, or is at its end, does no harm.
    // Fails when a line is suppressed without a burst.
    #[test]
    fn rare_lines_are_logged() {
        let mut limit = RateLimit::default();
        for n in 0..100 {
            assert_eq!(limit.check(n * INTERVAL_US), Verdict::Log { suppressed: 0 });
            assert_eq!(limit.flush_suppressed(), None);
        }
        let mut limit = RateLimit::default();
        assert_eq!(limit.check(u64::MAX), Verdict::Log { suppressed: 0 });
        assert_eq!(limit.check(0), Verdict::Log { suppressed: 0 });
    }
}
