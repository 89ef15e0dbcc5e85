//! The command `page`: a frame's state, descriptor and owner.

use super::console::Out;
use super::resources::device;
use super::{Failure, Outcome};
use crate::memory::{arena, core};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_cli::rows::{PageNote, PageResource, PageRow, Word};
use carapace_mm::addr::{MAX_PFN, Order, PAGE_SIZE, Pfn, PhysAddr, SECTION_PAGES, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, VMEMMAP, descriptor};
use carapace_mm::info::{Holder, PageState, ResourceInfo};

/// `page`.
pub static PAGE: Command = Command {
    name: "page",
    summary: "a frame's state, descriptor and owner",
    operands: Operands::one("PFN"),
    operand_help: &[(
        "PFN",
        "The frame's number: its address divided by 4096. Decimal, or hexadecimal with 0x.",
    )],
    flags: &[JSON],
    example: "page 1049600",
    effect: Effect::Reads,
    ..Command::NEW
};

/// `page PFN [-J]`
pub async fn page(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let pfn = Pfn(parse::integer(text, "a frame number").map_err(Failure::of)?);
    if pfn >= MAX_PFN {
        return Err(Failure::of(format_args!(
            "frame {pfn} is not below {MAX_PFN}, the highest possible number"
        )));
    }
    let info = core().page(pfn);
    let row = PageRow {
        pfn: pfn.0,
        phys: pfn.start().0,
        section: pfn.section().0,
        descriptor: info.descriptor.0,
        state: Word::of(&info.state),
        order: info.order.map(|order| order.0),
        head_pfn: info.head.map(|head| head.0),
        resource: info.resource.map(|id| id.0),
        allocation: match info.holder {
            Holder::Mapping(at) => arena().holding(at).map(|allocation| allocation.id.0),
            _ => None,
        },
        mapped_at: match info.holder {
            Holder::Mapping(at) => Some(at.0),
            _ => None,
        },
        owner: match info.holder {
            Holder::Boot(owner) => Some(Word::of(&owner)),
            _ => None,
        },
        section_offset: pfn.0 % SECTION_PAGES,
        descriptor_phys: physical(info.descriptor).map(|at| at.0),
        block_pages: info.order.map(Order::pages),
        describes_pfn: None,
    };
    let resource = info.resource.and_then(|id| core().resource(id));
    let described = resource.as_ref().filter(|_| info.state == PageState::Memmap);
    let row = PageRow { describes_pfn: described.and_then(|of| describes(of, pfn)).map(|pfn| pfn.0), ..row };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            let resource = resource.map(|of| PageResource {
                device: device(of.device).0,
                start: of.range.start.0,
                end: of.range.end.0,
                zone: Word::of(&of.zone),
            });
            row.write(&PageNote { vmemmap: VMEMMAP.start.0, resource }, &mut Out)?;
        }
    }
    Ok(())
}

/// The physical address of a virtual one.
fn physical(at: VirtAddr) -> Option<PhysAddr> {
    core().translate(at).map(|found| found.phys)
}

/// The first frame whose descriptor is in this frame of the memmap, if it describes any: computed from the memmap's start
/// and verified by a translation.
fn describes(of: &ResourceInfo, frame: Pfn) -> Option<Pfn> {
    let number = frame.0.checked_sub(of.memmap_start.0)?;
    let first = of.range.start.0 / DESCRIPTORS * DESCRIPTORS;
    let first = Pfn(first.checked_add(number.checked_mul(DESCRIPTORS)?)?);
    let is_described = first < of.range.end && physical(descriptor(first)) == Some(frame.start());
    is_described.then_some(first)
}

/// Descriptors in a frame of the memmap.
const DESCRIPTORS: u64 = PAGE_SIZE / DESCRIPTOR_SIZE;
