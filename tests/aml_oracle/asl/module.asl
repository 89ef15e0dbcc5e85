// Code outside of methods, scopes, conditional declarations, packages of references, nested structures.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{
    External (\EXTM, MethodObj)
    External (\EXTI, IntObj)
    Name (MODE, 2)
    If (LEqual (MODE, 2)) { Name (COND, 11) } Else { Name (CONE, 22) }
    Name (HAVE, 5) If (CondRefOf (\EXTI)) { Store (1, HAVE) } Else { Store (0, HAVE) }
    Store (Add (MODE, 5), MODE)
    Device (\_SB.DEVA)
    {
        Name (_HID, "CARA0001")
        Name (VALU, 1)
        Device (DEVB) { Name (VALU, 2) Method (GETV) { Return (VALU) } Method (GETU) { Return (^^VALU) } Method (GETR) { Return (\_SB.DEVA.VALU) } }
        Method (GETV) { Return (VALU) }
    }
    Scope (\_SB.DEVA.DEVB) { Name (EXTR, 3) Method (GETW) { Return (Add (EXTR, MODE)) } }
    Name (PREF, Package () { MODE, COND, "s", LATE, \_SB.DEVA.VALU })
    Name (LATE, "declared later")
    Name (PKGN, Package () { Package () { 1, Package () { 2, Buffer () { 3 } } }, "end" })
    Name (CNT0, 0)
    Method (INCR) { Increment (CNT0) Return (CNT0) }
    Method (PASS, 2) { Return (Add (Multiply (Arg0, 100), Arg1)) }
    Method (SETP, 1) { Store (77, Index (Arg0, 0)) Return (Zero) }
    Method (FACT, 1, Serialized) { If (LLess (Arg0, 2)) { Return (1) } Return (Multiply (Arg0, FACT (Subtract (Arg0, 1)))) }
    Method (TMPN, 1, Serialized) { Name (TMP0, 0) Store (Arg0, TMP0) If (Arg0) { Return (Add (TMP0, 1)) } Return (TMP0) }
    Method (T000) { Return (COND) }
    Method (T001) { Return (HAVE) }
    Method (T002) { Return (MODE) }
    Method (T003) { Return (\_SB.DEVA.DEVB.GETV ()) }
    Method (T004) { Return (\_SB.DEVA.DEVB.GETU ()) }
    Method (T005) { Return (\_SB.DEVA.DEVB.GETR ()) }
    Method (T006) { Return (\_SB.DEVA.DEVB.GETW ()) }
    Method (T007) { Return (PREF) }
    Method (T008) { Return (DerefOf (Index (PREF, 3))) }
    Method (T009) { Return (PKGN) }
    Method (T010) { Return (DerefOf (Index (DerefOf (Index (DerefOf (Index (PKGN, 0)), 1)), 1))) }
    Method (T011) { Store (0x99, Index (DerefOf (Index (DerefOf (Index (DerefOf (Index (PKGN, 0)), 1)), 1)), 0)) Return (PKGN) }
    Method (T012) { Return (PASS (INCR (), INCR ())) }
    Method (T013) { Return (Subtract (INCR (), INCR ())) }
    Method (T014) { Store (Package () {1, 2}, Local0) SETP (Local0) Return (Local0) }
    Method (T015) { SETP (PKGN) Return (DerefOf (Index (PKGN, 0))) }
    Method (T016) { Return (FACT (10)) }
    Method (T017) { Return (Add (TMPN (5), TMPN (6))) }
    Method (T020) { Return (EXTM ()) }
    Method (T021) { If (CondRefOf (\EXTM)) { Return (EXTM ()) } Return ("none") }
    Method (T022) { Store (10, Local0) Store (0, Local1) While (Local0) { Store (Local0, Local2) While (Local2) { Decrement (Local2) If (LEqual (Local2, 3)) { Break } Increment (Local1) } Decrement (Local0) } Return (Local1) }
    Method (T023) { Store (RefOf (MODE), Local0) Store (RefOf (Local0), Local1) Return (DerefOf (DerefOf (Local1))) }
    Method (T024) { Store (Package () {0, 0}, Local0) Store (RefOf (MODE), Index (Local0, 0)) Return (DerefOf (DerefOf (Index (Local0, 0)))) }
    Method (T025) { Store ("abc", Local0) Store (Index (Local0, 1), Local1) Store (0x5A, Local1) Return (Local0) }
    Method (T026) { CopyObject (PKGN, Local0) Store (5, Index (Local0, 1)) Return (DerefOf (Index (PKGN, 1))) }
    Method (T027) { Store (Add (1, Add (2, Add (3, Add (4, 5, Local3), Local2), Local1), Local0), Local4) Return (Package (5) { 1, 2, 3, 4, 5 }) }
    Method (T028) { Add (1, Add (2, Add (3, 4, Local2), Local1), Local0) Return (Add (Local0, Add (Multiply (Local1, 100), Multiply (Local2, 10000)))) }
    Method (T029) { Return (Concatenate (Concatenate ("a", "b"), Concatenate ("c", ToDecimalString (12)))) }
    Method (T030) { Local0 = 5 Local0 <<= 2 Local0 |= 1 Local0 ^= 0xFF Return (Local0) }
    Method (T031) { Store (3, Local0) Switch (ToInteger (Local0)) { Case (Package () {1, 2}) { Return (12) } Case (Package () {3, 4}) { Return (34) } } Return (0) }
    Method (T032) { Store (PREF, Local0) Store (9, Index (Local0, 0)) Return (Add (MODE, DerefOf (Index (Local0, 0)))) }
    Method (T033) { Return (SizeOf (Index (PKGN, 0))) }
    Method (T034) { Return (ObjectType (Index (PREF, 3))) }
}
