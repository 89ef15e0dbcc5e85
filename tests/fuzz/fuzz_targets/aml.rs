//! A definition block of any bytes: it is loaded as far as it is intact, everything in it is evaluated, and all
//! bounds are kept. A panic, an evaluation without end or memory over the limit is a find.
#![no_main]

use carapace_aml::{Aml, Host, HostError, Limits, Notified, PciAddress, Value, Width};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { steps: 20_000, depth: 64, bytes: 1 << 18, sleep_ms: 1000 };
/// Objects that are evaluated of one table.
const MOST: usize = 64;

/// Every read gives bits of its address.
struct Echo;

impl Host for Echo {
    fn io_read(&mut self, port: u16, _: Width) -> Result<u64, HostError> {
        Ok(port.into())
    }

    fn io_write(&mut self, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn mem_read(&mut self, phys: u64, _: Width) -> Result<u64, HostError> {
        if phys & 0x8000 == 0 { Ok(phys) } else { Err(HostError::new("refused")) }
    }

    fn mem_write(&mut self, _: u64, _: Width, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn pci_read(&mut self, _: PciAddress, offset: u16, _: Width) -> Result<u64, HostError> {
        Ok(offset.into())
    }

    fn pci_write(&mut self, _: PciAddress, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Ok(())
    }

    fn notify(&mut self, device: Notified<'_>, _: u64) {
        assert!(device.path().starts_with('\\'));
    }

    fn sleep(&mut self, milliseconds: u32) {
        assert!(milliseconds <= LIMITS.sleep_ms);
    }

    fn stall(&mut self, _: u32) {}

    fn timer(&mut self) -> u64 {
        7
    }
}

fuzz_target!(|input: &[u8]| {
    let mut table = input.to_vec();
    // A right length, else nothing behind it is tried; the checksum is the caller's affair.
    if let (Ok(length), Some(place)) = (u32::try_from(input.len()), table.get_mut(4..8)) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let mut aml = Aml::new(LIMITS);
    let _loaded = aml.load(&mut Echo, &table);
    let _initialized = aml.initialize(&mut Echo);
    let mut pending = vec![aml.find("\\").expect("the root")];
    let mut seen = 0;
    while let Some(object) = pending.pop() {
        let arguments = vec![Value::Integer(1); aml.arguments(object).unwrap_or(0).into()];
        let _value = aml.evaluate(&mut Echo, object, &arguments);
        let _reach = aml.reaches_notify(object, &|device| aml.path(device).len().is_multiple_of(2));
        let _hid = aml.hid(&mut Echo, object);
        seen += 1;
        if seen == MOST {
            break;
        }
        pending.extend(aml.children(object));
    }
    assert!(aml.bytes_held() <= LIMITS.bytes);
});
