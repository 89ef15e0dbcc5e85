// What firmware may tell of memory devices that are not there: each is answered by _OST, once. The answers
// go to the port of QEMU's debug console, two bytes each: the source and the status.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "NOTIFY", 1)
{
Scope (\_SB) {
    OperationRegion (DBGC, SystemIO, 0xE9, 1)
    Field (DBGC, ByteAcc, NoLock, Preserve) { DBGB, 8 }
    // Whether AASK has spoken.
    Name (SAID, 0)

    // Speaks when it is asked for its status, once: what it tells is handled afterwards.
    Device (AASK) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "AASK")
        Method (_STA) {
            If (SAID == 0) {
                SAID = 1
                Notify (\_SB.ANSW, 0x00)
                Notify (\_SB.ANSW, 0x01)
                Notify (\_SB.ANSW, 0x03)
                Notify (\_SB.ANSW, 0x81)
                Notify (\_SB.GONE, 0x01)
                Notify (\_SB.LOOP, 0x01)
                Notify (\_SB.FLOD, 0x01)
            }
            Return (0x00)
        }
    }

    // Its memory is not there: 12 GiB is hot-pluggable and empty.
    Device (ANSW) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ANSW")
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x300000000, 0x3003FFFFF, 0, 0x400000)
        })
        Method (_OST, 3) {
            DBGB = Arg0
            DBGB = Arg1
        }
    }

    // An empty slot.
    Device (GONE) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "GONE")
        Name (_STA, 0x00)
        Method (_OST, 3) {
            DBGB = Arg0
            DBGB = Arg1
        }
    }

    // Does not want to hear the answer.
    Device (LOOP) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "LOOP")
        Name (_STA, 0x00)
        Method (_OST, 3) { While (One) {} }
    }

    // Asks again whenever it is answered.
    Device (FLOD) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "FLOD")
        Name (_STA, 0x00)
        Method (_OST, 3) { Notify (\_SB.FLOD, 0x01) }
    }
}
}
