// A memory device whose firmware writes to the second serial line, on which the kernel speaks with programs.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "PORTS", 1)
{
Scope (\_SB) {
    Device (SER2) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "SER2")
        OperationRegion (LINE, SystemIO, 0x2F8, 8)
        Field (LINE, ByteAcc, NoLock, Preserve) { SEND, 8 }
        Method (_CRS) { SEND = 0x41; Return (Buffer () { 0x79, 0x00 }) }
    }
}
}
