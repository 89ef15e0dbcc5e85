//! `map`: physical memory as a picture, a node after the other (`shell::picture` draws it).

use super::Outcome;
use super::console::Out;
use crate::memory::core;
use ::core::fmt::Write;
use mm::addr::{NodeId, PAGE_SIZE};
use mm::early::Owner;
use mm::info::{BlockInfo, Holder, PageState};
use shell::args::Invocation;
use shell::human::Size;
use shell::picture::{Kind, Picture, Scale};

/// `map`
pub fn map(_invocation: &Invocation<'_>) -> Outcome {
    // One scale for all nodes, so that their rows can be compared.
    let scale = Scale::fit(&mut |tell| {
        core().resources(&mut |info| tell(info.range.start.0, info.range.pages()));
    });
    scale.legend(&mut Out)?;
    let mut result = Ok(());
    core().nodes(&mut |totals| {
        if result.is_ok() {
            let bytes = |pages: u64| Size(pages.saturating_mul(PAGE_SIZE));
            let (present, free) = (bytes(totals.total_pages), bytes(totals.free_pages));
            result = writeln!(Out, "\nnode {}: {present} present, {free} free", totals.node.0);
            result = result.and_then(|()| node(totals.node, scale));
        }
    });
    Ok(result?)
}

fn node(node: NodeId, scale: Scale) -> ::core::fmt::Result {
    let mut out = Out;
    let mut picture = Picture::new(&mut out, scale);
    // Both walks go by ascending address, as the picture needs it.
    core().resources(&mut |info| {
        if info.node == node {
            core().blocks(info.id, &mut |block| {
                picture.extent(block.range.start.0, block.range.pages(), kind(&block))
            });
        }
    });
    picture.finish()
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
