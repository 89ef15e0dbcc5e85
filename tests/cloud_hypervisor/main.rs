//! Memory hotplug of another hypervisor: cloud-hypervisor has no fixed hardware, announces a DIMM by a generic event device,
//! and gives its slots neither `_PXM` nor `_EJ0` nor `_OST`.
//!
//! ```text
//!  interrupt -> \_SB.GED._EVT -> GEC.ESCN: what happened, from a register -> MHPC.MSCN: a Notify for each slot that changed
//!            -> M000._STA, M000._CRS, both by the controller's registers  -> ranges -> the memory core
//! ```
//!
//! [`tables`] rebuilds its tables; [`Registers`] is a model of its devices. All goes through the decoders, the interpreter
//! and the memory core of the kernel. Neighbours: the kernel's `acpi::{ged, memory_device}` do the same steps in the guest.
mod tables;

use carapace_acpi::fadt::{self, Fadt, Hardware, Register};
use carapace_acpi::notify::NotifyKind;
use carapace_acpi::ranges;
use carapace_aml::resources::{Polarity, Resource, Trigger, decode};
use carapace_aml::{
    Aml, Handle, Host, HostError, Limits, NameSeg, Notified, PciAddress, Reach, Value, Width,
};
use carapace_mm::Memory;
use carapace_mm::addr::{NodeId, PfnRange, PhysAddr};
use carapace_mm::boot_alloc::{BootAllocator, Occupied, Owner};
use carapace_mm::info::{AddRequest, BootRange, DeviceId};
use carapace_mm::machine::Support;
use carapace_mm::memory::BootMemory;
use carapace_mm::sim::SimMachine;
use tables::{
    BUTTON_PRESSED, CONTROLLER_AT, CONTROLLER_BYTES, DSDT_AT, EVENT_AT, GED_INTERRUPT, MEMORY_CHANGED,
};
use tables::{RESET_AND_SLEEP, SLOTS, dsdt, slot_name};

/// Bits of a slot's state.
const ENABLED: u64 = 1;
const INSERTING: u64 = 2;
const REMOVING: u64 = 4;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What one slot's registers show.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    base: u64,
    bytes: u64,
    state: u64,
}

/// The devices behind the tables, and the notifications that AML sends.
#[derive(Debug, Default)]
struct Registers {
    slots: [Slot; SLOTS],
    selected: u64,
    events: u8,
    sent: Vec<(String, u64)>,
}

impl Registers {
    /// A DIMM comes: as the hypervisor shows it before it raises the interrupt.
    fn insert(&mut self, slot: usize, base: u64, bytes: u64) {
        self.slots[slot] = Slot { base, bytes, state: ENABLED | INSERTING };
        self.events |= MEMORY_CHANGED;
    }
}

impl Host for Registers {
    fn io_read(&mut self, port: u16, _: Width) -> Result<u64, HostError> {
        panic!("port {port:#x} is read")
    }

    fn io_write(&mut self, port: u16, _: Width, _: u64) -> Result<(), HostError> {
        panic!("port {port:#x} is written")
    }

    fn mem_read(&mut self, at: u64, width: Width) -> Result<u64, HostError> {
        if at == EVENT_AT {
            assert_eq!(width, Width::Bits8, "the hypervisor refuses other widths");
            return Ok(std::mem::take(&mut self.events).into());
        }
        let offset = at.checked_sub(CONTROLLER_AT).filter(|&offset| offset < CONTROLLER_BYTES);
        let offset = offset.unwrap_or_else(|| panic!("{at:#x} is read"));
        let Some(slot) = self.slots.get(self.selected as usize) else { return Ok(0) };
        match (offset, width) {
            (0x00, Width::Bits32) => Ok(slot.base & 0xffff_ffff),
            (0x04, Width::Bits32) => Ok(slot.base >> 32),
            (0x08, Width::Bits32) => Ok(slot.bytes & 0xffff_ffff),
            (0x0c, Width::Bits32) => Ok(slot.bytes >> 32),
            (0x14, Width::Bits8) => Ok(slot.state),
            _ => panic!("the controller's register {offset:#x} is read by {width:?}"),
        }
    }

    fn mem_write(&mut self, at: u64, width: Width, value: u64) -> Result<(), HostError> {
        match (at.wrapping_sub(CONTROLLER_AT), width) {
            // The hypervisor takes the lowest byte.
            (0x00, Width::Bits32) => self.selected = value & 0xff,
            (0x14, Width::Bits8) => {
                let slot = &mut self.slots[self.selected as usize];
                slot.state &= !(value & (INSERTING | REMOVING));
            }
            (offset, _) => panic!("the controller's register {offset:#x} is written by {width:?}"),
        }
        Ok(())
    }

    fn pci_read(&mut self, _: PciAddress, _: u16, _: Width) -> Result<u64, HostError> {
        panic!("configuration space is read")
    }

    fn pci_write(&mut self, _: PciAddress, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        panic!("configuration space is written")
    }

    fn notify(&mut self, device: Notified<'_>, value: u64) {
        self.sent.push((device.path(), value));
    }

    fn sleep(&mut self, _: u32) {}

    fn stall(&mut self, _: u32) {}

    fn timer(&mut self) -> u64 {
        0
    }
}

/// The loaded tables, and the devices behind them.
struct Firmware {
    aml: Aml,
    registers: Registers,
    slots: Vec<Handle>,
}

impl Firmware {
    fn load() -> Firmware {
        let mut aml = Aml::new(Limits::default());
        let mut registers = Registers::default();
        let loaded = aml.load(&mut registers, &dsdt()).expect("a DSDT");
        assert_eq!(loaded, carapace_aml::Loaded::default(), "nothing is left out");
        assert_eq!(aml.waiting().count(), 0);
        aml.initialize(&mut registers).expect("no method fails");
        let slots = Self::with_id(&mut aml, &mut registers, "PNP0C80");
        assert_eq!(slots.len(), SLOTS);
        Firmware { aml, registers, slots }
    }

    fn with_id(aml: &mut Aml, registers: &mut Registers, id: &str) -> Vec<Handle> {
        let mut devices = aml.devices();
        devices.retain(|&device| aml.hid(registers, device).expect("a _HID").as_deref() == Some(id));
        devices
    }

    fn value(&mut self, device: Handle, name: &[u8; 4]) -> Option<Value> {
        let object = self.aml.child(device, NameSeg::literal(*name))?;
        Some(self.aml.evaluate(&mut self.registers, object, &[]).expect("the method ends"))
    }

    /// The event device's interrupt and method.
    fn event(&mut self) -> (u32, Handle) {
        let devices = Self::with_id(&mut self.aml, &mut self.registers, "ACPI0013");
        let &[device] = devices.as_slice() else { panic!("{devices:?}") };
        let crs = self.value(device, b"_CRS").expect("a _CRS");
        let crs = crs.as_buffer().expect("a buffer").to_vec();
        let resources: Vec<_> = decode(&crs).map(|resource| resource.expect("a descriptor")).collect();
        let &[Resource::Interrupts(interrupts)] = resources.as_slice() else { panic!("{resources:?}") };
        assert_eq!((interrupts.trigger, interrupts.polarity), (Trigger::Edge, Polarity::High));
        let numbers: Vec<u32> = interrupts.numbers(&crs).collect();
        let &[number] = numbers.as_slice() else { panic!("{numbers:?}") };
        (number, self.aml.child(device, NameSeg::literal(*b"_EVT")).expect("an _EVT"))
    }

    /// The interrupt comes: what is notified.
    fn interrupt(&mut self) -> Vec<(String, u64)> {
        let (number, method) = self.event();
        let args = [Value::Integer(number.into())];
        self.aml.evaluate(&mut self.registers, method, &args).expect("_EVT ends");
        std::mem::take(&mut self.registers.sent)
    }

    /// The requests for the memory core of a slot that is present: one range, on node 0 for want of `_PXM` and a SRAT.
    fn requests(&mut self, slot: usize) -> Vec<AddRequest> {
        let device = self.slots[slot];
        assert_eq!(self.value(device, b"_STA"), Some(Value::Integer(0xf)), "slot {slot}");
        let crs = self.value(device, b"_CRS").expect("a _CRS");
        let ranges = ranges::of::<4>(crs.as_buffer().expect("a buffer"));
        let ranges = ranges.unwrap_or_else(|error| panic!("slot {slot}: {error}"));
        ranges
            .iter()
            .map(|range| AddRequest { base: range.base, size: range.size, node: NodeId(0) })
            .collect()
    }
}

/// Proves that the FADT is read as hardware-reduced, with its registers and its DSDT. Fails when the flag drops the table.
#[test]
fn a_machine_without_fixed_hardware() {
    let table = tables::fadt();
    let fadt = Fadt::read(&table).expect("a FADT");
    assert_eq!(fadt.hardware, Hardware::Reduced);
    assert_eq!(fadt::dsdt(&table).expect("a FADT"), Some(PhysAddr(DSDT_AT)));
    let port = Register::Io(RESET_AND_SLEEP);
    assert_eq!(fadt.reset.map(|reset| (reset.register, reset.value)), Some((port, 1)));
    assert_eq!(fadt.sleep_control, Some(port));
}

/// Proves that the event device counts as one that can reach memory and the button, that its interrupt is found, and that
/// slots without `_PXM`, `_EJ0` and `_OST` come online through it, also one whose length is 4 GiB or more and whose last
/// address loses the carry from the lower half (the hypervisor's method adds the halves one by one). Fails when a method of
/// the tables does not run, a range is refused, or a Notify is lost.
#[test]
fn slots_come_online() {
    let mut firmware = Firmware::load();
    let (number, method) = firmware.event();
    assert_eq!(number, GED_INTERRUPT);
    let slots = firmware.slots.clone();
    let button = firmware.aml.find("\\_SB.PWRB").expect("the button");
    assert_eq!(firmware.aml.reaches_notify(method, &|device| slots.contains(&device)), Reach::Yes);
    assert_eq!(firmware.aml.reaches_notify(method, &|device| device == button), Reach::Yes);
    for &slot in &slots {
        assert_eq!(firmware.value(slot, b"_STA"), Some(Value::Integer(0)), "an empty slot");
        for name in [b"_PXM", b"_EJ0", b"_OST"] {
            assert_eq!(firmware.aml.child(slot, NameSeg::literal(*name)), None);
        }
    }

    let boot = PfnRange::of(PhysAddr(MIB).pfn(), (64 * MIB) >> 12);
    let machine = SimMachine::boot(1, Support::Yes, &[boot]);
    let memory = Memory::new(&machine);
    let occupied = [Occupied { range: machine.boot_tables(), owner: Owner::PageTables }];
    let mut early = BootAllocator::new(&[boot], &occupied);
    let information = BootMemory {
        root: machine.root(),
        features: machine.features(),
        ranges: &[BootRange { range: boot, node: NodeId(0) }],
        occupied: &occupied,
        hotplug: &[],
    };
    // SAFETY: a simulated machine has nothing to harm.
    unsafe { memory.boot(information, &mut early, &mut |_| ()) }.expect("boot memory");

    // Below 4 GiB; up to a border of 4 GiB; across it; of more than 4 GiB, without and with a carry.
    let dimms = [
        (3 * GIB, 128 * MIB),
        (6 * GIB, 2 * GIB),
        (11 * GIB + 512 * MIB, GIB),
        (16 * GIB, 4 * GIB + 128 * MIB),
        (21 * GIB, 7 * GIB),
    ];
    let mut expected = memory.totals().usable_pages;
    for (slot, (base, bytes)) in dimms.into_iter().enumerate() {
        firmware.registers.insert(slot, base, bytes);
        let sent = firmware.interrupt();
        assert_eq!(sent, [(format!("\\_SB.MHPC.{}", slot_name(slot)), 1)]);
        assert_eq!(NotifyKind::of(sent[0].1), NotifyKind::DeviceCheck);
        assert_eq!(firmware.registers.slots[slot].state, ENABLED, "the insertion is acknowledged");

        let requests = firmware.requests(slot);
        assert_eq!(requests, [AddRequest { base: PhysAddr(base), size: bytes, node: NodeId(0) }]);
        machine.plug(PfnRange::of(PhysAddr(base).pfn(), bytes >> 12));
        let added = memory.add(DeviceId(slot as u32), &requests, &|| 0);
        expected += added.unwrap_or_else(|error| panic!("slot {slot}: {error}")).usable_pages;
        assert_eq!(memory.totals().usable_pages, expected);
    }
    assert!(firmware.interrupt().is_empty(), "nothing more came");
    // Two at once: one interrupt.
    firmware.registers.insert(5, 64 * GIB, GIB);
    firmware.registers.insert(6, 65 * GIB, GIB);
    firmware.registers.events |= BUTTON_PRESSED;
    let told = ["MHPC.M005", "MHPC.M006", "PWRB"].map(|name| format!("\\_SB.{name}"));
    let sent = firmware.interrupt();
    assert_eq!(sent, told.into_iter().zip([1, 1, 0x80]).collect::<Vec<_>>());
    let mut errors = Vec::new();
    memory.check(&mut |error| errors.push(error));
    assert!(errors.is_empty(), "{errors:?}");
}

/// Proves that a request to remove a slot arrives, and that nothing behind it could eject the device: it is a Notify 3 of
/// a device without `_EJ0`. Fails when the tables' third Notify is lost.
#[test]
fn a_slot_cannot_be_ejected() {
    let mut firmware = Firmware::load();
    firmware.registers.insert(0, 4 * GIB, GIB);
    firmware.interrupt();
    firmware.registers.slots[0].state |= REMOVING;
    firmware.registers.events |= MEMORY_CHANGED;
    let sent = firmware.interrupt();
    assert_eq!(sent, [("\\_SB.MHPC.M000".into(), 3)]);
    assert_eq!(NotifyKind::of(3), NotifyKind::EjectRequest);
    assert_eq!(firmware.registers.slots[0].state, ENABLED, "the request is acknowledged");
}
