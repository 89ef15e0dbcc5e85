//! The first blocks of a region, computed from its usable run alone.
//!
//! Neighbours: `init` makes them free, `layout` uses the highest order.

use crate::addr::{Order, Pfn, PfnRange};

/// Returns the largest order of a block at `at` that ends at or before `end`.
pub(super) const fn first_order(at: Pfn, end: Pfn) -> Order {
    let by_length = 63 - (end.0 - at.0).leading_zeros();
    let by_alignment = at.0.trailing_zeros();
    let order = if by_length < by_alignment { by_length } else { by_alignment };
    if order < Order::MAX.0 as u32 { Order(order as u8) } else { Order::MAX }
}

/// Returns the greedy maximal blocks of `usable`, ascending: at most two of each order.
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

/// Returns the highest order among the first blocks of `usable`; order 0 for an empty run.
#[inline(never)] // for each region in four places, and an emulator translates each copy
pub fn max_order(usable: PfnRange) -> Order {
    initial_blocks(usable).fold(Order(0), |max, (_, order)| max.max(order))
}
