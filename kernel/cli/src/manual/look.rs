//! Pages of the commands that look.

use super::{EMPTY, Page};

pub const RESOURCES: Page = Page {
    what: &[
        "Shows each resource: a range of memory that came and goes as a whole. Boot memory is one or a few, and so is each DIMM. A resource has its own memmap, inside itself, and its own buddy allocator.",
        "Below the table stands what keeps a DIMM from being removed, if anything does.",
    ],
    given: &[(
        "-v, --verbose",
        "Below the table: what the words in it mean, and for each resource its frames in numbers.",
    )],
    fields: &[
        ("ID, id", "Its number, never used again for another one. sections, offline and others take it."),
        ("DEVICE, device", "The ACPI path of its memory device, or boot."),
        ("BASE, base", "The address of its first byte."),
        ("SIZE, size", "How much memory it has, usable or not."),
        ("NODE, node", "Its NUMA node."),
        ("ZONE, zone", "Which allocations it takes: see WORDS."),
        ("STATE, state", "Whether its memory may be allocated: see WORDS."),
        (
            "MEMMAP, memmap_pages, memmap_start_pfn",
            "The frames that are not usable since they carry the resource's own data: page descriptors, header, page tables; of boot memory also what is pinned since boot. And the first frame of the memmap.",
        ),
        (
            "USABLE, usable_pages, usable_start_pfn",
            "The other frames, whatever they are used for, and the first of them.",
        ),
        (
            "FREE, free_pages, largest_free_pages",
            "Those that can be allocated now, and the largest free block.",
        ),
        (
            "offline_pages, movable_pages, pinned_pages",
            "Usable frames that are offline, allocated and movable, allocated and pinned.",
        ),
        (
            "removable, pinned_pfn, pinned_by",
            "Whether its device can be removed as far as its content goes; else the first pinned frame, and who holds it.",
        ),
        (
            "add",
            "What adding it cost: aml_us, map_us, online_us in microseconds; answer_ns (from the interrupt to the end of _OST) with its parts aml_ns, check_ns, map_ns, online_ns; existing_pages_used (frames taken from other memory: 0), existing_heap_bytes_used (of the heap), entries_written, tables, descriptors_written.",
        ),
    ],
    words: &[
        ("kernel", "Zone: pinned allocations are welcome: boot memory, online --kernel."),
        ("movable", "Zone: only what can be migrated, so that it can be removed."),
        ("any", "Zone: every kind, pinned ones last. What a DIMM is by default."),
        ("online", "State: all usable frames may be allocated."),
        ("offline", "State: none may be."),
        ("partial", "State: some sections are offline."),
    ],
    examples: &[
        (
            "resources",
            "A row for boot memory and one for each DIMM: a DIMM of 256M has a memmap of 4M, which describes all of it, and 252M of usable memory.",
        ),
        ("resources -v", "The same, and what its words mean."),
        ("resources -J", "The same for programs, and what adding each has cost."),
    ],
    see: &["sections", "lsmem", "acpi", "offline"],
    ..EMPTY
};

pub const SECTIONS: Page = Page {
    what: &[
        "Shows the sections that have memory. A section is 128 MiB: 32768 frames, whose descriptors take 2 MiB of memmap, one large leaf of the page tables. Section n has the frames from n * 32768 on. A section that two resources share has a row for each.",
    ],
    given: &[
        ("ID", "Only those of the resource of that number."),
        ("FROM-TO", "Only those from one number to another, both included."),
        (
            "-v, --verbose",
            "Below the table: what the words in it mean, and how a section's numbers come about.",
        ),
    ],
    fields: &[
        ("SECTION, section", "Its number."),
        ("START PFN, start_pfn, pages", "The section's first frame, and how many it has, present or not."),
        ("PRESENT, present_pages", "How much of it this resource has."),
        ("MEMMAP, memmap_pages", "How much of that carries the resource's own data."),
        ("USABLE, usable_pages", "The rest."),
        ("FREE, free_pages", "What of the rest can be allocated now."),
        ("NODE, node", "The resource's node."),
        ("STATE, state", "See WORDS."),
        ("RESOURCE, resource", "The resource's number."),
    ],
    words: &[
        ("online", "Its usable frames may be allocated."),
        ("offline", "They may not; `online` takes them into use again."),
        ("memmap", "It has none: all of it carries the resource's own data."),
    ],
    errors: &[
        "A resource that is not there; a section above the highest there can be; a range that ends before it starts.",
    ],
    examples: &[
        ("sections", "All sections."),
        (
            "sections 32-33 -v",
            "Those of a DIMM at 4 GiB: the memmap lies in the first, the second is all usable.",
        ),
    ],
    see: &["resources", "lsmem", "page", "offline"],
};

pub const MEMINFO: Page = Page {
    what: &["Sums over all resources, and over those of each node."],
    fields: &[
        ("present, total_pages", "All frames there are."),
        ("usable, usable_pages", "Those that can be used for allocations, offline ones included."),
        ("free, free_pages", "Those that can be allocated now."),
        ("offline, offline_pages", "Those that are offline."),
        (
            "memmap and pinned since boot, memmap_pages",
            "Those that carry memmaps, headers and page tables, and what boot memory has pinned: kernel, heap, firmware.",
        ),
        ("page tables made at boot, page_table_pages", "Those outside of resources' own room."),
        ("heap, heap_bytes", "The kernel's heap. It never grows."),
        ("heap in use, heap_used", "What of it is in use."),
        ("MEMORY, SIZE, PAGES", "What is summed up, in bytes and in frames of 4 KiB."),
        ("NODE, PRESENT, USABLE, FREE, nodes, node", "The same sums by node."),
    ],
    examples: &[(
        "meminfo",
        "The sums. That they do not change when a DIMM comes, but for what the DIMM brings, is what this kernel is about.",
    )],
    see: &["resources", "numa"],
    ..EMPTY
};

pub const NUMA: Page = Page {
    what: &[
        "Shows the nodes that have memory, in the words of `numactl -H`: what is usable and free of each, and how far they are from each other. Distances come from the firmware's SLIT; where there is none, 10 stands for a node itself and 20 for any other one, as in Linux.",
        "QEMU makes a SLIT where it is told distances: -numa dist,src=0,dst=1,val=21.",
    ],
    fields: &[
        (
            "size, usable_pages",
            "Usable memory, in MiB (numactl's word for it is MB); total_pages is all that is present.",
        ),
        ("free, free_pages", "What of it can be allocated now."),
        ("node distances, distances", "From the row's node to the column's: 20 is twice as far as 10."),
        ("slit", "Whether the firmware told them."),
        ("nodes, node", "The nodes, by number."),
    ],
    examples: &[("numa", "Two nodes, once a DIMM is plugged into node 1.")],
    see: &["meminfo", "acpi"],
    ..EMPTY
};

pub const BUDDYINFO: Page = Page {
    what: &[
        "Shows how many free blocks there are of each order, as Linux's /proc/buddyinfo: a line for each node and zone, a number for order 0, 1, 2 and so on. A block of order n is 2^n frames. Orders go as high as the largest resource allows, so that lines may be longer than Linux's.",
    ],
    given: &[("ID", "Only the resource of that number.")],
    fields: &[
        ("resource, node, zone", "With -J there is a row for each resource."),
        ("free", "Free blocks of order 0, 1, ..."),
    ],
    words: &[("kernel, movable, any", "Zones, as in resources.")],
    errors: &["A resource that is not there."],
    examples: &[
        (
            "buddyinfo",
            "A fresh DIMM of 256M has one free block of each order from 10 (4 MiB) to 15 (128 MiB).",
        ),
        ("buddyinfo 1 -J", "The same of resource 1."),
    ],
    see: &["meminfo", "page"],
};

pub const LSMEM: Page = Page {
    what: &[
        "Shows ranges of memory as util-linux's lsmem does, byte for byte where both can say the same; its blocks are this kernel's sections of 128 MiB. Neighbours that are alike in what is shown become one range.",
    ],
    given: &[
        ("-a, --all", "A row for each block."),
        (
            "-S LIST, --split LIST",
            "Ranges end where one of these columns changes; none: nowhere. Not with -a.",
        ),
        ("-b, --bytes", "Sizes in bytes."),
        ("-n, --noheadings", "No titles."),
        ("-o LIST, --output LIST", "These columns; with + in front: these too."),
        ("--output-all", "All columns."),
        (
            "--summary[=WHEN]",
            "The sums below the table: never, always or only, which is also what it means without WHEN.",
        ),
        ("-P, --pairs", "NAME=\"value\" for each column."),
        ("-r, --raw", "Values between single blanks."),
    ],
    fields: &[
        ("RANGE, range", "First and last address."),
        ("SIZE, size", "Its size."),
        ("STATE, state", "online or offline."),
        (
            "REMOVABLE, removable",
            "yes where it belongs to a device and nothing in that is pinned; nothing is said of what is offline.",
        ),
        ("BLOCK, block", "Numbers of blocks, for chmem -b."),
        ("NODE, node", "Its node."),
        (
            "ZONES, zones",
            "Its zone, as resources has it: util-linux would say which zones it may come online in.",
        ),
        ("memory", "With -J: the ranges."),
    ],
    errors: &[
        "A column that is not there or there twice; two of -J, -P, -r; --split with --all; --output with --output-all; -J with a summary, which is not one line.",
    ],
    examples: &[
        ("lsmem", "Boot memory is not removable, a DIMM is."),
        ("lsmem -o +NODE,ZONES", "With two more columns."),
        ("lsmem --summary=only", "The sums."),
    ],
    see: &["chmem", "resources", "sections"],
    ..EMPTY
};

pub const MAP: Page = Page {
    what: &[
        "Draws physical memory, a node after the other: 64 cells in a row behind the address of the first. The letter is the rarest kind of frame in a cell, so that a single used frame is seen; the colour is what most of it is. Each node has its own scale, and rows without memory are left out.",
        "There are letters alone where QEMU was started with -fw_cfg name=opt/carapace/colour,string=never, which `cargo xtask run` adds where its output goes to no terminal, or NO_COLOR or TERM=dumb says so.",
    ],
    fields: &[
        (".", "All of it is free."),
        ("u", "Some of it is allocated."),
        ("B", "Some of it is pinned since boot: kernel, heap, firmware's tables."),
        ("m", "Some of it is memmap."),
        ("o", "Some of it is offline."),
        ("-", "None of it is there."),
        (
            "start_pfn, pages, node, resource, kind",
            "With -J: runs of frames that are alike; kind is free, used, boot, memmap or offline.",
        ),
    ],
    examples: &[
        ("map", "A DIMM of 256M is four rows of 64 MiB, whose first four cells are memmap."),
        ("map -J", "Where each kind of frame begins and ends."),
    ],
    see: &["resources", "page"],
    ..EMPTY
};

pub const PAGE: Page = Page {
    what: &[
        "Shows what a frame is, and how everything about it is found from its number alone: a frame is 4096 bytes, its section is its number divided by 32768, its descriptor is 64 bytes at 0xffffc00000000000 + 64 times its number. Each step is spelled out.",
        "Nothing is touched: a frame that is not there is absent.",
    ],
    given: &[("PFN", "The frame's number: its address divided by 4096. Decimal, or hexadecimal behind 0x.")],
    fields: &[
        ("frame, pfn", "Its number, both ways."),
        ("address, phys", "Where it lies: its number times 4096."),
        ("section, section_offset", "Its section, and which of the section's frames it is."),
        ("descriptor", "The virtual address of its descriptor."),
        (
            "memmap, descriptor_phys",
            "Where that lies: the frame of the memmap, in the resource itself, and the address. null where nothing is mapped.",
        ),
        ("state", "See WORDS."),
        (
            "block, order, head_pfn, block_pages",
            "The block of the buddy allocator that it lies in: 2^order frames from the head on, which is the only frame of it whose descriptor is written.",
        ),
        ("mapped, mapped_at", "For what an allocation holds: where its block is mapped."),
        ("held by, allocation, owner", "The allocation's number, or what it is pinned for since boot."),
        ("resource", "Its resource's number, with its device, frames and zone."),
        (
            "describes_pfn",
            "Of a frame of the memmap: the first of the 64 frames whose descriptors it has room for. Those of the memmap's own frames are never written: header and page tables lie there.",
        ),
    ],
    words: &[
        ("free", "In no one's use: it can be allocated."),
        ("movable", "Allocated; its content can be moved to another frame."),
        ("pinned", "In use, and stays where it is."),
        ("offline", "Present, and not to be allocated until it is online again."),
        ("memmap", "It carries its resource's own data: page descriptors, header or page tables."),
        ("absent", "No resource has it: there is no memory, or none that is known."),
        ("firmware, boot, kernel, heap, stack, page tables", "Owners of what is pinned since boot."),
    ],
    errors: &["A number that is none, or not below the end of what there can be."],
    examples: &[
        (
            "page 1049600",
            "The first usable frame of a DIMM of 256M at 4 GiB: free, the head of a block of order 10, its descriptor in frame 0x100010, which is memmap of the same DIMM.",
        ),
        ("page 0x100000", "The DIMM's first frame: memmap."),
        ("page 0x100400 -J", "For programs."),
    ],
    see: &["sections", "ptwalk", "buddyinfo", "map"],
};

pub const PTWALK: Page = Page {
    what: &[
        "Walks the page tables to a virtual address, as the CPU does: in each table the entry that nine bits of the address choose, until one is a leaf or is not there.",
    ],
    given: &[("VADDR", "A virtual address: bits 63 to 47 are all equal. Decimal, or hexadecimal behind 0x.")],
    fields: &[
        ("address, virt, window", "The address, and what that part of the address space is for."),
        (
            "LEVEL, INDEX, TABLE, ENTRY, LEADS TO, levels",
            "A row for each table: level (PML4, PDPT, PD, PT), index (which entry), table (where it lies), entry, kind (table, leaf or absent), leads_to (where that lies), flags (its bits in words).",
        ),
        ("entry", "The bits of the last entry in words."),
        ("mapped to, phys", "The physical address of the very byte; null where nothing is mapped."),
        ("leaf, leaf_bytes, rights, caching", "The size of the leaf, and what may be done there."),
    ],
    words: &[
        ("table", "The entry leads to a table of the next level. Rights are the leaf's matter."),
        ("leaf", "The entry maps memory: 1 GiB in a PDPT, 2 MiB in a PD, 4 KiB in a PT."),
        ("absent", "The entry is not present: an access is a page fault."),
        ("writable, read only", "Bit 1 (W) of the entry."),
        ("executable, no execute", "Bit 63 (NX)."),
        ("user", "Bit 2 (U): nothing of this kernel has it."),
        ("global", "Bit 8 (G): stays in the TLB when CR3 is loaded."),
        ("accessed, dirty", "Bits 5 (A) and 6 (D), which the CPU sets when it reads or writes."),
        ("write-back, uncached", "How it is cached: bits 3 (PWT) and 4 (PCD)."),
        ("permanent", "Bit 9, which the CPU ignores: the table stays when it is empty."),
    ],
    errors: &["An address that is none."],
    examples: &[
        (
            "ptwalk 0xffff800100400000",
            "Address 0x100400000 in the direct map: a leaf of 2 MiB in a table that lies in the DIMM itself.",
        ),
        (
            "ptwalk 0xffffc00004010000",
            "The descriptor of frame 1049600: a leaf of 2 MiB that is the DIMM's memmap.",
        ),
        ("ptwalk 0", "Nothing is mapped there."),
    ],
    see: &["page", "ptdump"],
};

pub const PTDUMP: Page = Page {
    what: &[
        "Counts the leaves of the page tables in each window of the address space, and those that are executable (X) or both writable and executable (W+X), of which there should be none.",
    ],
    fields: &[
        ("WINDOW, window, START, start", "A part of the address space, and where it begins."),
        ("4K, 2M, 1G, leaves", "Leaves of each size; in JSON 4k, 2m, 1g."),
        ("X, executable", "Executable leaves."),
        ("W+X, writable_executable", "Those that are writable too."),
        ("windows", "With -J: the windows. Beside them stand the sums."),
    ],
    words: &[
        ("direct map", "All memory, at its physical address."),
        ("vmemmap", "The descriptors of all frames."),
        ("vmalloc", "What alloc has taken."),
        ("heap, stacks, devices, fixmap, boot info, kernel image", "What their names say."),
        ("elsewhere", "The lower half of the address space, and gaps."),
    ],
    examples: &[(
        "ptdump",
        "A DIMM of 256M is 128 leaves of 2 MiB in the direct map and two in the vmemmap.",
    )],
    see: &["ptwalk", "check"],
    ..EMPTY
};
