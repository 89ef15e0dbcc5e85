// References: to names, variables and elements; CopyObject; types; aliases; objects made by methods.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{

    Method (LST7, 7) { Store (Package (7) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Store (Arg2, Index (Local7, 2)) Store (Arg3, Index (Local7, 3)) Store (Arg4, Index (Local7, 4)) Store (Arg5, Index (Local7, 5)) Store (Arg6, Index (Local7, 6)) Return (Local7) }
    Name (INT0, 0x12345678)
    Name (STR0, "abcdef")
    Name (BUF0, Buffer (8) {1, 2, 3, 4, 5})
    Name (PKG0, Package () {1, "two", Buffer () {3}, Package () {4, 5}, INT0, STR0})
    Name (PKGE, Package (4) {})
    Name (TGTI, 0)
    Name (TGTS, "short")
    Name (TGTB, Buffer (4) {9, 9, 9, 9})
    Name (PATH, "\\INT0")
    Name (PTHR, "DEV0.VAL0")
    Name (PTHN, "")
    OperationRegion (MEMR, SystemMemory, 0x00F00000, 0x40)
    Field (MEMR, ByteAcc, NoLock, Preserve) { MB00, 8, MB01, 16, MB02, 40, Offset (8), ML00, 128 }
    CreateWordField (BUF0, 0, BWD0)
    CreateField (BUF0, 3, 11, BFD0)
    Device (DEV0) { Name (_ADR, 1) Name (VAL0, 42) Method (MTH0, 2) { Return (Add (Arg0, Add (Arg1, VAL0))) } }
    PowerResource (PWR0, 0, 0) { Method (_STA) { Return (1) } }
    ThermalZone (ZON0) { Name (VALT, 3) }
    Processor (CPU0, 1, 0, 0) { Name (VALC, 7) }
    Mutex (MTX0, 0)
    Event (EVT0)
    Method (FIVE) { Return (5) }
    Method (DERF, 1) { Return (DerefOf (Arg0)) }
    Method (KIND, 1) { Return (ObjectType (Arg0)) }
    Method (SETA, 2) { Store (Arg1, Arg0) Return (Arg0) }
    Method (SETD, 2) { Store (Arg1, DerefOf (Arg0)) Return (0) }
    Method (CPYA, 2) { CopyObject (Arg1, Arg0) Return (Arg0) }
    Method (INCA, 1) { Increment (Arg0) Return (Arg0) }
    Method (GREF) { Return (RefOf (INT0)) }
    Method (GIDX) { Return (Index (PKG0, 1)) }
    Method (GPKG) { Return (PKG0) }
    Method (SEVN, 7) { Return (LST7 (Arg6, Arg5, Arg4, Arg3, Arg2, Arg1, Arg0)) }
    Alias (BUF0, ALB0)
    Alias (MB01, ALF0)
    Alias (DEV0, ALD0)
    Alias (MTX0, ALM0)
    Alias (ALB0, ALA0)

    Method (T000) { Return (DERF (RefOf (INT0))) }
    Method (T001) { Return (DERF (Index (PKG0, 1))) }
    Method (T002) { Return (DERF (Index (BUF0, 1))) }
    Method (T003) { Return (DERF (Index (STR0, 1))) }
    Method (T004) { Return (DERF (PATH)) }
    Method (T005) { Return (DERF (PTHR)) }
    Method (T006) { Return (DERF (PTHN)) }
    Method (T007) { Return (DERF (5)) }
    Method (T008) { Return (DERF (BUF0)) }
    Method (T009) { Return (DerefOf (GREF ())) }
    Method (T010) { Return (DerefOf (GIDX ())) }
    Method (T011) { Return (DerefOf (Index (GPKG (), 0))) }
    Method (T012) { Return (DERF ("\\DEV0.VAL0")) }
    Method (T013) { Return (DERF ("^DEV0.VAL0")) }
    Method (T014) { Return (DERF ("no such name")) }
    Method (T015) { Store (RefOf (MB01), Local0) Store (0x1234, MB01) Return (DerefOf (Local0)) }
    Method (T016) { Store (RefOf (BWD0), Local0) Return (DerefOf (Local0)) }
    Method (T017) { Store (RefOf (BFD0), Local0) Return (DerefOf (Local0)) }
    Method (T018) { Store (Index (PKGE, 1), Local0) Return (DerefOf (Local0)) }
    Method (T020) { Store (7, Local1) Store (RefOf (Local1), Local0) Store (8, Local1) Return (DerefOf (Local0)) }
    Method (T021) { Store (RefOf (STR0), Local0) Store (RefOf (Local0), Local1) Return (DerefOf (DerefOf (Local1))) }
    Method (T022) { Store (PKG0, Local0) Store (Index (Local0, 3), Local1) Return (DerefOf (Index (DerefOf (Local1), 0))) }
    Method (T030) { Return (KIND (INT0)) }
    Method (T031) { Return (KIND (RefOf (INT0))) }
    Method (T032) { Return (KIND (RefOf (MB00))) }
    Method (T033) { Return (KIND (RefOf (BWD0))) }
    Method (T034) { Return (KIND (RefOf (DEV0))) }
    Method (T035) { Return (KIND (Index (PKG0, 3))) }
    Method (T036) { Return (KIND (Index (PKG0, 4))) }
    Method (T037) { Return (KIND (Index (BUF0, 0))) }
    Method (T038) { Return (ObjectType (PWR0)) }
    Method (T039) { Return (ObjectType (ZON0)) }
    Method (T040) { Return (ObjectType (CPU0)) }
    Method (T041) { Return (ObjectType (MEMR)) }
    Method (T042) { Return (ObjectType (ALB0)) }
    Method (T043) { Return (ObjectType (ALF0)) }
    Method (T044) { Return (ObjectType (ALD0)) }
    Method (T045) { Return (ObjectType (BFD0)) }
    Method (T046) { Store (RefOf (Local1), Local0) Return (ObjectType (Local0)) }
    Method (T047) { Return (ObjectType (DerefOf (RefOf (STR0)))) }
    Method (T048) { Return (ObjectType (Index (PKGE, 0))) }
    Method (T049) { Return (ObjectType (MB02)) }
    Method (T050) { Return (KIND (MB00)) }
    Method (T052) { Return (ObjectType (_SB)) }
    Method (T054) { Return (ObjectType (_GL)) }
    Method (T055) { Return (ObjectType (_OSI)) }
    Method (T060) { Return (SETA (INT0, 1)) }
    Method (T061) { SETA (INT0, 1) Return (INT0) }
    Method (T062) { SETA (RefOf (TGTI), 0x77) Return (TGTI) }
    Method (T063) { SETA (RefOf (TGTI), "12") Return (TGTI) }
    Method (T064) { CopyObject (0, TGTI) SETA (RefOf (TGTS), 0x4142) Return (TGTS) }
    Method (T065) { SETA (RefOf (TGTB), "xyzzy") Return (TGTB) }
    Method (T066) { SETA (RefOf (MB00), 0x1FF) Return (MB00) }
    Method (T067) { SETA (RefOf (BWD0), 0x12345) Return (BUF0) }
    Method (T068) { CPYA (RefOf (TGTI), "text") Return (TGTI) }
    Method (T069) { CPYA (INT0, 3) Return (INT0) }
    Method (T070) { Store (1, Local0) CPYA (RefOf (Local0), "text") Return (Local0) }
    Method (T071) { Store (1, Local0) INCA (Local0) Return (Local0) }
    Method (T072) { SETA (Index (PKG0, 0), 99) Return (PKG0) }
    Method (T073) { Store (Index (PKG0, 0), Local0) SETA (Local0, 98) Return (PKG0) }
    Method (T074) { SETA (Index (BUF0, 0), 0x197) Return (BUF0) }
    Method (T075) { SETA (Index (STR0, 0), 0x58) Return (STR0) }
    Method (T076) { CopyObject (5, MB00) Return (MB00) }
    Method (T077) { CopyObject (BUF0, MB01) Return (MB01) }
    Method (T078) { CopyObject ("wxyz", BWD0) Return (BUF0) }
    Method (T079) { CopyObject (MB00, TGTI) Return (ObjectType (TGTI)) }
    Method (T080) { CopyObject (BWD0, TGTI) Return (ObjectType (TGTI)) }
    Method (T081) { Store (PKG0, Local0) CopyObject (Local0, TGTI) Store (0, Index (Local0, 0)) Return (TGTI) }
    Method (T082) { CopyObject (BUF0, TGTI) Return (SizeOf (TGTI)) }
    Method (T083) { CopyObject (BUF0, Local0) CopyObject ("s", Local0) Return (Local0) }
    Method (T084) { CopyObject (RefOf (STR0), Local0) Return (DerefOf (Local0)) }
    Method (T090) { Return (ALB0) }
    Method (T091) { Return (ALA0) }
    Method (T092) { Store (0x55AA, ALF0) Return (MB01) }
    Method (T095) { Return (Acquire (ALM0, 10)) }
    Method (T096) { Store (1, Index (ALB0, 0)) Return (BUF0) }
    Method (T097) { Return (CondRefOf (ALB0)) }
    Method (T100) { Return (SEVN (1, "b", Buffer () {3}, 4, 5, 6, 7)) }
    Method (T102, , Serialized) { Name (TMP0, Package () {1, 2}) Store (RefOf (TMP0), Local0) Return (DerefOf (Index (DerefOf (Local0), 1))) }
    Method (T103, , Serialized) { Name (TMP0, 5) Return (TMP0) }
    Method (T105, , Serialized) { Method (INNR, 1) { Return (Add (Arg0, 1)) } Return (INNR (4)) }
    Method (T106, , Serialized) { Scope (\DEV0) { Name (DYN0, 6) } Return (\DEV0.DYN0) }
    Method (T107) { Return (CondRefOf (\DEV0.DYN0)) }
    Method (T108, , Serialized) { Device (DEVT) { Name (VALT, 8) } Return (DEVT.VALT) }
    Method (T109, , Serialized) { OperationRegion (TREG, SystemMemory, Add (0x00F00000, 0x20), 8) Field (TREG, WordAcc, NoLock, Preserve) { TF00, 16 } Store (0xBEEF, TF00) Return (TF00) }
    Method (T110, , Serialized) { CreateField (BUF0, 4, 8, TFLD) Store (0, TFLD) Return (BUF0) }
    Method (T111) { Store (Buffer (4) {}, Local0) CreateDWordField (Local0, 0, LDWF) Store (0x01020304, LDWF) Return (Local0) }
    Method (T112) { Return (CondRefOf (LDWF)) }
    Method (T113) { Return (Package () {INT0, DEV0, FIVE, MB00, "NONE"}) }
    Method (T114) { Return (Package (3) {INT0}) }
    Method (T115) { Return (SizeOf (PKGE)) }
    Method (T116) { Return (PKGE) }
    Method (T117) { Store (RefOf (INT0), Index (PKGE, 0)) Return (DerefOf (DerefOf (Index (PKGE, 0)))) }
    Method (T118) { Store (Index (PKG0, 1), Index (PKGE, 1)) Return (ObjectType (Index (PKGE, 1))) }
    Method (T119) { Store (MB00, Index (PKGE, 2)) Return (ObjectType (Index (PKGE, 2))) }
    Method (T120) { Store (PKG0, PKGE) Return (SizeOf (PKGE)) }
    Method (T121) { Return (SizeOf (RefOf (BUF0))) }
    Method (T122) { Store (RefOf (PKG0), Local0) Return (SizeOf (Local0)) }
    Method (T123) { Return (SizeOf (MB00)) }
    Method (T124) { Return (SizeOf (ML00)) }
    Method (T127) { Store (Index (BUF0, 2), Local0) Return (SizeOf (Local0)) }
    Method (T129) { Store (RefOf (INT0), Local0) Return (Add (Local0, 1)) }
    Method (T130) { Store (Index (PKG0, 0), Local0) Return (Add (Local0, 1)) }
    Method (T131) { Store (Index (BUF0, 1), Local0) Return (LEqual (Local0, 2)) }
    Method (T132) { Increment (TGTS) Return (TGTS) }
    Method (T133) { Store ("9", Local0) Increment (Local0) Return (Local0) }
    Method (T134) { Store (Buffer () {0xFF}, Local0) Decrement (Local0) Return (Local0) }
    Method (T136) { Decrement (Index (PKG0, 0)) Return (PKG0) }
    Method (T137) { Add (1, 2, Index (BUF0, 0)) Return (BUF0) }
    Method (T138) { Add (1, 2, Index (PKG0, 1)) Return (PKG0) }
    Method (T139) { Add (1, 2, TGTS) Return (TGTS) }
    Method (T140) { Concatenate ("a", "b", INT0) Return (INT0) }
    Method (T141) { ToInteger ("77", TGTB) Return (TGTB) }
    Method (T142) { Store (SizeOf (STR0), Debug) Store (PKG0, Debug) Store (RefOf (DEV0), Debug) Return (1) }
    Method (T143) { Divide (17, 5, Index (PKG0, 0), Index (PKG0, 1)) Return (PKG0) }
    Method (T144) { Store (Store (5, Local0), Local1) Return (Add (Local0, Local1)) }
    Method (T145) { Return (Store ("12", INT0)) }
    Method (T146) { Return (CopyObject ("12", Local0)) }
    Method (T147) { Return (Add (Store ("12", TGTB), 1)) }
    Method (T151) { Return (ML00) }
    Method (T152) { ToBuffer (5, INT0) Return (INT0) }
    Method (T153) { ToHexString (Buffer () {1, 2}, TGTB) Return (TGTB) }
    Method (T154) { ToDecimalString (77, PKG0) Return (PKG0) }
    Method (T155) { ToString (Buffer () {0x41, 0x42}, Ones, TGTI) Return (TGTI) }
    Method (T156) { ToBCD (77, STR0) Return (STR0) }
    Method (T157) { FromBCD (0x77, PATH) Return (PATH) }
    Method (T158) { FindSetLeftBit (0x80, PTHR) Return (PTHR) }
    Method (T159) { Not (0x80, PTHN) Return (PTHN) }
    Method (T160) { Mid ("12345", 1, 3, TGTI) Return (TGTI) }
    Method (T161) { ToInteger ("300", MB00) Return (MB00) }
    Method (T162) { ToInteger ("300", Index (BUF0, 5)) Return (BUF0) }
    Method (T163) { ToBuffer ("xy", BWD0) Return (BUF0) }
    Method (T164) { ToInteger ("5", Local0) Return (Local0) }
    Method (T165) { Store ("9", TGTI) Return (TGTI) }
    Method (T166) { FindSetRightBit (0x80, TGTB) Return (TGTB) }
    Method (T167) { Subtract (9, 4, TGTB) Return (TGTB) }
    Method (T168) { Store ("word", Local0) Increment (Local0) Return (Local0) }
    Method (T169) { Index (PKG0, 1, Local0) Return (DerefOf (Local0)) }
    Method (T170) { Concatenate (1, 2, TGTI) Return (TGTI) }
    // The name read in a loop is that of the root, then the method's own, and in the next call the root's again.
    Name (SHDN, 1)
    Method (SHDW) { Store (0, Local0) Store (0, Local1) While (LLess (Local0, 4)) { Add (Local1, \SHDN, Local1) Add (Local1, SHDN, Local1) If (LEqual (Local0, 1)) { Name (SHDN, 0x100) } Increment (Local0) } Return (Local1) }
    Method (T171) { Store (SHDW (), Local0) Return (Add (Local0, ShiftLeft (SHDW (), 16))) }
}
