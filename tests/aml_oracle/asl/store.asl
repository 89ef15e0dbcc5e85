// Stores, references, calls, control flow and synchronisation.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{

    Name (INT0, 0x12345678)
    Name (INT1, 7)
    Name (STR0, "abcdef")
    Name (STRN, "1234")
    Name (STRX, "0x1F")
    Name (STRH, "BEEF stew")
    Name (STRE, "")
    Name (BUF0, Buffer (8) {1, 2, 3, 4, 5})
    Name (BUF1, Buffer () {0xFF, 0x10})
    Name (BUFA, Buffer () {0x61, 0x62, 0x63, 0, 0x64})
    Name (PKG0, Package () {1, "two", Buffer () {3}, Package () {4, 5}, INT0, STR0})

    Name (TGTI, 0)
    Name (STRI, "INT0")
    Name (STRM, "NOPE")
    Name (TGTS, "short")
    Name (TGTB, Buffer (4) {9, 9, 9, 9})
    Name (TGTP, Package () {1, 2, 3})
    Name (TGTE, Buffer (0) {})
    Method (CHG1, 1) { Store (0xAA, Index (Arg0, 0)) Store (5, Arg0) Return (Arg0) }
    Method (CHG2, 1) { Store (0x77, Arg0) Return (0) }
    Method (CHG3, 1) { CopyObject ("new", Arg0) Return (Arg0) }
    Method (CHG4, 1) { CreateByteField (Arg0, 1, BYT1) Store (0x5A, BYT1) Return (Arg0) }
    Method (NONE) { If (LEqual (INT1, 0)) { Return (1) } }
    Method (RECU, 1) { If (LEqual (Arg0, 0)) { Return (0) } Return (Add (Arg0, RECU (Subtract (Arg0, 1)))) }
    Method (FIVE) { Return (5) }
    Method (GBUF) { Return (BUF0) }
    Device (DEV0) { Name (_ADR, 1) Name (VAL0, 42) Method (MTH0, 2) { Return (Add (Arg0, Add (Arg1, VAL0))) } }
    Alias (INT0, ALI0)
    Alias (FIVE, ALI1)
    Mutex (MTX0, 3)
    Mutex (MTX1, 5)
    Event (EVT0)
    Method (T000) { Store (STRN, TGTI) Return (TGTI) }
    Method (T001) { Store (BUF0, TGTI) Return (TGTI) }
    Method (T002) { Store (0x1234, TGTS) Return (TGTS) }
    Method (T003) { Store (BUF0, TGTS) Return (TGTS) }
    Method (T004) { Store ("a very much longer string", TGTS) Return (TGTS) }
    Method (T005) { Store ("x", TGTS) Return (TGTS) }
    Method (T006) { Store (0x11223344, TGTB) Return (TGTB) }
    Method (T007) { Store ("ab", TGTB) Return (TGTB) }
    Method (T008) { Store ("abcdefgh", TGTB) Return (TGTB) }
    Method (T009) { Store (BUF0, TGTB) Return (TGTB) }
    Method (T010) { Store (Buffer () {7}, TGTB) Return (TGTB) }
    Method (T011) { Store (BUF0, TGTE) Return (TGTE) }
    Method (T012) { Store (PKG0, TGTP) Return (TGTP) }
    Method (T013) { Store (PKG0, Local0) Store (Local0, TGTI) Return (TGTI) }
    Method (T014) { Store (1, Local0) Store (Local0, TGTP) Return (TGTP) }
    Method (T015) { CopyObject ("text", TGTI) Return (TGTI) }
    Method (T016) { CopyObject (7, TGTS) Return (TGTS) }
    Method (T017) { Store (BUF0, Local0) Store (0xEE, Index (Local0, 0)) Return (BUF0) }
    Method (T018) { Store (BUF0, Local0) Store (0xEE, Index (Local0, 0)) Return (Local0) }
    Method (T019) { Store (0xEE, Index (BUF0, 1)) Return (BUF0) }
    Method (T020) { Store (Buffer () {1, 2, 3}, Local0) Return (CHG1 (Local0)) }
    Method (T021) { Store (Buffer () {1, 2, 3}, Local0) CHG1 (Local0) Return (Local0) }
    Method (T022) { Store (1, Local0) CHG2 (Local0) Return (Local0) }
    Method (T023) { Store (1, Local0) CHG2 (RefOf (Local0)) Return (Local0) }
    Method (T024) { Store (1, TGTI) CHG2 (RefOf (TGTI)) Return (TGTI) }
    Method (T025) { CHG2 (TGTI) Return (TGTI) }
    Method (T026) { CHG4 (BUF0) Return (BUF0) }
    Method (T027) { Store (RefOf (TGTI), Local0) Store (3, TGTI) Return (DerefOf (Local0)) }
    Method (T028) { Store (Index (PKG0, 1), Local0) Return (DerefOf (Local0)) }
    Method (T029) { Store ("new", Index (PKG0, 0)) Return (PKG0) }
    Method (T030) { Store (PKG0, Local0) Store (9, Index (Local0, 0)) Return (DerefOf (Index (PKG0, 0))) }
    Method (T031) { Return (DerefOf (Index (PKG0, 3))) }
    Method (T032) { Return (DerefOf (Index (DerefOf (Index (PKG0, 3)), 1))) }
    Method (T033) { Return (DerefOf (Index (PKG0, 4))) }
    Method (T034) { Return (DerefOf (Index (PKG0, 9))) }
    Method (T035) { Return (DerefOf (Index (BUF0, 2))) }
    Method (T036) { Return (DerefOf (Index (BUF0, 8))) }
    Method (T037) { Return (DerefOf (Index (STR0, 2))) }
    Method (T038) { Store ("Z", Index (STR0, 0)) Return (STR0) }
    Method (T039) { Store (0x41, Index (STR0, 1)) Return (STR0) }
    Method (T040) { Return (DerefOf (STRI)) }
    Method (T041) { Return (DerefOf (STRM)) }
    Method (T042) { Return (DerefOf (RefOf (INT0))) }
    Method (T043) { Return (CondRefOf (INT0)) }
    Method (T044) { Return (CondRefOf (\NOPE)) }
    Method (T045) { CondRefOf (INT0, Local0) Return (DerefOf (Local0)) }
    Method (T046) { Return (ObjectType (INT0)) }
    Method (T047) { Return (ObjectType (STR0)) }
    Method (T048) { Return (ObjectType (BUF0)) }
    Method (T049) { Return (ObjectType (PKG0)) }
    Method (T050) { Return (ObjectType (DEV0)) }
    Method (T051) { Return (ObjectType (MTX0)) }
    Method (T052) { Return (ObjectType (EVT0)) }
    Method (T053) { Return (ObjectType (FIVE)) }
    Method (T054) { Return (ObjectType (Local0)) }
    Method (T055) { Return (ObjectType (Debug)) }
    Method (T056) { Return (ObjectType (Index (PKG0, 1))) }
    Method (T057) { Return (ObjectType (Index (BUF0, 1))) }
    Method (T058) { Return (ObjectType (RefOf (STR0))) }
    Method (T059) { Store (RefOf (STR0), Local0) Return (ObjectType (Local0)) }
    Method (T060) { Return (RECU (10)) }
    Method (T061) { Return (FIVE ()) }
    Method (T062) { Return (Add (FIVE (), FIVE ())) }
    Method (T063) { Return (NONE ()) }
    Method (T064) { Return (Add (NONE (), 1)) }
    Method (T065) { Return (\DEV0.MTH0 (1, 2)) }
    Method (T066) { Return (\DEV0.VAL0) }
    Method (T067) { Return (ALI0) }
    Method (T068) { Return (ALI1 ()) }
    Method (T069) { Store (1, ALI0) Return (INT0) }
    Method (T070) { Return (Acquire (MTX0, 0xFFFF)) }
    Method (T071) { Acquire (MTX0, 10) Acquire (MTX1, 10) Release (MTX1) Release (MTX0) Return (1) }
    Method (T072) { Acquire (MTX1, 10) Acquire (MTX0, 10) Return (1) }
    Method (T073) { Acquire (MTX0, 10) Acquire (MTX0, 10) Release (MTX0) Release (MTX0) Return (2) }
    Method (T074) { Release (MTX0) Return (1) }
    Method (T075) { Acquire (MTX0, 10) Acquire (MTX1, 10) Release (MTX0) Return (1) }
    Method (T076) { Signal (EVT0) Return (Wait (EVT0, 10)) }
    Method (T077) { Return (Wait (EVT0, 10)) }
    Method (T078) { Signal (EVT0) Reset (EVT0) Return (Wait (EVT0, 1)) }
    Method (T079) { Store (0, Local0) While (LLess (Local0, 10)) { Increment (Local0) } Return (Local0) }
    Method (T080) { Store (0, Local0) While (1) { Increment (Local0) If (LGreater (Local0, 5)) { Break } } Return (Local0) }
    Method (T081) { Store (0, Local0) Store (0, Local1) While (LLess (Local0, 10)) { Increment (Local0) If (And (Local0, 1)) { Continue } Add (Local1, Local0, Local1) } Return (Local1) }
    Method (T082) { Store (3, Local0) If (LEqual (Local0, 1)) { Return ("one") } ElseIf (LEqual (Local0, 3)) { Return ("three") } Else { Return ("else") } }
    Method (T083) { Store (3, Local0) Switch (Local0) { Case (1) { Return (10) } Case (3) { Return (30) } Default { Return (99) } } Return (0) }
    Method (T084) { Store (0, Local0) For (Store (0, Local1), LLess (Local1, 5), Increment (Local1)) { Add (Local0, Local1, Local0) } Return (Local0) }
    Method (T085) { Name (LOCN, 5) Increment (LOCN) Return (LOCN) }
    Method (T086) { Store (Package (3) {1, 2}, Local0) Return (Local0) }
    Method (T087) { Store (4, Local1) Store (Package (Local1) {1, 2}, Local0) Return (SizeOf (Local0)) }
    Method (T088) { Store (4, Local1) Return (Buffer (Local1) {1, 2}) }
    Method (T089) { Return (Buffer (2) {1, 2, 3, 4}) }
    Method (T090) { Return (Package (3) {1, 2, 3}) }
    Method (T091) { Store (Package () {1, Package () {2, 3}}, Local0) Store (DerefOf (Index (Local0, 1)), Local1) Store (99, Index (Local1, 0)) Return (Local0) }
    Method (T092) { Store (GBUF (), Local0) Store (0, Index (Local0, 0)) Return (BUF0) }
    Method (T093) { Store (0x55, Index (GBUF (), 7)) Return (BUF0) }
    Method (T094) { Return (SizeOf (GBUF ())) }
    Method (T095) { Return (DerefOf (Index (Package () {FIVE, 2}, 1))) }
    Method (T096) { Store (Index (BUF0, 3), Local0) Store (0x99, Local0) Return (BUF0) }
    Method (T097) { Store (Index (BUF0, 3, Local1), Local0) Store (0x99, Local1) Return (Local1) }
    Method (T098) { Store (1, Local0) Store (Local0, Local1) Increment (Local1) Return (Local0) }
    Method (T099) { Return (CHG3 (5)) }
    Method (T100) { Return (Timer () - Timer () < 0x7FFFFFFF) }
    Method (T101) { If (_OSI ("Windows 2015")) { Return (1) } Return (0) }
    Method (T102) { Return (_OSI ("Linux")) }
    Method (T103) { Return (_OSI ("Nonsense")) }
    Method (T104) { Return (\_REV) }
    Method (T105) { Return (\_OS) }
    Method (T106) { Store (INT0, Debug) Return (1) }
    Method (T107) { Return (Concatenate ("a", DEV0)) }
    Method (T108) { Sleep (1) Stall (1) Return (1) }
}
