//! Pages of the commands that take memory out of use and back, and that decide what becomes of new memory.

use super::{EMPTY, Page};

pub const OFFLINE: Page = Page {
    what: &[
        "Takes a resource, or a range of sections, out of use. What is allocated there moves to other memory, and nothing new is let in. It stays mapped and known; online takes it into use again. All of it goes offline, or nothing: Ctrl-C, or an error, puts everything back.",
        "To remove a DIMM this is not needed: `device_del` in QEMU's monitor does it all.",
    ],
    given: &[
        ("ID", "The resource of that number."),
        ("FROM-TO", "The sections from one number to another, both included."),
    ],
    fields: &[
        ("pages", "Frames that were online and are not any more."),
        ("migrated_pages", "Frames whose content went elsewhere."),
    ],
    errors: &[
        "A pinned frame: the message names it and who holds it. No room elsewhere: the message says how much is missing.",
        "Nothing is there; a section above the highest there can be.",
    ],
    examples: &[("offline 33-33", "128 MiB offline: the second half of a DIMM of 256M at 4 GiB.")],
    see: &["online", "chmem", "sections", "resources"],
    ..EMPTY
};

pub const ONLINE: Page = Page {
    what: &["Takes a resource, or a range of sections, that is offline into use again."],
    given: &[
        ("ID", "The resource of that number."),
        ("FROM-TO", "The sections from one number to another, both included."),
        ("--movable", "Zone movable: it lets in only what can be migrated."),
        (
            "--kernel",
            "Zone kernel: pinned allocations are welcome. Without either the zone stays as it is. A zone is one for the whole resource, so it can only change while all of that is offline.",
        ),
    ],
    fields: &[("pages", "Frames that were offline and are not any more.")],
    errors: &[
        "A zone that differs from that of the resource's other sections; nothing is there; both flags.",
    ],
    examples: &[
        ("online 33-33", "What `offline 33-33` took out of use is back."),
        ("online 1", "nothing changes: all of it is online already."),
    ],
    see: &["offline", "chmem", "policy", "resources"],
    ..EMPTY
};

pub const CHMEM: Page = Page {
    what: &[
        "Sets memory online or offline block by block, as util-linux's chmem does, in its words. A block is a section of 128 MiB. A block that fails is told, and the next one is tried.",
    ],
    given: &[
        ("-e, --enable", "Sets it online."),
        ("-d, --disable", "Sets it offline."),
        (
            "SIZE",
            "So much, wherever it is: the lowest blocks that are offline, or the highest that are online. MiB where no letter stands behind it.",
        ),
        ("RANGE", "0xSTART-0xEND, both included, as lsmem shows it."),
        ("-b, --blocks", "The operand is a BLOCKRANGE: one block's number, or FIRST-LAST."),
        (
            "-z ZONE, --zone ZONE",
            "Movable, Normal or any (this kernel's own): the zone to come online in, or that of the blocks to go offline. Without it memory comes online as Movable where it can.",
        ),
        ("-v, --verbose", "Tells each block."),
    ],
    errors: &[
        "A size or range that is not whole blocks; not exactly one of -e and -d; an unknown zone.",
        "What could not be done, block by block, and at the end `Could only disable ...`.",
    ],
    examples: &[
        ("chmem -d 128M -v", "The highest block that is online goes offline: one of the DIMM's."),
        ("chmem -e -b 33", "That block is online again."),
    ],
    see: &["lsmem", "offline", "online"],
    ..EMPTY
};

pub const POLICY: Page = Page {
    what: &["Shows or sets what becomes of memory that is plugged from now on."],
    fields: &[("policy", "The word, as below.")],
    words: &[
        ("online", "It is online for every kind of allocation: zone any. The default."),
        ("offline", "It is added, and stays offline until somebody says online."),
        ("movable", "It is online in zone movable: only what can be migrated."),
        ("kernel", "It is online in zone kernel: pinned allocations are welcome."),
    ],
    errors: &["Another word."],
    examples: &[
        ("policy movable", "The next DIMM can be removed whatever is allocated."),
        ("policy online", "As at boot."),
    ],
    see: &["online", "resources"],
    ..EMPTY
};

pub const FAIL: Page = Page {
    what: &[
        "Makes a step of the next additions or removals of memory fail, to see that all that was done before is undone. Alone it lists the steps, and how often each is still to fail.",
    ],
    given: &[
        (
            "STEP",
            "Of an addition: check, direct-map, vmemmap, region, online. Of a removal: isolate, migrate, hand-over, unmap-vmemmap, unmap-direct-map, remove.",
        ),
        ("N", "How many times; 1 without it, 0 for no longer."),
    ],
    fields: &[
        ("OF, of", "add or remove."),
        ("STEP, step", "The step."),
        ("FAILS, times", "How often it is still to fail."),
    ],
    errors: &["Another step; a number that is none."],
    examples: &[
        ("fail vmemmap 2", "The next two DIMMs are refused, and leave no trace."),
        ("fail vmemmap 0", "None is."),
        ("fail", "The list."),
    ],
    see: &["check", "acpi", "dmesg"],
    ..EMPTY
};
