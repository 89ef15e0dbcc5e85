//! Making an allocation, step by step: reserve the frames of the tables that the next block needs, take the
//! block, map it by the largest leaves, note the owner in its head.
//!
//! ```text
//!  begin -> grow, grow, ... Done -> finish        any time: cancel -> free, free, ... Done
//! ```
//!
//! A block is chosen so that virtual and physical address are congruent for the leaves it is to have, and so
//! that what is mapped in one go needs no table but those on the path to its first page: at most three.
//!
//! Neighbours: `release` takes apart what a cancelled allocation had.

use arrayvec::ArrayVec;

use crate::addr::{NodeId, Order, PAGE_SHIFT, PAGE_SIZE, Pfn, PfnRange, VirtAddr};
use crate::descriptor::Kind;
use crate::memory::Block;
use crate::page_table::{FrameSource, LeafSize, Level, Mapping};
use crate::vmalloc::{
    AllocError, Allocation, AllocationId, AllocationState, Amount, FrameProvider, Progress, Request, Shape,
    VmallocArena,
};

/// Tables that a run of up to 512 GiB can need at its two ends; at most so many frames are in reserve.
const RESERVE: usize = 6;
/// Tables on the path to one page: PDPT, PD, PT.
const PATH: usize = 3;

/// An allocation that is being made. To be finished or cancelled; dropped, its memory stays taken.
///
/// It names the allocation and no frame: what was taken and is not mapped yet is in the window's list, where
/// `lose` finds it when it vanishes with its device.
#[derive(Debug)]
#[must_use = "finish or cancel it"]
pub struct AllocationBuilder {
    id: AllocationId,
    pages: u64,
    amount: Amount,
    node: Option<NodeId>,
    kind: Kind,
}

/// Frames that an allocation which is being made has taken and not mapped.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The rest of a contiguous run: blocks that were not begun.
    pub(super) run: Option<PfnRange>,
    /// The block being mapped and how many of its pages are.
    pub(super) block: Option<(Block, u64)>,
    /// Frames for page tables.
    pub(super) reserve: ArrayVec<Pfn, RESERVE>,
}

impl AllocationBuilder {
    /// The allocation's number.
    pub fn id(&self) -> AllocationId {
        self.id
    }

    /// How many pages it is to have (with [`Amount::All`]: at most).
    pub fn wanted(&self) -> u64 {
        self.pages
    }
}

impl Pending {
    /// Nothing.
    pub(super) const fn new() -> Pending {
        Pending { run: None, block: None, reserve: ArrayVec::new_const() }
    }

    /// Has at least `count` frames for tables in reserve.
    fn reserve<P: FrameProvider>(&mut self, provider: &P, count: usize) -> Option<()> {
        while self.reserve.len() < count {
            self.reserve.push(provider.alloc_table()?);
        }
        Some(())
    }

    fn give_reserve<P: FrameProvider>(&mut self, provider: &P) {
        self.reserve.drain(..).for_each(|frame| provider.free_table(frame));
    }

    /// Gives all of it back. A part of the block that is mapped goes with the mapping.
    fn give<P: FrameProvider>(&mut self, provider: &P) {
        self.give_reserve(provider);
        give_run(provider, self.run.take());
        if let Some((block, mapped)) = self.block.take() {
            // It may have been split meanwhile.
            each_block(provider, Some(block.range()), |part, into| {
                if into >= mapped {
                    provider.free_owned(part.head);
                }
            });
        }
    }

    /// The next block to map at `virt`, and how many of its pages are mapped. A new one has at most `most`
    /// pages, so that it is mapped in one go; one of a run may take several.
    fn next_block<P: FrameProvider>(
        &mut self,
        provider: &P,
        (node, kind): (Option<NodeId>, Kind),
        virt: VirtAddr,
        most: u64,
    ) -> Option<(Block, u64)> {
        if self.block.is_none() {
            let block = match &mut self.run {
                Some(run) => {
                    let block = provider.block_at(run.start)?;
                    *run = PfnRange::new(block.range().end, run.end);
                    block
                }
                None => provider.alloc_block(floor_order(most), node, kind)?,
            };
            provider.set_owner(block.head, virt);
            self.block = Some((block, 0));
        }
        self.block
    }
}

/// How many of `pages` pages from `virt` on lie before the next address that a leaf must not reach across,
/// or all of them when whole leaves can begin at `virt`.
fn to_border(virt: VirtAddr, pages: u64) -> u64 {
    let page = virt.0 >> PAGE_SHIFT;
    [LeafSize::G1, LeafSize::M2].into_iter().fold(pages, |pages, size| {
        let into = page % size.pages();
        if into == 0 && pages >= size.pages() { pages } else { pages.min(size.pages() - into) }
    })
}

/// The order of the largest block of at most `pages` pages.
fn floor_order(pages: u64) -> Order {
    Order((pages.max(1).ilog2() as u8).min(Order::MAX.0))
}

/// Frames for tables out of the reserve.
struct Reserve<'a>(&'a mut ArrayVec<Pfn, RESERVE>);

impl FrameSource for Reserve<'_> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.0.pop()
    }

    fn free_frame(&mut self, frame: Pfn) {
        // Only what `take` gave comes back, so there is room.
        let kept = self.0.try_push(frame);
        debug_assert!(kept.is_ok(), "the reserve has room for its own frames");
    }
}

impl VmallocArena {
    /// Begins an allocation: checks that so much is free, takes the run of a contiguous one, and reserves
    /// addresses. Nothing is mapped yet.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing is taken then.
    pub fn begin<P: FrameProvider>(
        &self,
        provider: &P,
        request: &Request,
    ) -> Result<AllocationBuilder, AllocError> {
        let free = provider.free_pages(request.node, request.kind);
        let pages = match request.amount {
            Amount::Pages(pages) => pages,
            Amount::All => free,
        };
        if pages == 0 {
            return Err(AllocError::Empty);
        }
        if pages > free {
            return Err(AllocError::NotEnough { pages, free });
        }
        let Request { amount, node, kind, shape } = *request;
        let mut pending = Pending::new();
        let mut areas = self.areas.lock();
        let mut offset = 0;
        if shape == Shape::Contiguous {
            if pending.reserve(provider, RESERVE).is_none() {
                pending.give(provider);
                return Err(AllocError::RanOut { pages, got: 0 });
            }
            let Some(run) = provider.alloc_run(pages, node, kind) else {
                pending.give(provider);
                return Err(AllocError::NoRun { pages });
            };
            offset = run.start.0;
            pending.run = Some(run);
        }
        let fits = |size: &LeafSize| pages >= size.pages();
        let leaf = LeafSize::ALL.into_iter().rev().find(fits).unwrap_or(LeafSize::K4);
        let id = match areas.reserve(pages, leaf.pages(), offset, shape) {
            Ok(id) => id,
            Err(error) => {
                pending.give(provider);
                return Err(error);
            }
        };
        let place = areas.place(id)?;
        each_block(provider, pending.run, |block, into| {
            provider.set_owner(block.head, place.allocation.start.offset(into * PAGE_SIZE));
        });
        place.pending = pending;
        Ok(AllocationBuilder { id, pages, amount, node, kind })
    }

    /// Maps about `step` pages more: whole blocks, up to what one table holds at a time.
    ///
    /// # Errors
    /// When memory runs out, or the tables refuse. What is mapped by then stays: cancel.
    pub fn grow<P: FrameProvider>(
        &self,
        provider: &P,
        growing: &mut AllocationBuilder,
        step: u64,
    ) -> Result<Progress, AllocError> {
        let mut areas = self.areas.lock();
        let place = areas.place(growing.id)?;
        check_growing(&place.allocation)?;
        let goal = place.allocation.pages.saturating_add(step.max(1)).min(growing.pages);
        let mut last_try = false;
        while place.allocation.pages < goal {
            let virt = place.page(place.allocation.pages);
            let left = growing.pages - place.allocation.pages;
            let path = provider.with_tables(|tables, machine| {
                (tables.missing_on_path(machine, virt), tables.largest_leaf())
            });
            let (path, leaf) = path.ok_or(AllocError::NotStarted)?;
            debug_assert!(path <= PATH);
            let from = (growing.node, growing.kind);
            let block = match place.pending.reserve(provider, path) {
                Some(()) => place.pending.next_block(provider, from, virt, chunk(virt, left, leaf)),
                None => None,
            };
            let Some((block, mapped)) = block else {
                // What was kept for tables may be the very frames that are left.
                let kept = !place.pending.reserve.is_empty();
                place.pending.give_reserve(provider);
                if kept && !last_try && growing.amount == Amount::All {
                    last_try = true;
                    continue;
                }
                return match growing.amount {
                    Amount::All if place.allocation.pages > 0 => Ok(Progress::Done),
                    _ => Err(AllocError::RanOut { pages: growing.pages, got: place.allocation.pages }),
                };
            };
            let pages = chunk(virt, block.order.pages() - mapped, leaf);
            let mapping = Mapping::data(virt, block.head.offset(mapped).start(), pages);
            let mut frames = Reserve(&mut place.pending.reserve);
            let done = provider.with_tables(|tables, machine| tables.map(machine, &mapping, &mut frames));
            let done = done.ok_or(AllocError::NotStarted)??;
            if done.tables > 0 {
                note_tables(provider, virt);
            }
            let mapped = mapped + pages;
            place.pending.block = (mapped < block.order.pages()).then_some((block, mapped));
            place.allocation.pages += pages;
        }
        if place.allocation.pages < growing.pages { Ok(Progress::More) } else { Ok(Progress::Done) }
    }

    /// Ends the making: the allocation can be used. To be called after [`Progress::Done`].
    ///
    /// # Errors
    /// When it is not all mapped that was asked for, or its memory went away; it is cancelled then.
    pub fn finish<P: FrameProvider>(
        &self,
        provider: &P,
        growing: AllocationBuilder,
    ) -> Result<Allocation, AllocError> {
        let mut areas = self.areas.lock();
        let place = areas.place(growing.id)?;
        let got = place.allocation.pages;
        let short = match growing.amount {
            Amount::Pages(pages) => got < pages,
            Amount::All => got == 0,
        };
        let refused = match check_growing(&place.allocation) {
            Ok(()) if short || place.pending.block.is_some() => {
                Err(AllocError::RanOut { pages: growing.pages, got })
            }
            growing => growing,
        };
        if let Err(error) = refused {
            drop(areas);
            self.cancel(provider, growing)?;
            return Err(error);
        }
        place.pending.give(provider);
        place.reserved = place.allocation.pages;
        place.allocation.state = AllocationState::Ready;
        Ok(place.allocation)
    }

    /// Stops the making; what was mapped has then to be freed, in steps: see [`VmallocArena::free_step`].
    ///
    /// # Errors
    /// Only when the allocation is unknown, which a [`AllocationBuilder`] of this window never is.
    pub fn abandon<P: FrameProvider>(
        &self,
        provider: &P,
        growing: AllocationBuilder,
    ) -> Result<AllocationId, AllocError> {
        let mut areas = self.areas.lock();
        let place = areas.place(growing.id)?;
        place.pending.give(provider);
        if place.allocation.state == AllocationState::Allocating {
            place.allocation.state = AllocationState::Freeing;
        }
        Ok(growing.id)
    }

    /// Stops the making and frees everything it had.
    ///
    /// # Errors
    /// [`AllocError::Corrupt`] when the page tables do not hold what was mapped.
    pub fn cancel<P: FrameProvider>(
        &self,
        provider: &P,
        growing: AllocationBuilder,
    ) -> Result<(), AllocError> {
        let id = self.abandon(provider, growing)?;
        while self.free_step(provider, id, u64::MAX)? == Progress::More {}
        Ok(())
    }

    /// Makes an allocation in one go, all of it or nothing.
    ///
    /// # Errors
    /// See [`AllocError`]; everything is as before then.
    pub fn allocate<P: FrameProvider>(
        &self,
        provider: &P,
        request: &Request,
    ) -> Result<Allocation, AllocError> {
        let mut growing = self.begin(provider, request)?;
        loop {
            match self.grow(provider, &mut growing, u64::MAX) {
                Ok(Progress::More) => {}
                Ok(Progress::Done) => return self.finish(provider, growing),
                Err(error) => {
                    self.cancel(provider, growing)?;
                    return Err(error);
                }
            }
        }
    }
}

/// That the allocation is still being made.
fn check_growing(allocation: &Allocation) -> Result<(), AllocError> {
    match allocation.state {
        AllocationState::Allocating => Ok(()),
        AllocationState::Lost => Err(AllocError::Lost { id: allocation.id }),
        AllocationState::Ready | AllocationState::Freeing => Err(AllocError::Busy { id: allocation.id }),
    }
}

/// How many of `pages` pages at `virt` are mapped in one go: no more than one table's entries, so that no
/// table is needed but those on the path to `virt`.
fn chunk(virt: VirtAddr, pages: u64, leaf: LeafSize) -> u64 {
    let pages = to_border(virt, pages);
    let table = if leaf == LeafSize::G1 { LeafSize::G1.pages() * 512 } else { LeafSize::G1.pages() };
    let into = (virt.0 >> PAGE_SHIFT) % table;
    let pages = pages.min(table - into);
    // Whole leaves first; what is left over is another chunk.
    let whole = LeafSize::ALL.into_iter().rev().find(|size| pages >= size.pages());
    whole.map_or(pages, |size| pages - pages % size.pages())
}

/// Frees the blocks of a run.
fn give_run<P: FrameProvider>(provider: &P, run: Option<PfnRange>) {
    each_block(provider, run, |block, _| provider.free_owned(block.head));
}

/// Calls `each` with the allocated blocks of a run and how many frames into it they begin.
fn each_block<P: FrameProvider>(provider: &P, run: Option<PfnRange>, mut each: impl FnMut(Block, u64)) {
    let Some(run) = run else { return };
    let mut at = run.start;
    while at < run.end {
        let Some(block) = provider.block_at(at) else { return };
        at = block.range().end;
        each(block, block.head.0 - run.start.0);
    }
}

/// Notes in each table on the path to `virt` which one it is, so that it can be moved.
fn note_tables<P: FrameProvider>(provider: &P, virt: VirtAddr) {
    for level in [Level::Pdpt, Level::Pd, Level::Pt] {
        let table = provider.with_tables(|tables, machine| tables.table_of(machine, virt, level));
        if let Some(frame) = table.flatten() {
            provider.set_table_owner(frame, virt, level);
        }
    }
}
