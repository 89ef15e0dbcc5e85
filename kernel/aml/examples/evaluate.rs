//! The interpreter in a program of your own: loads a table and evaluates an object of it.
//!
//! ```text
//! cargo run -p carapace-aml --example evaluate                                  a table of a few bytes, `\SUM` of 2 and 40
//! cargo run -p carapace-aml --example evaluate -- dsdt.dat '\_SB.PCI0._UID'     a table from a file (`acpidump -b`)
//! ```
//!
//! The host has no hardware: it answers every register with an error, which is the evaluation's error then. A
//! kernel's host does port I/O, maps memory, queues what `notify` tells, and waits in `sleep`.

use carapace_aml::{Aml, Host, HostError, Limits, Notified, PciAddress, Value, Width};
use std::env;
use std::error::Error;

/// A table with `Method (SUM, 2) { Return (Arg0 + Arg1) }`; its revision 2 makes integers 64 bits wide.
const TABLE: [u8; 48] = *b"DSDT\x30\0\0\0\x02\xb8EXAMPLSUMSUMSU\x01\0\0\0NONE\x01\0\0\0\
                           \x14\x0bSUM_\x02\xa4\x72\x68\x69\0";

struct NoHardware;

impl Host for NoHardware {
    fn io_read(&mut self, _: u16, _: Width) -> Result<u64, HostError> {
        Err(HostError::new("no hardware"))
    }

    fn io_write(&mut self, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Err(HostError::new("no hardware"))
    }

    fn mem_read(&mut self, _: u64, _: Width) -> Result<u64, HostError> {
        Err(HostError::new("no hardware"))
    }

    fn mem_write(&mut self, _: u64, _: Width, _: u64) -> Result<(), HostError> {
        Err(HostError::new("no hardware"))
    }

    fn pci_read(&mut self, _: PciAddress, _: u16, _: Width) -> Result<u64, HostError> {
        Err(HostError::new("no hardware"))
    }

    fn pci_write(&mut self, _: PciAddress, _: u16, _: Width, _: u64) -> Result<(), HostError> {
        Err(HostError::new("no hardware"))
    }

    fn notify(&mut self, device: Notified<'_>, value: u64) {
        println!("Notify ({}, {value:#x})", device.path());
    }

    fn sleep(&mut self, _: u32) {}

    fn stall(&mut self, _: u32) {}

    fn timer(&mut self) -> u64 {
        0
    }

    fn debug(&mut self, text: &str) {
        println!("{text}");
    }
}

fn evaluate(table: &[u8], path: &str, arguments: &[Value]) -> Result<Value, carapace_aml::Error> {
    // Steps, depth and bytes are bounded: no table hangs or exhausts its host.
    let mut interpreter = Aml::new(Limits::default());
    interpreter.load(&mut NoHardware, table)?;
    interpreter.evaluate(&mut NoHardware, path, arguments)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = env::args().skip(1);
    let value = match (words.next(), words.next()) {
        (Some(file), Some(path)) => evaluate(&std::fs::read(file)?, &path, &[])?,
        _ => evaluate(&TABLE, "\\SUM", &[Value::Integer(2), Value::Integer(40)])?,
    };
    println!("{value:?}");
    Ok(())
}

/// Proves that the example's table is a good one, and that its method adds.
#[test]
fn example_adds() {
    assert_eq!(
        evaluate(&TABLE, "\\SUM", &[Value::Integer(2), Value::Integer(40)]).unwrap(),
        Value::Integer(42)
    );
}
