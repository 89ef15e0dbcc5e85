//! The command `page`: a frame's state, descriptor and owner.

use super::console::Out;
use super::resources::device;
use super::{Failure, Outcome};
use crate::memory::{arena, core};
use ::core::fmt::{self, Write};
use carapace_cli::args::Invocation;
use carapace_cli::command::{Command, Effect, JSON, Operands};
use carapace_cli::format_size::Size;
use carapace_cli::output::{self, Format};
use carapace_cli::parse;
use carapace_mm::addr::{MAX_PFN, Order, PAGE_SIZE, Pfn, PhysAddr, SECTION_PAGES, VirtAddr};
use carapace_mm::address_space::{DESCRIPTOR_SIZE, VMEMMAP, descriptor};
use carapace_mm::info::{Holder, PageState, ResourceInfo};
use carapace_schema::{Page, Word};

/// `page`.
pub static COMMAND: Command = Command {
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

/// Runs the command.
pub async fn run(invocation: &Invocation<'_>) -> Outcome {
    let text = invocation.operand(0).unwrap_or_default();
    let pfn = Pfn(parse::integer(text, "a frame number").map_err(Failure::of)?);
    if pfn >= MAX_PFN {
        return Err(Failure::of(format_args!(
            "frame {pfn} is not below {MAX_PFN}, the highest possible number{}",
            Address(pfn.0)
        )));
    }
    let info = core().page(pfn);
    let row = Page {
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
    let row = Page { describes_pfn: described.and_then(|of| describes(of, pfn)).map(|pfn| pfn.0), ..row };
    match invocation.format() {
        Format::Json => output::object(&mut Out, &row)?,
        Format::Table => {
            write(&row, resource.as_ref())?;
            // Such a number is more likely an address: frame 2^28 is at 1 TiB.
            if resource.is_none()
                && pfn.0 >> 28 != 0
                && core().page(Pfn(pfn.0 / PAGE_SIZE)).resource.is_some()
            {
                writeln!(Out, "hint        no memory is there{}", Address(pfn.0))?;
            }
        }
    }
    Ok(())
}

/// A hint where a number that is no frame's looks like an address.
struct Address(u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Pfn(self.0 / PAGE_SIZE) {
            frame if self.0.is_multiple_of(PAGE_SIZE) && frame < MAX_PFN => {
                write!(f, "; the frame at address {:#x} is {:#x}", self.0, frame.0)
            }
            _ => Ok(()),
        }
    }
}

/// What a state of a frame means.
fn means(state: &str) -> &'static str {
    match state {
        "free" => "it can be allocated",
        "movable" => "allocated, and can be moved to another frame",
        "pinned" => "in use, and stays where it is",
        "offline" => "present, but not to be allocated",
        "memmap" => "descriptors, header or page tables of its resource",
        _ => "no resource has it",
    }
}

/// Writes every number of a frame with how it follows from the frame's own.
fn write(row: &Page, resource: Option<&ResourceInfo>) -> fmt::Result {
    let (pfn, section, offset, vmemmap) = (row.pfn, row.section, row.section_offset, VMEMMAP.start);
    writeln!(Out, "frame       {pfn:#x} ({pfn})")?;
    writeln!(Out, "address     {:#x} = 4096 * {pfn}", row.phys)?;
    writeln!(Out, "section     {section} = {pfn} / {SECTION_PAGES}; its frame {offset} of {SECTION_PAGES}")?;
    writeln!(Out, "descriptor  {:#x} = {vmemmap} + 64 * {pfn}", row.descriptor)?;
    match row.descriptor_phys {
        Some(at) => {
            writeln!(Out, "            lies at {at:#x}, in frame {:#x} of the memmap", at / PAGE_SIZE)?
        }
        None => writeln!(Out, "            is not there: nothing is mapped at that address")?,
    }
    writeln!(Out, "state       {}: {}", row.state, means(&row.state))?;
    if let Some(first) = row.describes_pfn {
        let last = first.saturating_add(DESCRIPTORS - 1);
        writeln!(Out, "            holds the descriptors of frames {first:#x} to {last:#x}")?;
    }
    if let Some((order, head)) = row.order.zip(row.head_pfn) {
        let frames = row.block_pages.unwrap_or(0);
        let (size, last) = (Size(frames * PAGE_SIZE), head.saturating_add(frames.saturating_sub(1)));
        writeln!(Out, "block       order {order} ({size}) at frame {head:#x}")?;
        write!(Out, "            2^{order} = {frames} frames, to {last:#x}; this one is ")?;
        match pfn.saturating_sub(head) {
            0 => writeln!(Out, "its head")?,
            number => writeln!(Out, "number {number} of them")?,
        }
    }
    if let Some(at) = row.mapped_at {
        writeln!(Out, "mapped      its block at {at:#x}")?;
    }
    if let Some(allocation) = row.allocation {
        writeln!(Out, "held by     allocation {allocation}")?;
    }
    if let Some(owner) = row.owner {
        writeln!(Out, "held by     {owner}, since boot")?;
    }
    let Some(of) = resource else { return writeln!(Out, "resource    none") };
    let (start, last) = (of.range.start.0, of.range.end.0.saturating_sub(1));
    writeln!(Out, "resource    {}: {}, zone {}", of.id.0, device(of.device).0, of.zone)?;
    let number = pfn.saturating_sub(start);
    writeln!(Out, "            frames {start:#x} to {last:#x}; this is its frame {number}")
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
