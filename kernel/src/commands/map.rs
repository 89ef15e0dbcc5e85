//! `map`: physical memory as a picture, a node after the other (`carapace_cli::memory_map` has its model).

use super::console::Out;
use super::{Outcome, input, session, stream};
use crate::drivers::fw_cfg;
use crate::drivers::serial::Port;
use crate::memory::core;
use ::core::fmt::Write;
use arrayvec::ArrayVec;
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON};
use carapace_cli::format_size::Size;
use carapace_cli::memory_map::palette::Depth;
use carapace_cli::memory_map::terminal::{Picture, legend, scale};
use carapace_cli::output::{Array, Format};
use carapace_mm::MAX_NODES;
use carapace_mm::addr::{NodeId, PAGE_SIZE};
use carapace_mm::boot_alloc::Owner;
use carapace_mm::info::{BlockInfo, Holder, NodeTotals, PageState, ResourceInfo};
use carapace_schema::{Extent, Joined, Kind};
use spin::Once;

/// `map`.
pub static COMMAND: Command = Command {
    name: "map",
    summary: "a picture of physical memory: boot memory, memmap, used, free",
    flags: &[JSON],
    example: "map",
    effect: Effect::Reads,
    ..Command::NEW
};

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    match invocation.format() {
        Format::Json => json().await,
        Format::Table => {
            legend(&mut Out, colours())?;
            let mut nodes: ArrayVec<NodeTotals, MAX_NODES> = ArrayVec::new();
            // The array holds the maximum number of nodes.
            core().nodes(&mut |totals| nodes.extend((!nodes.is_full()).then_some(totals)));
            for totals in &nodes {
                node(totals).await?;
            }
            Ok(())
        }
    }
}

/// The fw_cfg file with the colours that the terminal has ([`Depth::name`]).
const OPTION: &str = "opt/carapace/colour";

/// The colours to use. The default is sixteen, except on the remote line.
fn colours() -> Depth {
    if session::port() == Port::Remote {
        return Depth::None;
    }
    static COLOURS: Once<Depth> = Once::new();
    *COLOURS.call_once(|| {
        let text = fw_cfg::read::<16>(OPTION).unwrap_or_default();
        let name = text.split(|&byte| byte == 0).next().unwrap_or_default();
        str::from_utf8(name).ok().and_then(Depth::named).unwrap_or(Depth::Sixteen)
    })
}

async fn node(totals: &NodeTotals) -> Outcome {
    // A scale for each node: beside a DIMM of 1 TiB, boot memory would be invisible.
    let scale = scale(&mut |each| {
        resources(totals.node, &mut |info| each(info.range.start.0, info.range.pages()));
    });
    let bytes = |pages: u64| Size(pages.saturating_mul(PAGE_SIZE));
    let (present, free) = (bytes(totals.total_pages), bytes(totals.free_pages));
    let cell = Size(scale.cell_bytes());
    writeln!(Out, "\nnode {}: {present} present, {free} free; a cell is {cell}", totals.node)?;
    let mut out = Out;
    let mut picture = Picture::new(&mut out, scale, colours());
    let mut after = None;
    // Both walks are in ascending order, as the picture requires.
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        if info.node == totals.node {
            let mut draw = |block: &BlockInfo| {
                picture.extent(block.range.start.0, block.range.pages(), kind(block));
            };
            stream::blocks(&info, &mut draw).await?;
        }
    }
    Ok(picture.finish()?)
}

/// Writes runs of frames of the same kind.
async fn json() -> Outcome {
    Array::begin(&mut Out)?;
    let walked = items().await;
    Out.write_str("]\n")?;
    walked
}

async fn items() -> Outcome {
    let mut list = Array::new();
    let mut result = Ok(());
    let mut open: Option<Extent> = None;
    let mut after = None;
    while let Some(info) = core().resource_after(after) {
        after = Some(info.range.start);
        let mut put = |block: &BlockInfo| {
            let row = Extent {
                start_pfn: block.range.start.0,
                pages: block.range.pages(),
                node: info.node.0,
                resource: info.id.0,
                kind: kind(block),
            };
            if open.as_mut().is_none_or(|open| open.join(&row) == Joined::No)
                && let Some(run) = open.replace(row)
            {
                result = result.and_then(|()| list.item(&mut Out, &run));
            }
        };
        stream::blocks(&info, &mut put).await?;
        input::step().await?;
    }
    result?;
    if let Some(run) = open {
        list.item(&mut Out, &run)?;
    }
    Ok(())
}

fn resources(node: NodeId, each: &mut dyn FnMut(&ResourceInfo)) {
    core().resources(&mut |info| {
        if info.node == node {
            each(&info);
        }
    });
}

fn kind(block: &BlockInfo) -> Kind {
    match (block.state, block.holder) {
        (PageState::Memmap, _) | (_, Holder::Boot(Owner::Memmap)) => Kind::Memmap,
        (_, Holder::Boot(_)) => Kind::Boot,
        (PageState::Movable | PageState::Pinned, _) => Kind::Used,
        (PageState::Offline, _) => Kind::Offline,
        (PageState::Unplugged, _) => Kind::Unplugged,
        (PageState::Free | PageState::Absent, _) => Kind::Free,
    }
}
