//! What a user sees: every test boots QEMU. One module a behaviour, one executable for all, so that
//! two guests at a time run side by side (`cargo test -p tests NAME` picks some).

mod allocations;
mod boot_errors;
mod busy;
mod cold_plug;
mod concurrency;
mod console;
mod cpus;
mod dimm_task;
mod eject;
mod eject_busy;
mod eject_devices;
mod eject_failures;
mod every_dimm;
mod example;
mod failures;
mod faults;
mod frames;
mod gdb;
mod help;
mod hostile_tables;
mod inspect;
mod large_dimms;
mod lsmem;
mod machines;
mod malformed_acpi;
mod misuse;
mod more_dimms;
mod offline;
mod ovmf;
mod panic;
mod pipe;
mod policy;
mod prompt;
mod protection;

mod remote;
mod report;
mod restart;
mod sci_storm;
mod session;
mod sh;
mod soak;
mod torn_out;
mod unread_serial;
mod watch;
