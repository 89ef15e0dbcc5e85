//! A buddy system of 128 children in 128 bits: bit n is set when child n is free.
//!
//! ```text
//!  children  0 1 2 3 | 4 5 6 7 | ...      free bits  1111 0100   one block of 4 at 0, one of 1 at 5
//! ```
//!
//! The bits alone determine the free blocks: the aligned runs of set bits whose buddy is not completely
//! set. So merging is setting bits, and no block can stay unmerged. A block has 2^`sub` children, `sub` from 0 to 7.
//! Pure arithmetic. Neighbours: `group` stores the bits.

/// A group has 2^SHIFT = 128 children.
pub(super) const SHIFT: u8 = 7;

/// Bit n is set where n is a multiple of 2^sub.
const STARTS: [u128; SHIFT as usize + 1] = {
    let mut starts = [0; SHIFT as usize + 1];
    let mut index = 0;
    while index < 128 {
        let mut sub = 0;
        while sub <= SHIFT {
            if index % (1 << sub) == 0 {
                starts[sub as usize] |= 1 << index;
            }
            sub += 1;
        }
        index += 1;
    }
    starts
};

/// Returns the bits of the block of 2^`sub` children at `index`.
#[inline]
pub(super) const fn block(index: u8, sub: u8) -> u128 {
    (u128::MAX >> (128 - (1 << sub))) << index
}

/// Returns the bits of the children in `from..to`; there are none beyond the last child.
pub(super) fn between(from: u64, to: u64) -> u128 {
    let below = |n: u64| if n < 128 { !(u128::MAX << n) } else { u128::MAX };
    below(to) & !below(from)
}

/// Returns the starts of the free aligned runs of 2^(SUB+1) children, given those of 2^SUB in `starts`.
/// The shift is a compile-time constant, which makes two words as cheap as one.
#[inline(always)]
const fn pairs<const SUB: u8>(starts: u128) -> u128 {
    starts & starts >> (1 << SUB) & STARTS[SUB as usize + 1]
}

/// Calls `each`, for ascending sizes, with `sub`, the starts of the free aligned runs of that size, and those of the
/// next size, until there are none or `each` returns false.
#[inline(always)]
fn each_size(free: u128, mut each: impl FnMut(u8, u128, u128) -> bool) {
    let (two, mut more) = (pairs::<0>(free), true);
    let mut step = |sub, starts: u128, larger: u128| {
        more = more && starts != 0 && each(sub, starts, larger);
        more
    };
    if !step(0, free, two) {
        return;
    }
    let four = pairs::<1>(two);
    if !step(1, two, four) {
        return;
    }
    let eight = pairs::<2>(four);
    if !step(2, four, eight) {
        return;
    }
    let sixteen = pairs::<3>(eight);
    if !step(3, eight, sixteen) {
        return;
    }
    let thirty_two = pairs::<4>(sixteen);
    if !step(4, sixteen, thirty_two) {
        return;
    }
    let half = pairs::<5>(thirty_two);
    if !step(5, thirty_two, half) {
        return;
    }
    let all = pairs::<6>(half);
    if step(6, half, all) {
        step(7, all, 0);
    }
}

/// Returns the `sub` of the largest free block; `None` when no child is free.
#[inline]
pub(super) fn largest(free: u128) -> Option<u8> {
    let mut largest = None;
    each_size(free, |sub, _, larger| {
        largest = Some(sub);
        larger != 0
    });
    largest
}

/// Returns index and `sub` of the smallest free block of at least 2^`least` children, the first of several.
#[inline]
pub(super) fn smallest(free: u128, least: u8) -> Option<(u8, u8)> {
    let mut found = None;
    each_size(free, |sub, starts, larger| {
        // A run whose buddy is free too is half of a larger block.
        let alone = starts & !(larger | larger << (1u32 << sub & 127));
        if sub >= least && alone != 0 {
            found = Some((alone.trailing_zeros() as u8, sub));
        }
        found.is_none()
    });
    found
}

/// Returns the `sub` of the free block that contains the free child `index`, given one half of the group, 64 children of
/// which not all are free.
#[inline(always)]
pub(super) const fn around_in_half(free: u64, index: u8) -> u8 {
    // The smallest aligned run around `index` and another child has 2^(n+1) children, n the highest bit in which their
    // numbers differ. The nearest child that is not free, to the left or to the right, has the smallest such run; so the
    // largest run without any has 2^n. No loop, whose end no CPU could predict.
    let used = !free;
    let left = used & !(u64::MAX << index);
    let right = used & (u64::MAX << index);
    let far = 1 << (SHIFT - 1);
    let to_left = if left == 0 { far } else { (63 - left.leading_zeros()) ^ index as u32 };
    let to_right = if right == 0 { far } else { right.trailing_zeros() ^ index as u32 };
    let nearest = if to_left < to_right { to_left } else { to_right };
    // It differs from `index`, which is free, in one bit at least.
    31 - (nearest | 1).leading_zeros() as u8
}

/// Returns index and `sub` of the free block that contains the child `index`; `None` when that is not free.
#[inline]
pub(super) const fn around(free: u128, index: u8) -> Option<(u8, u8)> {
    // Blocks of up to 64 children lie in one word.
    let base = index & 64;
    let word = (free >> base) as u64;
    if word >> (index % 64) & 1 == 0 {
        return None;
    }
    if free == u128::MAX {
        return Some((0, SHIFT));
    }
    if word == u64::MAX {
        return Some((base, SHIFT - 1));
    }
    let sub = around_in_half(word, index % 64);
    Some((index & !((1 << sub) - 1), sub))
}

/// Counts the free blocks of each size.
#[inline]
pub(super) fn tally(free: u128) -> [u8; SHIFT as usize + 1] {
    let mut blocks = [0; SHIFT as usize + 1];
    let mut count = free.count_ones();
    each_size(free, |sub, _, larger| {
        // Each larger block was counted as two halves.
        let halves = larger.count_ones();
        blocks[sub as usize] = (count - 2 * halves) as u8;
        count = halves;
        true
    });
    blocks
}

/// Returns the children of `count` adjacent blocks of 2^`sub` children, starting at `index`.
#[inline]
pub(super) const fn first_of(index: u8, sub: u8, count: u32) -> u128 {
    let children = count << sub;
    if children < 128 { !(u128::MAX << children) << index } else { u128::MAX }
}

/// Returns the first child of each block of 2^`sub` children in `children`.
#[inline]
pub(super) const fn starts(children: u128, sub: u8) -> u128 {
    children & STARTS[sub as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Finds the free blocks child by child: the slow and obvious way.
    fn blocks(free: u128) -> std::vec::Vec<(u8, u8)> {
        let mut blocks = std::vec::Vec::new();
        let mut index = 0u32;
        while index < 128 {
            let sub = (0..=SHIFT).rev().find(|&sub| {
                index.is_multiple_of(1 << sub) && (index..index + (1 << sub)).all(|at| free >> at & 1 == 1)
            });
            blocks.extend(sub.map(|sub| (index as u8, sub)));
            index += sub.map_or(1, |sub| 1 << sub);
        }
        blocks
    }

    fn bits() -> impl Strategy<Value = u128> {
        prop_oneof![
            Just(0),
            Just(u128::MAX),
            any::<u128>(),
            (any::<u128>(), any::<u128>()).prop_map(|(one, other)| one | other),
            (0u8..8, any::<u8>(), any::<u128>()).prop_map(|(sub, index, junk)| {
                junk & !block(index & 127 & !((1 << sub) - 1), sub) | block(index & 64, 6)
            }),
        ]
    }

    proptest! {
        /// Proves that the bit arithmetic finds the same largest block, smallest fitting block, block around a child and
        /// tally as a check of every child. Fails when a shift drops a buddy or a pair crosses an alignment.
        #[test]
        fn bit_arithmetic_matches_a_linear_scan(free in bits(), least in 0u8..8, index in 0u8..128) {
            let all = blocks(free);
            prop_assert_eq!(largest(free), all.iter().map(|&(_, sub)| sub).max());
            let fitting = all.iter().filter(|&&(_, sub)| sub >= least);
            prop_assert_eq!(smallest(free, least), fitting.copied().min_by_key(|&(_, sub)| sub));
            let here = all.iter().find(|&&(first, sub)| block(first, sub) >> index & 1 == 1);
            prop_assert_eq!(around(free, index), here.copied());
            let of_size = |sub| all.iter().filter(|&&(_, other)| other == sub).count() as u8;
            prop_assert_eq!(tally(free), core::array::from_fn(|sub| of_size(sub as u8)));
        }

        /// Proves that `around_in_half` finds the same block as a check of every child, where it is allowed. Fails when the
        /// short path of `insert_free` would merge differently.
        #[test]
        fn around_in_half_matches_a_linear_scan(free in bits(), index in 0u8..128) {
            let half = (free >> (index & 64)) as u64;
            if half != u64::MAX && free >> index & 1 == 1 {
                let all = blocks(free);
                let here = all.iter().find(|&&(first, sub)| block(first, sub) >> index & 1 == 1);
                prop_assert_eq!(Some(around_in_half(half, index % 64)), here.map(|&(_, sub)| sub));
            }
        }
    }
}
