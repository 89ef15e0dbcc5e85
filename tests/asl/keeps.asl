// An absent memory device whose resources, when they are asked for, leave an object behind.
DefinitionBlock ("", "SSDT", 2, "CARAPA", "KEEPS", 1)
{
Scope (\_SB) {
    Device (ABSN) {
        Name (_HID, EisaId ("PNP0C80"))
        Name (_UID, "ABSN")
        Name (KEPT, 0)
        Method (_STA) { Return (0x00) }
        Method (_CRS) {
            CopyObject (Buffer (4096) { }, KEPT)
            Return (Buffer () { 0x79, 0x00 })
        }
    }
}
}
