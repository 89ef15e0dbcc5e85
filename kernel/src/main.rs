//! Carapace: the kernel's entry point and the order of bring-up.
// On the host the kernel is only checked (clippy, rust-analyzer), together with crates whose features may bring in std
// and its panic handler.
#![cfg_attr(target_os = "none", no_std)]
#![no_main]

extern crate alloc;

mod acpi;
mod arch;
mod bring_up;
mod commands;
mod cpus;
mod drivers;
mod executor;
mod hotplug;
mod log;
mod memory;
mod panic;
mod shell;
mod stress;
mod sync;
mod terminal;
mod uevents;
mod virtio;

use ::log::{Level, error, info, warn};
use acpi::namespace;
use acpi::register::Access;
use acpi::tables::StaticTables;
use arch::interrupts::park;
use arch::local_apic::{NotMapped, TimerCalibration};
use arch::trap::Hooks;
use arch::{interrupts, io_apic, local_apic, machine_check, time};
use bootloader_api::config::Mapping;
use bootloader_api::{BootInfo, BootloaderConfig};
use bring_up::{Rest, Search};
use carapace_acpi::madt::Madt;
use carapace_mm::addr::PhysAddr;
use carapace_mm::address_space::{BOOT_INFO, DIRECT_MAP, STACKS};
use carapace_mm::machine::Support;
use core::pin::pin;
use core::time::Duration;
use cpus::trampoline::Trampoline;
use drivers::serial::{self, Input, Port};
use drivers::{debug_exit, qemu, restart_guard};
use executor::Next;
use memory::boot::StartError;
use memory::devices::Caching;

/// The loader's configuration: the addresses of the virtual layout.
static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = arch::stacks::MAIN_STACK_BYTES;
    config.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP.start.0));
    config.mappings.kernel_stack = Mapping::FixedAddress(STACKS.start.0);
    config.mappings.boot_info = Mapping::FixedAddress(BOOT_INFO.start.0);
    // Keeps other mappings of a loader (a frame buffer, a ramdisk) out of the other regions.
    config.mappings.dynamic_range_start = Some(BOOT_INFO.start.0);
    config.mappings.dynamic_range_end = Some(BOOT_INFO.last().0);
    config
};

bootloader_api::entry_point!(main, config = &CONFIG);

fn main(info: &'static mut BootInfo) -> ! {
    sync::init();
    let calibration = time::init();
    arch::init(Hooks {
        page_fault: |at| memory::core().fault(at),
        exception: panic::on_exception,
        interrupted: executor::wake,
    });
    qemu::init();
    panic::backtrace::init(info);
    log::init();
    let serial = serial::init(Port::Console);
    let protections = arch::cpu::protect();
    let calibration = calibration.end();
    info!("carapace {} on {}", env!("CARGO_PKG_VERSION"), arch::cpu::Name);
    if let Err(error) = serial {
        warn!("serial line: {error}");
    }
    info!("clock: {} kHz by {}", calibration.tsc_hz / 1000, calibration.reference);
    let features = arch::cpu::features();
    let gib_leaves = if features.gib_leaves == Support::Yes { "1 GiB leaves" } else { "no 1 GiB leaves" };
    log::in_lines(
        Level::Info,
        format_args!(
            "protections: {protections}; {gib_leaves}, {} physical address bits",
            features.phys_bits
        ),
    );
    let rest = match memory_and_tables(info) {
        Ok((tables, trampoline)) => devices(tables, trampoline),
        Err(error @ StartError::OutOfMemory(_)) => {
            error!("{error}; add memory to the machine");
            debug_exit::not_enough_memory()
        }
        Err(error) => panic!("the kernel cannot start: {error}"),
    };
    restart_guard::up();
    // The shell comes first, for the prompt to come at once; then what the other tasks serve.
    executor::run(
        &mut [
            pin!(shell()),
            pin!(bring_up::finish(rest)),
            pin!(shell::rpc::run()),
            pin!(acpi::events::events()),
            pin!(acpi::eject::ejections()),
            pin!(virtio::mem::run()),
            pin!(virtio::reporting::run()),
            pin!(stress::first_cpu()),
            pin!(machine_checks()),
        ],
        end_of_turn,
    );
    park()
}

/// Sends queued output; that makes space for log lines, those of interrupt handlers included. Input without an interrupt
/// (no usable IO APIC) must be polled.
fn end_of_turn() -> Next {
    memory::log_findings();
    hotplug::log_missing_ends();
    serial::pump();
    log::flush();
    let is_due = serial::input(Port::Console) == Input::Polled || virtio::is_due();
    if is_due { Next::Poll } else { Next::Sleep }
}

/// The shell as a task: it never ends.
async fn shell() {
    shell::run().await
}

/// How long a corrected machine check may wait to be logged.
const MACHINE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Logs corrected machine checks, as a task.
async fn machine_checks() {
    if !machine_check::has_banks() {
        return core::future::pending().await;
    }
    loop {
        machine_check::poll();
        executor::sleep_until(time::uptime() + MACHINE_CHECK_INTERVAL).await;
    }
}

/// Starts the interrupt controllers, all pins masked, and begins to calibrate the local one's timer, which works without
/// an IO APIC as well.
fn interrupt_controllers(madt: &Madt) -> (Option<TimerCalibration>, Result<(), NotMapped>) {
    let mut map = |at, bytes| memory::devices::map(at, bytes, Caching::Device).ok();
    match local_apic::init(madt.local_apic, &mut map) {
        Ok(timer) => (Some(timer), io_apic::init(madt, &mut map)),
        Err(error) => (None, Err(error)),
    }
}

/// The firmware's static tables, and its interrupt controllers and processors, each where it can be read.
type Tables = Option<(StaticTables, Option<Madt>)>;

/// Starts the memory core in two steps. The firmware's static tables are read in between: they need the region for
/// devices, and the second step needs SRAT, from the MADT the number of CPUs, and the size of the AML.
fn memory_and_tables(info: &BootInfo) -> Result<(Tables, Option<Trampoline>), StartError> {
    let early = memory::boot::take_over(info)?;
    memory::boot::unmap_lower_half();
    let tables = StaticTables::read(info.rsdp_addr.into_option().map(PhysAddr));
    let tables = tables.inspect_err(|error| error!("ACPI: {error}")).ok();
    let madt = tables.as_ref().map(StaticTables::madt);
    let madt = madt.and_then(|madt| madt.inspect_err(|error| error!("interrupt controllers: {error}")).ok());
    let cpus = madt.as_ref().map_or(1, |madt| madt.processors.len());
    let srat = tables.as_ref().and_then(StaticTables::srat);
    let aml = tables.as_ref().map_or(0, |tables| namespace::bytes_for(tables.aml_bytes()));
    let trampoline = memory::boot::finish(early, srat.as_ref(), cpus, aml)?;
    Ok((tables.map(|tables| (tables, madt)), trampoline))
}

/// Starts interrupts, then ACPI: the namespace, the memory devices, and the SCI; then the other CPUs. Returns what is left
/// for `bring_up`. A failure is logged and the part left out. The shell starts in any case and polls for input if it must.
fn devices(tables: Tables, trampoline: Option<Trampoline>) -> Rest {
    let Some((tables, mut madt)) = tables else {
        time::calibrate_by_pit();
        return Rest::default();
    };
    let (apic_timer, controllers) = madt.as_ref().map_or((None, Ok(())), interrupt_controllers);
    if let Err(error) = controllers {
        error!("interrupt controllers: {error}");
        madt = None; // without them no CPU can be started
    }
    let (srat, mcfg, hmat) = (tables.srat(), tables.mcfg(), tables.hmat());
    if let Err(error) = serial::use_interrupts(Port::Console) {
        warn!("serial line: {error}; input is polled");
    }
    // The second serial line is optional.
    if serial::init(Port::Remote).is_ok() {
        match serial::use_interrupts(Port::Remote) {
            Ok(()) => info!("a second serial line, for programs"),
            Err(error) => warn!("second serial line: {error}; it is not used"),
        }
    }
    let timer = tables.fadt().ok().and_then(|fadt| fadt.pm_timer).and_then(|timer| timer.ports(4));
    // Both calibrations end when the AML is loaded, so that nothing waits for them, but before other CPUs read the
    // clock.
    let timer = timer.map(time::PmTimer::begin);
    if let Err(error) = acpi::start(tables) {
        error!("no memory hotplug: {error}");
    }
    let calibration = timer.and_then(time::PmTimer::end).or_else(time::calibrate_by_pit);
    if let Some(calibration) = calibration {
        info!("clock: {} kHz by {}", calibration.tsc_hz / 1000, calibration.reference);
    }
    if let Some(timer) = apic_timer {
        timer.end();
    }
    interrupts::enable();
    if let Some(madt) = &madt {
        cpus::idle::set_background(stress::turn);
        cpus::start(madt, srat.as_ref(), trampoline);
        if srat.is_some() {
            cpus::all().for_each(|cpu| memory::core().set_cpu_node(cpu.number, cpu.node));
            hmat.into_iter().for_each(memory::rank_nodes);
        }
    }
    let listening = acpi::listen().map_err(|error| error!("no events from ACPI: {error}"));
    let virtio = if madt.is_some() { Search::Pci(mcfg) } else { Search::LeaveOut };
    Rest { listening: listening.ok().flatten(), virtio }
}

#[cfg_attr(target_os = "none", panic_handler)]
#[cfg_attr(not(target_os = "none"), allow(dead_code))]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    panic::on_panic(info)
}
