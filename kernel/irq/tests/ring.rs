//! The ring against a plain list.

use std::collections::VecDeque;

use carapace_irq::ring::Ring;
use proptest::prelude::*;

proptest! {
    /// Proves that bytes come out in the order they went in, none lost, none twice, never more than fit, wherever the
    /// places wrap around. Fails when a place is computed wrong at the end.
    #[test]
    fn it_is_a_list(ops in prop::collection::vec((any::<bool>(), 0usize..20), 1..200)) {
        let (mut ring, mut list) = (Ring::<16>::new(), VecDeque::new());
        let mut next = 0u8;
        for (puts, count) in ops {
            if puts {
                let bytes: Vec<u8> = (0..count).map(|n| next.wrapping_add(n as u8)).collect();
                let taken = ring.put(&bytes);
                prop_assert_eq!(taken, count.min(16 - list.len()));
                list.extend(&bytes[..taken]);
                next = next.wrapping_add(taken as u8);
            } else {
                let front = ring.front();
                prop_assert!(front.iter().eq(list.iter().take(front.len())));
                prop_assert_eq!(front.is_empty(), list.is_empty());
                ring.take(count);
                drop(list.drain(..count.min(list.len())));
            }
            prop_assert_eq!((ring.waiting(), ring.room()), (list.len(), 16 - list.len()));
        }
    }
}
