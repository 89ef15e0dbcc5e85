// Memory devices that are asked for back, and one that goes without having been asked. What they are answered goes to
// the port of QEMU's debug console, three bytes each: the device, the source, the status; _EJ0 writes 0xEE 0xEE.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "EJECT", 1)
{
Scope (\_SB) {
    OperationRegion (DBGC, SystemIO, 0xE9, 1)
    Field (DBGC, ByteAcc, NoLock, Preserve) { DBGB, 8 }
    // Whether AASK has spoken, whether REAL and SURP are gone.
    Name (SAID, 0)
    Name (RGON, 0)
    Name (SGON, 0)

    Method (TELL, 3) {
        DBGB = Arg0
        DBGB = Arg1
        DBGB = Arg2
    }

    // Speaks when it is asked for its status, once: what it tells is handled when all the others are online.
    Device (AASK) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "AASK")
        Method (_STA) {
            If (SAID == 0) {
                SAID = 1
                Notify (\_SB.REAL, 0x03)
                Notify (\_SB.REAL, 0x03)
                Notify (\_SB.STAY, 0x03)
                Notify (\_SB.DIVZ, 0x03)
                Notify (\_SB.NOEJ, 0x03)
                Notify (\_SB.GONE, 0x03)
                Notify (\_SB.SURP, 0x01)
            }
            Return (0x00)
        }
    }

    // Three ranges, which go together.
    Device (REAL) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "REAL")
        Name (_PXM, 1)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x240000000, 0x241FFFFFF, 0, 0x2000000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x242000000, 0x243DFFFFF, 0, 0x1E00000)
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x248000000, 0x249FFFFFF, 0, 0x2000000)
        })
        Method (_STA) {
            If (RGON) { Return (0x00) }
            Return (0x0F)
        }
        Method (_EJ0, 1) {
            TELL (0x01, 0xEE, 0xEE)
            RGON = Arg0
        }
        Method (_OST, 3) {
            // SURP goes when REAL is first told that it is under way.
            SGON = 1
            TELL (0x01, Arg0, Arg1)
        }
    }

    // Is still there when it was let go.
    Device (STAY) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "STAY")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x24A000000, 0x24BFFFFFF, 0, 0x2000000)
        })
        Method (_EJ0, 1) { TELL (0x02, 0xEE, 0xEE) }
        Method (_OST, 3) { TELL (0x02, Arg0, Arg1) }
    }

    // Fails when it is let go.
    Device (DIVZ) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "DIVZ")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x24C000000, 0x24DFFFFFF, 0, 0x2000000)
        })
        Method (_EJ0, 1) {
            TELL (0x03, 0xEE, 0xEE)
            Local0 = 0
            Local1 = Arg0 / Local0
        }
        Method (_OST, 3) { TELL (0x03, Arg0, Arg1) }
    }

    // Cannot be ejected.
    Device (NOEJ) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "NOEJ")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x24E000000, 0x24EFFFFFF, 0, 0x1000000)
        })
        Method (_OST, 3) { TELL (0x04, Arg0, Arg1) }
    }

    // Lies in something that knows the node: SRAT, which says 1 of these addresses, is not asked.
    Device (HOME) {
        Name (_HID, "ACPI0004")
        Name (_PXM, 0)
        Device (KNOW) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, "KNOW")
            Name (_CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x244000000, 0x245FFFFFF, 0, 0x2000000)
            })
        }
    }

    // An empty slot.
    Device (GONE) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "GONE")
        Name (_STA, 0x00)
        Method (_EJ0, 1) { TELL (0x05, 0xEE, 0xEE) }
        Method (_OST, 3) { TELL (0x05, Arg0, Arg1) }
    }

    // Goes without having been asked.
    Device (SURP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SURP")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x24F000000, 0x24FFFFFFF, 0, 0x1000000)
        })
        Method (_STA) {
            If (SGON) { Return (0x00) }
            Return (0x0F)
        }
        Method (_OST, 3) { TELL (0x06, Arg0, Arg1) }
    }
}
}
