//! Pages of the commands about the machine.

use super::{EMPTY, Page};

pub const PANIC: Page = Page {
    what: &[
        "Stops the kernel on purpose, to see what it reports: the error, registers, the way that led there, locks that are held, the log's last lines, memory in short. QEMU ends with status 33.",
    ],
    given: &[
        ("stack", "Uses up the stack, and touches the guard page below it."),
        ("null", "Reads address 0."),
        ("absent", "Reads memory that is not there."),
        (
            "descriptor",
            "Reads the page descriptor of a frame that is not there: the report names its section.",
        ),
        ("code", "Writes to the kernel's own code."),
        ("data", "Runs data as code."),
        ("code-alias", "Writes to the kernel's code where the direct map has it."),
        ("run-alias", "Runs the kernel's code where the direct map has it."),
        ("heap-end", "Writes behind the heap's end."),
        (
            "page-tables, region, heap, log, serial",
            "Panics while that lock is held: the report waits for none.",
        ),
        ("handler", "Lets an interrupt handler find a lock taken."),
    ],
    errors: &["Another word is refused. Without one it is a plain panic."],
    examples: &[("panic descriptor", "A page fault, and which section the missing memory would be of.")],
    see: &["reboot", "poweroff"],
    ..EMPTY
};

pub const ACPI: Page = Page {
    what: &[
        "Shows what the firmware has said: its tables, the general-purpose events by which it tells of memory, and the memory devices it can have, with what became of each.",
    ],
    fields: &[
        ("TABLE, signature", "A table's four letters."),
        (
            "ADDRESS, LENGTH, REVISION, NAME",
            "Where it lies, its bytes, its revision, and its maker's name for it; in JSON address, length, revision, oem_table_id.",
        ),
        ("EVENT, event, METHOD, method", "An event's number, and the firmware's code that serves it."),
        ("RUNS, runs", "How often that ran."),
        ("DEVICE, device, UID, uid", "A memory device's path and its name for people."),
        ("RESOURCES, resources", "The numbers of its resources, as in resources."),
        (
            "STATE, state, enabled, eject_refused",
            "Of an event, on or off; of a device, see WORDS; and why it was not given back when that was last asked for.",
        ),
        ("tables, events, devices", "With -J: the three tables."),
    ],
    words: &[
        ("on, off", "Whether the event is enabled: its method may notify a memory device."),
        ("absent", "A slot without a DIMM."),
        ("online, offline, partial", "A DIMM, as its resources are."),
        ("refused", "A DIMM that could not be added, and why."),
        ("leaving", "A DIMM that is being removed."),
        ("surprise-removed, cleanup pending", "A DIMM that was removed without an eject request."),
    ],
    examples: &[("acpi", "32 devices, all but one of them absent."), ("acpi -J", "The same for programs.")],
    see: &["resources", "dmesg", "fail"],
    ..EMPTY
};

pub const STAT: Page = Page {
    what: &["Shows counters since boot."],
    fields: &[
        ("uptime, uptime_us", "Microseconds since boot."),
        ("ACPI interrupts, acpi_interrupts", "How often the firmware asked for attention."),
        ("notifications", "How many times it told of a memory device."),
        ("log lines dropped, log_lines_dropped", "Lines that the log has no room for any more."),
    ],
    examples: &[("stat", "Each DIMM that was plugged is an interrupt and a notification.")],
    see: &["uptime", "acpi", "dmesg"],
    ..EMPTY
};

pub const DMESG: Page = Page {
    what: &[
        "Shows the kernel's log: what was printed on the serial line, as far as it is kept (64 KiB). Each line has the seconds since boot and how serious it is.",
    ],
    fields: &[("lines", "With -J: the lines."), ("dropped", "How many older ones are gone.")],
    words: &[("INFO, WARN, ERROR", "How serious a line is.")],
    examples: &[("dmesg", "The log."), ("dmesg -J", "The same for programs.")],
    see: &["stat", "acpi"],
    ..EMPTY
};

pub const UPTIME: Page = Page {
    what: &["Shows the time since boot, by the CPU's time stamp counter."],
    fields: &[("up", "Hours, minutes, seconds."), ("uptime_us", "Microseconds.")],
    examples: &[("uptime", "up 0:00:12.345")],
    see: &["stat"],
    ..EMPTY
};

pub const REBOOT: Page = Page {
    what: &[
        "Starts the machine again, by the register that the firmware names for it or the keyboard controller. Memory that is plugged stays plugged.",
    ],
    errors: &["There is no way that works."],
    examples: &[("reboot", "The boot log, and a prompt.")],
    see: &["poweroff"],
    ..EMPTY
};

pub const POWEROFF: Page = Page {
    what: &["Turns the machine off, by the firmware's own values for state S5. QEMU ends with status 0."],
    errors: &["The firmware has no such state."],
    examples: &[("poweroff", "Back in the shell that QEMU was started from.")],
    see: &["reboot"],
    ..EMPTY
};
