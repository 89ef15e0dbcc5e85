//! Building an allocation in steps: reserve frames for the page tables that the next block needs, allocate the
//! block, map it with the largest leaves, store its address in the head frame's rmap.
//!
//! ```text
//!  begin -> grow, grow, ... Done -> finish        any time: cancel -> free, free, ... Done
//! ```
//!
//! Blocks are chosen such that virtual and physical addresses are congruent modulo the leaf size, and such that each
//! call of `map` needs only the tables on the path to its first page: at most three.
//!
//! Neighbours: `free` unmaps a cancelled allocation.

use arrayvec::ArrayVec;

use crate::addr::{Block, NodeId, Order, PAGE_SHIFT, Pfn, PfnRange, VirtAddr};
use crate::descriptor::Mobility;
use crate::page_table::{FrameSource, LeafSize, Level, Mapping};
use crate::vmalloc::{
    AllocError, Allocation, AllocationId, AllocationState, Amount, FrameProvider, Progress, Request, Shape,
    VmallocArena,
};

/// The tables that a run of up to 512 GiB can need at its two ends, and the capacity of the table reserve.
const RESERVE: usize = 6;
/// Tables on the path to one page: PDPT, PD, PT.
const PATH: usize = 3;

/// An allocation under construction. Pass it to `finish` or `cancel`; dropping it leaks the memory.
///
/// It holds an id and no frames: frames that are not mapped yet are recorded in the area, where a surprise removal
/// finds them.
#[derive(Debug)]
#[must_use = "finish or cancel it"]
pub struct AllocationBuilder {
    id: AllocationId,
    pages: u64,
    amount: Amount,
    node: Option<NodeId>,
    mobility: Mobility,
    /// The highest order of its blocks.
    largest: Order,
}

/// The frames that a growing allocation owns but has not mapped.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The rest of a contiguous run: blocks of which no page is mapped.
    pub(super) run: Option<PfnRange>,
    /// The block being mapped, and the number of its pages that are mapped.
    pub(super) block: Option<(Block, u64)>,
    /// Frames reserved for page tables.
    pub(super) reserve: ArrayVec<Pfn, RESERVE>,
}

impl AllocationBuilder {
    /// Returns the allocation's id.
    pub fn id(&self) -> AllocationId {
        self.id
    }

    /// Returns the final size in pages; for [`Amount::All`], an upper limit.
    pub fn wanted(&self) -> u64 {
        self.pages
    }
}

impl Pending {
    /// Returns an empty record.
    pub(super) const fn new() -> Pending {
        Pending { run: None, block: None, reserve: ArrayVec::new_const() }
    }

    /// Fills the table reserve to at least `count` frames; `None` when frames run out.
    fn reserve<P: FrameProvider>(&mut self, provider: &P, count: usize) -> Option<()> {
        while self.reserve.len() < count {
            self.reserve.push(provider.alloc_table()?);
        }
        Some(())
    }

    fn free_reserve<P: FrameProvider>(&mut self, provider: &P) {
        self.reserve.drain(..).for_each(|frame| provider.free_table(frame));
    }

    /// Frees everything, except the mapped part of the block, which is freed with the mapping.
    fn free<P: FrameProvider>(&mut self, provider: &P) {
        self.free_reserve(provider);
        if let Some(run) = self.run.take() {
            provider.free_owned(run);
        }
        if let Some((block, mapped)) = self.block.take() {
            let rest = PfnRange::new(block.head.offset(mapped), block.range().end);
            // From here on no block is mapped in part, wherever an isolation splits them.
            provider.split_at(rest.start);
            provider.free_owned(rest);
        }
    }

    /// Returns the block to map at `virt` and the number of its pages that are mapped. A newly allocated block has at
    /// most `most` pages, so that one call maps it; a block of a run may need several calls.
    fn next_block<P: FrameProvider>(
        &mut self,
        provider: &P,
        (node, mobility, largest): (Option<NodeId>, Mobility, Order),
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
                None => provider.alloc_block(floor_order(most).min(largest), node, mobility)?,
            };
            provider.set_owner(block.range(), virt);
            self.block = Some((block, 0));
        }
        self.block
    }
}

/// Limits `pages` pages at `virt` to those below the next boundary of a larger leaf size, unless a whole leaf of that
/// size can start at `virt`.
fn to_border(virt: VirtAddr, pages: u64) -> u64 {
    let page = virt.0 >> PAGE_SHIFT;
    [LeafSize::G1, LeafSize::M2].into_iter().fold(pages, |pages, size| {
        let into = page % size.pages();
        if into == 0 && pages >= size.pages() { pages } else { pages.min(size.pages() - into) }
    })
}

/// Returns the order of the largest block of at most `pages` pages.
fn floor_order(pages: u64) -> Order {
    Order((pages.max(1).ilog2() as u8).min(Order::MAX.0))
}

/// The table reserve as a [`FrameSource`].
struct Reserve<'a>(&'a mut ArrayVec<Pfn, RESERVE>);

impl FrameSource for Reserve<'_> {
    fn alloc_frame(&mut self) -> Option<Pfn> {
        self.0.pop()
    }

    fn free_frame(&mut self, frame: Pfn) {
        // Only frames of `alloc_frame` come back, so the vector cannot overflow.
        let kept = self.0.try_push(frame);
        debug_assert!(kept.is_ok(), "the reserve holds its own frames");
    }
}

impl VmallocArena {
    /// Begins an allocation: checks the free frames, allocates the run of a contiguous one, and reserves
    /// addresses. Maps nothing.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing is allocated then.
    pub fn begin<P: FrameProvider>(
        &self,
        provider: &P,
        request: &Request,
    ) -> Result<AllocationBuilder, AllocError> {
        let free = provider.free_pages(request.node, request.mobility);
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
        let Request { amount, node, mobility, shape } = *request;
        let mut pending = Pending::new();
        let mut areas = self.areas.lock();
        let mut offset = 0;
        if shape == Shape::Contiguous {
            if pending.reserve(provider, RESERVE).is_none() {
                pending.free(provider);
                return Err(AllocError::RanOut { pages, got: 0 });
            }
            let Some(run) = provider.alloc_run(pages, node, mobility) else {
                pending.free(provider);
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
                pending.free(provider);
                return Err(error);
            }
        };
        let area = areas.area(id)?;
        if let Some(run) = pending.run {
            provider.set_owner(run, area.allocation.start);
        }
        area.pending = pending;
        let largest = if shape == Shape::Frames { Order(0) } else { Order::MAX };
        Ok(AllocationBuilder { id, pages, amount, node, mobility, largest })
    }

    /// Maps about `step` further pages, in whole chunks of at most one table's entries.
    ///
    /// # Errors
    /// When memory runs out or mapping fails. The pages mapped before stay mapped; call [`VmallocArena::cancel`].
    pub fn grow<P: FrameProvider>(
        &self,
        provider: &P,
        builder: &mut AllocationBuilder,
        step: u64,
    ) -> Result<Progress, AllocError> {
        let mut areas = self.lock_for(builder.id);
        let area = areas.area(builder.id)?;
        check_allocating(&area.allocation)?;
        let goal = area.allocation.pages.saturating_add(step.max(1)).min(builder.pages);
        let mut last_try = false;
        while area.allocation.pages < goal {
            let virt = area.page(area.allocation.pages);
            let left = builder.pages - area.allocation.pages;
            let path = provider.with_tables(|tables, machine| {
                (tables.missing_on_path(machine, virt), tables.largest_leaf())
            });
            let (path, leaf) = path.ok_or(AllocError::NotStarted)?;
            debug_assert!(path <= PATH);
            let from = (builder.node, builder.mobility, builder.largest);
            let block = match area.pending.reserve(provider, path) {
                Some(()) => area.pending.next_block(provider, from, virt, chunk(virt, left, leaf)),
                None => None,
            };
            let Some((block, mapped)) = block else {
                // The frames reserved for tables may be the last free ones: use them as pages.
                let kept = !area.pending.reserve.is_empty();
                area.pending.free_reserve(provider);
                if kept && !last_try && builder.amount == Amount::All {
                    last_try = true;
                    continue;
                }
                return match builder.amount {
                    Amount::All if area.allocation.pages > 0 => Ok(Progress::Done),
                    _ => Err(AllocError::RanOut { pages: builder.pages, got: area.allocation.pages }),
                };
            };
            let pages = chunk(virt, block.order.pages() - mapped, leaf);
            let mapping = Mapping::data(virt, block.head.offset(mapped).start(), pages);
            let mut frames = Reserve(&mut area.pending.reserve);
            let done = provider.with_tables(|tables, machine| tables.map(machine, &mapping, &mut frames));
            let done = done.ok_or(AllocError::NotStarted)??;
            if done.tables > 0 {
                set_table_owners(provider, virt);
            }
            let mapped = mapped + pages;
            area.pending.block = (mapped < block.order.pages()).then_some((block, mapped));
            area.allocation.pages += pages;
        }
        if area.allocation.pages < builder.pages { Ok(Progress::More) } else { Ok(Progress::Done) }
    }

    /// Makes the allocation usable. Call it after [`Progress::Done`].
    ///
    /// # Errors
    /// When pages are missing or were surprise-removed; the allocation is cancelled then.
    pub fn finish<P: FrameProvider>(
        &self,
        provider: &P,
        builder: AllocationBuilder,
    ) -> Result<Allocation, AllocError> {
        let mut areas = self.lock_for(builder.id);
        let area = areas.area(builder.id)?;
        let got = area.allocation.pages;
        let short = match builder.amount {
            Amount::Pages(pages) => got < pages,
            Amount::All => got == 0,
        };
        let refused = match check_allocating(&area.allocation) {
            Ok(()) if short || area.pending.block.is_some() => {
                Err(AllocError::RanOut { pages: builder.pages, got })
            }
            builder => builder,
        };
        if let Err(error) = refused {
            drop(areas);
            self.cancel(provider, builder)?;
            return Err(error);
        }
        area.pending.free(provider);
        area.reserved = area.allocation.pages;
        area.allocation.state = AllocationState::Ready;
        Ok(area.allocation)
    }

    /// Stops growing. The caller then frees the mapped pages with [`VmallocArena::free_step`].
    ///
    /// # Errors
    /// [`AllocError::Unknown`]; never for an [`AllocationBuilder`] of this arena.
    pub fn abandon<P: FrameProvider>(
        &self,
        provider: &P,
        builder: AllocationBuilder,
    ) -> Result<AllocationId, AllocError> {
        let mut areas = self.lock_for(builder.id);
        let area = areas.area(builder.id)?;
        area.pending.free(provider);
        if area.allocation.state == AllocationState::Allocating {
            area.allocation.state = AllocationState::Freeing;
        }
        Ok(builder.id)
    }

    /// Stops growing and frees all frames.
    ///
    /// # Errors
    /// [`AllocError::Corrupt`] when the page tables contradict the area.
    pub fn cancel<P: FrameProvider>(
        &self,
        provider: &P,
        builder: AllocationBuilder,
    ) -> Result<(), AllocError> {
        let id = self.abandon(provider, builder)?;
        while self.free_step(provider, id, u64::MAX)? == Progress::More {}
        Ok(())
    }

    /// Makes an allocation in one call, all or nothing. Corresponds to Linux `vmalloc`.
    ///
    /// # Errors
    /// See [`AllocError`]; nothing has changed then.
    pub fn allocate<P: FrameProvider>(
        &self,
        provider: &P,
        request: &Request,
    ) -> Result<Allocation, AllocError> {
        let mut builder = self.begin(provider, request)?;
        loop {
            match self.grow(provider, &mut builder, u64::MAX) {
                Ok(Progress::More) => {}
                Ok(Progress::Done) => return self.finish(provider, builder),
                Err(error) => {
                    self.cancel(provider, builder)?;
                    return Err(error);
                }
            }
        }
    }
}

/// Checks that the allocation is still growing.
fn check_allocating(allocation: &Allocation) -> Result<(), AllocError> {
    match allocation.state {
        AllocationState::Allocating => Ok(()),
        AllocationState::Lost => Err(AllocError::Lost { id: allocation.id }),
        AllocationState::Ready | AllocationState::Freeing => Err(AllocError::Busy { id: allocation.id }),
    }
}

/// Limits `pages` pages at `virt` to what one call of `map` maps: at most one table's entries, so that only tables on
/// the path to `virt` are needed.
fn chunk(virt: VirtAddr, pages: u64, leaf: LeafSize) -> u64 {
    let pages = to_border(virt, pages);
    let table = if leaf == LeafSize::G1 { LeafSize::G1.pages() * 512 } else { LeafSize::G1.pages() };
    let into = (virt.0 >> PAGE_SHIFT) % table;
    let pages = pages.min(table - into);
    // Whole leaves first; the remainder is the next chunk.
    let whole = LeafSize::ALL.into_iter().rev().find(|size| pages >= size.pages());
    whole.map_or(pages, |size| pages - pages % size.pages())
}

/// Stores address and level in the rmap of each table on the path to `virt`, so that the table can be migrated.
fn set_table_owners<P: FrameProvider>(provider: &P, virt: VirtAddr) {
    // Under the tables' lock: a table that migrates gets its owner before, and is freed after.
    provider.with_tables(|tables, machine| {
        for level in [Level::Pdpt, Level::Pd, Level::Pt] {
            if let Some(frame) = tables.removable_table(machine, virt, level) {
                provider.set_table_owner(frame, virt, level);
            }
        }
    });
}
