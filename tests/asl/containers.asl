// Containers with memory devices below them, and a device elsewhere that leaves with one of them. A byte on the serial port
// at 0x2E8 makes a generic event device notify. What is answered goes to the port of QEMU's debug console, three bytes
// each: the device, the source, the status; _EJ0 writes 0xEE 0xEE, _OSC 0x05C and what it is asked for.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "CONTAIN", 1)
{
External (\_SB.PCI0, DeviceObj)

// The function whose second BAR is memory.
Device (\_SB.PCI0.SHMM) {
    Name (_ADR, 0x00100000)
    OperationRegion (CONF, PCI_Config, 0x18, 4)
    Field (CONF, DWordAcc, NoLock, Preserve) { BAR2, 32 }
}

Scope (\_SB) {
    OperationRegion (DBGC, SystemIO, 0xE9, 1)
    Field (DBGC, ByteAcc, NoLock, Preserve) { DBGB, 8 }
    // The status of MODA and of MODI: absent at boot. Whether _INI of MODA and of MEM1 below it has run since MODA came.
    // Whether EVT has run before.
    Name (AON, 0)
    Name (ION, 0)
    Name (AINI, 0)
    Name (MINI, 0)
    Name (EARL, 1)

    Method (TELL, 3) {
        DBGB = Arg0
        DBGB = Arg1
        DBGB = Arg2
    }

    // Masks all but what the kernel must have: bit 3.
    Method (_OSC, 4) {
        CreateDWordField (Arg3, 0, CDW1)
        CreateDWordField (Arg3, 4, CDW2)
        If (Arg0 == ToUUID ("0811B06E-4A27-44F9-8D60-3CBBC22E7B48")) {
            // In the second byte: whether it comes before the first event, and revision and count are right.
            TELL (0x5C, CDW2, EARL && (Arg1 == 1) && (Arg2 == 2) && (CDW1 == 0))
            CDW2 &= 0x08
        } Else {
            CDW1 = 4
        }
        Return (Arg3)
    }

    Device (MODA) {
        Name (_HID, "ACPI0004")
        Name (_UID, "MODA")
        Method (_STA) { Return (AON) }
        Method (_EJ0, 1) {
            TELL (0x01, 0xEE, 0xEE)
            AON = 0
            AINI = 0
            MINI = 0
        }
        Method (_INI) { AINI = 1 }
        Method (_OST, 3) { TELL (0x01, Arg0, Arg1) }
        Device (MEM0) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 0)
            Name (_CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x240000000, 0x241FFFFFF, 0, 0x2000000)
            })
            Name (_PXM, 0)
            Method (_EJ0, 1) { TELL (0x02, 0xEE, 0xEE) }
            Method (_OST, 3) { TELL (0x02, Arg0, Arg1) }
        }
        Device (MEM1) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 1)
            Name (CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x242000000, 0x243FFFFFF, 0, 0x2000000)
            })
            // After its container's, once.
            Method (_INI) { MINI += AINI }
            Method (_CRS) {
                If (MINI == 1) { Return (CRS) }
                Return (ResourceTemplate () {})
            }
            Name (_PXM, 1)
        }
    }

    // Outside of MODA, but it cannot stay without it.
    Device (DOCK) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, 2)
        Name (_EJD, "\\_SB.MODA")
        Name (_PXM, 0)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x244000000, 0x245FFFFFF, 0, 0x2000000)
        })
        Method (_STA) { Return (AON) }
    }

    // Its memory is a BAR, wherever the firmware has put that.
    Device (MODI) {
        Name (_HID, EisaId ("PNP0A06"))
        Name (_UID, "MODI")
        Method (_STA) { Return (ION) }
        Method (_EJ0, 1) {
            TELL (0x05, 0xEE, 0xEE)
            ION = 0
        }
        Method (_OST, 3) { TELL (0x05, Arg0, Arg1) }
        Device (MEM0) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 5)
            Name (_PXM, 1)
            Name (CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0, 0x3FFFFFF, 0, 0x4000000, , , RANG)
            })
            CreateQWordField (CRS, RANG._MIN, FRST)
            CreateQWordField (CRS, RANG._MAX, LAST)
            Method (_CRS) {
                FRST = \_SB.PCI0.SHMM.BAR2 & 0xFFFFFFF0
                LAST = FRST + 0x3FFFFFF
                Return (CRS)
            }
        }
    }

    // Still there after _EJ0.
    Device (MODX) {
        Name (_HID, EisaId ("PNP0A06"))
        Name (_UID, "MODX")
        Method (_EJ0, 1) { TELL (0x03, 0xEE, 0xEE) }
        Method (_OST, 3) { TELL (0x03, Arg0, Arg1) }
        Device (MEM0) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 3)
            Name (_PXM, 0)
            Name (_CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x246000000, 0x247FFFFFF, 0, 0x2000000)
            })
        }
    }

    // Its processor cannot leave.
    Device (MODP) {
        Name (_HID, EisaId ("PNP0A05"))
        Name (_UID, "MODP")
        Method (_EJ0, 1) { TELL (0x04, 0xEE, 0xEE) }
        Method (_OST, 3) { TELL (0x04, Arg0, Arg1) }
        Device (CPU0) {
            Name (_HID, "ACPI0007")
            Name (_UID, 0)
        }
        Device (MEM0) {
            Name (_HID, EisaId ("PNP0C80"))
            Name (_UID, 4)
            Name (_PXM, 0)
            Name (_CRS, ResourceTemplate () {
                QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                    0, 0x248000000, 0x249FFFFFF, 0, 0x2000000)
            })
        }
    }

    Device (GED) {
        Name (_HID, "ACPI0013")
        Name (_CRS, ResourceTemplate () {
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 5 }
        })
        OperationRegion (UART, SystemIO, 0x2E8, 8)
        Field (UART, ByteAcc, NoLock, Preserve) { RBR, 8, IER, 8, IIR, 8, LCR, 8, MCR, 8, LSR, 8 }
        Method (_INI) {
            IER = 1
            MCR = 8
        }
        Method (_EVT, 1, Serialized) {
            EARL = 0
            If ((LSR & 1) == 0) { Return }
            Local0 = RBR
            If (Local0 == 1) {
                AON = 0x0F
                Notify (\_SB.MODA, 0)
            }
            If (Local0 == 2) { Notify (\_SB.MODA, 3) }
            If (Local0 == 3) {
                Notify (\_SB.MODA, 3)
                Notify (\_SB.MODA, 3)
                Notify (\_SB.MODA.MEM0, 3)
            }
            If (Local0 == 4) {
                AON = 0x0F
                Notify (\_SB.MODA, 1)
            }
            If (Local0 == 5) { Notify (\_SB.MODX, 3) }
            If (Local0 == 6) { Notify (\_SB.MODP, 3) }
            If (Local0 == 7) {
                ION = 0x0F
                Notify (\_SB.MODI, 1)
            }
            If (Local0 == 8) { Notify (\_SB.MODI, 3) }
        }
    }
}
}
