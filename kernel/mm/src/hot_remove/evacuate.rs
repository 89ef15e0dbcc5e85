//! Evacuating isolated memory in steps: first survey all of it, then migrate.
//!
//! ```text
//!  survey    find the user of every block; refuse when one cannot migrate            no block has migrated yet
//!  capacity  allocate a new run for each contiguous allocation and check that        no block has migrated yet
//!            the rest fits, page tables of split leaves included; else refuse, with the numbers
//!  migrate   the runs; then blocks into free blocks of at least 2 MiB while there are any; then everything else
//! ```
//!
//! Large blocks migrate first, so that single frames do not fragment the free 2 MiB blocks, and the computed capacity
//! suffices. Capacity is checked but not reserved. If another task allocates it meanwhile, migration fails later and
//! reports the free count at that time; blocks already migrated stay at their new frames.
//!
//! Invariants: isolated memory gets no new blocks, so the part that a walk has passed stays empty; a step visits a
//! bounded number of blocks and copies a bounded number of frames, in batches that each make one request to the other
//! CPUs. A step waits for an allocation that is growing or being freed: it does nothing and reports the allocation. It
//! waits for a movable block without an owner as well: another CPU has allocated it and is about to set the owner. After
//! the survey there is none: isolated memory gets no new blocks.
//!
//! Neighbours: `vmalloc` migrates blocks, runs and tables; `hot_remove` begins and finishes.

use crate::addr::{Block, Pfn, PfnRange};
use crate::buddy::{Found, Walk};
use crate::descriptor::BlockState;
use crate::fault_injection::Step;
use crate::hot_remove::{Pinned, RemoveError, RemoveStats};
use crate::hotplug_state::{EvacuationId, Hotplug, Underway};
use crate::info::ResourceId;
use crate::layout::{GIB_PAGES, LARGE_PAGES};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::page_table::LeafSize;
use crate::region::IndexEntry;
use crate::rmap::RmapEntry;
use crate::vmalloc::{Batch, MappedBy, Planned, Progress, SINGLES, Single, Singles, Sizes, VmallocArena};

/// The most blocks that a step visits.
const BLOCKS: u64 = 4096;

/// The phase of an evacuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Survey,
    MigrateRuns,
    Move(Sizes),
}

/// The result of the survey.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Frames that migrate block by block.
    movable: u64,
    /// Leaves of 2 MiB among them.
    large: u64,
    /// Leaves that must be split: larger ones, and those that migrate in part.
    splits: u64,
    /// Page tables of allocations.
    tables: u64,
}

impl Hotplug {
    /// Checks that no evacuation is under way.
    pub(super) fn check_idle(&self) -> Result<(), RemoveError> {
        match self.underway {
            Some(Underway { first: resource, .. }) => Err(RemoveError::UnderWay { resource }),
            None => Ok(()),
        }
    }

    /// Returns the evacuation `id`, unless a surprise removal ended it.
    pub(super) fn evacuation(&self, id: EvacuationId) -> Result<Underway, RemoveError> {
        self.find_evacuation(id).ok_or(RemoveError::SurpriseRemoved)
    }
}

/// The handle of an evacuation.
#[derive(Debug)]
pub(super) struct Evacuation {
    id: EvacuationId,
    /// [`Underway::surprise_removals`] when this began its last survey.
    surprise_removals: u64,
    phase: Phase,
    /// This phase has visited every frame below.
    at: Pfn,
    tally: Tally,
    /// Blocks of this walk that have not migrated.
    left: u64,
    /// The allocation that the last step waited for.
    pub(super) waiting: Option<RemoveError>,
    pub(super) stats: RemoveStats,
}

/// A block in use.
struct Used {
    resource: ResourceId,
    found: Found,
    rmap: RmapEntry,
}

impl Used {
    fn block(&self) -> Block {
        Block { head: self.found.head, order: self.found.tag.order }
    }

    fn pinned(&self) -> RemoveError {
        RemoveError::Pinned(Pinned {
            resource: self.resource,
            pfn: self.found.head,
            pages: self.found.tag.order.pages(),
            holder: self.rmap.shown(),
        })
    }
}

impl Evacuation {
    pub(super) fn new(id: EvacuationId, stats: RemoveStats) -> Evacuation {
        let (phase, tally) = (Phase::Survey, Tally::default());
        Evacuation { id, surprise_removals: 0, phase, at: Pfn(0), tally, left: 0, waiting: None, stats }
    }

    pub(super) fn id(&self) -> EvacuationId {
        self.id
    }

    /// Restarts with a survey after a surprise removal of other memory, which may have taken target runs and capacity.
    pub(super) fn restart_if_stale(&mut self, underway: Underway) {
        if self.surprise_removals != underway.surprise_removals {
            self.surprise_removals = underway.surprise_removals;
            self.tally = Tally::default();
            self.begin(Phase::Survey);
        }
    }

    fn begin(&mut self, phase: Phase) {
        (self.phase, self.at, self.left) = (phase, Pfn(0), 0);
    }

    /// Leaves a block to the next walk, for this reason.
    fn wait(&mut self, reason: RemoveError) {
        self.left += 1;
        self.waiting = Some(reason);
    }
}

impl<M: Machine> Memory<M> {
    /// Runs one step, which copies at most about `pages` frames. The caller holds the hotplug lock.
    pub(super) fn evacuate(
        &self,
        arena: &VmallocArena,
        evacuation: &mut Evacuation,
        pages: u64,
    ) -> Result<Progress, RemoveError> {
        match evacuation.phase {
            Phase::Survey => self.survey(arena, evacuation),
            Phase::MigrateRuns => {
                let moved = arena.migrate_runs(self, pages)?;
                evacuation.stats.migrated_pages += moved;
                if moved == 0 {
                    // Without a large leaf that could stay whole, one walk suffices.
                    let sizes = if evacuation.tally.large > 0 { Sizes::Large } else { Sizes::Any };
                    evacuation.begin(Phase::Move(sizes));
                    return Ok(Progress::More);
                }
                self.should_fail(Step::Migrate).map_err(|step| RemoveError::Injected { step })?;
                Ok(Progress::More)
            }
            Phase::Move(sizes) => self.migrate_blocks(arena, evacuation, sizes, pages),
        }
    }

    /// Surveys the next blocks. After the last one, checks the capacity for all of them.
    fn survey(&self, arena: &VmallocArena, evacuation: &mut Evacuation) -> Result<Progress, RemoveError> {
        evacuation.waiting = None;
        let mut budget = BLOCKS;
        loop {
            self.survey_singles(arena, evacuation, &mut budget);
            let Some(used) = self.next_used(&mut evacuation.at, &mut budget) else { break };
            evacuation.left += 1;
            let (pages, tally) = (used.found.tag.order.pages(), &mut evacuation.tally);
            match (used.found.tag.state, used.rmap) {
                (BlockState::Movable, RmapEntry::Mapping(at)) => {
                    match arena.mapped_by(self, used.block(), at) {
                        MappedBy::Scattered(size) => {
                            tally.movable += pages;
                            tally.large += if size > LeafSize::K4 { pages / LARGE_PAGES } else { 0 };
                            let must_split =
                                size == LeafSize::G1 || size > LeafSize::K4 && pages < LARGE_PAGES;
                            tally.splits += if must_split { pages.div_ceil(GIB_PAGES) } else { 0 };
                        }
                        MappedBy::Contiguous => {}
                        MappedBy::Busy(id) => evacuation.waiting = Some(RemoveError::Busy { id }),
                        MappedBy::Unknown => {
                            evacuation.left -= 1;
                            self.look_again(&used, evacuation, used.pinned())?;
                        }
                    }
                }
                // Its owner is about to be set.
                (BlockState::Movable, RmapEntry::None) => evacuation.waiting = Some(used.pinned()),
                (BlockState::Pinned, RmapEntry::Table(..)) => tally.tables += 1,
                (BlockState::Pinned, RmapEntry::Reserve) => match arena.reserved_by(used.found.head) {
                    Some(id) => evacuation.waiting = Some(RemoveError::Busy { id }),
                    None => {
                        evacuation.left -= 1;
                        self.look_again(&used, evacuation, used.pinned())?;
                    }
                },
                _ => return Err(used.pinned()),
            }
            if evacuation.waiting.is_some() {
                // Survey again from the start later: no block migrates before the survey is complete.
                evacuation.tally = Tally::default();
                evacuation.begin(Phase::Survey);
                return Ok(Progress::More);
            }
        }
        if budget == 0 {
            return Ok(Progress::More);
        }
        if evacuation.left == 0 {
            return Ok(Progress::Done);
        }
        self.check_capacity(arena, &evacuation.tally)?;
        evacuation.begin(Phase::MigrateRuns);
        Ok(Progress::More)
    }

    /// Surveys the next blocks as long as they are single frames of scattered allocations.
    fn survey_singles(&self, arena: &VmallocArena, evacuation: &mut Evacuation, budget: &mut u64) {
        loop {
            let singles = self.next_singles(&mut evacuation.at, budget, SINGLES);
            let scattered = arena.count_scattered(self, &singles);
            evacuation.left += scattered as u64;
            evacuation.tally.movable += scattered as u64;
            if let Some(next) = singles.get(scattered) {
                evacuation.at = next.head;
                return;
            }
            if singles.is_empty() {
                return;
            }
        }
    }

    /// Allocates the runs for contiguous allocations and checks that everything else fits.
    fn check_capacity(&self, arena: &VmallocArena, tally: &Tally) -> Result<(), RemoveError> {
        let isolated = |run: PfnRange| {
            let mut overlaps = false;
            self.each_isolated(|_, region| overlaps |= region.isolated.overlaps(run));
            overlaps
        };
        let for_runs = arena.reserve_runs(self, &isolated)?;
        let large_free = self.large_blocks();
        let tables = for_runs + tally.tables + tally.splits + tally.large.saturating_sub(large_free);
        let (needed, free) = (tally.movable + tables, self.free_everywhere());
        let for_tables = free.saturating_sub(self.nodes.movable_only(&self.slots, None));
        if needed <= free && tables <= for_tables {
            return Ok(());
        }
        arena.finish_migrations(self);
        Err(if needed > free {
            RemoveError::NotEnoughFree { needed, free }
        } else {
            RemoveError::NotEnoughForTables { needed: tables, free: for_tables }
        })
    }

    /// Migrates the next blocks, into blocks of `sizes`.
    fn migrate_blocks(
        &self,
        arena: &VmallocArena,
        evacuation: &mut Evacuation,
        sizes: Sizes,
        pages: u64,
    ) -> Result<Progress, RemoveError> {
        let (mut budget, mut copied) = (BLOCKS, 0);
        if evacuation.at == Pfn(0) && sizes == Sizes::Any {
            evacuation.waiting = None;
        }
        loop {
            let mut batch = arena.batch(self);
            let walk = self.fill_batch(arena, &mut batch, evacuation, sizes, pages - copied, &mut budget)?;
            let moved = batch.run()?;
            copied += moved.pages;
            evacuation.stats.tables_moved += moved.tables;
            if walk == Walk::Stop || copied >= pages {
                break;
            }
        }
        evacuation.stats.migrated_pages += copied;
        if copied > 0 {
            self.should_fail(Step::Migrate).map_err(|step| RemoveError::Injected { step })?;
        }
        if copied >= pages || budget == 0 {
            return Ok(Progress::More);
        }
        // The walk has reached the end.
        let done = evacuation.left == 0 && sizes == Sizes::Any;
        evacuation.begin(Phase::Move(Sizes::Any));
        Ok(if done { Progress::Done } else { Progress::More })
    }

    /// Adds the next blocks to a batch, until it is full or has `pages` frames. Returns [`Walk::Stop`] when there are no
    /// more, or `budget` is used up.
    fn fill_batch(
        &self,
        arena: &VmallocArena,
        batch: &mut Batch<'_, M>,
        evacuation: &mut Evacuation,
        sizes: Sizes,
        pages: u64,
        budget: &mut u64,
    ) -> Result<Walk, RemoveError> {
        while batch.pages() < pages && !batch.is_full() {
            if sizes == Sizes::Any {
                let most = batch.space().min(pages - batch.pages());
                let singles = self.next_singles(&mut evacuation.at, budget, most as usize);
                let added = batch.add_singles(&singles);
                if let Some(next) = singles.get(added) {
                    evacuation.at = next.head;
                } else if added > 0 {
                    continue;
                }
            }
            let Some(used) = self.next_used(&mut evacuation.at, budget) else { return Ok(Walk::Stop) };
            match (used.found.tag.state, used.rmap) {
                (BlockState::Movable, RmapEntry::Mapping(at)) => {
                    match batch.add_block(used.block(), at, sizes)? {
                        // Continue with the rest of the block.
                        Planned::Pages(pages) => evacuation.at = used.found.head.offset(pages),
                        Planned::NoBlock if sizes == Sizes::Large => evacuation.left += 1,
                        Planned::NoBlock => return Err(self.not_enough_free()),
                        Planned::Busy(id) => evacuation.wait(RemoveError::Busy { id }),
                        Planned::Unknown => {
                            self.look_again(&used, evacuation, RemoveError::Corrupt { at })?
                        }
                    }
                }
                (BlockState::Pinned, RmapEntry::Table(at, level)) if sizes == Sizes::Any => {
                    if !batch.add_table(used.found.head, at, level)? {
                        self.look_again(&used, evacuation, RemoveError::Corrupt { at })?;
                    }
                }
                (BlockState::Pinned, RmapEntry::Table(..)) => evacuation.left += 1,
                (BlockState::Pinned, RmapEntry::Reserve) => match arena.reserved_by(used.found.head) {
                    Some(id) => evacuation.wait(RemoveError::Busy { id }),
                    None => self.look_again(&used, evacuation, used.pinned())?,
                },
                _ => return Err(used.pinned()),
            }
        }
        Ok(Walk::Continue)
    }

    /// Decides about a block whose descriptor and whose user contradict each other. Both are written under the arena's
    /// lock, but the walk reads a descriptor without it: when the block has changed meanwhile, the walk visits it again.
    ///
    /// # Errors
    /// `lasting`, when it has not.
    fn look_again(
        &self,
        used: &Used,
        evacuation: &mut Evacuation,
        lasting: RemoveError,
    ) -> Result<(), RemoveError> {
        let (mut at, mut budget) = (used.found.head, 1);
        let now = self.next_used(&mut at, &mut budget);
        if now.is_some_and(|now| now.block() == used.block() && now.rmap == used.rmap) {
            return Err(lasting);
        }
        evacuation.at = used.found.head;
        Ok(())
    }

    /// Returns the next block in use at or after `at` in isolated memory, and advances `at` to its end. `None` at the
    /// end, or when `budget`, the number of blocks to visit, is used up.
    fn next_used(&self, at: &mut Pfn, budget: &mut u64) -> Option<Used> {
        let mut next = None;
        while next.is_none()
            && *budget > 0
            && let Some(entry) = self.isolated_from(*at)
        {
            let walked = self.with_region(entry, |region, buddy| {
                let part = PfnRange::new(region.isolated.start.max(*at), region.isolated.end);
                *at = buddy.walk(part, |found| {
                    *budget -= 1;
                    if matches!(found.tag.state, BlockState::Movable | BlockState::Pinned | BlockState::Boot)
                    {
                        let rmap = RmapEntry::of(buddy.rmap(found));
                        next = Some(Used { resource: entry.id, found: *found, rmap });
                    }
                    if next.is_some() || *budget == 0 { Walk::Stop } else { Walk::Continue }
                });
            });
            if walked.is_none() {
                // The region is gone.
                *at = entry.range.end;
            }
        }
        next
    }

    /// Returns the next blocks in use at or after `at` in isolated memory, if they are single frames with an owner, at most
    /// `most`. Advances `at` to their end, and further if no other block in use follows. Uses `budget` up like
    /// [`Memory::next_used`].
    fn next_singles(&self, at: &mut Pfn, budget: &mut u64, most: usize) -> Singles {
        let mut singles = Singles::new();
        let most = most.min(singles.capacity());
        if let Some(entry) = self.isolated_from(*at).filter(|_| most > 0 && *budget > 0) {
            self.with_region(entry, |region, buddy| {
                let part = PfnRange::new(region.isolated.start.max(*at), region.isolated.end);
                let mut other = None;
                let end = buddy.walk_singles(part, budget, |head| {
                    match RmapEntry::of(buddy.page(head).rmap()) {
                        RmapEntry::Mapping(at) => singles.push(Single { head, at }),
                        _ => other = Some(head),
                    }
                    if other.is_some() || singles.len() == most { Walk::Stop } else { Walk::Continue }
                });
                *at = other.unwrap_or(end);
            });
        }
        singles
    }

    /// Returns the first region with isolated frames at or after `at`.
    fn isolated_from(&self, at: Pfn) -> Option<IndexEntry> {
        let mut next = self.entry_of(at).or_else(|| self.entry_after(Some(at)));
        while let Some(entry) = next {
            if self.with_region(entry, |region, _| region.isolated.end > at) == Some(true) {
                return Some(entry);
            }
            next = self.entry_after(Some(entry.range.start));
        }
        None
    }
}
