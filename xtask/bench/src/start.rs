//! From the start of QEMU to the prompt, beside the least that is possible in the same machine: a PVH image that prints one
//! byte. In turns in one run.
//!
//! Huge pages of the host are allowed here, as for a guest that somebody starts: zeroing one takes part of the time.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::measured::{Measured, Shape, with_huge_pages};
use crate::report::{self, Data, Spread};
use guest::size::ByteSize;
use options::BenchArgs;

use ::report::figures::{Figures, ONE_BYTE, OURS, What};

/// The image's code: `mov dx, 0x3f8; mov al, '!'; out dx, al; hlt; jmp` back to the `hlt`.
const CODE: [u8; 10] = [0x66, 0xba, 0xf8, 0x03, 0xb0, MARK, 0xee, 0xf4, 0xeb, 0xfd];
/// What it prints.
const MARK: u8 = b'!';
/// Where it runs, and where it lies in the file.
const ENTRY: u32 = 0x10_1000;
const CODE_OFFSET: u32 = 0x1000;
/// Sizes in ELF32, and the types of the two program headers.
const HEADER_BYTES: u32 = 52;
const PROGRAM_HEADER_BYTES: u32 = 32;
const LOAD: u32 = 1;
const NOTE: u32 = 4;
/// Xen's note with the 32-bit entry point, by which QEMU knows a PVH image.
const PHYS32_ENTRY: u32 = 18;

/// A guest, either one.
#[derive(Debug, Serialize)]
struct Run {
    guest: &'static str,
    /// From the start of QEMU to the byte or the prompt.
    wall_ms: f64,
    /// What QEMU computed until then.
    cpu_ms: f64,
}

/// Measures, prints, keeps; `figures` gets both guests'.
pub fn bench(cli: &BenchArgs, figures: &mut Figures) -> Result<()> {
    let shape = Shape::of(cli, ByteSize::new(64 << 30));
    let out = cli.out(guest::task::root());
    let file = out.join("floor.elf");
    std::fs::write(&file, image()).with_context(|| file.display().to_string())?;
    let mut data = Data::new(None);
    for _ in 0..cli.runs {
        let floor = with_huge_pages(|| Measured::image(&shape, |line| boot_instead(line, &file), MARK))?;
        data.runs.push(Run::of(ONE_BYTE, &floor)?);
        drop(floor);
        data.runs.push(Run::of(OURS, &with_huge_pages(|| Measured::carapace(&shape))?)?);
        report::progress();
    }
    report::keep(&out, "start.json", &data)?;
    data.runs.iter().for_each(|run| run.collect(figures));
    print(&data.runs);
    Ok(())
}

impl Run {
    fn collect(&self, figures: &mut Figures) {
        for (detail, ms) in [("by the clock", self.wall_ms), ("computed by QEMU", self.cpu_ms)] {
            figures.push(What::Floor, self.guest, None, Some(detail), ms);
        }
    }

    fn of(guest: &'static str, measured: &Measured) -> Result<Run> {
        let cpu_ms = measured.cpu()?.as_secs_f64() * 1e3;
        Ok(Run { guest, wall_ms: measured.boot.as_secs_f64() * 1e3, cpu_ms })
    }
}

/// The command of our own guest, with the image instead of shim and kernel.
fn boot_instead(line: &mut Vec<String>, image: &Path) -> Result<()> {
    let at = |line: &[String], option: &str| line.iter().position(|word| word == option);
    let kernel = at(line, "-kernel").context("the command names a kernel")?;
    line[kernel + 1] = image.to_str().context("a path in UTF-8")?.to_owned();
    let file = at(line, "-initrd").context("the command names the kernel's file")?;
    line.drain(file..file + 2);
    Ok(())
}

/// A PVH image (ELF32) of nothing but [`CODE`].
fn image() -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let halves = |halves: &[u16]| halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    let note = [words(&[4, 4, PHYS32_ENTRY]), b"Xen\0".to_vec(), words(&[ENTRY])].concat();
    let (code_bytes, note_bytes) = (CODE.len() as u32, note.len() as u32);
    let note_offset = HEADER_BYTES + 2 * PROGRAM_HEADER_BYTES;
    let mut file = [
        b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec(),
        halves(&[2, 3]), // an executable, for x86
        words(&[1, ENTRY, HEADER_BYTES, 0, 0]),
        halves(&[HEADER_BYTES as u16, PROGRAM_HEADER_BYTES as u16, 2, 0, 0, 0]),
        words(&[LOAD, CODE_OFFSET, ENTRY, ENTRY, code_bytes, code_bytes, 5, CODE_OFFSET]),
        words(&[NOTE, note_offset, 0, 0, note_bytes, note_bytes, 4, 4]),
        note,
    ]
    .concat();
    file.resize(CODE_OFFSET as usize, 0);
    file.extend(CODE);
    file
}

fn print(runs: &[Run]) {
    println!("\nfrom the start of QEMU, milliseconds: least / median / most");
    let heads = ["guest", "by the clock", "computed by QEMU"];
    let mut table = vec![heads.map(str::to_owned).to_vec()];
    let of = |guest: &str, pick: &dyn Fn(&Run) -> f64| {
        Spread::of(runs.iter().filter(|run| run.guest == guest).map(pick))
    };
    let (wall, cpu) = (|run: &Run| run.wall_ms, |run: &Run| run.cpu_ms);
    for guest in [ONE_BYTE, OURS] {
        table.push(vec![guest.to_owned(), of(guest, &wall).show(0), of(guest, &cpu).show(0)]);
    }
    let ratio = |pick: &dyn Fn(&Run) -> f64| {
        let (ours, floor) = (of(OURS, pick).median, of(ONE_BYTE, pick).median);
        ours.zip(floor).map_or_else(|| "-".to_owned(), |(ours, floor)| format!("{:.2}", ours / floor))
    };
    table.push(vec!["ratio of the medians".to_owned(), ratio(&wall), ratio(&cpu)]);
    report::table(&table);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Proves that the image is what QEMU takes for a PVH image: an executable whose note names the address of its code.
    /// Fails when an offset is wrong.
    #[test]
    fn image_names_its_code() {
        let image = image();
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap());
        assert_eq!(&image[..5], b"\x7fELF\x01");
        let (load, note) = (52, 84);
        assert_eq!([word(load), word(note)], [LOAD, NOTE]);
        let (offset, address, bytes) = (word(load + 4) as usize, word(load + 12), word(load + 16) as usize);
        assert_eq!((&image[offset..offset + bytes], address), (&CODE[..], ENTRY));
        let (offset, bytes) = (word(note + 4) as usize, word(note + 16) as usize);
        let note = &image[offset..offset + bytes];
        assert_eq!((&note[12..16], &note[16..]), (&b"Xen\0"[..], &ENTRY.to_le_bytes()[..]));
    }

    /// Proves that the image takes the place of the shim, without our kernel. Fails when a word of the old pair is left.
    #[test]
    fn image_instead_of_the_kernel() {
        let mut line: Vec<String> =
            "qemu -m 1G -kernel a -initrd b -more".split(' ').map(str::to_owned).collect();
        boot_instead(&mut line, Path::new("/t/floor.elf")).unwrap();
        assert_eq!(line.join(" "), "qemu -m 1G -kernel /t/floor.elf -more");
        assert!(boot_instead(&mut vec!["qemu".to_owned()], Path::new("/t")).is_err());
    }
}
