//! Mutated tables of real machines, in the folder that `ACPI_TABLES` names: whatever firmware's bytes are, the interpreter
//! does not panic, ends, and holds no more than it may.
use std::path::Path;
use std::time::{Duration, Instant};

use carapace_aml::{Aml, Limits};

use crate::fake::FakeHost;
use crate::machines;

/// Mutants of each machine; `MUTANTS` may ask for more.
const MUTANTS: usize = 20;
/// Evaluations of each mutant.
const EVALUATED: usize = 200;
/// Of a load, of all evaluations: far more than the intact tables take, on a slow machine.
const LONGEST: Duration = Duration::from_secs(30);
/// What the kernel allows.
const STEPS: u32 = 1_000_000;
const HEADER_BYTES: usize = 36;

/// Changes a few bytes, or moves a piece, behind the header; sometimes cuts the end off.
fn mutate(table: &mut Vec<u8>, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..12) {
        if table.len() <= HEADER_BYTES + 8 {
            break;
        }
        let at = random.usize(HEADER_BYTES..table.len() - 8);
        match random.u8(..6) {
            0 => table[at] ^= 1 << random.u8(..8),
            1 => table[at] = random.u8(..),
            2 => table[at] = [0, 0xff, 0x5b, 0x2e, 0x2f, 0x5c, 0xa2, 0x12][random.usize(..8)],
            3 => {
                let from = random.usize(HEADER_BYTES..table.len() - 8);
                let length = random.usize(1..=8);
                table.copy_within(from..from + length, at);
            }
            4 => {
                table.remove(at);
            }
            _ if random.u8(..8) == 0 => table.truncate(at),
            _ => table.insert(at, random.u8(..)),
        }
    }
    let length = u32::try_from(table.len()).expect("a table's length");
    table[4..8].copy_from_slice(&length.to_le_bytes());
}

/// Loads, initialises and evaluates; the bytes held at the most, and the time.
fn run(tables: &[Vec<u8>], random: &mut fastrand::Rng) -> (usize, usize, Duration) {
    let start = Instant::now();
    // As the kernel bounds them, and tighter, so that the bound is met.
    let each = [12, 3, 2][random.usize(..3)];
    let bytes = tables.iter().map(Vec::len).sum::<usize>() * each + (64 << 10);
    let mut aml = Aml::new(Limits { steps: STEPS, depth: 64, bytes, sleep_ms: 10_000 });
    let mut host = FakeHost::default();
    let mut most = 0;
    for table in tables {
        // A table may be refused.
        let _refused = aml.load(&mut host, table);
        most = most.max(aml.bytes_held());
    }
    let _first_error = aml.initialize(&mut host);
    let devices = aml.devices();
    for _ in 0..devices.len().min(8) {
        let _first_error = aml.initialize_below(&mut host, devices[random.usize(..devices.len())]);
    }
    let (_, paths) = machines::names(&aml);
    for _ in 0..EVALUATED.min(paths.len()) {
        let path = &paths[random.usize(..paths.len())];
        let _error = aml.evaluate(&mut host, path.as_str(), &[]);
        most = most.max(aml.bytes_held());
    }
    (most, bytes, start.elapsed())
}

/// Proves that mutants of a machine's tables neither panic nor hang, and that what is held stays within the limit. Fails
/// when a bound is not charged, or arithmetic on firmware's bytes overflows.
#[test]
fn mutated_tables_of_real_machines() {
    let Some(folder) = std::env::var_os("ACPI_TABLES") else {
        println!("ACPI_TABLES names no folder of machines' tables: NOT mutated");
        return;
    };
    let count = std::env::var("MUTANTS").ok().and_then(|count| count.parse().ok()).unwrap_or(MUTANTS);
    let (mut mutants, mut longest, mut fullest) = (0, Duration::ZERO, 0);
    for machine in machines::folders(Path::new(&folder)) {
        let name = machine.file_name().expect("a name").to_string_lossy().into_owned();
        let intact: Vec<Vec<u8>> =
            machines::tables(&machine).iter().map(|file| std::fs::read(file).expect("a table")).collect();
        let mut random = fastrand::Rng::with_seed(
            name.bytes().fold(17, |seed, byte| seed * 31 % 65_521 + u64::from(byte)),
        );
        for mutant in 0..count {
            let mut tables = intact.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..tables.len());
                mutate(&mut tables[at], &mut random);
            }
            let (most, limit, time) = run(&tables, &mut random);
            assert!(most <= limit, "{name}, mutant {mutant}: {most} bytes of {limit}");
            assert!(time < LONGEST, "{name}, mutant {mutant}: {time:?}");
            mutants += 1;
            longest = longest.max(time);
            fullest = fullest.max(most * 100 / limit);
        }
    }
    println!("{mutants} mutants; longest {longest:?}, fullest {fullest} % of the limit");
}
