//! The eager model, the oracle of the random tests: a map of all free blocks of a run, merged at once. It is as
//! simple as possible and has no groups, bits or descriptors.

use std::collections::BTreeMap;
use std::vec::Vec;

use crate::addr::{Order, Pfn, PfnRange};

/// The free and held blocks of one usable run.
pub(crate) struct Model {
    usable: PfnRange,
    free: BTreeMap<Pfn, Order>,
    held: BTreeMap<Pfn, Order>,
    /// The number of free blocks of each order.
    blocks: [u64; Order::COUNT],
    free_pages: u64,
}

impl Model {
    /// Creates a model in which all of `usable` is free.
    pub(crate) fn new(usable: PfnRange) -> Model {
        let mut model = Model {
            usable,
            free: BTreeMap::new(),
            held: BTreeMap::new(),
            blocks: [0; Order::COUNT],
            free_pages: 0,
        };
        // Repeatedly the largest block that starts here.
        let mut at = usable.start;
        while at < usable.end {
            let fits = |order: &Order| {
                at.is_aligned(*order) && usable.contains_range(PfnRange::of(at, order.pages()))
            };
            let order = (0..=Order::MAX.0).rev().map(Order).find(fits).unwrap();
            model.add(at, order);
            at = at.offset(order.pages());
        }
        model
    }

    fn add(&mut self, head: Pfn, order: Order) {
        assert!(self.usable.contains_range(PfnRange::of(head, order.pages())));
        assert_eq!(self.free.insert(head, order), None);
        self.blocks[order.0 as usize] += 1;
        self.free_pages += order.pages();
    }

    fn remove(&mut self, head: Pfn) {
        let order = self.free.remove(&head).unwrap();
        self.blocks[order.0 as usize] -= 1;
        self.free_pages -= order.pages();
    }

    /// Allocates a block, whose frames must all be free.
    pub(crate) fn take(&mut self, head: Pfn, order: Order) {
        assert!(head.is_aligned(order), "{head:?} of {order:?}");
        let (at, mut have) = self.free_at(head).unwrap_or_else(|| panic!("{head:?} is not free"));
        assert!(have >= order, "not all of {head:?}, {order:?}, is free");
        self.remove(at);
        let mut at = at;
        while have > order {
            have = Order(have.0 - 1);
            let middle = at.offset(have.pages());
            let other = if head < middle { middle } else { core::mem::replace(&mut at, middle) };
            self.add(other, have);
        }
        assert_eq!(at, head);
        self.held.insert(head, order);
    }

    /// Frees a held block. Returns its order.
    pub(crate) fn give(&mut self, head: Pfn) -> Order {
        let order = self.held.remove(&head).unwrap();
        let (mut at, mut have) = (head, order);
        loop {
            let buddy = Pfn(at.0 ^ have.pages());
            if have == Order::MAX || self.free.get(&buddy) != Some(&have) {
                break;
            }
            self.remove(buddy);
            at = at.min(buddy);
            have = Order(have.0 + 1);
        }
        self.add(at, have);
        order
    }

    /// Splits the held block that contains `pfn` until `pfn` is a head.
    pub(crate) fn split(&mut self, pfn: Pfn) {
        let (&head, &order) = self.held.range(..=pfn).next_back().unwrap();
        let (mut at, mut have) = (head, order);
        while at != pfn {
            have = Order(have.0 - 1);
            let middle = at.offset(have.pages());
            self.held.insert(at, have);
            self.held.insert(middle, have);
            if pfn >= middle {
                at = middle;
            }
        }
    }

    /// Returns the free block that contains `pfn`.
    pub(crate) fn free_at(&self, pfn: Pfn) -> Option<(Pfn, Order)> {
        around(&self.free, pfn)
    }

    /// Returns the held block that contains `pfn`.
    pub(crate) fn held_at(&self, pfn: Pfn) -> Option<(Pfn, Order)> {
        around(&self.held, pfn)
    }

    /// Returns the head of the held block that contains `pfn`, else of the next one, else of the last.
    pub(crate) fn head_near(&self, pfn: Pfn) -> Option<Pfn> {
        let (here, mut next) = (self.held_at(pfn), self.held.range(pfn..));
        let head = here.map(|(head, _)| head).or_else(|| next.next().map(|(&head, _)| head));
        head.or_else(|| self.held.keys().next_back().copied())
    }

    /// Returns all free blocks, ascending.
    pub(crate) fn free(&self) -> Vec<(Pfn, Order)> {
        self.free.iter().map(|(&head, &order)| (head, order)).collect()
    }

    /// Returns the heads of all held blocks, ascending.
    pub(crate) fn heads(&self) -> Vec<Pfn> {
        self.held.keys().copied().collect()
    }

    /// Returns the number of free blocks of each order.
    pub(crate) fn blocks(&self) -> &[u64; Order::COUNT] {
        &self.blocks
    }

    /// Returns the order of the largest free block.
    pub(crate) fn highest(&self) -> Option<Order> {
        (0..=Order::MAX.0).rev().map(Order).find(|order| self.blocks[order.0 as usize] > 0)
    }

    /// Returns the number of free frames.
    pub(crate) fn free_pages(&self) -> u64 {
        self.free_pages
    }

    /// Returns the length of the longest run of free frames.
    pub(crate) fn longest(&self) -> u64 {
        let (mut longest, mut run) = (0, PfnRange::default());
        for (&head, &order) in &self.free {
            if run.end != head {
                run.start = head;
            }
            run.end = head.offset(order.pages());
            longest = longest.max(run.pages());
        }
        longest
    }
}

fn around(blocks: &BTreeMap<Pfn, Order>, pfn: Pfn) -> Option<(Pfn, Order)> {
    let (&head, &order) = blocks.range(..=pfn).next_back()?;
    PfnRange::of(head, order.pages()).contains(pfn).then_some((head, order))
}
