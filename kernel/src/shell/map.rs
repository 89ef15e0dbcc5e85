//! `map`: physical memory as a picture, a node after the other (`shell::picture` draws it).

use super::Outcome;
use super::console::Out;
use crate::memory::core;
use ::core::fmt::{self, Write};
use mm::addr::{NodeId, PAGE_SIZE};
use mm::early::Owner;
use mm::info::{BlockInfo, Holder, NodeTotals, PageState, ResourceInfo};
use shell::args::Invocation;
use shell::human::Size;
use shell::picture::{Kind, Picture, Scale, legend};

/// `map`
pub fn map(_invocation: &Invocation<'_>) -> Outcome {
    legend(&mut Out)?;
    let mut result = Ok(());
    core().nodes(&mut |totals| {
        if result.is_ok() {
            result = node(&totals);
        }
    });
    Ok(result?)
}

fn node(totals: &NodeTotals) -> fmt::Result {
    // Each node in its own scale: a DIMM of 1 TiB would leave nothing to see of boot memory.
    let scale = Scale::fit(&mut |tell| {
        resources(totals.node, &mut |info| tell(info.range.start.0, info.range.pages()));
    });
    let bytes = |pages: u64| Size(pages.saturating_mul(PAGE_SIZE));
    let (present, free) = (bytes(totals.total_pages), bytes(totals.free_pages));
    let cell = Size(scale.bytes());
    writeln!(Out, "\nnode {}: {present} present, {free} free; a cell is {cell}", totals.node)?;
    let mut out = Out;
    let mut picture = Picture::new(&mut out, scale);
    // Both walks go by ascending address, as the picture needs it.
    resources(totals.node, &mut |info| {
        core().blocks(info.id, &mut |block| {
            picture.extent(block.range.start.0, block.range.pages(), kind(&block));
        });
    });
    picture.finish()
}

fn resources(node: NodeId, tell: &mut dyn FnMut(&ResourceInfo)) {
    core().resources(&mut |info| {
        if info.node == node {
            tell(&info);
        }
    });
}

fn kind(block: &BlockInfo) -> Kind {
    match (block.state, block.holder) {
        (PageState::Memmap, _) | (_, Holder::Boot(Owner::Memmap)) => Kind::Memmap,
        (_, Holder::Boot(_)) => Kind::Boot,
        (PageState::Movable | PageState::Pinned, _) => Kind::Used,
        (PageState::Offline, _) => Kind::Offline,
        (PageState::Free | PageState::Absent, _) => Kind::Free,
    }
}
