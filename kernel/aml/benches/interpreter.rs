//! Benchmark of the interpreter's loop on the host: evaluates a method that does one thing as often as its argument says.
//!
//! ```text
//!  cargo bench -p carapace-aml --bench interpreter -- TABLE COUNT METHOD...
//! ```
//!
//! prints one line per method: its path, and what it returns: by its `Timer`, how long its loop took, in units of 100 ns.
//! `cargo xtask bench --aml` compiles `loops.asl` and lays acpiexec's figures beside these.

use std::env;
use std::hint::black_box;
use std::time::Instant;

use carapace_aml::{Aml, Host, HostError, Limits, Notified, PciAddress, Value, Width};

/// Where the table's registers lie.
const REGISTERS: u64 = 0x10_0000;

/// Registers in memory; nothing else.
struct Registers {
    bytes: [u8; 32],
    started: Instant,
}

impl Registers {
    fn bytes(&mut self, at: u64, width: Width) -> Result<&mut [u8], HostError> {
        let at = usize::try_from(at.wrapping_sub(REGISTERS)).unwrap_or(usize::MAX);
        let end = at.saturating_add(width.bytes() as usize);
        self.bytes.get_mut(at..end).ok_or_else(|| HostError::new("no register"))
    }
}

impl Host for Registers {
    fn io_read(&mut self, _: u16, _: Width) -> Result<u64, HostError> {
        Err(HostError::new("no ports"))
    }

    fn io_write(&mut self, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Err(HostError::new("no ports"))
    }

    fn mem_read(&mut self, phys: u64, width: Width) -> Result<u64, HostError> {
        let mut value = [0; 8];
        for (to, from) in value.iter_mut().zip(self.bytes(phys, width)?) {
            *to = *from;
        }
        Ok(u64::from_le_bytes(value))
    }

    fn mem_write(&mut self, phys: u64, width: Width, value: u64) -> Result<(), HostError> {
        for (to, from) in self.bytes(phys, width)?.iter_mut().zip(value.to_le_bytes()) {
            *to = from;
        }
        Ok(())
    }

    fn pci_read(&mut self, _: PciAddress, _: u16, _: Width) -> Result<u64, HostError> {
        Err(HostError::new("no PCI"))
    }

    fn pci_write(&mut self, _: PciAddress, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Err(HostError::new("no PCI"))
    }

    fn notify(&mut self, _: Notified<'_>, _: u64) {}

    fn sleep(&mut self, _: u32) {}

    fn stall(&mut self, _: u32) {}

    fn timer(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos() / 100).unwrap_or(u64::MAX)
    }
}

fn main() {
    // Cargo itself passes `--bench`.
    let mut words = env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (Some(table), Some(count)) = (words.next(), words.next()) else {
        // `cargo test --benches` and a plain `cargo bench` run it without arguments.
        println!("usage: interpreter TABLE COUNT METHOD...");
        return;
    };
    let table = std::fs::read(&table).expect("the table");
    let count: u64 = count.parse().expect("COUNT is a number");
    // Enough for what some 100,000 iterations leave behind: what a called method makes is freed between its own statements.
    let limits = Limits { steps: u32::MAX, bytes: 256 << 20, ..Limits::default() };
    let mut aml = Aml::new(limits);
    let mut host = Registers { bytes: [0; 32], started: Instant::now() };
    aml.load(&mut host, &table).expect("the table loads");
    for method in words {
        let value = aml.evaluate(&mut host, &method, &[Value::Integer(black_box(count))]);
        println!("{method} {}", value.expect("the method").as_integer().expect("a time"));
    }
}
