//! Emptying memory that is leaving, step by step: first a look at all of it, then the copying.
//!
//! ```text
//!  survey   every block: who has it? something that stays: refused       nothing has moved
//!  runs     a run elsewhere for each contiguous allocation, and           nothing has moved
//!           room for all the rest, page tables of split leaves included: or refused, with the numbers
//!  move     the runs; blocks of 2 MiB and more, as long as such can be had; then everything else
//! ```
//!
//! Large blocks go first, so that single frames do not break up what leaves of 2 MiB could use: then the room
//! computed beforehand is what is needed, as long as nobody else takes of it meanwhile. Who does makes the
//! removal fail late, with the numbers of that moment; what was moved by then stays where it is.
//!
//! Invariants: isolated memory gets no new block, so what a walk has passed stays empty; a step looks at a
//! bounded number of blocks and copies a bounded number of frames. What an allocation that is being made or freed
//! has is waited for: a step then does nothing and says for whom.
//!
//! Neighbours: `window` moves blocks, runs and tables; `remove` begins and ends.

use crate::addr::{Pfn, PfnRange};
use crate::buddy::{Found, Walk};
use crate::descriptor::State;
use crate::fault_injection::Step;
use crate::hot_remove::{Pinned, RemoveError, RemoveStats};
use crate::info::ResourceId;
use crate::layout::{GIB_PAGES, LARGE_PAGES};
use crate::machine::Machine;
use crate::memory::{Block, Hotplug, Memory};
use crate::page_table::LeafSize;
use crate::region::{Entry, Region};
use crate::rmap::RmapEntry;
use crate::vmalloc::{MappedBy, Migrated, Progress, Sizes, VmallocArena};

/// Blocks looked at in a step.
const BLOCKS: u64 = 4096;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Survey,
    MigrateRuns,
    Move(Sizes),
}

/// What the survey found.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// Frames to move one block at a time.
    movable: u64,
    /// Leaves of 2 MiB among them.
    large: u64,
    /// Larger leaves among them, and those that only a part of moves: each falls apart.
    splits: u64,
    /// Page tables of the window.
    tables: u64,
}

/// The number of an evacuation, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EvacuationId(u64);

impl EvacuationId {
    /// That of the first evacuation.
    pub(crate) const FIRST: EvacuationId = EvacuationId(0);
}

/// The evacuation under way, as the hotplug lock guards it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Underway {
    id: EvacuationId,
    /// The first resource that is leaving.
    pub(crate) first: ResourceId,
    /// How often memory vanished since it began: frames that were moved may have been there.
    surprise_removals: u64,
}

impl Hotplug {
    /// That no evacuation is under way.
    pub(super) fn check_idle(&self) -> Result<(), RemoveError> {
        match self.underway {
            Some(Underway { first: resource, .. }) => Err(RemoveError::UnderWay { resource }),
            None => Ok(()),
        }
    }

    /// A new evacuation is under way, `first` the first resource that is leaving.
    pub(super) fn begin_evacuation(&mut self, first: ResourceId) -> EvacuationId {
        let id = self.next_evacuation;
        self.next_evacuation = EvacuationId(id.0 + 1);
        self.underway = Some(Underway { id, first, surprise_removals: 0 });
        id
    }

    /// The evacuation of this number, when it is the one under way.
    pub(super) fn evacuation(&self, id: EvacuationId) -> Result<Underway, RemoveError> {
        self.underway.filter(|underway| underway.id == id).ok_or(RemoveError::SurpriseRemoved)
    }

    /// Memory vanished: what is still leaving begins with `first`, or nothing is and the evacuation is over.
    pub(super) fn note_surprise_removal(&mut self, first: Option<ResourceId>) {
        self.underway = self.underway.zip(first).map(|(underway, first)| Underway {
            first,
            surprise_removals: underway.surprise_removals + 1,
            ..underway
        });
    }
}

/// Memory that is being emptied.
#[derive(Debug)]
pub(super) struct Evacuation {
    id: EvacuationId,
    /// [`Underway::surprise_removals`] when this began its last survey.
    surprise_removals: u64,
    phase: Phase,
    /// Everything below was looked at in this phase.
    at: Pfn,
    tally: Tally,
    /// Blocks seen in this walk that are still there.
    left: u64,
    /// Who is waited for.
    pub(super) waiting: Option<RemoveError>,
    pub(super) stats: RemoveStats,
}

/// A block in use.
struct Used {
    resource: ResourceId,
    found: Found,
    word: RmapEntry,
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
            holder: self.word.shown(),
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

    /// Surveys anew when memory vanished meanwhile: runs that were taken there are gone, and so is the room for the rest.
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
}

impl<M: Machine> Memory<M> {
    /// Does some more: at most about `pages` frames are copied. To be called under the hotplug lock.
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
                    evacuation.begin(Phase::Move(Sizes::Large));
                    return Ok(Progress::More);
                }
                self.should_fail(Step::Migrate).map_err(|step| RemoveError::Injected { step })?;
                Ok(Progress::More)
            }
            Phase::Move(sizes) => self.migrate_blocks(arena, evacuation, sizes, pages),
        }
    }

    /// Looks at the next blocks; at the end, whether there is room for them.
    fn survey(&self, arena: &VmallocArena, evacuation: &mut Evacuation) -> Result<Progress, RemoveError> {
        evacuation.waiting = None;
        let mut budget = BLOCKS;
        while let Some(used) = self.next_used(&mut evacuation.at, &mut budget) {
            evacuation.left += 1;
            let (pages, tally) = (used.found.tag.order.pages(), &mut evacuation.tally);
            match (used.found.tag.state, used.word) {
                (State::Movable, RmapEntry::Mapping(at)) => match arena.mapped_by(self, used.block(), at) {
                    MappedBy::Scattered(size) => {
                        tally.movable += pages;
                        tally.large += if size > LeafSize::K4 { pages / LARGE_PAGES } else { 0 };
                        let falls_apart = size == LeafSize::G1 || size > LeafSize::K4 && pages < LARGE_PAGES;
                        tally.splits += if falls_apart { pages.div_ceil(GIB_PAGES) } else { 0 };
                    }
                    MappedBy::Contiguous => {}
                    MappedBy::Busy(id) => evacuation.waiting = Some(RemoveError::Busy { id }),
                    MappedBy::Unknown => return Err(used.pinned()),
                },
                (State::Pinned, RmapEntry::Table(..)) => tally.tables += 1,
                (State::Pinned, RmapEntry::Reserve) => match arena.reserved_by(used.found.head) {
                    Some(id) => evacuation.waiting = Some(RemoveError::Busy { id }),
                    None => return Err(used.pinned()),
                },
                _ => return Err(used.pinned()),
            }
            if evacuation.waiting.is_some() {
                // From the start, when it is over: nothing moves before everything is known.
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

    /// Takes the runs for contiguous allocations and computes whether there is room for the rest.
    fn check_capacity(&self, arena: &VmallocArena, tally: &Tally) -> Result<(), RemoveError> {
        let isolated = |run: PfnRange| {
            let mut overlaps = false;
            self.each_isolated(|_, region| overlaps |= region.isolated.overlaps(run));
            overlaps
        };
        let for_runs = arena.reserve_runs(self, &isolated)?;
        let large_there = self.large_blocks();
        let tables = for_runs + tally.tables + tally.splits + tally.large.saturating_sub(large_there);
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

    /// Moves the next blocks, those of `sizes`.
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
        while copied < pages
            && let Some(used) = self.next_used(&mut evacuation.at, &mut budget)
        {
            match (used.found.tag.state, used.word) {
                (State::Movable, RmapEntry::Mapping(at)) => {
                    match arena.migrate(self, used.block(), at, pages - copied, sizes)? {
                        Migrated::Pages(moved) => {
                            copied += moved;
                            // What is left of the block comes next.
                            evacuation.at = used.found.head.offset(moved);
                        }
                        Migrated::NoBlock if sizes == Sizes::Large => evacuation.left += 1,
                        Migrated::NoBlock => return Err(self.not_enough_free()),
                        Migrated::Busy(id) => {
                            evacuation.left += 1;
                            evacuation.waiting = Some(RemoveError::Busy { id });
                        }
                    }
                }
                (State::Pinned, RmapEntry::Table(at, level)) if sizes == Sizes::Any => {
                    arena.migrate_table(self, used.found.head, at, level)?;
                    copied += 1;
                    evacuation.stats.tables_moved += 1;
                }
                (State::Pinned, RmapEntry::Table(..)) => evacuation.left += 1,
                (State::Pinned, RmapEntry::Reserve) => match arena.reserved_by(used.found.head) {
                    Some(id) => {
                        evacuation.left += 1;
                        evacuation.waiting = Some(RemoveError::Busy { id });
                    }
                    None => return Err(used.pinned()),
                },
                _ => return Err(used.pinned()),
            }
        }
        evacuation.stats.migrated_pages += copied;
        if copied > 0 {
            self.should_fail(Step::Migrate).map_err(|step| RemoveError::Injected { step })?;
        }
        if copied >= pages || budget == 0 {
            return Ok(Progress::More);
        }
        // That was the end of a walk.
        let done = evacuation.left == 0 && sizes == Sizes::Any;
        evacuation.begin(Phase::Move(Sizes::Any));
        Ok(if done { Progress::Done } else { Progress::More })
    }

    /// The next block in use at or behind `at` in leaving memory; `at` goes behind it. `None` at the end, or when
    /// `budget`, which counts blocks looked at, is used up.
    fn next_used(&self, at: &mut Pfn, budget: &mut u64) -> Option<Used> {
        let mut next = None;
        while next.is_none()
            && *budget > 0
            && let Some((entry, region)) = self.isolated_from(*at)
        {
            let part = PfnRange::new(region.isolated.start.max(*at), region.isolated.end);
            self.with_region(entry.slot, |_, buddy| {
                *at = buddy.walk(part, |found| {
                    *budget -= 1;
                    if matches!(found.tag.state, State::Movable | State::Pinned | State::Boot) {
                        let word = RmapEntry::of(buddy.page(found.head).rmap());
                        next = Some(Used { resource: entry.id, found: *found, word });
                    }
                    if next.is_some() || *budget == 0 { Walk::Stop } else { Walk::Continue }
                });
            })?;
        }
        next
    }

    /// The region that is leaving, with frames of its leaving part at or behind `at`.
    fn isolated_from(&self, at: Pfn) -> Option<(Entry, Region)> {
        // In two statements: the index is not read twice at a time.
        let holds = self.index.read().find(at).copied();
        let mut next = holds.or_else(|| self.entry_after(Some(at)));
        while let Some(entry) = next {
            if let Some(region) = self.region(entry).filter(|region| region.isolated.end > at) {
                return Some((entry, region));
            }
            next = self.entry_after(Some(entry.range.start));
        }
        None
    }
}
