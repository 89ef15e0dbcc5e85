// Memory devices that lie, each in its own way, and one that does not (REAL). The name of a device stands
// for its lie, which is described above it. 9 GiB up to 9 GiB + 256 MiB is memory that no other device
// claims; 8 and 12 GiB are addresses that are free, hot-pluggable, and empty.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "LIES", 1)
{
Scope (\_SB) {
    // overlaps boot memory
    Device (BOOT) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "BOOT")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x800000, 0x9FFFFF, 0, 0x200000)
        })
    }

    // overlaps the DIMM that is there
    Device (DIMM) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "DIMM")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x108000000, 0x1081FFFFF, 0, 0x200000)
        })
    }

    // covers everything from address 0 to 512 GiB
    Device (ALLM) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ALLM")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x0, 0x7FFFFFFFFF, 0, 0x8000000000)
        })
    }

    // its own ranges overlap
    Device (SELF) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SELF")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2003FFFFF, 0, 0x400000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200200000, 0x2005FFFFF, 0, 0x400000)
        })
    }

    // below the hot-pluggable window, in no memory
    Device (LOWW) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LOWW")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0xC0000000, 0xC01FFFFF, 0, 0x200000)
        })
    }

    // above the hot-pluggable window
    Device (HIGH) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "HIGH")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0xF000000000, 0xF0001FFFFF, 0, 0x200000)
        })
    }

    // no length
    Device (LEN0) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LEN0")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0x00,         // last address 0x1ffffffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x0
            0x79, 0x00
        })
    }

    // wraps around the end of the address space
    Device (WRAP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "WRAP")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,         // first address 0xffffffffffe00000
            0xFF, 0xFF, 0x1F, 0x00, 0x00, 0x00, 0x00, 0x00,         // last address 0x1fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x400000
            0x79, 0x00
        })
    }

    // has 2^64 bytes, which is length 0
    Device (WRP2) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "WRP2")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // first address 0x0
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,         // last address 0xffffffffffffffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x0
            0x79, 0x00
        })
    }

    // the very last 2 MiB of the address space
    Device (LAST) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LAST")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0xE0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,         // first address 0xffffffffffe00000
            0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,         // last address 0xffffffffffffffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x200000
            0x79, 0x00
        })
    }

    // beyond the physical address bits of the CPU
    Device (BITS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "BITS")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000000, 0x20000FFFFFFF, 0, 0x10000000)
        })
    }

    // starts at no multiple of 2 MiB
    Device (ODDB) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ODDB")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200001000, 0x200200FFF, 0, 0x200000)
        })
    }

    // ends at no multiple of 2 MiB
    Device (ODDL) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ODDL")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x200200FFF, 0, 0x201000)
        })
    }

    // starts and ends inside a frame
    Device (ODDC) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ODDC")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000001, 0x200200000, 0, 0x200000)
        })
    }

    // length and addresses contradict each other
    Device (LENG) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LENG")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x100000
            0x79, 0x00
        })
    }

    // its addresses are translated
    Device (TRAN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "TRAN")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x1000
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x200000
            0x79, 0x00
        })
    }

    // an address space that is not memory
    Device (TYPE) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "TYPE")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x01, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x200000
            0x79, 0x00
        })
    }

    // an address space of a vendor
    Device (TYPV) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "TYPV")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0xC0, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x200000
            0x79, 0x00
        })
    }

    // descriptors that nobody has defined
    Device (UNKN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "UNKN")
        Name (_CRS, Buffer () { 0x9F, 0x04, 0x00, 1, 2, 3, 4, 0x0B, 1, 2, 3, 0x79, 0x00 })
    }

    // the descriptor is longer than the buffer
    Device (TRUN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "TRUN")
        Name (_CRS, Buffer () { 0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01, 0x00, 0x00 })
    }

    // the buffer ends inside of a header
    Device (HEAD) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "HEAD")
        Name (_CRS, Buffer () { 0x8A, 0x2B })
    }

    // the descriptor is shorter than its kind needs
    Device (SHRT) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SHRT")
        Name (_CRS, Buffer () { 0x8A, 0x03, 0x00, 0x00, 0x0C, 0x01, 0x79, 0x00 })
    }

    // no end tag
    Device (NEND) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NEND")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00          // length 0x200000

        })
    }

    // an empty buffer
    Device (EMPT) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "EMPT")
        Name (_CRS, Buffer (0) {})
    }

    // an end tag and nothing else
    Device (ENDT) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ENDT")
        Name (_CRS, Buffer () { 0x79, 0x00 })
    }

    // a wrong checksum
    Device (SUMS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SUMS")
        Name (_CRS, Buffer () {
            0x8A, 0x2B, 0x00, 0x00, 0x0C, 0x01,      // QWORD address space, length 43, type, flags
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // granularity
            0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00,         // first address 0x200000000
            0xFF, 0xFF, 0x1F, 0x00, 0x02, 0x00, 0x00, 0x00,         // last address 0x2001fffff
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,         // translation 0x0
            0x00, 0x00, 0x20, 0x00, 0x00, 0x00, 0x00, 0x00,         // length 0x200000
            0x79, 0x55
        })
    }

    // more ranges than a device may have
    Device (MANY) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "MANY")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200200000, 0x2003FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200400000, 0x2005FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200600000, 0x2007FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200800000, 0x2009FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200A00000, 0x200BFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200C00000, 0x200DFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200E00000, 0x200FFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201000000, 0x2011FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201200000, 0x2013FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201400000, 0x2015FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201600000, 0x2017FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201800000, 0x2019FFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201A00000, 0x201BFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201C00000, 0x201DFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x201E00000, 0x201FFFFFF, 0, 0x200000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x202000000, 0x2021FFFFF, 0, 0x200000)
        })
    }

    // _CRS never ends
    Device (LOOP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LOOP")
        Method (_CRS) { While (One) {} Return (Buffer () { 0x79, 0x00 }) }
    }

    // _STA never ends
    Device (LOOS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LOOS")
        Method (_STA) { While (One) {} Return (0x0F) }
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // _CRS calls itself
    Device (RECU) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "RECU")
        Method (_CRS) { Return (_CRS ()) }
    }

    // _STA calls what calls itself, twice
    Device (RECS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "RECS")
        Method (OTHR, 1) { OTHR (Arg0 + 1); OTHR (Arg0 + 2) }
        Method (_STA) { OTHR (0); Return (0x0F) }
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // no _CRS at all
    Device (NCRS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NCRS")
    }

    // not present: nothing to say about it
    Device (NPRE) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NPRE")
        Name (_STA, 0x00)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // present, not functioning
    Device (NFUN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NFUN")
        Name (_STA, 0x07)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // present, not enabled
    Device (NENA) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NENA")
        Name (_STA, 0x0D)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // _STA is no number
    Device (STAS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "STAS")
        Method (_STA) { Local0 = Package () { 15 }; Return (Local0) }
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // _CRS is a number
    Device (CRSI) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "CRSI")
        Method (_CRS) { Local0 = 5; Return (Local0) }
    }

    // _CRS is a package
    Device (CRSP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "CRSP")
        Method (_CRS) { Local0 = Package () { 0x79, 0x00 }; Return (Local0) }
    }

    // _CRS returns nothing
    Device (CRSN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "CRSN")
        Method (_CRS) { Local0 = 5 }
    }

    // _CRS divides by zero
    Device (DIVZ) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "DIVZ")
        Method (_CRS) { Local0 = 0; Divide (5, Local0, Local1, Local2); Return (Buffer () { 0x79, 0x00 }) }
    }

    // _PXM is no number
    Device (PXMP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "PXMP")
        Method (_PXM) { Local0 = Package () { 1 }; Return (Local0) }
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x200000000, 0x2001FFFFF, 0, 0x200000)
        })
    }

    // no memory behind it
    Device (NRAM) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NRAM")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x300000000, 0x3003FFFFF, 0, 0x400000)
        })
    }

    // the memory ends before the range does
    Device (NRA2) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NRA2")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x240000000, 0x25FFFFFFF, 0, 0x20000000)
        })
    }

    // three ranges, of which the last has no memory behind it
    Device (PART) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "PART")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x240000000, 0x243FFFFFF, 0, 0x4000000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x244000000, 0x247FFFFFF, 0, 0x4000000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x300000000, 0x303FFFFFF, 0, 0x4000000)
        })
    }

    // has its own range mapped as registers before it offers it as memory
    Device (REGS) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "REGS")
        OperationRegion (OWNR, SystemMemory, 0xC0400000, 0x1000)
        Field (OWNR, DWordAcc, NoLock, Preserve) { OWN0, 32 }
        Method (_STA) { Local0 = OWN0; Return (0x0F) }
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0xC0400000, 0xC05FFFFF, 0, 0x200000)
        })
    }

    // writes to memory that the kernel hands out
    Device (RAMW) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "RAMW")
        OperationRegion (MINE, SystemMemory, 0x10000000, 8)
        Field (MINE, ByteAcc, NoLock, Preserve) { BYTE, 8 }
        Method (_CRS) { BYTE = 0x41; Return (Buffer () { 0x79, 0x00 }) }
    }

    // writes to the serial line, on which the kernel speaks
    Device (SERL) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SERL")
        OperationRegion (LINE, SystemIO, 0x3F8, 8)
        Field (LINE, ByteAcc, NoLock, Preserve) { SEND, 8 }
        Method (_CRS) { SEND = 0x41; Return (Buffer () { 0x79, 0x00 }) }
    }

    // programs a DMA controller: its command register
    Device (DMAC) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "DMAC")
        OperationRegion (DMAR, SystemIO, 0x08, 1)
        Field (DMAR, ByteAcc, NoLock, Preserve) { DMAW, 8 }
        Method (_CRS) { DMAW = 0x00; Return (Buffer () { 0x79, 0x00 }) }
    }

    // writes PCI's configuration address itself, behind which every device lies
    Device (PCIC) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "PCIC")
        OperationRegion (CONF, SystemIO, 0x0CF8, 8)
        Field (CONF, DWordAcc, NoLock, Preserve) { CADR, 32 }
        Method (_CRS) { CADR = 0x80008004; Return (Buffer () { 0x79, 0x00 }) }
    }

    // starts a DMA transfer of QEMU's fw_cfg
    Device (FWDM) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "FWDM")
        OperationRegion (FWCF, SystemIO, 0x0514, 8)
        Field (FWCF, DWordAcc, NoLock, Preserve) { FWHI, 32, FWLO, 32 }
        Method (_CRS) { FWLO = 0x1000; Return (Buffer () { 0x79, 0x00 }) }
    }

    // makes a PCI device a bus master: the one at slot 0x10
    Device (BUSM) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "BUSM")
        Name (_ADR, 0x00100000)
        OperationRegion (PCFG, PCI_Config, 0x04, 4)
        Field (PCFG, WordAcc, NoLock, Preserve) { CMND, 16 }
        Method (_CRS) { CMND = 0x0007; Return (Buffer () { 0x79, 0x00 }) }
    }

    // lies in something that is not present: nothing to say about it
    Device (GONE) {
        Name (_HID, "ACPI0004")
        Name (_STA, 0x00)
        Device (BELO) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, "BELO")
            Name (_CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x240000000, 0x243FFFFFF, 0, 0x4000000)
            })
        }
    }

    // three ranges that are all there: one device, three resources
    Device (REAL) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "REAL")
        Name (_PXM, 1)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x240000000, 0x243FFFFFF, 0, 0x4000000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x244000000, 0x247DFFFFF, 0, 0x3E00000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x248000000, 0x24FFFFFFF, 0, 0x8000000)
        })
    }
}
}
