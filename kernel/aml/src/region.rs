//! Operation regions: one access of a field's datum, from the field to the host.
//!
//! ```text
//!  FieldUnit ── Region ─────────────────────────────> Host: memory, I/O, PCI configuration space
//!            ── Index: write the index register, then access the data register (both fields)
//!            ── Bank: write the bank register (a field), then access the region
//! ```
//!
//! Invariant: an access lies within its region. Neighbour: `field` splits a field into data.
use crate::access::{PciAddress, Width};
use crate::error::{Error, ErrorKind};
use crate::model::{Data, Deferred, FieldUnit, Handle, Home, Object, Region, Val};
use crate::name::NameSeg;
use crate::run::{MAX_ARGS, Run};

const SYSTEM_MEMORY: u8 = 0;
const SYSTEM_IO: u8 = 1;
pub(crate) const PCI_CONFIG: u8 = 2;

/// `_HID` of a PCI host bridge, as the integers that EISA ids are: PNP0A03 and PNP0A08.
const HOST_BRIDGES: [u64; 2] = [0x030a_d041, 0x080a_d041];

/// Offsets and contents of PCI configuration space: header type, secondary bus of a bridge.
const HEADER_TYPE: u16 = 0x0e;
const SECONDARY_BUS: u16 = 0x19;

enum Direction {
    Read,
    Write(u64),
}

impl Run<'_> {
    pub(crate) fn read_datum(&mut self, unit: &FieldUnit, byte: u64) -> Result<u64, Error> {
        self.access(unit, byte, &Direction::Read)
    }

    pub(crate) fn write_datum(&mut self, unit: &FieldUnit, byte: u64, datum: u64) -> Result<(), Error> {
        self.access(unit, byte, &Direction::Write(datum)).map(drop)
    }

    #[inline(never)]
    fn access(&mut self, unit: &FieldUnit, byte: u64, direction: &Direction) -> Result<u64, Error> {
        self.step(1)?;
        match unit.home {
            Home::Region(region) => self.access_region(region, byte, unit.width, direction),
            _ => self.access_selected(unit, byte, direction),
        }
    }

    /// An access of any kind. Apart, so that the most frequent one, which writes no register first, has no stack frame.
    #[inline(never)]
    fn access_selected(&mut self, unit: &FieldUnit, byte: u64, direction: &Direction) -> Result<u64, Error> {
        match unit.home {
            Home::Region(region) => self.access_region(region, byte, unit.width, direction),
            Home::Bank { region, bank, value } => {
                self.fits_register(bank, value.into())?;
                self.deeper(|run| run.write_register(bank, value.into()))?;
                self.access_region(region, byte, unit.width, direction)
            }
            Home::Index { index, data } => self.deeper(|run| {
                run.fits_register(index, byte)?;
                run.write_register(index, byte)?;
                match *direction {
                    Direction::Read => {
                        let value = run.value_of(data)?;
                        Ok(run.to_integer(value)? & unit.width.mask())
                    }
                    Direction::Write(datum) => run.write_register(data, datum).map(|()| 0),
                }
            }),
        }
    }

    /// A selector that is wider than its register would select something else (as in ACPICA).
    fn fits_register(&self, register: Handle, value: u64) -> Result<(), Error> {
        let bits = match self.core.names.object(register)? {
            Object::Field(unit) => unit.bits,
            Object::BufferField(field) => field.bits,
            _ => return Err(ErrorKind::Dangling.into()),
        };
        if value.checked_shr(bits).is_some_and(|rest| rest != 0) {
            let length = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
            return Err(ErrorKind::OutOfRange { index: value, length }.into());
        }
        Ok(())
    }

    fn write_register(&mut self, node: Handle, value: u64) -> Result<(), Error> {
        match *self.core.names.object(node)? {
            Object::BufferField(field) => self.write_buffer_field(field, Val::Int(value)),
            _ => self.write_field(node, Val::Int(value)),
        }
    }

    #[inline(never)]
    fn access_region(
        &mut self,
        node: Handle,
        byte: u64,
        width: Width,
        direction: &Direction,
    ) -> Result<u64, Error> {
        let Object::Region(region) = self.core.names.object(node)? else {
            return Err(ErrorKind::Dangling.into());
        };
        let Region { space, mut base, mut length, deferred, .. } = **region;
        if let Some(deferred) = deferred {
            let region = self.evaluate_deferred(node, **region, deferred)?;
            (base, length) = (region.base, region.length);
        }
        let end = byte.saturating_add(u64::from(width.bytes()));
        let limit = || ErrorKind::RegionLimit { end, length };
        if end > length {
            return Err(limit().into());
        }
        let address = base.checked_add(byte).ok_or_else(limit)?;
        let value = match (space, direction) {
            (SYSTEM_MEMORY, Direction::Read) => self.host.mem_read(address, width)?,
            (SYSTEM_MEMORY, Direction::Write(value)) => {
                self.host.mem_write(address, width, *value)?;
                0
            }
            (SYSTEM_IO, direction) => {
                let port = u16::try_from(address).map_err(|_| limit())?;
                match direction {
                    // No port is that wide: two accesses, the low half first, as in ACPICA.
                    _ if width == Width::Bits64 => {
                        let high = port.checked_add(4).ok_or_else(limit)?;
                        match direction {
                            Direction::Read => {
                                let low = self.host.io_read(port, Width::Bits32)?;
                                self.host.io_read(high, Width::Bits32)? << 32 | low & 0xffff_ffff
                            }
                            Direction::Write(value) => {
                                self.host.io_write(port, Width::Bits32, value & 0xffff_ffff)?;
                                self.host.io_write(high, Width::Bits32, value >> 32)?;
                                0
                            }
                        }
                    }
                    Direction::Read => self.host.io_read(port, width)?,
                    Direction::Write(value) => {
                        self.host.io_write(port, width, *value)?;
                        0
                    }
                }
            }
            (PCI_CONFIG, direction) => {
                let offset =
                    u16::try_from(address).ok().filter(|&offset| offset < 0x1000).ok_or_else(limit)?;
                let function = self.pci_function(node)?;
                match direction {
                    Direction::Read => self.host.pci_read(function, offset, width)?,
                    Direction::Write(value) => {
                        self.host.pci_write(function, offset, width, *value)?;
                        0
                    }
                }
            }
            (space, _) => return Err(ErrorKind::NoHandler(space).into()),
        };
        Ok(value & width.mask())
    }

    /// Evaluates the base and length of a region that could not be evaluated at its declaration.
    #[inline(never)]
    fn evaluate_deferred(
        &mut self,
        node: Handle,
        region: Region,
        deferred: Deferred,
    ) -> Result<Region, Error> {
        self.push_frame(node, deferred.terms, &[]);
        self.frame()?.scope = deferred.scope;
        let bounds = self.region_bounds();
        let bounds = self.with_location(bounds);
        self.pop_frame();
        let (base, length) = bounds?;
        let region = Region { base, length, deferred: None, ..region };
        *self.core.names.object_mut(node)? = Object::Region(region.into());
        Ok(region)
    }

    /// The PCI function whose device encloses the region: `_ADR` of the devices from the host bridge
    /// down, and the secondary bus numbers of the bridges between.
    #[inline(never)]
    fn pci_function(&mut self, node: Handle) -> Result<PciAddress, Error> {
        let Object::Region(region) = self.core.names.object(node)? else {
            return Err(ErrorKind::Dangling.into());
        };
        let region = **region;
        if let Some(function) = region.pci {
            return Ok(function);
        }
        let mut chain = alloc::vec::Vec::new();
        let mut bridge = None;
        let mut up = self.core.names.parent(node);
        while let Some(scope) = up {
            if matches!(self.core.names.object(scope)?, Object::Device) {
                if self.is_host_bridge(scope)? {
                    bridge = Some(scope);
                    break;
                }
                if let Some(address) = self.number_below(scope, *b"_ADR")? {
                    chain.push(address);
                }
            }
            up = self.core.names.parent(scope);
        }
        let number = |run: &mut Self, name| match bridge {
            Some(bridge) => run.number_below(bridge, name).map(Option::unwrap_or_default),
            None => Ok(0),
        };
        let segment = number(self, *b"_SEG")?.to_le_bytes();
        let bus = number(self, *b"_BBN")?.to_le_bytes();
        let mut function = PciAddress {
            segment: u16::from_le_bytes([segment[0], segment[1]]),
            bus: bus[0],
            device: 0,
            function: 0,
        };
        // A region of the host bridge itself is in the function of the bridge's own _ADR.
        if let (true, Some(bridge)) = (chain.is_empty(), bridge) {
            chain.extend(self.number_below(bridge, *b"_ADR")?);
        }
        let below = chain.len();
        for (address, index) in chain.into_iter().rev().zip(1usize..) {
            let [low, _, device, _, ..] = address.to_le_bytes();
            function.device = device & 0x1f;
            function.function = low & 7;
            if index < below {
                let header = self.host.pci_read(function, HEADER_TYPE, Width::Bits8)?;
                if matches!(header & 0x7f, 1 | 2) {
                    let secondary = self.host.pci_read(function, SECONDARY_BUS, Width::Bits8)?;
                    function.bus = secondary.to_le_bytes()[0];
                }
            }
        }
        *self.core.names.object_mut(node)? = Object::Region(Region { pci: Some(function), ..region }.into());
        Ok(function)
    }

    fn is_host_bridge(&mut self, device: Handle) -> Result<bool, Error> {
        for name in [*b"_HID", *b"_CID"] {
            let Some(node) = self.core.names.child(device, NameSeg::literal(name)) else { continue };
            match self.evaluated(node)? {
                Val::Int(id) if HOST_BRIDGES.contains(&id) => return Ok(true),
                Val::Data(id) => {
                    if let Data::String(text) = self.core.heap.get(id)?
                        && matches!(&**text, b"PNP0A03" | b"PNP0A08")
                    {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn number_below(&mut self, device: Handle, name: [u8; 4]) -> Result<Option<u64>, Error> {
        match self.core.names.child(device, NameSeg::literal(name)) {
            Some(node) => {
                let value = self.evaluated(node)?;
                self.to_integer(value).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The value of a named object; a method is called without arguments.
    pub(crate) fn evaluated(&mut self, node: Handle) -> Result<Val, Error> {
        let node = self.core.names.followed(node);
        match *self.core.names.object(node)? {
            Object::Method(method) => self.call(node, method, [Val::Uninit; MAX_ARGS]),
            _ => self.value_of(node),
        }
    }
}
