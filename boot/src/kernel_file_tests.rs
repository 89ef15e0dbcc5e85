//! Tests of the kernel file's checks, on files made here byte by byte.

use super::*;
use crate::error::BootError;

const BASE: u64 = 0xffff_ffff_8000_0000;

#[derive(Clone, Copy)]
struct Ph {
    kind: u32,
    flags: u32,
    vaddr: u64,
    filesz: u64,
    memsz: u64,
}

fn load(flags: u32, vaddr: u64, filesz: u64, memsz: u64) -> Ph {
    Ph { kind: abi::PT_LOAD, flags, vaddr, filesz, memsz }
}

/// An ELF64 file with these program headers, a `.bootloader-config`, and `0x2000` bytes of data.
fn elf_with(headers: &[Ph], entry: u64) -> Vec<u8> {
    let names = b"\0.bootloader-config\0.shstrtab\0";
    let config = BootloaderConfig::new_default().serialize();
    let data_at = 64 + 56 * headers.len();
    let names_at = data_at + 0x2000;
    let config_at = names_at + names.len();
    let sections_at = config_at + config.len();
    let mut out = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for half in [abi::ET_EXEC, abi::EM_X86_64] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1u32.to_le_bytes());
    for word in [entry, 64, sections_at as u64] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64, 56, headers.len() as u16, 64, 3, 2] {
        out.extend(half.to_le_bytes());
    }
    for h in headers {
        out.extend(h.kind.to_le_bytes());
        out.extend(h.flags.to_le_bytes());
        for word in [data_at as u64, h.vaddr, h.vaddr, h.filesz, h.memsz, 0x1000] {
            out.extend(word.to_le_bytes());
        }
    }
    out.extend((0..0x2000).map(|i| i as u8));
    out.extend(names);
    out.extend(config);
    for (name, kind, at, size) in [
        (0u32, 0u32, 0, 0),
        (1, abi::SHT_PROGBITS, config_at, config.len()),
        (20, abi::SHT_STRTAB, names_at, names.len()),
    ] {
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        // flags, addr, offset, size, link and info (4 bytes each), addralign, entsize
        for word in [0, 0, at as u64, size as u64, 0, 1, 0] {
            out.extend(word.to_le_bytes());
        }
    }
    out
}

fn text() -> Ph {
    load(abi::PF_R | abi::PF_X, BASE, 0x1000, 0x1000)
}

fn data() -> Ph {
    load(abi::PF_R | abi::PF_W, BASE + 0x2010, 0x10, 0x3000)
}

fn parse(headers: &[Ph]) -> Result<(), KernelError> {
    KernelFile::parse(&elf_with(headers, BASE + 0x10)).map(|_| ())
}

/// Proves that a good file's segments come out with their own rights, bounds and data, and that
/// RELRO takes the right to write from whole pages only.
#[test]
fn good_file() {
    let relro =
        Ph { kind: abi::PT_GNU_RELRO, flags: abi::PF_R, vaddr: BASE + 0x2010, filesz: 0, memsz: 0x1ff0 };
    let bytes = elf_with(&[text(), data(), relro], BASE + 0x10);
    let file = KernelFile::parse(&bytes).unwrap();
    assert_eq!(file.span(), (BASE, BASE + 0x6000));
    assert_eq!((file.entry, file.linkage), (BASE + 0x10, Linkage::Fixed));
    let [text, data] = &file.segments[..] else { panic!("two segments") };
    assert_eq!((text.rights, data.rights), (Rights::Execute, Rights::Write));
    assert_eq!((text.data.len(), data.data.len(), data.size), (0x1000, 0x10, 0x3000));
    assert_eq!(file.page_rights(text, BASE), Rights::Execute);
    let rights = [0x2000, 0x3000, 0x4000, 0x5000].map(|page| file.page_rights(data, BASE + page));
    assert_eq!(rights, [Rights::Read, Rights::Read, Rights::Write, Rights::Write]);
}

/// Proves that each thing that makes a kernel unusable is found and named.
#[test]
fn unusable_files() {
    let all = abi::PF_R | abi::PF_W | abi::PF_X;
    let at = BASE + 0x2010;
    assert_eq!(parse(&[text(), Ph { flags: all, ..data() }]), Err(KernelError::WritableExecutable(at)));
    assert_eq!(parse(&[text(), Ph { flags: abi::PF_W, ..data() }]), Err(KernelError::NotReadable(at)));
    assert_eq!(parse(&[text(), Ph { filesz: 0x3001, ..data() }]), Err(KernelError::SegmentData(at)));
    assert_eq!(
        parse(&[text(), Ph { filesz: u64::MAX, memsz: u64::MAX, ..data() }]),
        Err(KernelError::SegmentData(at))
    );
    let shared = Ph { vaddr: BASE + 0xfff, ..data() };
    assert_eq!(parse(&[text(), shared]), Err(KernelError::SharedPage(BASE + 0xfff)));
    assert_eq!(parse(&[data(), text()]), Err(KernelError::SharedPage(BASE)));
    assert_eq!(parse(&[text(), Ph { memsz: MAX_IMAGE, ..data() }]), Err(KernelError::Span));
    assert_eq!(parse(&[text(), Ph { memsz: u64::MAX, ..data() }]), Err(KernelError::Span));
    assert_eq!(parse(&[Ph { vaddr: 1 << 47, ..text() }]), Err(KernelError::Span));
    assert_eq!(parse(&[]), Err(KernelError::NoSegments));
    assert_eq!(parse(&[data()]), Err(KernelError::Entry(BASE + 0x10)));
    assert_eq!(parse(&[Ph { vaddr: BASE + 0x1000, ..text() }]), Err(KernelError::Entry(BASE + 0x10)));
    let many = (0..17).map(|i| Ph { vaddr: BASE + i * 0x1000, ..text() }).collect::<Vec<_>>();
    assert_eq!(parse(&many), Err(KernelError::TooManySegments));
}

/// Proves the limits from both sides: an entry at the last byte of the code, none behind it or in
/// data; segments in neighbouring pages, none in the same page though their bytes are apart; an image up to the end of
/// the lower half, none across it; one that is linked for its addresses above page 0, none at it.
#[test]
fn borders() {
    let entry = |at| KernelFile::parse(&elf_with(&[text(), data()], at)).map(|_| ());
    assert_eq!(entry(BASE + 0xfff), Ok(()));
    for at in [BASE + 0x1000, BASE - 1, BASE + 0x2018] {
        assert_eq!(entry(at), Err(KernelError::Entry(at)));
    }
    let short = Ph { filesz: 0x10, memsz: 0x800, ..text() };
    let next_page = Ph { vaddr: BASE + 0x1000, ..data() };
    assert_eq!(parse(&[short, next_page]), Ok(()));
    let same_page = Ph { vaddr: BASE + 0x900, ..data() };
    assert_eq!(parse(&[short, same_page]), Err(KernelError::SharedPage(BASE + 0x900)));
    let at = |vaddr: u64| {
        let code = Ph { vaddr, ..text() };
        KernelFile::parse(&elf_with(&[code, Ph { vaddr: vaddr + 0x1000, ..data() }], vaddr)).map(|_| ())
    };
    assert_eq!((at((1 << 47) - 0x4000), at((1 << 47) - 0x3000)), (Ok(()), Err(KernelError::Span)));
    assert_eq!((at(0x1000), at(0)), (Ok(()), Err(KernelError::Span)));
}

/// Proves that other files are refused by name: no ELF, 32 bits, another machine, an object file, no
/// configuration.
#[test]
fn other_files() {
    let good = elf_with(&[text(), data()], BASE + 0x10);
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        KernelFile::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(KernelFile::parse(b"").unwrap_err(), KernelError::NotElf);
    assert_eq!(KernelFile::parse(&[0; 4096]).unwrap_err(), KernelError::NotElf);
    assert_eq!(with(18, 183), KernelError::Machine(183));
    assert_eq!(with(16, 1), KernelError::Type(1));
    let name = good.windows(4).position(|window| window == b"boot").unwrap();
    assert_eq!(with(name, b'c'), KernelError::NoConfig);
    let mut class32 = good.clone();
    class32[4] = 1;
    assert!(matches!(KernelFile::parse(&class32).unwrap_err(), KernelError::NotElf64 | KernelError::NotElf));
    let mut uuid = good.clone();
    let config = uuid.len() - 3 * 64 - BootloaderConfig::SERIALIZED_LEN;
    uuid[config] ^= 1;
    assert_eq!(KernelFile::parse(&uuid).unwrap_err(), KernelError::Config("invalid UUID"));
    assert_eq!(BootError::from(KernelError::NotElf).status(), 37);
}

/// Proves that no damage to a valid file makes the parser panic or break its invariants: 20,000
/// files with one to eight bytes changed, or truncated.
#[test]
fn damaged_files_never_panic() {
    let good = elf_with(&[text(), data()], BASE + 0x10);
    let headers = 64 + 2 * 56;
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let mut accepted = 0;
    for round in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random(8) {
            let at = if random(2) == 0 { random(headers) } else { bytes.len() - 1 - random(400) };
            bytes[at] = [0, 0xff, random(256) as u8][random(3)];
        }
        if round % 16 == 0 {
            bytes.truncate(random(good.len()));
        }
        let Ok(file) = KernelFile::parse(&bytes) else { continue };
        accepted += 1;
        let (low, high) = file.span();
        assert!(low < high && high - low <= MAX_IMAGE);
        for segment in &file.segments {
            assert!(segment.data.len() as u64 <= segment.size);
            assert!(low <= segment.first_page() && segment.end_page() <= high);
        }
    }
    assert!(accepted > 100, "only {accepted} files were accepted: the damage is too large for this test");
}
