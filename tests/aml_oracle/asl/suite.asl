// Kinds in which ACPICA's own suite found this interpreter to differ, and their kin.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{
    OperationRegion (RM0, SystemMemory, 0x6000, 0x100)

    // A selector that does not fit its register is an error.
    Field (RM0, ByteAcc, NoLock, Preserve) { BNK0, 2, , 6, IDX0, 4, , 4, DAT0, 8, BNK8, 8 }
    BankField (RM0, BNK0, 3, ByteAcc, NoLock, Preserve) { Offset (8), BK03, 8 }
    BankField (RM0, BNK0, 4, ByteAcc, NoLock, Preserve) { Offset (8), BK04, 8 }
    BankField (RM0, BNK8, 0xFF, ByteAcc, NoLock, Preserve) { Offset (8), BKFF, 8 }
    BankField (RM0, BNK8, 0x100, ByteAcc, NoLock, Preserve) { Offset (8), BK10, 8 }
    IndexField (IDX0, DAT0, ByteAcc, NoLock, Preserve) { Offset (15), IX15, 8, IX16, 8 }
    Method (T000) { Store (7, BK03) Return (BK03) }
    Method (T001) { Store (7, BK04) Return (1) }
    Method (T002) { Return (BK04) }
    Method (T003) { Store (7, BKFF) Return (BKFF) }
    Method (T004) { Return (BK10) }
    Method (T005) { Store (5, IX15) Return (IX15) }
    Method (T006) { Store (5, IX16) Return (1) }
    Method (T007) { Return (IX16) }

    // An end tag has a checksum byte.
    Name (RT00, ResourceTemplate () { IRQNoFlags () {1} })
    Method (T100) { Return (ConcatenateResTemplate (RT00, Buffer () {0x79})) }
    Method (T101) { Return (ConcatenateResTemplate (RT00, Buffer () {0x2a, 0x10, 0x05, 0x79})) }
    Method (T102) { Return (ConcatenateResTemplate (Buffer () {0x79}, RT00)) }
    Method (T103) { Return (ConcatenateResTemplate (RT00, Buffer () {0x79, 0})) }
    Method (T104) { Return (ConcatenateResTemplate (Buffer () {0x79, 0}, Buffer () {0x79, 0})) }
    Method (T105) { Return (ConcatenateResTemplate (Buffer () {0x2a, 0x10, 0x05, 0x79, 0, 1, 2}, RT00)) }

    // A copy of an object without a value is such an object itself.
    Device (DEV0) {}
    Event (EVN0)
    Mutex (MTX0, 0)
    Processor (CPU0, 0, 0, 0) {}
    PowerResource (PWR0, 0, 0) {}
    ThermalZone (ZTH0) {}
    Method (MTH0) { Return ("b") }
    Method (T200) { Name (DST0, 0) CopyObject (DerefOf (RefOf (DEV0)), DST0) Store (5, DST0) Return (1) }
    Method (T201) { Name (DST0, 0) CopyObject (DerefOf (RefOf (EVN0)), DST0) Store (5, DST0) Return (1) }
    Method (T202) { Name (DST0, 0) CopyObject (DerefOf (RefOf (MTX0)), DST0) Store (5, DST0) Return (1) }
    Method (T203) { Name (DST0, 0) CopyObject (DerefOf (RefOf (CPU0)), DST0) Add (5, 1, DST0) Return (1) }
    Method (T204) { Name (DST0, 0) CopyObject (DerefOf (RefOf (PWR0)), DST0) ToInteger ("5", DST0) Return (1) }
    Method (T205) { Name (DST0, 0) CopyObject (DerefOf (RefOf (ZTH0)), DST0) Store (5, DST0) Return (1) }
    Method (T206) { Name (DST0, 0) CopyObject (DerefOf (RefOf (DEV0)), DST0) CopyObject (5, DST0) Return (DST0) }
    Method (T207) { Name (DST0, 0) CopyObject (DerefOf (RefOf (MTH0)), DST0) Return (ObjectType (DST0)) }

    // A copied region has fields of its own; ACPICA crashes when one is accessed.
    Name (RGNS, Package () { RM0 })
    OperationRegion (RG00, SystemMemory, 0x7000, 0x10)
    Method (T210) {
        CopyObject (DerefOf (RefOf (RM0)), RG00)
        Field (RG00, ByteAcc, NoLock, Preserve) { FAR0, 8 }
        Return (ObjectType (FAR0))
    }
    Method (T211) {
        Name (RG01, 0)
        CopyObject (DerefOf (RefOf (RM0)), RG01)
        Return (ObjectType (RG01))
    }

    // A method that is a target is called; what it returns must refer to one.
    Name (TGT0, 0)
    Method (MREF) { Return (RefOf (TGT0)) }
    Method (MINT) { Return (5) }
    Method (T300) { Add (3, 4, MTH0) Return (1) }
    Method (T301) { Store (3, MTH0) Return (1) }
    Method (T302) { Store (3, MREF) Return (TGT0) }
    Method (T303) { Add (3, 4, MREF) Return (TGT0) }
    Method (T305) { Store (3, MINT) Return (1) }
    Method (T306) { ToHexString (3, MTH0) Return (1) }
    Method (T307) { Divide (7, 2, MREF, Local0) Return (TGT0) }
    Method (T308) { Increment (MINT) Return (1) }

    // Constants take a store without effect.
    Name (CONS, Package () { Zero, One, Ones, 0x1234 })
    Method (T400) { Store (5, DerefOf (Index (CONS, 0))) Return (CONS) }
    Method (T401) { Store ("text", DerefOf (Index (CONS, 1))) Return (CONS) }
    Method (T402) { Store (Buffer () {1, 2}, DerefOf (Index (CONS, 2))) Return (CONS) }
    Method (T403) { Store (5, DerefOf (Index (CONS, 3))) Return (CONS) }
    Method (T404) { Add (5, 6, DerefOf (Index (CONS, 0))) Return (CONS) }

    // A package of names that a method made keeps their values, wherever it goes.
    Name (GPK0, 0)
    Name (GPK1, Package (2) {})
    Name (GONE, 1)
    Method (MPK0) { Name (AAA0, 6) Store (Package () { AAA0, "x" }, Local0) CopyObject (Local0, GPK0) Return (0) }
    Method (MPK1) { Name (AAA0, 7) Store (Package () { AAA0 }, Index (GPK1, 0)) Return (0) }
    Method (MPK2, 1) { Return (Arg0) }
    Method (MPK3) { Name (AAA0, Buffer () {1, 2}) Return (MPK2 (Package () { AAA0 })) }
    Method (MPK4) { Name (AAA0, 8) Name (BBB0, Package () { Package () { AAA0 } }) Return (BBB0) }
    Method (MPK5) { Name (GONE, 9) Store (Package () { GONE }, Local0) CopyObject (Local0, GPK0) Return (0) }
    Method (T500) { MPK0 () Return (GPK0) }
    Method (T501) { MPK1 () Return (DerefOf (Index (GPK1, 0))) }
    Method (T502) { Return (MPK3 ()) }
    Method (T503) { Return (MPK4 ()) }
    Method (T504) { MPK5 () Return (GPK0) }
    Method (T505) { Name (AAA0, 6) Store (Package () { AAA0 }, Local0) Store (7, AAA0) Return (Local0) }
    Method (T506) { Name (AAA0, "a") Store (Package () { AAA0 }, Local0) Store ("b", AAA0) Return (Local0) }

    // Operators with one operand whose target keeps more than 32 bits.
    Name (BUF0, Buffer (8) {})
    CreateQWordField (BUF0, 0, QWF0)
    CreateField (BUF0, 0, 40, F400)
    Field (RM0, ByteAcc, NoLock, Preserve) { Offset (0x40), RQW0, 64 }
    Method (T600) { Store (0xFFFFFFFF, QWF0) Increment (QWF0) Return (BUF0) }
    Method (T601) { Store (0, QWF0) Decrement (QWF0) Return (BUF0) }
    Method (T602) { Store (0, RQW0) Decrement (RQW0) Return (RQW0) }
    Method (T603) { ToInteger ("0x123456789A", QWF0) Return (BUF0) }
    Method (T604) { FindSetLeftBit (0xF0, QWF0) Return (BUF0) }
    Method (T605) { ToBCD (99999999, QWF0) Return (BUF0) }
    Method (T606) { FromBCD (0x99999999, QWF0) Return (BUF0) }
    Method (T607) { Mod (0xFFFFFFFF, 0x10, QWF0) Return (BUF0) }
    Method (T608) { Divide (0xFFFFFFFF, 0x10, QWF0, F400) Return (BUF0) }
    Method (T609) { Increment (F400) Return (F400) }

    // References that a method returns.
    Method (T700) { Store (5, Local0) Return (RefOf (GONE)) }
    Method (T702) { Return (Index (CONS, 1)) }
    Method (T706) { Return (ObjectType (RefOf (QWF0))) }

    // Fields without bits, of each kind of list.
    IndexField (IDX0, DAT0, ByteAcc, NoLock, Preserve) { IZ00, 0, IZ01, 8 }
    BankField (RM0, BNK0, 0, ByteAcc, NoLock, Preserve) { BZ00, 0, Offset (0x10), BZ01, 8 }
    Method (T800) { Store (3, IZ01) Return (IZ01) }
    Method (T802) { Store (3, BZ01) Return (BZ01) }
    Method (T804) { Return (ToInteger ("0x")) }
    Method (T805) { Return (ToInteger ("\x0c7")) }
    Method (T807) { Return (ToDecimalString (0)) }
}
