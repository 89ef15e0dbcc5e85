// What tables of real machines do: each failure that was seen there, and its kin.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{
    // An operator's own target takes what the operator computed; in a table of revision 1 its result is cut to 32 bits
    // afterwards. A field or an element of a package keeps the high half, a name, a local and Store do not.
    Name (BUF, Buffer (8) {})
    CreateQWordField (BUF, 0, QWF)
    CreateField (BUF, 0, 40, F40)
    OperationRegion (RMM, SystemMemory, 0x5000, 0x40)
    Field (RMM, QWordAcc, NoLock, Preserve) { RQW, 64 }
    Name (NUM, 0x7FFFF)
    Name (TGT, 0)
    Name (STR, "text")
    Name (BU2, Buffer (8) {})
    Name (PKG, Package (2) {0, 1})
    Method (T000) { ShiftLeft (NUM, 20, QWF) Return (BUF) }
    Method (T001) { Add (0xFFFFFFFF, NUM, QWF) Return (BUF) }
    Method (T002) { Multiply (NUM, NUM, QWF) Return (BUF) }
    Method (T003) { Subtract (1, NUM, QWF) Return (BUF) }
    Method (T004) { Not (NUM, QWF) Return (BUF) }
    Method (T005) { NAnd (NUM, 1, QWF) Return (BUF) }
    Method (T006) { NOr (NUM, 1, QWF) Return (BUF) }
    Method (T007) { Store (ShiftLeft (NUM, 20), QWF) Return (BUF) }
    Method (T008) { ShiftLeft (NUM, 20, Local0) Store (Local0, QWF) Return (BUF) }
    Method (T009) { ShiftLeft (NUM, 20, F40) Return (BUF) }
    Method (T010) { ShiftLeft (NUM, 20, RQW) Return (RQW) }
    Method (T011) { ShiftLeft (NUM, 20, TGT) Return (TGT) }
    Method (T012) { ShiftLeft (NUM, 20, Index (PKG, 0)) Return (PKG) }
    Method (T013) { Return (ShiftLeft (NUM, 20, QWF)) }
    Method (T014) { Add (0xFFFFFFFF, 2, Index (PKG, 1)) Return (DerefOf (Index (PKG, 1))) }
    Method (T015) { ShiftLeft (NUM, 20, BU2) Return (BU2) }
    Method (T016) { ShiftLeft (NUM, 20, STR) Return (STR) }
    Method (T017) { Store (0xFFFFFFFF, QWF) Store (0xFFFFFFFF, Local0) Increment (Local0) Return (Local0) }
    Method (T018) { Store (0xFFFFFFFF, TGT) Increment (TGT) Return (TGT) }
    Method (T019) { Divide (NUM, 3, QWF, Local0) Return (BUF) }
    Method (T020) { Store (RefOf (QWF), Local0) ShiftLeft (NUM, 20, Local0) Return (Local0) }

    // Mutexes are released in the order of levels; among one level in any order.
    Mutex (MA, 1)
    Mutex (MB, 1)
    Mutex (MC, 2)
    Mutex (MZ, 0)
    Method (T100) { Acquire (MA, 0xFFFF) Acquire (MB, 0xFFFF) Release (MA) Release (MB) Return (1) }
    Method (T101) { Acquire (MA, 0xFFFF) Acquire (MB, 0xFFFF) Release (MA) Acquire (MA, 0xFFFF) Release (MA) Release (MB) Acquire (MZ, 0xFFFF) Release (MZ) Return (2) }
    Method (T102) { Acquire (MZ, 0xFFFF) Acquire (MA, 0xFFFF) Acquire (MB, 0xFFFF) Release (MA) Release (MB) Release (MZ) Return (3) }
    Method (T103) { Acquire (MA, 0xFFFF) Acquire (MC, 0xFFFF) Release (MC) Release (MA) Return (4) }
    Method (T104) { Acquire (MA, 0xFFFF) Acquire (MB, 0xFFFF) Acquire (MC, 0xFFFF) Release (MC) Release (MA) Release (MB) Return (5) }

    // Packages of names: those that a method makes have the values of the moment.
    Method (T200) { Name (AAA, 6) Return (Package () { AAA, "x" }) }
    Method (T201) { Name (AAB, "text") Return (Package () { AAB, Package () { AAB } }) }
    Method (T202) { Name (AAC, 6) Store (Package () { AAC }, Local0) Store (7, AAC) Return (Local0) }
    Method (T203) { Return (Package () { NUM, T204 }) }
    Method (T204) { Return (0) }

    // What a method's reference refers to is what it returns to the outside.
    Name (GPK, Package () { 1, 2 })
    Method (T300) { Return (RefOf (GPK)) }
    Method (T301) { Return (RefOf (NUM)) }

    // Fields that cannot be accessed leave their names, and the rest of their list.
    OperationRegion (MZZ, SystemMemory, 0x5000, 8)
    Field (MZZ, ByteAcc, NoLock, Preserve) { ZA, 0, ZB, 8 }
    Method (T400) { Store (7, ZB) Return (ZB) }
    Method (T401) { Return (ObjectType (ZB)) }

    // A wait takes its time.
    Event (EV)
    Method (T500) { Store (Timer, Local0) Wait (EV, 20) Subtract (Timer, Local0, Local1) Return (LGreaterEqual (Local1, 200000)) }
    Method (T501) { Return (Wait (EV, 5)) }
    Method (T502) { Signal (EV) Return (Wait (EV, 5)) }

    // CopyObject replaces an object of any type.
    Method (MMMM) { Return ("a") }
    Device (DEVX) {}
    Event (EVX)
    Mutex (MTXX, 0)
    Method (T600) { CopyObject ("str", MMMM) Return (ObjectType (MMMM)) }
    Method (T601) { CopyObject (1, DEVX) Return (ObjectType (DEVX)) }
    Method (T602) { CopyObject (1, EVX) Return (ObjectType (EVX)) }
    Method (T603) { CopyObject (Package () {1}, MTXX) Return (MTXX) }
    Field (RMM, ByteAcc, NoLock, Preserve) { FL1, 8, FL2, 72 }
    Name (PFL, Package () { FL1 })
    Method (T604) { Return (ObjectType (Index (PFL, 0))) }

    Method (T700) { Return (ToInteger ("\x0b12")) }
    Method (T701) { Return (ToInteger ("\t\n\r 12")) }

    // An access to ports of more than 32 bits is split.
    OperationRegion (PRT, SystemIO, 0x500, 0x10)
    Field (PRT, QWordAcc, NoLock, Preserve) { PQW, 64 }
    Method (T800) { Store (0x1122334455667788, PQW) Return (PQW) }
}
