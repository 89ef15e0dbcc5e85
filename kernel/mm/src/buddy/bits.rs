//! 128 bits as 128 areas of a small buddy: bit n is set when place n is free.
//!
//! ```text
//!  areas   0 1 2 3 | 4 5 6 7 | ...      free bits  1111 0100   one block of 4 at 0, one of 1 at 5
//! ```
//!
//! Which blocks are free follows from the bits alone: the aligned runs of set bits whose union with
//! their buddy is not set as a whole. So merging is setting bits, and nothing can be left unmerged.
//! A block's size is 2^`sub` areas, `sub` from 0 to 7. Plain arithmetic; neighbour: `group`.

/// AreaTree, and what a group's children are in the next: 2^7.
pub(super) const SHIFT: u8 = 7;

/// Bit n is set where n is a multiple of 2^sub.
const STARTS: [u128; SHIFT as usize + 1] = {
    let mut starts = [0; SHIFT as usize + 1];
    let mut place = 0;
    while place < 128 {
        let mut sub = 0;
        while sub <= SHIFT {
            if place % (1 << sub) == 0 {
                starts[sub as usize] |= 1 << place;
            }
            sub += 1;
        }
        place += 1;
    }
    starts
};

/// The bits of the block of 2^sub areas at `place`.
#[inline]
pub(super) const fn block(place: u8, sub: u8) -> u128 {
    (u128::MAX >> (128 - (1 << sub))) << place
}

/// The bits of the areas from `from` on that are below `to`; beyond the last there are none.
pub(super) fn between(from: u64, to: u64) -> u128 {
    let below = |n: u64| if n < 128 { !(u128::MAX << n) } else { u128::MAX };
    below(to) & !below(from)
}

/// Where the free blocks of 2^(SUB+1) areas start, merged or not, when `starts` has those of 2^SUB.
/// The shift is known when this is compiled, which is what makes two words as cheap as one.
#[inline(always)]
const fn pairs<const SUB: u8>(starts: u128) -> u128 {
    starts & starts >> (1 << SUB) & STARTS[SUB as usize + 1]
}

/// Where the free blocks of each size start, merged or not, as far up as there are some.
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

/// The `sub` of the largest free block; `None` when nothing is free.
#[inline]
pub(super) fn largest(free: u128) -> Option<u8> {
    let mut largest = None;
    each_size(free, |sub, _, larger| {
        largest = Some(sub);
        larger != 0
    });
    largest
}

/// The smallest free block of at least 2^least areas, the first of several: its place and `sub`.
#[inline]
pub(super) fn smallest(free: u128, least: u8) -> Option<(u8, u8)> {
    let mut found = None;
    each_size(free, |sub, starts, larger| {
        // Those whose buddy is free too are halves of a larger block.
        let alone = starts & !(larger | larger << (1u32 << sub & 127));
        if sub >= least && alone != 0 {
            found = Some((alone.trailing_zeros() as u8, sub));
        }
        found.is_none()
    });
    found
}

/// The size of the free block that the free areas of 2^sub at `place` are in, when only these 64 areas are looked at,
/// of which not all are free.
#[inline]
pub(super) const fn around_in_half(free: u64, place: u8, sub: u8) -> u8 {
    let (mut first, mut sub) = (place, sub);
    loop {
        let larger = first & !(1 << sub);
        let both = (u64::MAX >> (64 - (2u32 << sub))) << larger;
        if free & both != both {
            return sub;
        }
        first = larger;
        sub += 1;
    }
}

/// The free block that `place` is in: its first place and `sub`; `None` when the place is not free.
#[inline]
pub(super) const fn around(free: u128, place: u8) -> Option<(u8, u8)> {
    // Up to half of the areas in one word, then both words.
    let base = place & 64;
    let word = (free >> base) as u64;
    if word >> (place % 64) & 1 == 0 {
        return None;
    }
    if free == u128::MAX {
        return Some((0, SHIFT));
    }
    if word == u64::MAX {
        return Some((base, SHIFT - 1));
    }
    let (mut first, mut sub) = (place % 64, 0);
    loop {
        let larger = first & !(1 << sub);
        let both = (u64::MAX >> (64 - (2u32 << sub))) << larger;
        if word & both != both {
            return Some((base + first, sub));
        }
        first = larger;
        sub += 1;
    }
}

/// How many free blocks there are of each size.
#[inline]
pub(super) fn tally(free: u128) -> [u8; SHIFT as usize + 1] {
    let mut blocks = [0; SHIFT as usize + 1];
    let mut many = free.count_ones();
    each_size(free, |sub, _, larger| {
        // Each larger one was counted as two halves.
        let halves = larger.count_ones();
        blocks[sub as usize] = (many - 2 * halves) as u8;
        many = halves;
        true
    });
    blocks
}

/// The first areas of `many` blocks of 2^sub areas, side by side from `place` on.
#[inline]
pub(super) const fn first_of(place: u8, sub: u8, many: u32) -> u128 {
    let areas = many << sub;
    if areas < 128 { !(u128::MAX << areas) << place } else { u128::MAX }
}

/// The first areas of the blocks of 2^sub areas that `places` is made of.
#[inline]
pub(super) const fn starts(areas: u128, sub: u8) -> u128 {
    areas & STARTS[sub as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The free blocks, place by place: the slow and plain way.
    fn blocks(free: u128) -> std::vec::Vec<(u8, u8)> {
        let mut blocks = std::vec::Vec::new();
        let mut place = 0u32;
        while place < 128 {
            let sub = (0..=SHIFT).rev().find(|&sub| {
                place.is_multiple_of(1 << sub) && (place..place + (1 << sub)).all(|at| free >> at & 1 == 1)
            });
            blocks.extend(sub.map(|sub| (place as u8, sub)));
            place += sub.map_or(1, |sub| 1 << sub);
        }
        blocks
    }

    fn bits() -> impl Strategy<Value = u128> {
        prop_oneof![
            Just(0),
            Just(u128::MAX),
            any::<u128>(),
            (any::<u128>(), any::<u128>()).prop_map(|(one, other)| one | other),
            (0u8..8, any::<u8>(), any::<u128>()).prop_map(|(sub, place, junk)| {
                junk & !block(place & 127 & !((1 << sub) - 1), sub) | block(place & 64, 6)
            }),
        ]
    }

    proptest! {
        /// Proves that the largest block, the smallest that fits and the block around a place are those that a
        /// look at each place finds. Fails when a shift drops a buddy or pairs cross an alignment.
        #[test]
        fn bits_say_what_each_place_says(free in bits(), least in 0u8..8, place in 0u8..128) {
            let all = blocks(free);
            prop_assert_eq!(largest(free), all.iter().map(|&(_, sub)| sub).max());
            let fitting = all.iter().filter(|&&(_, sub)| sub >= least);
            prop_assert_eq!(smallest(free, least), fitting.copied().min_by_key(|&(_, sub)| sub));
            let here = all.iter().find(|&&(first, sub)| block(first, sub) >> place & 1 == 1);
            prop_assert_eq!(around(free, place), here.copied());
            let of_size = |sub| all.iter().filter(|&&(_, other)| other == sub).count() as u8;
            prop_assert_eq!(tally(free), core::array::from_fn(|sub| of_size(sub as u8)));
        }

        /// Proves that both ways to the block around a place say the same, where the short one may be asked.
        #[test]
        fn half_of_the_places_say_the_same(free in bits(), place in 0u8..128, sub in 0u8..6) {
            let place = place & !((1 << sub) - 1);
            let (half, all) = ((free >> (place & 64)) as u64, block(place, sub));
            if half != u64::MAX && free & all == all {
                let said = around_in_half(half, place % 64, sub);
                prop_assert_eq!(Some(said), around(free, place).map(|(_, sub)| sub));
            }
        }
    }
}
