//! Notifications from the firmware, and the `_OST` codes that answer them (ACPI 6.5, sections 5.6.6 and 6.3.5).
//!
//! ```text
//!  AML: Notify(device, value) --> Queue --> handled one by one --> _OST(value, OstStatus)
//! ```
//!
//! Invariant: notifications wait in a queue of fixed size, oldest first, and each gets exactly one final answer.
//! Neighbours: the kernel's `acpi::aml_host` fills the queue, `acpi::events` empties it.

/// What a notification means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyKind {
    /// 0: a device below this one may have been added or removed; scan again.
    BusCheck,
    /// 1: the device may have been added.
    DeviceCheck,
    /// 3: the firmware requests ejection.
    EjectRequest,
    /// Any other value: unknown to the kernel.
    Other,
}

impl NotifyKind {
    /// The kind by the value of the Notify (ACPI 6.5, table 5.187).
    pub const fn of(value: u64) -> NotifyKind {
        match value {
            0 => NotifyKind::BusCheck,
            1 => NotifyKind::DeviceCheck,
            3 => NotifyKind::EjectRequest,
            _ => NotifyKind::Other,
        }
    }
}

/// The outcome of a notification: the second argument of `_OST` (ACPI 6.5, tables 6.21 to 6.23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OstStatus {
    /// Done.
    Success,
    /// Failed, for a reason without a code of its own; nothing has changed.
    Failure,
    /// The device can never be ejected.
    EjectNotSupported,
    /// The device cannot be ejected now: its memory is in use and cannot be migrated.
    EjectBusy,
    /// Not final: the removal is under way, and its outcome follows.
    EjectInProgress,
}

impl OstStatus {
    /// The status code that the firmware expects.
    pub const fn code(self) -> u64 {
        match self {
            OstStatus::Success => 0,
            OstStatus::Failure => 1,
            OstStatus::EjectNotSupported => 0x80,
            OstStatus::EjectBusy => 0x82,
            OstStatus::EjectInProgress => 0x84,
        }
    }
}

/// The device that a notification is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyTarget {
    /// A memory device, by its number.
    Device(u32),
    /// A device with memory devices below it, by its number.
    Bus(u32),
    /// A power button.
    PowerButton,
}

/// A Notify to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The device.
    pub target: NotifyTarget,
    /// The Notify's value, which is also `_OST`'s first argument.
    pub value: u64,
}

/// A queue of at most `N` notifications, oldest first.
#[derive(Clone, Debug)]
pub struct Queue<const N: usize> {
    ring: [Option<Notification>; N],
    head: usize,
    length: usize,
}

/// The queue is full; the notification is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow;

impl<const N: usize> Default for Queue<N> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<const N: usize> Queue<N> {
    /// An empty queue.
    pub const fn new() -> Self {
        Queue { ring: [None; N], head: 0, length: 0 }
    }

    /// Appends `notification`.
    ///
    /// # Errors
    /// The queue is full.
    pub fn push(&mut self, notification: Notification) -> Result<(), Overflow> {
        let at = self.head.wrapping_add(self.length).checked_rem(N).ok_or(Overflow)?;
        match self.ring.get_mut(at) {
            Some(place @ None) => {
                *place = Some(notification);
                self.length = self.length.saturating_add(1);
                Ok(())
            }
            _ => Err(Overflow),
        }
    }

    /// Takes the oldest notification.
    pub fn pop(&mut self) -> Option<Notification> {
        let oldest = self.ring.get_mut(self.head)?.take()?;
        self.head = self.head.wrapping_add(1).checked_rem(N)?;
        self.length = self.length.saturating_sub(1);
        Some(oldest)
    }

    /// How many notifications it holds.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(number: u32) -> Notification {
        Notification { target: NotifyTarget::Device(number), value: 1 }
    }

    // Proves that the queue loses, duplicates and reorders nothing while it wraps around many times, that a full queue
    // refuses the newest notification and keeps the rest, and that it works again afterwards. Fails when an index wraps
    // wrong.
    #[test]
    fn first_in_first_out() {
        let mut queue = Queue::<3>::new();
        let (mut next_in, mut next_out) = (0, 0);
        for round in 0..50 {
            for _ in 0..=round % 4 {
                match queue.push(device(next_in)) {
                    Ok(()) => next_in += 1,
                    Err(Overflow) => assert_eq!(queue.len(), 3),
                }
            }
            for _ in 0..=round % 3 {
                if let Some(popped) = queue.pop() {
                    assert_eq!(popped, device(next_out));
                    next_out += 1;
                }
            }
            assert_eq!(queue.len(), (next_in - next_out) as usize);
        }
        while queue.pop().is_some() {
            next_out += 1;
        }
        assert_eq!(next_in, next_out);
        assert!(queue.is_empty());
    }

    // Proves that a queue of capacity 0 refuses. Fails when the index is taken modulo zero.
    #[test]
    fn capacity_zero() {
        assert_eq!(Queue::<0>::new().push(device(1)), Err(Overflow));
        assert_eq!(Queue::<0>::new().pop(), None);
    }

    // Proves the values that QEMU sends, and the codes that it turns into ACPI_DEVICE_OST events. Fails when one differs
    // from the specification.
    #[test]
    fn codes_match_the_specification() {
        assert_eq!(
            (NotifyKind::of(0), NotifyKind::of(1), NotifyKind::of(3)),
            (NotifyKind::BusCheck, NotifyKind::DeviceCheck, NotifyKind::EjectRequest)
        );
        assert_eq!((NotifyKind::of(2), NotifyKind::of(0x80)), (NotifyKind::Other, NotifyKind::Other));
        assert_eq!(OstStatus::Success.code(), 0);
        assert_eq!(OstStatus::Failure.code(), 1);
        assert_eq!(OstStatus::EjectNotSupported.code(), 0x80);
        assert_eq!((OstStatus::EjectBusy.code(), OstStatus::EjectInProgress.code()), (0x82, 0x84));
    }
}
