// Calls, blocks, mutexes, events and errors in the middle: what the next evaluation finds.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{

    Method (LST2, 2) { Store (Package (2) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Return (Local7) }
    Method (LST3, 3) { Store (Package (3) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Store (Arg2, Index (Local7, 2)) Return (Local7) }
    Name (CNT0, 0)
    Name (PKG0, Package () {1, "two", Buffer () {3}, Package () {4, 5}})
    Mutex (MTX0, 0)
    Mutex (MTX3, 3)
    Mutex (MTX5, 5)
    Event (EVT0)
    Event (EVT1)
    Method (SER2, 0, Serialized, 2) { Return (Acquire (MTX3, 10)) }
    Method (SER5, 0, Serialized, 5) { Return (Acquire (MTX3, 10)) }
    Method (SER4, 1, Serialized, 4) { If (Arg0) { Return (SER4 (Subtract (Arg0, 1))) } Return ("bottom") }
    Method (SERL, 0, Serialized, 1) { Return (SER4 (1)) }
    Method (SERH, 0, Serialized, 6) { Return (SER4 (1)) }
    Method (FAIL) { Acquire (MTX3, 10) Return (Divide (1, CNT0)) }
    Method (HOLD) { Acquire (MTX5, 10) Return (1) }
    Method (BUMP) { Increment (CNT0) Return (CNT0) }
    Method (NOTH) {}
    Method (IMPL) { Add (1, 2, Local0) }
    Method (RETN) { Return }
    Method (FIBO, 1) { If (LLess (Arg0, 2)) { Return (Arg0) } Return (Add (FIBO (Subtract (Arg0, 1)), FIBO (Subtract (Arg0, 2)))) }
    Method (ARGW, 2) { Store (Add (Arg0, 1), Arg0) Store (Arg0, Arg1) Return (Add (Arg0, Arg1)) }

    Method (T000) { Return (SER2 ()) }
    Method (T001) { Return (SER5 ()) }
    Method (T002) { Return (SER4 (3)) }
    Method (T003) { Return (SERL ()) }
    Method (T004) { Return (SERH ()) }
    Method (T005) { Acquire (MTX5, 10) Return (SER4 (0)) }
    Method (T006) { Acquire (MTX3, 10) Return (SER4 (0)) }
    Method (T007) { Return (FAIL ()) }
    Method (T008) { Return (Acquire (MTX3, 0)) }
    Method (T009) { Return (HOLD ()) }
    Method (T010) { Return (Acquire (MTX0, 0)) }
    Method (T011) { HOLD () Release (MTX5) Return (Acquire (MTX3, 0)) }
    Method (T012) { Acquire (MTX0, 0) Acquire (MTX3, 0) Acquire (MTX5, 0) Release (MTX5) Release (MTX3) Release (MTX0) Return (3) }
    Method (T013) { Acquire (MTX3, 0) Acquire (MTX3, 0) Acquire (MTX5, 0) Release (MTX3) Return (3) }
    Method (T014) { Acquire (MTX3, 0) Acquire (MTX3, 0) Release (MTX3) Release (MTX3) Release (MTX3) Return (3) }
    Method (T015) { Acquire (\_GL, 0xFFFF) Release (\_GL) Return (1) }
    Method (T016) { Release (\_GL) Return (1) }
    Method (T017) { Acquire (MTX0, 0) Acquire (\_GL, 0xFFFF) Release (MTX0) Release (\_GL) Return (2) }
    Method (T018) { Acquire (MTX3, 0) Acquire (\_GL, 0xFFFF) Return (2) }
    Method (T022) { Return (Wait (EVT1, 0)) }
    Method (T023) { Signal (EVT1) Signal (EVT1) Store (Wait (EVT1, 0), Local0) Store (Wait (EVT1, 0), Local1) Return (LST3 (Local0, Local1, Wait (EVT1, 0))) }
    Method (T026) { Signal (EVT1) Signal (EVT1) Reset (EVT1) Return (Wait (EVT1, 1)) }
    Method (T032) { RETN () Return (5) }
    Method (T036) { Return (FIBO (8)) }
    Method (T037) { Store (1, Local0) Store (2, Local1) Store (ARGW (Local0, Local1), Local2) Return (LST3 (Local0, Local1, Local2)) }
    Method (T038) { Return (LST3 (BUMP (), BUMP (), BUMP ())) }
    Method (T039) { If (LAnd (BUMP (), BUMP ())) {} Return (CNT0) }
    Method (T040) { If (LOr (1, BUMP ())) {} Return (CNT0) }
    Method (T041) { Store (0, Local0) While (LLess (Local0, 5)) { Increment (Local0) If (LEqual (Local0, 2)) { Continue } If (LEqual (Local0, 4)) { Break } BUMP () } Return (LST2 (Local0, CNT0)) }
    Method (T042) { Store (0, Local0) Store (0, Local1) While (LLess (Local0, 3)) { Store (0, Local2) While (1) { If (LGreaterEqual (Local2, Local0)) { Break } Else { If (LEqual (Local2, 7)) { Continue } } Increment (Local2) Increment (Local1) } Increment (Local0) } Return (Local1) }
    Method (T043) { While (1) { If (1) { If (1) { Return ("inside") } } } Return ("outside") }
    Method (T044) { If (0) { Return (1) } ElseIf (0) { Return (2) } ElseIf (1) { If (0) { Return (3) } Else { Return (4) } } Else { Return (5) } }
    Method (T045) { If (1) {} Else { Return (1) } Return (2) }
    Method (T046) { While (0) { Return (1) } Return (2) }
    Method (T047) { Store ("b", Local0) Switch (Local0) { Case ("a") { Return (1) } Case ("b") { Return (2) } } Return (3) }
    Method (T048) { Store (Buffer () {1}, Local0) Switch (Local0) { Case (Buffer () {2}) { Return (1) } Case (Buffer () {1}) { Return (2) } } Return (3) }
    Method (T049) { Switch (ToInteger (3)) { Case (1) { Store (1, Local0) } Case (3) { Switch (ToInteger (4)) { Case (4) { Store (34, Local0) } } } Default { Store (0, Local0) } } Return (Local0) }
    Method (T050) { Switch (ToInteger (9)) { Case (1) { Return (1) } Default { Return ("default") } } }
    Method (T051) { Store (5, Local0) While (Local0) { Decrement (Local0) Switch (ToInteger (Local0)) { Case (2) { Break } } If (LEqual (Local0, 1)) { Break } } Return (Local0) }
    Method (T052) { Noop Return (1) }
    Method (T053) { Return (Divide (7, 0)) }
    Method (T054) { Return (Mod (7, 0)) }
    Method (T055) { Return (ToBCD (12345678)) }
    Method (T056) { Return (FromBCD (0x12345678)) }
    Method (T057) { Return (FromBCD (0x1A)) }
    Method (T058) { Return (ToBCD (0xFFFFFFFFFFFFFFFF)) }
    Method (T059) { Return (FindSetLeftBit (0x8000000000000000)) }
    Method (T060) { Return (ShiftLeft (1, 33)) }
    Method (T061) { Return (ShiftRight (0xFFFFFFFF00000000, 32)) }
    Method (T062) { Return (Add (0xFFFFFFFF, 1)) }
    Method (T063) { Return (Multiply (0x100000000, 2)) }
    Method (T064) { Return (LLess (0xFFFFFFFF00000001, 2)) }
    Method (T065) { Return (Ones) }
    Method (T066) { Return (LNotEqual ("a", "b")) }
    Method (T068) { Return (LAnd ("1", Buffer () {0, 1})) }
    Method (T069) { Return (LNot ("0")) }
    Method (T070) { Return (LGreater (2, "1")) }
    Method (T071) { Return (LGreater ("2", 1)) }
    Method (T072) { Return (And ("F0", Buffer () {0xFF, 0})) }
    Method (T073) { Return (Match (Package () {1, "2", Buffer () {3}, 4}, MEQ, 3, MTR, 0, 0)) }
    Method (T074) { Return (Match (Package () {"abc", "abd"}, MGT, "abc", MTR, 0, 0)) }
    Method (T075) { Return (Match (Package () {1, 2, 3, 4}, MGE, 2, MLE, 3, 2)) }
    Method (T076) { Return (Match (Package (4) {1, 2}, MEQ, 0, MTR, 0, 0)) }
    Method (T077) { Return (Match (Package () {Package () {1}, 5}, MEQ, 5, MTR, 0, 0)) }
    Method (T079) { Return (Mid (Buffer () {1, 2, 3}, Ones, 1)) }
    Method (T080) { Return (ToString (Buffer () {0x41, 0, 0x42}, 3)) }
    Method (T081) { Return (ToString (0x44434241, Ones)) }
    Method (T082) { Return (ToString ("abc", 2)) }
    Method (T084) { Return (ToDecimalString (Buffer (0) {})) }
    Method (T085) { Return (ToHexString ("")) }
    Method (T086) { Return (ToBuffer (Buffer (0) {})) }
    Method (T087) { Return (Concatenate (Buffer (0) {}, Buffer (0) {})) }
    Method (T088) { Return (Concatenate ("", 1)) }
    Method (T089) { Return (Concatenate (1, Buffer (0) {})) }
    Method (T090) { Return (ConcatenateResTemplate (Buffer () {0x79, 0}, ResourceTemplate () { Memory32Fixed (ReadWrite, 0x1000, 0x1000) })) }
    Method (T091) { Return (ConcatenateResTemplate (Buffer (0) {}, Buffer () {0x79, 0})) }
    Method (T092) { Return (ConcatenateResTemplate (Buffer (1) {0}, Buffer () {0x79, 0})) }
    Method (T093) { Return (ToInteger ("0x")) }
    Method (T094) { Return (ToInteger ("18446744073709551616")) }
    Method (T095) { Return (ToInteger ("4294967296")) }
    Method (T096) { Return (ToInteger ("0x123456789ABCDEF01")) }
    Method (T097) { Return (ToInteger ("-5")) }
    Method (T098) { Return (ToInteger (Buffer () {1, 2, 3, 4, 5, 6, 7, 8, 9})) }
    Method (T099) { Return (Add ("123456789ABCDEF", 0)) }
    Method (T100) { Return (Add (Buffer () {1, 2, 3, 4, 5}, 0)) }
    Method (T101) { Return (Buffer ("4") {1}) }
    Method (T102) { Return (Package (0) {}) }
    Method (T103) { Store (0, Local0) Return (Package (Local0) {}) }
    Method (T104) { Store (2, Local0) Return (Package (Local0) {1, 2, 3}) }
    Method (T105) { Return ("tab\tand \"quotes\"") }
    Method (T107) { Return (CNT0) }
    Method (T109) { HOLD () Return (Acquire (MTX3, 0)) }
    Method (T110) { Return (ToInteger ("99999999999")) }
    Method (T111) { Return (ToInteger ("18446744073709551615")) }
}
