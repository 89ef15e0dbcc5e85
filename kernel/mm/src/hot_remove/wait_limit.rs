//! How long the caller of an evacuation's steps waits for allocations that are growing or being freed. Neighbour:
//! `evacuate` reports what a step waited for.

use super::RemoveError;

/// Limits the time for which steps in a row only wait.
#[derive(Clone, Debug)]
pub struct WaitLimit {
    limit_us: u64,
    /// When the first of the steps that wait ended.
    since: Option<u64>,
}

impl WaitLimit {
    /// Creates a limit of `limit_us` microseconds.
    pub const fn new(limit_us: u64) -> WaitLimit {
        WaitLimit { limit_us, since: None }
    }

    /// Call it after each step, with what the step waited for and the time in microseconds. Returns the reason to give up
    /// once the limit is exceeded.
    pub fn check(&mut self, waiting: Option<RemoveError>, now_us: u64) -> Option<RemoveError> {
        let Some(error) = waiting else {
            self.since = None;
            return None;
        };
        let since = *self.since.get_or_insert(now_us);
        (now_us.saturating_sub(since) > self.limit_us).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vmalloc::AllocationId;

    /// Proves that waiting ends with the name of the allocation once it has lasted longer than the limit, whatever
    /// allocations it is for, and that a step which does not wait begins the time anew. Fails when a wait has no end, or
    /// steps that make progress count.
    #[test]
    fn waiting_is_limited() {
        let busy = |id| Some(RemoveError::Busy { id: AllocationId(id) });
        let mut limit = WaitLimit::new(1000);
        assert_eq!(limit.check(None, 0), None);
        assert_eq!(limit.check(busy(1), 5000), None);
        assert_eq!(limit.check(busy(1), 6000), None);
        assert_eq!(limit.check(None, 6001), None);
        assert_eq!(limit.check(busy(1), 9000), None);
        assert_eq!(limit.check(busy(2), 10_000), None);
        assert_eq!(limit.check(busy(2), 10_001), busy(2));
        // A clock that goes back ends nothing.
        assert_eq!(limit.check(busy(2), 0), None);
    }
}
