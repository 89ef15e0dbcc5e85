// Integers, logic and comparisons, with implicit conversion of operands.
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
    Method (T000) { Return (Add (0xFFFFFFFFFFFFFFFF, 2)) }
    Method (T001) { Return (Subtract (1, 2)) }
    Method (T002) { Return (Multiply (0x100000001, 0x10000001)) }
    Method (T003) { Divide (100, 7, Local0, Local1) Return (Add (Multiply (Local0, 1000), Local1)) }
    Method (T004) { Divide (100, 0, Local0, Local1) Return (Local1) }
    Method (T005) { Return (Mod (100, 7)) }
    Method (T006) { Return (Mod (100, 0)) }
    Method (T007) { Return (ShiftLeft (1, 31)) }
    Method (T008) { Return (ShiftLeft (1, 32)) }
    Method (T009) { Return (ShiftLeft (1, 63)) }
    Method (T010) { Return (ShiftLeft (3, 64)) }
    Method (T011) { Return (ShiftRight (0xFFFFFFFFFFFFFFFF, 4)) }
    Method (T012) { Return (ShiftRight (0x80000000, 32)) }
    Method (T013) { Return (ShiftRight (1, 64)) }
    Method (T014) { Return (And (0xF0F0, 0xFF00)) }
    Method (T015) { Return (NAnd (0xF0F0, 0xFF00)) }
    Method (T016) { Return (Or (0xF0F0, 0xFF00)) }
    Method (T017) { Return (NOr (0xF0F0, 0xFF00)) }
    Method (T018) { Return (XOr (0xF0F0, 0xFF00)) }
    Method (T019) { Return (Not (0)) }
    Method (T020) { Return (Not (0x55)) }
    Method (T021) { Return (FindSetLeftBit (0)) }
    Method (T022) { Return (FindSetLeftBit (0x8000)) }
    Method (T023) { Return (FindSetLeftBit (0x8000000000000000)) }
    Method (T024) { Return (FindSetRightBit (0)) }
    Method (T025) { Return (FindSetRightBit (0x8000)) }
    Method (T026) { Return (FindSetRightBit (0x8000000000000000)) }
    Method (T027) { Return (FromBCD (0x1234)) }
    Method (T028) { Return (FromBCD (0x12A4)) }
    Method (T029) { Return (ToBCD (1234)) }
    Method (T030) { Return (ToBCD (99999999)) }
    Method (T031) { Return (ToBCD (123456789)) }
    Method (T032) { Return (LAnd (1, 2)) }
    Method (T033) { Return (LAnd (1, 0)) }
    Method (T034) { Return (LOr (0, 0)) }
    Method (T035) { Return (LOr (0, 5)) }
    Method (T036) { Return (LNot (0)) }
    Method (T037) { Return (LNot (7)) }
    Method (T038) { Return (LEqual (1, 1)) }
    Method (T039) { Return (LEqual (1, 2)) }
    Method (T040) { Return (LNotEqual (1, 2)) }
    Method (T041) { Return (LGreater (2, 1)) }
    Method (T042) { Return (LLess (2, 1)) }
    Method (T043) { Return (LGreaterEqual (2, 2)) }
    Method (T044) { Return (LLessEqual (3, 2)) }
    Method (T045) { Return (LEqual (0xFFFFFFFF, Ones)) }
    Method (T046) { Return (Ones) }
    Method (T047) { Return (Zero) }
    Method (T048) { Return (One) }
    Method (T049) { Store (5, Local0) Increment (Local0) Return (Local0) }
    Method (T050) { Store (0, Local0) Decrement (Local0) Return (Local0) }
    Method (T051) { Increment (INT1) Return (INT1) }
    Method (T052) { Return (Increment (INT1)) }
    Method (T053) { Return (Add (STRN, 1)) }
    Method (T054) { Return (Add (STRX, 1)) }
    Method (T055) { Return (Add (STRH, 1)) }
    Method (T056) { Return (Add (STRE, 1)) }
    Method (T057) { Return (Add (BUF0, 1)) }
    Method (T058) { Return (Add (BUF1, 1)) }
    Method (T059) { Return (Add ("123456789ABCDEF01", 0)) }
    Method (T060) { Return (Add ("  12", 0)) }
    Method (T061) { Return (Add ("-1", 0)) }
    Method (T062) { Store (PKG0, Local0) Return (Add (Local0, 1)) }
    Method (T063) { Return (LEqual ("abc", "abc")) }
    Method (T064) { Return (LEqual ("abc", "abd")) }
    Method (T065) { Return (LGreater ("abd", "abc")) }
    Method (T066) { Return (LLess ("ab", "abc")) }
    Method (T067) { Return (LGreater ("b", "abc")) }
    Method (T068) { Return (LEqual (Buffer () {1, 2}, Buffer () {1, 2})) }
    Method (T069) { Return (LLess (Buffer () {1, 2}, Buffer () {1, 2, 0})) }
    Method (T070) { Return (LGreater (Buffer () {2}, Buffer () {1, 9})) }
    Method (T071) { Return (LEqual ("1234", 0x1234)) }
    Method (T072) { Return (LEqual (0x1234, "1234")) }
    Method (T073) { Return (LEqual (0x0201, Buffer () {1, 2})) }
    Method (T074) { Return (LEqual (Buffer () {1, 2}, "12")) }
    Method (T075) { Return (LEqual ("FF 10", Buffer () {0xFF, 0x10})) }
    Method (T076) { If (STRN) { Return (1) } Return (0) }
    Method (T077) { If (STR0) { Return (1) } Return (0) }
    Method (T078) { If (LEqual (INT1, 0)) { Store (1, Local0) } Return (Local0) }
    Method (T079) { Return (LNot (STRN)) }
    Method (T080) { Return (LOr (STRN, 0)) }
    Method (T081) { Return (Add (Add (1, 2, Local0), Local0)) }
    Method (T082) { Store (1, Local0) Add (Local0, Local0, Local0) Add (Local0, Local0, Local0) Return (Local0) }
}
