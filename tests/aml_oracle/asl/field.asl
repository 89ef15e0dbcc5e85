// Fields of buffers and of operation regions.
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

    Name (BUFF, Buffer (16) {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF})
    CreateBitField (BUFF, 5, BIT5)
    CreateByteField (BUFF, 1, BYT1)
    CreateWordField (BUFF, 2, WRD2)
    CreateDWordField (BUFF, 3, DWD3)
    CreateQWordField (BUFF, 4, QWD4)
    CreateField (BUFF, 3, 7, FLD7)
    CreateField (BUFF, 13, 70, FLDL)
    CreateField (BUFF, 32, 32, FL32)
    CreateField (BUFF, 32, 33, FL33)
    Name (LEN0, 0x40)
    OperationRegion (MEMR, SystemMemory, 0x00F00000, LEN0)
    Field (MEMR, ByteAcc, NoLock, Preserve) { MB00, 8, MB01, 3, MB02, 7, MB03, 14, Offset (8), MD08, 32, MQ0C, 64, MX14, 100 }
    Field (MEMR, WordAcc, NoLock, WriteAsOnes) { MW00, 4, MW01, 12, MW02, 20 }
    Field (MEMR, DWordAcc, Lock, WriteAsZeros) { Offset (0x20), MZ00, 1, MZ01, 30, MZ02, 2, MZ03, 40 }
    Field (MEMR, QWordAcc, NoLock, Preserve) { Offset (0x20), MV00, 3, MV01, 61, MV02, 64 }
    Field (MEMR, AnyAcc, NoLock, Preserve) { Offset (0x30), MA00, 16, MA01, 32 }
    Field (MEMR, ByteAcc, NoLock, Preserve) { Offset (0x20), RAW0, 64, RAW1, 64 }
    Field (MEMR, ByteAcc, NoLock, Preserve) { Offset (0x3E), EDG0, 16, OVER, 8 }
    OperationRegion (IORG, SystemIO, 0x3000, 0x10)
    Field (IORG, ByteAcc, NoLock, Preserve) { IDX0, 8, DAT0, 8 }
    Field (IORG, DWordAcc, NoLock, Preserve) { Offset (4), IOD4, 32 }
    IndexField (IDX0, DAT0, ByteAcc, NoLock, Preserve) { Offset (4), IXA0, 8, IXA1, 4, IXA2, 4 }
    OperationRegion (BKRG, SystemMemory, 0x00E00000, 0x10)
    Field (BKRG, ByteAcc, NoLock, Preserve) { BNKR, 8 }
    BankField (BKRG, BNKR, 3, ByteAcc, NoLock, Preserve) { Offset (4), BK30, 8 }
    BankField (BKRG, BNKR, 4, ByteAcc, NoLock, Preserve) { Offset (4), BK40, 8 }
    Method (T000) { Return (BIT5) }
    Method (T001) { Return (BYT1) }
    Method (T002) { Return (WRD2) }
    Method (T003) { Return (DWD3) }
    Method (T004) { Return (QWD4) }
    Method (T005) { Return (FLD7) }
    Method (T006) { Return (FLDL) }
    Method (T007) { Return (FL32) }
    Method (T008) { Return (FL33) }
    Method (T009) { Store (0, BIT5) Store (0xA5, BYT1) Store (0x1234, WRD2) Return (BUFF) }
    Method (T010) { Store (0xDEADBEEF, DWD3) Return (BUFF) }
    Method (T011) { Store (0x0123456789ABCDEF, QWD4) Return (BUFF) }
    Method (T012) { Store (0x55, FLD7) Return (BUFF) }
    Method (T013) { Store (Buffer () {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, FLDL) Return (BUFF) }
    Method (T014) { Store (0x77, FLDL) Return (BUFF) }
    Method (T015) { Store ("AB", FL33) Return (BUFF) }
    Method (T016) { Store (0x01, MB00) Store (5, MB01) Store (0x55, MB02) Store (0x2AAA, MB03) Return (Add (MB02, Add (MB00, Add (MB01, MB03)))) }
    Method (T017) { Store (0xCAFEBABE, MD08) Return (MD08) }
    Method (T018) { Store (0x1122334455667788, MQ0C) Return (MQ0C) }
    Method (T019) { Store (Buffer () {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}, MX14) Return (MX14) }
    Method (T020) { Return (MX14) }
    Method (T021) { Store (3, MW01) Return (MW00) }
    Method (T022) { Store (0, MW00) Return (MW01) }
    Method (T023) { Store (0x12345, MW02) Return (MW02) }
    Method (T024) { Store (0xFFFFFFFF, RAW0) Store (1, MZ01) Return (RAW0) }
    Method (T025) { Store (1, MZ02) Return (RAW0) }
    Method (T026) { Store (0x1122334455, MZ03) Return (RAW0) }
    Method (T027) { Return (RAW1) }
    Method (T028) { Store (0x1234, MV01) Return (RAW0) }
    Method (T029) { Store (0x5678, MV02) Return (RAW1) }
    Method (T030) { Store (0xABCD, MA00) Store (0x12345678, MA01) Return (MA01) }
    Method (T031) { Store (0xABCD, EDG0) Return (EDG0) }
    Method (T032) { Return (OVER) }
    Method (T033) { Store (1, OVER) Return (1) }
    Method (T034) { Store (0x11, IXA0) Return (IDX0) }
    Method (T035) { Store (0x11, IXA0) Return (DAT0) }
    Method (T036) { Store (3, IXA2) Return (IDX0) }
    Method (T037) { Store (7, BK30) Return (BNKR) }
    Method (T038) { Store (8, BK40) Return (BNKR) }
    Method (T039) { Return (BK30) }
    Method (T040) { Store (0x12345678, IOD4) Return (IOD4) }
    Method (T041) { Return (ObjectType (MB00)) }
    Method (T042) { Return (ObjectType (BYT1)) }
    Method (T043) { Return (ObjectType (MEMR)) }
    Method (T044) { Add (MB00, 1, MB00) Return (MB00) }
    Method (T045) { Increment (MB00) Return (MB00) }
    Method (T046) { Store (RefOf (MB00), Local0) Return (DerefOf (Local0)) }
    Method (T047) { Store ("AB", MD08) Return (MD08) }
    Method (T048) { Store (PKG0, Local0) Store (Local0, MD08) Return (MD08) }
    Method (T049) { CreateDWordField (BUFF, 13, TOOF) Return (TOOF) }
    Method (T050) { CreateField (BUFF, 0, 0, ZERF) Return (1) }
    Method (T051) { Store (Buffer (4) {1, 2, 3, 4}, Local0) CreateWordField (Local0, 1, LCLW) Store (0xFFFF, LCLW) Return (Local0) }
}
