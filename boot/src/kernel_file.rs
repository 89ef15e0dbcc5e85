//! Checks that a file is a loadable kernel, and finds its segments.
//!
//! Invariants of a [`KernelFile`]: its segments are sorted, share no page, lie in one half of the
//! canonical address space and within [`MAX_IMAGE`] bytes; none is writable and executable; each
//! one's data is not longer than its memory; the entry is in an executable segment.

use crate::range::PAGE;
use arrayvec::ArrayVec;
use bootloader_api::BootloaderConfig;
use bootloader_api::info::TlsTemplate;
use core::fmt;
use elf::endian::LittleEndian;
use elf::segment::ProgramHeader;
use elf::{ElfBytes, abi, file::Class};

/// The maximum size of a kernel image in virtual memory.
pub const MAX_IMAGE: u64 = 256 << 20;
/// The most loadable segments.
pub const MAX_SEGMENTS: usize = 16;

/// Why a file is rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KernelError {
    /// The file is no ELF file, or its headers point outside of it.
    NotElf,
    /// The file is an ELF file of 32 bits.
    NotElf64,
    /// The file is for another machine (the ELF header's `e_machine`).
    Machine(u16),
    /// The file is neither an executable nor position-independent (the ELF header's `e_type`).
    Type(u16),
    /// No loadable segment.
    NoSegments,
    /// More than [`MAX_SEGMENTS`] loadable segments.
    TooManySegments,
    /// A segment's file part is longer than its memory, or lies outside of the file.
    SegmentData(u64),
    /// A segment is writable and executable.
    WritableExecutable(u64),
    /// A segment is not readable.
    NotReadable(u64),
    /// Two segments share a page, or are not sorted.
    SharedPage(u64),
    /// The image spans more than [`MAX_IMAGE`] or is not canonical.
    Span,
    /// The entry lies in no executable segment.
    Entry(u64),
    /// No `.bootloader-config`: not a `bootloader_api` kernel.
    NoConfig,
    /// `.bootloader-config` is not one of `bootloader_api` 0.11.
    Config(&'static str),
    /// The dynamic section or its relocations are broken or of a kind that is not supported.
    Relocation(&'static str),
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelError::NotElf => write!(f, "not an ELF file"),
            KernelError::NotElf64 => write!(f, "not an ELF64 file"),
            KernelError::Machine(machine) => write!(f, "its ELF machine is {machine}, not x86-64 (62)"),
            KernelError::Type(kind) => write!(f, "ELF type {kind} is no executable"),
            KernelError::NoSegments => write!(f, "no loadable segment"),
            KernelError::TooManySegments => write!(f, "more than {MAX_SEGMENTS} loadable segments"),
            KernelError::SegmentData(at) => {
                write!(f, "the segment at {at:#x} has data outside of the file or of itself")
            }
            KernelError::WritableExecutable(at) => {
                write!(f, "the segment at {at:#x} is writable and executable")
            }
            KernelError::NotReadable(at) => write!(f, "the segment at {at:#x} is not readable"),
            KernelError::SharedPage(at) => {
                write!(f, "the segment at {at:#x} shares a page with the one before, or lies below it")
            }
            KernelError::Span => {
                write!(f, "the image spans more than {MAX_IMAGE:#x} bytes or non-canonical addresses")
            }
            KernelError::Entry(at) => write!(f, "the entry {at:#x} lies in no executable segment"),
            KernelError::NoConfig => write!(f, "no section .bootloader-config"),
            KernelError::Config(reason) => write!(f, "section .bootloader-config: {reason}"),
            KernelError::Relocation(reason) => write!(f, "relocation: {reason}"),
        }
    }
}

/// The access rights of a segment's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// Read.
    Read,
    /// Read and execute.
    Execute,
    /// Read and write.
    Write,
}

/// A loadable segment. Its addresses are those in the file, before relocation.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    /// The first byte's virtual address.
    pub start: u64,
    /// The size in memory. Bytes behind `data` are zero.
    pub size: u64,
    /// The bytes from the file.
    pub data: &'a [u8],
    /// Its access rights.
    pub rights: Rights,
}

impl Segment<'_> {
    /// The first page's address.
    pub const fn first_page(&self) -> u64 {
        self.start & !(PAGE - 1)
    }

    /// The address after the last page. Cannot overflow: the image does not reach the last page.
    pub const fn end_page(&self) -> u64 {
        (self.start + self.size).next_multiple_of(PAGE)
    }
}

/// Whether addresses in the file are final.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linkage {
    /// Linked for its addresses (`ET_EXEC`).
    Fixed,
    /// Position-independent, to be relocated (`ET_DYN`).
    Relocatable,
}

/// A loadable kernel.
#[derive(Clone, Debug)]
pub struct KernelFile<'a> {
    /// The loadable segments, ascending.
    pub segments: ArrayVec<Segment<'a>, MAX_SEGMENTS>,
    /// Whether addresses are final.
    pub linkage: Linkage,
    /// The entry's virtual address, before relocation.
    pub entry: u64,
    /// Pages that are read-only once relocated (`PT_GNU_RELRO`), as addresses of whole pages.
    pub relro: Option<(u64, u64)>,
    /// The template of thread-local storage, before relocation.
    pub tls: Option<TlsTemplate>,
    /// The kernel's configuration for the loader.
    pub config: BootloaderConfig,
    /// The relocations: virtual address and size in bytes.
    pub relocations: Option<(u64, u64)>,
}

impl<'a> KernelFile<'a> {
    /// Checks the file's headers, not its data.
    pub fn parse(bytes: &'a [u8]) -> Result<KernelFile<'a>, KernelError> {
        let file = ElfBytes::<LittleEndian>::minimal_parse(bytes).map_err(|_| KernelError::NotElf)?;
        if file.ehdr.class != Class::ELF64 {
            return Err(KernelError::NotElf64);
        }
        if file.ehdr.e_machine != abi::EM_X86_64 {
            return Err(KernelError::Machine(file.ehdr.e_machine));
        }
        let linkage = match file.ehdr.e_type {
            abi::ET_EXEC => Linkage::Fixed,
            abi::ET_DYN => Linkage::Relocatable,
            other => return Err(KernelError::Type(other)),
        };
        let headers = file.segments().ok_or(KernelError::NoSegments)?;
        let find = |kind| headers.iter().find(|header| header.p_type == kind);
        let mut segments = ArrayVec::new();
        for header in headers.iter().filter(|header| header.p_type == abi::PT_LOAD && header.p_memsz > 0) {
            let segment = segment(&file, &header)?;
            segments.try_push(segment).map_err(|_| KernelError::TooManySegments)?;
        }
        check_places(&segments, linkage)?;
        let entry = file.ehdr.e_entry;
        let has_entry = |s: &Segment<'_>| {
            s.rights == Rights::Execute && entry.checked_sub(s.start).is_some_and(|at| at < s.size)
        };
        if !segments.iter().any(has_entry) {
            return Err(KernelError::Entry(entry));
        }
        Ok(KernelFile {
            segments,
            linkage,
            entry,
            relro: find(abi::PT_GNU_RELRO).map(|h| {
                let end = h.p_vaddr.saturating_add(h.p_memsz);
                (h.p_vaddr & !(PAGE - 1), end & !(PAGE - 1))
            }),
            tls: find(abi::PT_TLS).map(|h| TlsTemplate {
                start_addr: h.p_vaddr,
                file_size: h.p_filesz,
                mem_size: h.p_memsz,
            }),
            config: config(&file)?,
            relocations: match linkage {
                Linkage::Fixed => None,
                Linkage::Relocatable => relocations(&file)?,
            },
        })
    }

    /// The image's first page and the address after its last one.
    pub fn span(&self) -> (u64, u64) {
        match (self.segments.first(), self.segments.last()) {
            (Some(first), Some(last)) => (first.first_page(), last.end_page()),
            _ => (0, 0), // `parse` refuses a file without segments
        }
    }

    /// The rights of the page at `page` of `segment`: the segment's, without writing where data
    /// becomes read-only after relocation.
    pub fn page_rights(&self, segment: &Segment<'_>, page: u64) -> Rights {
        match (segment.rights, self.relro) {
            (Rights::Write, Some((start, end))) if start <= page && page < end => Rights::Read,
            (rights, _) => rights,
        }
    }
}

fn segment<'a>(
    file: &ElfBytes<'a, LittleEndian>,
    header: &ProgramHeader,
) -> Result<Segment<'a>, KernelError> {
    let at = header.p_vaddr;
    let data = file.segment_data(header).map_err(|_| KernelError::SegmentData(at))?;
    if header.p_filesz > header.p_memsz {
        return Err(KernelError::SegmentData(at));
    }
    let flag = |bit| header.p_flags & bit != 0;
    let rights = match (flag(abi::PF_R), flag(abi::PF_W), flag(abi::PF_X)) {
        (_, true, true) => return Err(KernelError::WritableExecutable(at)),
        (false, _, _) => return Err(KernelError::NotReadable(at)),
        (true, true, false) => Rights::Write,
        (true, false, true) => Rights::Execute,
        (true, false, false) => Rights::Read,
    };
    Ok(Segment { start: at, size: header.p_memsz, data, rights })
}

/// Checks order, pages, span and canonical form.
fn check_places(segments: &[Segment<'_>], linkage: Linkage) -> Result<(), KernelError> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
        return Err(KernelError::NoSegments);
    };
    for segment in segments {
        // so far from the top that rounding up to a page cannot overflow
        let end = segment.start.checked_add(segment.size).ok_or(KernelError::Span)?;
        if end > u64::MAX - PAGE {
            return Err(KernelError::Span);
        }
    }
    for pair in segments.windows(2) {
        if let [before, after] = pair
            && before.end_page() > after.first_page()
        {
            return Err(KernelError::SharedPage(after.start));
        }
    }
    let (low, high) = (first.first_page(), last.end_page());
    // the sign-extended 48-bit addresses: bits 47 to 63 all equal
    let half = |at: u64| (at as i64) >> 47;
    let canonical = matches!(half(low), 0 | -1) && half(low) == half(high - 1);
    if high - low > MAX_IMAGE || !canonical || (linkage == Linkage::Fixed && low == 0) {
        return Err(KernelError::Span);
    }
    Ok(())
}

fn config(file: &ElfBytes<'_, LittleEndian>) -> Result<BootloaderConfig, KernelError> {
    let Ok(Some(header)) = file.section_header_by_name(".bootloader-config") else {
        return Err(KernelError::NoConfig);
    };
    match file.section_data(&header) {
        Ok((bytes, None)) => BootloaderConfig::deserialize(bytes).map_err(KernelError::Config),
        Ok((_, Some(_))) => Err(KernelError::Config("compressed")),
        Err(_) => Err(KernelError::Config("outside of the file")),
    }
}

/// Finds the relocations in the dynamic section.
fn relocations(file: &ElfBytes<'_, LittleEndian>) -> Result<Option<(u64, u64)>, KernelError> {
    let dynamic = file.dynamic().map_err(|_| KernelError::Relocation("broken dynamic section"))?;
    let Some(dynamic) = dynamic else {
        return Ok(None);
    };
    let get = |tag| dynamic.iter().find(|entry| entry.d_tag == tag).map(|entry| entry.d_val());
    if get(abi::DT_REL).is_some() || get(abi::DT_JMPREL).is_some() {
        return Err(KernelError::Relocation("DT_REL and DT_JMPREL are not supported"));
    }
    match (get(abi::DT_RELA), get(abi::DT_RELASZ)) {
        (None, _) => Ok(None),
        (Some(at), Some(size)) => Ok(Some((at, size))),
        (Some(_), None) => Err(KernelError::Relocation("no DT_RELASZ")),
    }
}

#[cfg(test)]
#[path = "kernel_file_tests.rs"]
mod tests;
