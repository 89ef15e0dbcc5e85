//! Pages of the commands that use memory, and that look for faults.

use super::{EMPTY, Page};

pub const ALLOC: Page = Page {
    what: &[
        "Takes memory, maps it in the vmalloc region by the largest leaves that fit, and fills each page with a pattern of its own that verify knows. It stays until it is freed. Frames are movable: when their DIMM is to go, they go elsewhere, and verify finds every byte where it was.",
        "Ctrl-C, or an error, gives back what was taken so far.",
    ],
    given: &[
        ("SIZE", "How much, rounded up to frames of 4 KiB. Bytes, or K, M, G, T behind the number."),
        ("-a, --all", "Every free frame."),
        (
            "--node N",
            "From this node, and from no other one. Without it: the node with most free frames, for --pinned boot memory first.",
        ),
        ("--pinned", "Frames that cannot be moved. Their DIMM cannot be removed until they are free."),
        ("--contiguous", "One run of frames, across neighbouring free blocks: 252M of a fresh DIMM of 256M."),
        (
            "--no-fill",
            "Not a byte of it is touched, so that it costs the host nothing; verify leaves it out.",
        ),
    ],
    fields: &[
        ("allocation, id", "Its number, for free."),
        ("pages", "Frames."),
        ("at, address", "Where it is mapped."),
    ],
    errors: &[
        "Not enough free memory, of that kind, on that node, or in one run: the message has the numbers. Nothing is taken then.",
        "No such node; neither a size nor --all; --all with --contiguous.",
    ],
    examples: &[
        ("alloc 200M --node 1", "allocation 1: 200 MiB, 51200 pages."),
        ("alloc 4M --contiguous -J", "One run of 1024 frames, for programs."),
        ("alloc 8K --pinned", "Two frames that stay where they are."),
    ],
    see: &["free", "verify", "page", "offline"],
    ..EMPTY
};

pub const FREE: Page = Page {
    what: &["Gives back what alloc has taken, and the page tables that mapped it."],
    given: &[("ID", "The allocation of that number."), ("all", "All of them.")],
    fields: &[("allocations", "How many were given back."), ("pages", "Frames they had.")],
    errors: &["There is no such allocation."],
    examples: &[("free all", "Everything that alloc has taken is free again.")],
    see: &["alloc", "meminfo"],
    ..EMPTY
};

pub const VERIFY: Page = Page {
    what: &[
        "Compares every page of each allocation with the pattern that alloc has filled it with. The first ten that differ are named, with the word that is wrong. What was taken with --no-fill is left out.",
    ],
    fields: &[
        ("ok", "Whether every page is as it was filled."),
        ("pages", "Pages compared."),
        ("bad_pages", "Pages that differ."),
    ],
    errors: &["Pages that differ."],
    examples: &[("verify", "ok, and how many pages were compared.")],
    see: &["alloc", "check"],
    ..EMPTY
};

pub const CHECK: Page = Page {
    what: &[
        "Walks every invariant of the memory core: lists, counters, blocks and their descriptors, page tables, sums; and looks at the protections of the kernel's memory. It walks blocks, not frames, a resource at a time.",
    ],
    fields: &[
        ("ok", "Whether all is as it should be."),
        ("checked", "How many things were looked at."),
        ("broken", "How many are not as they should be."),
        ("errors", "The first of them, in words."),
    ],
    errors: &["Things that are broken: each is a fault of the kernel."],
    examples: &[("check", "ok, and how many things were checked."), ("check -J", "The same for programs.")],
    see: &["verify", "fail", "ptdump"],
    ..EMPTY
};

pub const POISON: Page = Page {
    what: &[
        "Finds what writes to memory that it has freed. While it is on, freed memory is filled with da bytes and compared when it is allocated again, and by check: what was written is told in the log, as an ERROR, with frame, offset and what was found.",
        "What was never allocated is not touched, blocks of more than 256 MiB are left alone, and each frame that is freed is looked up first, so that any wrong one is refused.",
    ],
    given: &[
        ("on", "From now on what is freed is watched."),
        ("off", "Nothing is watched any more. Without either: how it stands."),
    ],
    fields: &[
        ("on", "Whether it is on."),
        ("watched_pages", "Freed pages that are watched now."),
        ("damaged_pages", "Pages that were found written to, since boot."),
    ],
    errors: &["Another word than on or off."],
    examples: &[("poison", "How it stands."), ("poison on", "Watches what is freed from now on.")],
    see: &["misuse", "check"],
    ..EMPTY
};

pub const MISUSE: Page = Page {
    what: &[
        "Uses memory wrongly, to see that it is noticed, and under which name. What a free may not have is refused, and nothing changes.",
    ],
    given: &[
        ("double-free", "Frees a block twice."),
        ("middle-free", "Frees a frame inside of an allocated block."),
        ("foreign-free", "Frees a frame of boot memory's memmap."),
        ("absent-free", "Frees a frame that is not there."),
        (
            "write-freed",
            "Writes to a frame that is free, while poison is on: check tells, and so does the log when it is allocated.",
        ),
    ],
    fields: &[("pfn", "The frame that was written to.")],
    errors: &[
        "The refusal of a wrong free, which is what is to be seen.",
        "write-freed while poison is off: nobody would notice.",
    ],
    examples: &[("misuse write-freed", "With poison on: the next check tells of it.")],
    see: &["poison", "check", "fail"],
    ..EMPTY
};

pub const STRESS: Page = Page {
    what: &[
        "Uses the kernel's heap up to its reserve, to see that the shell and hotplug work without it: the shell uses no heap, and hotplug has the reserve.",
    ],
    given: &[("heap", "Takes all that may be taken."), ("off", "Gives it back.")],
    fields: &[
        ("held_bytes", "What stress holds now."),
        ("left_bytes", "What is left to everybody."),
        ("reserve_bytes", "What only hotplug may use."),
    ],
    errors: &["Another word than heap or off."],
    examples: &[("stress heap", "The heap is full; plug a DIMM now."), ("stress off", "It is as before.")],
    see: &["fail", "meminfo"],
    ..EMPTY
};
