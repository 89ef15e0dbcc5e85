//! What firmware tells about devices, and what the kernel answers: notifications wait in a queue of
//! fixed size, and each gets exactly one final answer by `_OST` (ACPI 6.5, sections 5.6.6 and 6.3.5).
//!
//! ```text
//!  AML: Notify(device, value) --> Queue --> handled one by one --> _OST(value, Status)
//! ```

use carapace_mm::remove::RemoveError;

/// What a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// 0: something below the device may have come or gone; look again.
    BusCheck,
    /// 1: the device may have come.
    DeviceCheck,
    /// 3: someone asks for the device to be given up.
    EjectRequest,
    /// Anything else: nothing the kernel knows of.
    Other,
}

impl Event {
    /// What a Notify's value means (ACPI 6.5, table 5.187).
    pub const fn of(value: u64) -> Event {
        match value {
            0 => Event::BusCheck,
            1 => Event::DeviceCheck,
            3 => Event::EjectRequest,
            _ => Event::Other,
        }
    }
}

/// How it ended: the second argument of `_OST` (ACPI 6.5, tables 6.21 to 6.23).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Success,
    /// It is not, for a reason that has no code of its own; all is as before.
    Failure,
    /// The device cannot be given up at all.
    EjectNotSupported,
    /// The device cannot be given up now: what it holds is in use and cannot be moved away.
    EjectBusy,
    /// Not an end: the device is being given up, and the end will be told.
    EjectInProgress,
}

impl Status {
    /// What firmware is told of a removal that was refused: that the device cannot go at all, that it cannot go now,
    /// which may be otherwise later, or that something went wrong.
    pub const fn of_removal(error: &RemoveError) -> Status {
        match error {
            RemoveError::Boot | RemoveError::Unknown { .. } => Status::EjectNotSupported,
            RemoveError::UnderWay { .. }
            | RemoveError::Pinned(_)
            | RemoveError::NoRoom { .. }
            | RemoveError::NoTableRoom { .. }
            | RemoveError::NoRun { .. }
            | RemoveError::Busy { .. }
            | RemoveError::InUse { .. } => Status::EjectBusy,
            RemoveError::NotStarted
            | RemoveError::NoResource { .. }
            | RemoveError::Absent { .. }
            | RemoveError::Gone
            | RemoveError::Corrupt { .. }
            | RemoveError::Injected { .. } => Status::Failure,
        }
    }

    /// The number that firmware expects.
    pub const fn code(self) -> u64 {
        match self {
            Status::Success => 0,
            Status::Failure => 1,
            Status::EjectNotSupported => 0x80,
            Status::EjectBusy => 0x82,
            Status::EjectInProgress => 0x84,
        }
    }
}

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A memory device, by its number.
    Device(u32),
    /// Something that has memory devices below it, by its number.
    Bus(u32),
}

/// A Notify that waits to be handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Who is told.
    pub target: Target,
    /// What: the Notify's value as it was given, which is also `_OST`'s first argument.
    pub value: u64,
}

/// A queue that holds at most `N` notifications, oldest first.
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

    /// Puts `notification` behind all others.
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

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<Notification> {
        let oldest = self.ring.get_mut(self.head)?.take()?;
        self.head = self.head.wrapping_add(1).checked_rem(N)?;
        self.length = self.length.saturating_sub(1);
        Some(oldest)
    }

    /// How many wait.
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether none waits.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_mm::addr::{Pfn, PfnRange, VirtAddr};
    use carapace_mm::info::{DeviceId, Holder, ResourceId};
    use carapace_mm::remove::Pinned;
    use carapace_mm::window::AllocationId;

    fn device(number: u32) -> Notification {
        Notification { target: Target::Device(number), value: 1 }
    }

    // Proves that nothing is lost, doubled or reordered when the queue wraps around many times, that a
    // full queue refuses the newest and keeps the rest, and that it is of use again afterwards.
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

    // Proves that a queue without room refuses instead of dividing by zero.
    #[test]
    fn no_room_at_all() {
        assert_eq!(Queue::<0>::new().push(device(1)), Err(Overflow));
        assert_eq!(Queue::<0>::new().pop(), None);
    }

    // Proves that firmware is told "busy" exactly where the same request may go well later, "not supported" where it never
    // can, and a failure where something went wrong: QEMU and whoever manages it act on that.
    #[test]
    fn refused_removals_have_their_status() {
        let resource = ResourceId(1);
        let id = AllocationId(1);
        let (needed, free, pages) = (2, 1, 1);
        let pinned = Pinned { resource, pfn: Pfn(1), pages, holder: Holder::None };
        for error in [
            RemoveError::UnderWay { resource },
            RemoveError::Pinned(pinned),
            RemoveError::NoRoom { needed, free },
            RemoveError::NoTableRoom { needed, free },
            RemoveError::NoRun { id, pages, longest: 0 },
            RemoveError::Busy { id },
            RemoveError::InUse { resource, pages },
        ] {
            assert_eq!(Status::of_removal(&error), Status::EjectBusy, "{error}");
        }
        for error in [RemoveError::Boot, RemoveError::Unknown { device: DeviceId(1) }] {
            assert_eq!(Status::of_removal(&error), Status::EjectNotSupported, "{error}");
        }
        for error in [
            RemoveError::NotStarted,
            RemoveError::NoResource { resource },
            RemoveError::Absent { range: PfnRange::of(Pfn(1), 1) },
            RemoveError::Gone,
            RemoveError::Corrupt { at: VirtAddr(0) },
        ] {
            assert_eq!(Status::of_removal(&error), Status::Failure, "{error}");
        }
    }

    // Proves the numbers that QEMU turns into ACPI_DEVICE_OST events.
    #[test]
    fn numbers_are_the_specification_s() {
        assert_eq!(
            (Event::of(0), Event::of(1), Event::of(3)),
            (Event::BusCheck, Event::DeviceCheck, Event::EjectRequest)
        );
        assert_eq!((Event::of(2), Event::of(0x80)), (Event::Other, Event::Other));
        assert_eq!(Status::Success.code(), 0);
        assert_eq!(Status::Failure.code(), 1);
        assert_eq!(Status::EjectNotSupported.code(), 0x80);
        assert_eq!((Status::EjectBusy.code(), Status::EjectInProgress.code()), (0x82, 0x84));
    }
}
