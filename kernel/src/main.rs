//! Carapace: the order in which the kernel comes up.
#![no_std]
#![no_main]

mod arch;
mod executor;
mod log;
mod memory {
    pub mod heap;
}
mod sync;

use ::log::info;
use bootloader_api::config::Mapping;
use bootloader_api::{BootInfo, BootloaderConfig};
use mm::address_space::{BOOT_INFO, DIRECT_MAP, STACKS};

/// What the kernel asks of its loader: the virtual layout's addresses, so that every loader agrees.
static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.kernel_stack_size = arch::stacks::MAIN_STACK_BYTES;
    config.mappings.physical_memory = Some(Mapping::FixedAddress(DIRECT_MAP.start.0));
    config.mappings.kernel_stack = Mapping::FixedAddress(STACKS.start.0);
    config.mappings.boot_info = Mapping::FixedAddress(BOOT_INFO.start.0);
    // A loader that has more to map (a frame buffer, a ramdisk) stays out of the other windows.
    config.mappings.dynamic_range_start = Some(BOOT_INFO.start.0);
    config.mappings.dynamic_range_end = Some(BOOT_INFO.last().0);
    config
};

bootloader_api::entry_point!(main, config = &CONFIG);

fn main(info: &'static mut BootInfo) -> ! {
    arch::init();
    let calibration = arch::time::init();
    log::init();
    let serial = arch::serial::init();
    let protections = arch::cpu::protect();
    info!("carapace {} on {}", env!("CARGO_PKG_VERSION"), arch::cpu::Name);
    if let Err(error) = serial {
        ::log::warn!("serial line: {error}");
    }
    info!("clock: {} kHz by {:?}", calibration.tsc_hz / 1000, calibration.reference);
    info!("protections: {protections}; {:?}; root {:?}", arch::cpu::features(), arch::cpu::root());
    info!("memory map: {} regions", info.memory_regions.len());
    loop {
        arch::interrupts::disable();
        arch::interrupts::sleep_until_interrupt();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    arch::panic_report(info)
}
