//! A split virtqueue of one page for one request at a time (virtio 1.3, section 2.7).
//!
//! ```text
//!  page   0 descriptors | 256 available ring | 512 used ring | 1024 request | 1088 response
//!         0: the request, device reads -> 1: the response, device writes
//! ```
//!
//! One request in flight is simple and enough: a request covers up to 65535 blocks. Invariant: only what lies in the page
//! is given to the device, and every index that it writes is checked. Neighbour: the kernel's `virtio` owns the page.

use crate::mem::{REQUEST_BYTES, RESPONSE_BYTES, Response};

/// Entries of the queue.
pub const ENTRIES: u16 = 4;
/// Offsets in the page.
pub const DESCRIPTORS: u16 = 0;
/// The available ring.
pub const AVAILABLE: u16 = 256;
/// The used ring.
pub const USED: u16 = 512;
const REQUEST: u16 = 1024;
const RESPONSE: u16 = 1088;
const HAS_NEXT: u16 = 1;
const DEVICE_WRITES: u16 = 2;

/// The page that driver and device share. Offsets are below 4096; reads and writes are single accesses, in order.
pub trait Page {
    /// Reads a byte.
    fn read(&self, at: u16) -> u8;
    /// Reads an aligned 16-bit word, with acquire order.
    fn read_u16(&self, at: u16) -> u16;
    /// Writes a byte.
    fn write(&mut self, at: u16, value: u8);
    /// Writes an aligned 16-bit word, with release order.
    fn write_u16(&mut self, at: u16, value: u16);
}

/// The driver's end of the queue.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue {
    available: u16,
    used: u16,
    in_flight: bool,
}

/// Writes bytes.
pub(crate) fn put<P: Page>(page: &mut P, at: u16, bytes: &[u8]) {
    for (offset, &byte) in (0u16..).zip(bytes) {
        page.write(at.saturating_add(offset), byte);
    }
}

/// Reads a 32-bit word.
pub(crate) fn word<P: Page>(page: &P, at: u16) -> u32 {
    u32::from(page.read_u16(at)) | u32::from(page.read_u16(at.saturating_add(2))) << 16
}

impl Queue {
    /// Writes an empty queue into the page, which lies at physical address `at`.
    pub fn new<P: Page>(page: &mut P, at: u64) -> Queue {
        put(page, DESCRIPTORS, &[0; RESPONSE as usize + 64]);
        let buffers = [
            (REQUEST, REQUEST_BYTES as u32, HAS_NEXT, 1u16),
            (RESPONSE, RESPONSE_BYTES as u32, DEVICE_WRITES, 0),
        ];
        for (entry, (buffer, length, flags, next)) in (0u16..).zip(buffers) {
            let place = DESCRIPTORS.saturating_add(entry.saturating_mul(16));
            put(page, place, &at.saturating_add(buffer.into()).to_le_bytes());
            put(page, place.saturating_add(8), &length.to_le_bytes());
            put(page, place.saturating_add(12), &flags.to_le_bytes());
            put(page, place.saturating_add(14), &next.to_le_bytes());
        }
        Queue::default()
    }

    /// Whether a request is in flight.
    pub fn is_busy(&self) -> bool {
        self.in_flight
    }

    /// Makes a request available. The caller then notifies the device. Does nothing while one is in flight.
    pub fn submit<P: Page>(&mut self, page: &mut P, request: &[u8; REQUEST_BYTES]) {
        if self.in_flight {
            return;
        }
        put(page, REQUEST, request);
        put(page, RESPONSE, &[0xff; RESPONSE_BYTES]);
        let slot = AVAILABLE.saturating_add(4).saturating_add((self.available % ENTRIES).saturating_mul(2));
        page.write_u16(slot, 0);
        self.available = self.available.wrapping_add(1);
        page.write_u16(AVAILABLE.saturating_add(2), self.available);
        self.in_flight = true;
    }

    /// The response, once. `None` while there is none. [`Response::Garbage`] also for a used ring that cannot be: the
    /// queue must be made anew then.
    pub fn take<P: Page>(&mut self, page: &P) -> Option<Response> {
        let index = page.read_u16(USED.saturating_add(2));
        if index == self.used {
            return None;
        }
        let expected = self.used.wrapping_add(1);
        let slot = USED.saturating_add(4).saturating_add((self.used % ENTRIES).saturating_mul(8));
        let was_in_flight = core::mem::replace(&mut self.in_flight, false);
        self.used = index;
        let (id, length) = (word(page, slot), word(page, slot.saturating_add(4)));
        if !was_in_flight || index != expected || id != 0 || length != RESPONSE_BYTES as u32 {
            return Some(Response::Garbage);
        }
        let mut bytes = [0; RESPONSE_BYTES];
        for (at, byte) in (RESPONSE..).zip(bytes.iter_mut()) {
            *byte = page.read(at);
        }
        Some(Response::decode(&bytes))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) struct Bytes(pub(crate) [u8; 4096]);

    impl Page for Bytes {
        fn read(&self, at: u16) -> u8 {
            self.0[at as usize]
        }
        fn read_u16(&self, at: u16) -> u16 {
            u16::from_le_bytes([self.0[at as usize], self.0[at as usize + 1]])
        }
        fn write(&mut self, at: u16, value: u8) {
            self.0[at as usize] = value;
        }
        fn write_u16(&mut self, at: u16, value: u16) {
            self.0[at as usize..][..2].copy_from_slice(&value.to_le_bytes());
        }
    }

    fn answer(page: &mut Bytes, turn: u16, id: u8, length: u8, kind: u8) {
        let slot = USED + 4 + (turn % ENTRIES) * 8;
        page.0[slot as usize..][..8].copy_from_slice(&[id, 0, 0, 0, length, 0, 0, 0]);
        page.0[RESPONSE as usize..][..2].copy_from_slice(&[kind, 0]);
        page.write_u16(USED + 2, turn.wrapping_add(1));
    }

    /// Proves that requests and responses go around the ring many times, each response is taken once, and that a wrong
    /// id, length or index is garbage. Fails when an index wraps wrongly.
    #[test]
    fn requests_go_around() {
        let mut page = Bytes([0xee; 4096]);
        let mut queue = Queue::new(&mut page, 0x7000);
        assert_eq!(page.0[..16], [0, 0x74, 0, 0, 0, 0, 0, 0, 24, 0, 0, 0, 1, 0, 1, 0]);
        assert_eq!(page.0[16..32], [0x40, 0x74, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0]);
        for turn in 0..=u16::MAX {
            queue.submit(&mut page, &[turn as u8; REQUEST_BYTES]);
            assert_eq!((page.read_u16(AVAILABLE + 2), queue.take(&page)), (turn.wrapping_add(1), None));
            answer(&mut page, turn, 0, 10, 2);
            assert_eq!(queue.take(&page), Some(Response::Busy));
            assert_eq!((queue.take(&page), queue.is_busy()), (None, false));
        }
        for (id, length, skip) in [(1, 10, 0), (0, 9, 0), (0, 11, 0), (0, 10, 1)] {
            let mut queue = Queue::new(&mut page, 0);
            queue.submit(&mut page, &[0; REQUEST_BYTES]);
            answer(&mut page, 0, id, length, 0);
            page.write_u16(USED + 2, 1 + skip);
            assert_eq!(queue.take(&page), Some(Response::Garbage), "{id} {length} {skip}");
        }
    }

    proptest! {
        /// Proves that no content of the page makes the queue panic. Fails when an index is used unchecked.
        #[test]
        fn any_page_is_harmless(page in proptest::collection::vec(any::<u8>(), 4096), turns in 0u16..20) {
            let mut page = Bytes(page.try_into().unwrap());
            let mut queue = Queue::default();
            for _ in 0..turns {
                queue.submit(&mut page, &[0; REQUEST_BYTES]);
                let _ = queue.take(&page);
                page.write_u16(USED + 2, page.read_u16(USED + 2).wrapping_mul(3).wrapping_add(turns));
            }
        }
    }
}
