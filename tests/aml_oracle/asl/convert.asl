// Explicit and implicit conversions; joining and cutting strings, buffers and packages.
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
    Method (T000) { Return (ToInteger ("1234")) }
    Method (T001) { Return (ToInteger ("0x1234")) }
    Method (T002) { Return (ToInteger ("0xFFFFFFFFFFFFFFFF")) }
    Method (T003) { Return (ToInteger ("12abc")) }
    Method (T004) { Return (ToInteger ("  77")) }
    Method (T005) { Return (ToInteger (BUF0)) }
    Method (T006) { Return (ToInteger (BUF1)) }
    Method (T007) { Return (ToInteger (5)) }
    Method (T008) { Return (ToInteger ("0000123")) }
    Method (T009) { Return (ToInteger (STRE)) }
    Method (T010) { Return (ToInteger ("abc")) }
    Method (T011) { Return (ToInteger (Buffer () {})) }
    Method (T012) { Return (ToHexString (0x1A)) }
    Method (T013) { Return (ToHexString (BUF0)) }
    Method (T014) { Return (ToHexString (BUF1)) }
    Method (T015) { Return (ToHexString ("xyz")) }
    Method (T016) { Return (ToDecimalString (0x1A)) }
    Method (T017) { Return (ToDecimalString (0)) }
    Method (T018) { Return (ToDecimalString (0xFFFFFFFFFFFFFFFF)) }
    Method (T019) { Return (ToDecimalString (BUF0)) }
    Method (T020) { Return (ToDecimalString (Buffer () {100, 200, 7})) }
    Method (T021) { Return (ToDecimalString ("xyz")) }
    Method (T022) { Return (ToBuffer (0x1A)) }
    Method (T023) { Return (ToBuffer ("abc")) }
    Method (T024) { Return (ToBuffer ("")) }
    Method (T025) { Return (ToBuffer (BUF0)) }
    Method (T026) { Return (ToString (BUFA, Ones)) }
    Method (T027) { Return (ToString (BUFA, 2)) }
    Method (T028) { Return (ToString (BUFA, 0)) }
    Method (T029) { Return (ToString (BUF0, 3)) }
    Method (T030) { Return (ToString (Buffer () {0x41, 0x42}, Ones)) }
    Method (T031) { Return (ToString (Buffer () {0x41, 0x42}, 7)) }
    Method (T032) { Return (Concatenate (1, 2)) }
    Method (T033) { Return (Concatenate ("a", "b")) }
    Method (T034) { Return (Concatenate ("a", 1)) }
    Method (T035) { Return (Concatenate (1, "2")) }
    Method (T036) { Return (Concatenate (1, "xyz")) }
    Method (T037) { Return (Concatenate (BUF1, BUF1)) }
    Method (T038) { Return (Concatenate (BUF1, 1)) }
    Method (T039) { Return (Concatenate (BUF1, "ab")) }
    Method (T040) { Return (Concatenate ("ab", BUF1)) }
    Method (T041) { Return (Concatenate (1, BUF1)) }
    Method (T042) { Return (Concatenate ("", "")) }
    Method (T043) { Return (Concatenate (PKG0, "a")) }
    Method (T044) { Return (Concatenate ("a", PKG0)) }
    Method (T045) { Return (Mid ("abcdef", 1, 3)) }
    Method (T046) { Return (Mid ("abcdef", 4, 30)) }
    Method (T047) { Return (Mid ("abcdef", 9, 3)) }
    Method (T048) { Return (Mid ("abcdef", 0, 0)) }
    Method (T049) { Return (Mid (BUF0, 1, 3)) }
    Method (T050) { Return (Mid (BUF0, 6, 30)) }
    Method (T051) { Return (Mid (BUF0, 60, 30)) }
    Method (T052) { Return (Mid (0x1234, 0, 4)) }
    Method (T053) { Return (SizeOf (STR0)) }
    Method (T054) { Return (SizeOf (STRE)) }
    Method (T055) { Return (SizeOf (BUF0)) }
    Method (T056) { Return (SizeOf (PKG0)) }
    Method (T057) { Return (SizeOf (INT0)) }
    Method (T058) { Store ("hello", Local0) Return (SizeOf (Local0)) }
    Method (T059) { Return (ConcatenateResTemplate (ResourceTemplate () { IRQNoFlags () {1} }, ResourceTemplate () { IRQNoFlags () {2} })) }
    Method (T060) { Return (ConcatenateResTemplate (Buffer () {0x79, 0}, Buffer () {0x79, 0})) }
    Method (T061) { Return (ConcatenateResTemplate (Buffer () {1, 2, 3}, Buffer () {0x79, 0})) }
    Method (T062) { Store (PKG0, Local0) Return (ToHexString (Local0)) }
    Method (T063) { Store (PKG0, Local0) Return (ToBuffer (Local0)) }
    Method (T064) { Store (PKG0, Local0) Return (ToInteger (Local0)) }
    Method (T065) { Return (EisaId ("PNP0C80")) }
    Method (T066) { Return (ToUUID ("33db4d5b-1ff7-401c-9657-7441c03dd766")) }
    Method (T067) { Return (Unicode ("Hi")) }
    Method (T068) { Return (Match (Package () {1, 5, 10, 20, 40}, MEQ, 10, MTR, 0, 0)) }
    Method (T069) { Return (Match (Package () {1, 5, 10, 20, 40}, MGT, 5, MLT, 40, 0)) }
    Method (T070) { Return (Match (Package () {1, 5, 10, 20, 40}, MGE, 20, MTR, 0, 1)) }
    Method (T071) { Return (Match (Package () {1, 5, 10, 20, 40}, MEQ, 11, MTR, 0, 0)) }
    Method (T072) { Return (Match (Package () {1, 5, 10, 20, 40}, MLE, 5, MGE, 5, 0)) }
    Method (T073) { Return (Match (Package () {"a", "b", 7}, MEQ, "b", MTR, 0, 0)) }
    Method (T074) { Return (Match (Package () {"a", "b", 7}, MEQ, 7, MTR, 0, 0)) }
    Method (T075) { Return (Match (Package () {1, 2}, MEQ, 1, MTR, 0, 5)) }
    Method (T076) { Return (Match (PKG0, MEQ, 0x12345678, MTR, 0, 0)) }
}
