//! Commands that look at nodes and zones as Linux's files of those names do: `buddyinfo`, `zoneinfo`.

use super::Outcome;
use super::console::Out;
use super::inspect::resource;
use crate::memory::core;
use ::core::fmt;
use mm::addr::{Order, PfnRange};
use mm::info::Zone;
use shell::args::Invocation;
use shell::report::{self, Format};
use shell::rows::{BuddyRow, Word, ZoneRow, buddy_line};

/// `buddyinfo [ID] [-J]`
pub fn buddyinfo(invocation: &Invocation<'_>) -> Outcome {
    let only = invocation.operand(0).map(resource).transpose()?.map(|info| info.id);
    let mut rows = |tell: &mut dyn FnMut(&BuddyRow)| {
        core().resources(&mut |info| {
            if only.is_some_and(|id| id != info.id) {
                return;
            }
            let Some(blocks) = core().free_blocks(info.id) else { return };
            let orders = usize::from(info.max_order.0) + 1;
            tell(&BuddyRow {
                resource: info.id.0,
                node: info.node.0,
                zone: Word::of(&info.zone),
                free: blocks.into_iter().take(orders.min(Order::COUNT)).collect(),
            });
        });
    };
    match invocation.format() {
        Format::Json => Ok(report::array_line(&mut Out, &mut rows)?),
        Format::Table => by_zone(&mut rows),
    }
}

/// Linux's form has a line a node and zone: sums over their resources.
fn by_zone(rows: report::Rows<'_, BuddyRow>) -> Outcome {
    let mut orders = 11; // as many as Linux has, so that it looks the same
    rows(&mut |row| orders = orders.max(row.free.len()));
    each_zone(&mut |node, zone| {
        let mut sums = [0u64; Order::COUNT];
        let mut there = false;
        rows(&mut |row| {
            if row.node == node && row.zone == Word::of(&zone) {
                there = true;
                sums.iter_mut().zip(&row.free).for_each(|(sum, blocks)| *sum += blocks);
            }
        });
        if there {
            buddy_line(&mut Out, node, Word::of(&zone).as_str(), &sums[..orders.min(Order::COUNT)])?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Calls `each` with every node and, for each, every zone.
fn each_zone(each: &mut dyn FnMut(u32, Zone) -> fmt::Result) -> fmt::Result {
    let mut result = Ok(());
    core().nodes(&mut |node| {
        for zone in [Zone::Kernel, Zone::Movable, Zone::Any] {
            result = result.and_then(|()| each(node.node.0, zone));
        }
    });
    result
}

/// `zoneinfo [-J]`: the fields of Linux's file of that name that mean something here.
pub fn zoneinfo(invocation: &Invocation<'_>) -> Outcome {
    let mut rows = |tell: &mut dyn FnMut(&ZoneRow)| {
        // What is told never fails.
        let _ = each_zone(&mut |node, zone| {
            zone_row(node, zone).iter().for_each(&mut *tell);
            Ok(())
        });
    };
    match invocation.format() {
        Format::Json => report::array_line(&mut Out, &mut rows)?,
        Format::Table => {
            let mut result = Ok(());
            rows(&mut |row| result = result.and_then(|()| row.write(&mut Out)));
            result?;
        }
    }
    Ok(())
}

/// The sums of a node's zone; `None` when no resource is in it.
fn zone_row(node: u32, zone: Zone) -> Option<ZoneRow> {
    let mut span: Option<PfnRange> = None;
    let mut row = ZoneRow {
        node,
        zone: Word::of(&zone),
        free_pages: 0,
        spanned_pages: 0,
        present_pages: 0,
        managed_pages: 0,
        offline_pages: 0,
        movable_pages: 0,
        pinned_pages: 0,
        start_pfn: 0,
    };
    core().resources(&mut |info| {
        if info.node.0 != node || info.zone != zone {
            return;
        }
        row.free_pages += info.free_pages;
        row.present_pages += info.range.pages() - info.offline_pages;
        row.managed_pages += info.usable_pages - info.offline_pages;
        row.offline_pages += info.offline_pages;
        row.movable_pages += info.movable_pages;
        row.pinned_pages += info.pinned_pages;
        // By ascending address.
        let start = span.map_or(info.range.start, |span| span.start);
        span = Some(PfnRange::new(start, info.range.end));
    });
    let span = span?;
    row.start_pfn = span.start.0;
    row.spanned_pages = span.pages();
    Some(row)
}
