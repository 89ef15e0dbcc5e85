// Generic event devices whose interrupt the host raises: ISA interrupt 5 of a serial port, by sending a byte.
// 1: scan the memory slots. 0x51, 0x50: disable all general-purpose events of q35, of pc.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "GEDTEST", 1)
{
External (\_SB.MHPC.MSCN, MethodObj)
Scope (\_SB) {
    OperationRegion (UART, SystemIO, 0x2E8, 8)
    Field (UART, ByteAcc, NoLock, Preserve) { RBR, 8, IER, 8, IIR, 8, LCR, 8, MCR, 8, LSR, 8 }
    // The byte that came.
    Name (LAST, 0)

    // Absent: it would take the byte away.
    Device (GEDA) {
        Name (_HID, "ACPI0013")
        Name (_STA, 0)
        Name (_CRS, ResourceTemplate () {
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 5 }
        })
        Method (_EVT, 1) {
            Local0 = RBR
            If (Local0 == 0) { \_SB.MHPC.MSCN () }
        }
    }

    // A method of the interrupt's own comes before _EVT.
    Device (GEDB) {
        Name (_HID, "ACPI0013")
        Name (_CRS, ResourceTemplate () {
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 5 }
        })
        OperationRegion (GQ35, SystemIO, 0x628, 1)
        Field (GQ35, ByteAcc, NoLock, Preserve) { ENAQ, 8 }
        OperationRegion (GPC, SystemIO, 0xAFE2, 1)
        Field (GPC, ByteAcc, NoLock, Preserve) { ENAP, 8 }
        // Interrupt when a byte has come; without OUT2 a PC's line stays quiet.
        Method (_INI) {
            IER = 1
            MCR = 8
        }
        Method (_E05, 0, Serialized) {
            LAST = 0
            If ((LSR & 1) == 0) { Return }
            LAST = RBR
            If (LAST == 0x51) { ENAQ = 0 }
            If (LAST == 0x50) { ENAP = 0 }
            If (LAST == 2) { \_SB.MHPC.MSCN () }
        }
        Method (_EVT, 1) {
            If (Arg0 != 5) { \_SB.MHPC.MSCN () }
        }
    }

    // Shares the interrupt, and claims that of the kernel's serial line.
    Device (GEDC) {
        Name (_HID, "ACPI0013")
        Name (_CRS, ResourceTemplate () {
            Interrupt (ResourceConsumer, Edge, ActiveHigh, Shared) { 4, 5 }
        })
        Method (_EVT, 1, Serialized) {
            If ((LAST == 1) && (Arg0 == 5)) { \_SB.MHPC.MSCN () }
        }
    }
}
}
