// A memory device that is torn out and put back by a switch that the host holds: TORN is there exactly while slot 31 of
// QEMU's DIMMs is empty. The kernel asks for the status of what encloses a DIMM whenever one comes or has gone: that of
// \_SB tells of the change.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "TORN", 1)
{
External (\_SB.MHPC.MRST, MethodObj)
Scope (\_SB) {
    // Whether TORN is there.
    Name (HERE, 1)

    Method (_STA) {
        If ((\_SB.MHPC.MRST (31) == 0) != (HERE != 0)) {
            HERE = (HERE == 0)
            Notify (TORN, 0x01)
        }
        Return (0x0F)
    }

    Device (TORN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "TORN")
        Name (_PXM, 1)
        Name (_CRS, ResourceTemplate () {
            QWordMemory (ResourceConsumer, , MinFixed, MaxFixed, Cacheable, ReadWrite,
                0, 0x240000000, 0x247FFFFFF, 0, 0x8000000)
        })
        Method (_STA) {
            If (HERE) { Return (0x0F) }
            Return (0x00)
        }
        Method (_EJ0, 1) { }
    }
}
}
