//! The first blocks of a region: recomputable at any time from its usable run alone.
//!
//! Neighbours: `init` makes them free, `layout` asks for the highest order.

use crate::addr::{Order, Pfn, PfnRange};

/// The order of the first block at `at` of a run that ends at `end`: as high as both allow.
pub(super) const fn first_order(at: Pfn, end: Pfn) -> Order {
    let room = 63 - (end.0 - at.0).leading_zeros();
    let aligned = at.0.trailing_zeros();
    let order = if room < aligned { room } else { aligned };
    if order < Order::MAX.0 as u32 { Order(order as u8) } else { Order::MAX }
}

/// The greedy maximal blocks of `usable`, ascending: at most two of each order.
pub fn initial_blocks(usable: PfnRange) -> impl Iterator<Item = (Pfn, Order)> {
    let mut at = usable.start;
    core::iter::from_fn(move || {
        if at >= usable.end {
            return None;
        }
        let (head, order) = (at, first_order(at, usable.end));
        at = at.offset(order.pages());
        Some((head, order))
    })
}

/// The highest order of a first block of `usable`; order 0 for an empty run.
pub fn max_order(usable: PfnRange) -> Order {
    initial_blocks(usable).map(|(_, order)| order).max().unwrap_or(Order(0))
}
