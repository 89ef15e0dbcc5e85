// Fields: every access width with every update rule, odd offsets; index and bank fields of several widths.
DefinitionBlock ("", "DSDT", REVISION, "CARA", "ORACLE", 1)
{

    Method (LST6, 6) { Store (Package (6) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Store (Arg2, Index (Local7, 2)) Store (Arg3, Index (Local7, 3)) Store (Arg4, Index (Local7, 4)) Store (Arg5, Index (Local7, 5)) Return (Local7) }
    Method (LST2, 2) { Store (Package (2) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Return (Local7) }
    Method (LST3, 3) { Store (Package (3) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Store (Arg2, Index (Local7, 2)) Return (Local7) }
    Method (LST4, 4) { Store (Package (4) {}, Local7) Store (Arg0, Index (Local7, 0)) Store (Arg1, Index (Local7, 1)) Store (Arg2, Index (Local7, 2)) Store (Arg3, Index (Local7, 3)) Return (Local7) }
    OperationRegion (MEMR, SystemMemory, 0x00D00000, 0x80)
    Field (MEMR, ByteAcc, NoLock, Preserve) { RAW0, 64, RAW1, 64, RAW2, 64, RAW3, 64, RAW4, 64, RAW5, 64 }
    Field (MEMR, ByteAcc, NoLock, Preserve) { , 3, BP00, 1, BP01, 13, BP02, 64 }
    Field (MEMR, ByteAcc, NoLock, WriteAsOnes) { , 3, BO00, 1, BO01, 13, BO02, 64 }
    Field (MEMR, ByteAcc, NoLock, WriteAsZeros) { , 3, BZ00, 1, BZ01, 13, BZ02, 64 }
    Field (MEMR, WordAcc, NoLock, Preserve) { , 5, WP00, 1, WP01, 13, WP02, 64 }
    Field (MEMR, WordAcc, NoLock, WriteAsOnes) { , 5, WO00, 1, WO01, 13, WO02, 64 }
    Field (MEMR, WordAcc, NoLock, WriteAsZeros) { , 5, WZ00, 1, WZ01, 13, WZ02, 64 }
    Field (MEMR, DWordAcc, NoLock, Preserve) { , 7, DP00, 1, DP01, 29, DP02, 64 }
    Field (MEMR, DWordAcc, NoLock, WriteAsOnes) { , 7, DO00, 1, DO01, 29, DO02, 64 }
    Field (MEMR, DWordAcc, NoLock, WriteAsZeros) { , 7, DZ00, 1, DZ01, 29, DZ02, 64 }
    Field (MEMR, QWordAcc, NoLock, Preserve) { , 9, QP00, 1, QP01, 59, QP02, 64 }
    Field (MEMR, QWordAcc, NoLock, WriteAsOnes) { , 9, QO00, 1, QO01, 59, QO02, 64 }
    Field (MEMR, QWordAcc, NoLock, WriteAsZeros) { , 9, QZ00, 1, QZ01, 59, QZ02, 64 }
    Field (MEMR, ByteAcc, NoLock, Preserve) { Offset (0x40), AccessAs (WordAcc, 0), AW00, 8, AW01, 24, AccessAs (DWordAcc, 0), AD00, 32, AccessAs (ByteAcc, 0), AB00, 4 }
    Field (MEMR, AnyAcc, Lock, Preserve) { Offset (0x50), LK00, 9 }
    Field (MEMR, BufferAcc, NoLock, Preserve) { Offset (0x58), BA00, 8, BA01, 24 }
    Field (MEMR, DWordAcc, NoLock, Preserve) { Offset (0x7D), LA00, 8, LA01, 16 }
    OperationRegion (IORG, SystemIO, 0x3000, 0x20)
    Field (IORG, ByteAcc, NoLock, Preserve) { IX08, 8, DT08, 8, Offset (4), IX16, 16, DT16, 16, Offset (8), IX32, 32, DT32, 32, IOW0, 8 }
    Field (IORG, WordAcc, NoLock, Preserve) { Offset (0x10), IOW1, 16, IOW2, 32 }
    Field (IORG, QWordAcc, NoLock, Preserve) { Offset (0x18), IOQ0, 64 }
    IndexField (IX08, DT08, ByteAcc, NoLock, Preserve) { Offset (4), XB00, 8, XB01, 3, XB02, 13, XB03, 40 }
    IndexField (IX08, DT08, ByteAcc, NoLock, WriteAsOnes) { Offset (0x10), XO00, 4 }
    IndexField (IX08, DT08, ByteAcc, NoLock, WriteAsZeros) { Offset (0x14), XZ00, 4 }
    IndexField (IX16, DT16, WordAcc, NoLock, Preserve) { Offset (8), XW00, 16, XW01, 5, XW02, 27 }
    IndexField (IX32, DT32, DWordAcc, NoLock, Preserve) { Offset (0x20), XD00, 32, XD01, 64 }
    OperationRegion (BKRG, SystemMemory, 0x00C00000, 0x20)
    Field (BKRG, ByteAcc, NoLock, Preserve) { BNKR, 8, BNKW, 16 }
    Name (BNKV, 6)
    BankField (BKRG, BNKR, 1, ByteAcc, NoLock, Preserve) { Offset (4), B100, 8, B101, 4, B102, 12 }
    BankField (BKRG, BNKR, 2, WordAcc, NoLock, WriteAsOnes) { Offset (4), B200, 8, B201, 4 }
    BankField (BKRG, BNKW, 0x1234, DWordAcc, NoLock, Preserve) { Offset (8), B300, 32, B301, 64 }
    BankField (BKRG, BNKR, Add (BNKV, 1), ByteAcc, NoLock, WriteAsZeros) { Offset (0x10), B400, 3 }
    Method (NULL) { Store (0, RAW0) Store (0, RAW1) Store (0, RAW2) }
    Method (FULL) { Store (Ones, RAW0) Store (Ones, RAW1) Store (Ones, RAW2) }
    Method (RAWS) { Return (LST3 (RAW0, RAW1, RAW2)) }
    Method (PATT) { Store (0x1122334455667788, RAW0) Store (0x99AABBCCDDEEFF00, RAW1) Store (0x0123456789ABCDEF, RAW2) }

    Method (T000) { NULL () Store (1, BP00) Store (0x1555, BP01) Store (0x1122334455667788, BP02) Return (RAWS ()) }
    Method (T001) { FULL () Store (0, BP00) Store (0x0AAA, BP01) Store (0, BP02) Return (RAWS ()) }
    Method (T002) { PATT () Return (LST3 (BP00, BP01, BP02)) }
    Method (T003) { NULL () Store (1, BO00) Return (RAWS ()) }
    Method (T004) { NULL () Store (0x1555, BO01) Return (RAWS ()) }
    Method (T005) { NULL () Store (0x1122334455667788, BO02) Return (RAWS ()) }
    Method (T006) { FULL () Store (1, BZ00) Return (RAWS ()) }
    Method (T007) { FULL () Store (0x1555, BZ01) Return (RAWS ()) }
    Method (T008) { FULL () Store (0x1122334455667788, BZ02) Return (RAWS ()) }
    Method (T009) { NULL () Store (1, WP00) Store (0x1555, WP01) Store (0x1122334455667788, WP02) Return (RAWS ()) }
    Method (T010) { FULL () Store (0, WP00) Store (0x0AAA, WP01) Store (0, WP02) Return (RAWS ()) }
    Method (T011) { PATT () Return (LST3 (WP00, WP01, WP02)) }
    Method (T012) { NULL () Store (1, WO00) Return (RAWS ()) }
    Method (T013) { NULL () Store (0x1555, WO01) Return (RAWS ()) }
    Method (T014) { NULL () Store (0x1122334455667788, WO02) Return (RAWS ()) }
    Method (T015) { FULL () Store (1, WZ00) Return (RAWS ()) }
    Method (T016) { FULL () Store (0x1555, WZ01) Return (RAWS ()) }
    Method (T017) { FULL () Store (0x1122334455667788, WZ02) Return (RAWS ()) }
    Method (T018) { NULL () Store (1, DP00) Store (0x15555555, DP01) Store (0x1122334455667788, DP02) Return (RAWS ()) }
    Method (T019) { FULL () Store (0, DP00) Store (0x0AAAAAAA, DP01) Store (0, DP02) Return (RAWS ()) }
    Method (T020) { PATT () Return (LST3 (DP00, DP01, DP02)) }
    Method (T021) { NULL () Store (1, DO00) Return (RAWS ()) }
    Method (T022) { NULL () Store (0x15555555, DO01) Return (RAWS ()) }
    Method (T023) { NULL () Store (0x1122334455667788, DO02) Return (RAWS ()) }
    Method (T024) { FULL () Store (1, DZ00) Return (RAWS ()) }
    Method (T025) { FULL () Store (0x15555555, DZ01) Return (RAWS ()) }
    Method (T026) { FULL () Store (0x1122334455667788, DZ02) Return (RAWS ()) }
    Method (T027) { NULL () Store (1, QP00) Store (0x155555555555555, QP01) Store (0x1122334455667788, QP02) Return (RAWS ()) }
    Method (T028) { FULL () Store (0, QP00) Store (0x0AAAAAAAAAAAAAA, QP01) Store (0, QP02) Return (RAWS ()) }
    Method (T029) { PATT () Return (LST3 (QP00, QP01, QP02)) }
    Method (T030) { NULL () Store (1, QO00) Return (RAWS ()) }
    Method (T031) { NULL () Store (0x155555555555555, QO01) Return (RAWS ()) }
    Method (T032) { FULL () Store (1, QZ00) Return (RAWS ()) }
    Method (T033) { FULL () Store (0x1122334455667788, QZ02) Return (RAWS ()) }
    Method (T040) { Store (0x12, AW00) Store (0x345678, AW01) Store (0x9ABCDEF0, AD00) Store (5, AB00) Return (LST4 (AW00, AW01, AD00, AB00)) }
    Method (T041) { Store (0x1FF, LK00) Return (LK00) }
    Method (T042) { Store (0x12, BA00) Return (BA00) }
    Method (T043) { Store (0x123456, BA01) Return (BA01) }
    Method (T044) { Store (0x7D, LA00) Return (LA00) }
    Method (T045) { Store (0x7E7F, LA01) Return (LA01) }
    Method (T050) { Store (0x11, XB00) Return (LST2 (IX08, DT08)) }
    Method (T051) { Store (5, XB01) Return (LST2 (IX08, DT08)) }
    Method (T052) { Store (0x1ABC, XB02) Return (LST2 (IX08, DT08)) }
    Method (T053) { Store (0x1122334455, XB03) Return (LST2 (IX08, DT08)) }
    Method (T054) { Return (LST6 (XB00, IX08, XB02, IX08, XB03, IX08)) }
    Method (T055) { Store (0, DT08) Store (2, XO00) Return (LST2 (IX08, DT08)) }
    Method (T056) { Store (0xFF, DT08) Store (2, XZ00) Return (LST2 (IX08, DT08)) }
    Method (T057) { Store (0xABCD, XW00) Return (LST2 (IX16, DT16)) }
    Method (T058) { Store (0, DT16) Store (0x15, XW01) Return (LST2 (IX16, DT16)) }
    Method (T059) { Store (0x5555555, XW02) Return (LST2 (IX16, DT16)) }
    Method (T060) { Store (0x89ABCDEF, XD00) Return (LST2 (IX32, DT32)) }
    Method (T061) { Store (0x1122334455667788, XD01) Return (LST2 (IX32, DT32)) }
    Method (T062) { Return (XD01) }
    Method (T070) { Store (0x77, B100) Return (LST2 (BNKR, B100)) }
    Method (T071) { Store (0x9, B101) Store (0xABC, B102) Return (LST3 (BNKR, B101, B102)) }
    Method (T072) { Store (0x88, B200) Return (LST2 (BNKR, B200)) }
    Method (T073) { Store (3, B201) Return (LST3 (BNKR, B200, B201)) }
    Method (T074) { Store (0x12345678, B300) Return (LST2 (BNKW, B300)) }
    Method (T075) { Store (0x1122334455667788, B301) Return (LST2 (BNKW, B301)) }
    Method (T076) { Store (5, B400) Return (LST2 (BNKR, B400)) }
    Method (T077) { Return (ObjectType (B100)) }
    Method (T078) { Return (ObjectType (XB00)) }
    Method (T080) { Store (0xABCD, IOW1) Return (IOW1) }
    Method (T081) { Store (0x12345678, IOW2) Return (IOW2) }
    Method (T083) { Return (Add (BP01, WP01)) }
    Method (T084) { Store ("abcdefghijkl", BP02) Return (RAWS ()) }
    Method (T085) { Store (Buffer () {1, 2}, BP02) Return (RAWS ()) }
    Method (T086) { Store (Package () {1}, Local0) Store (Local0, BP02) Return (RAWS ()) }
    Method (T087) { Store (Buffer (20) {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, DP02) Return (RAWS ()) }
    Method (T088) { Store ("", BP01) Return (BP01) }
    Method (T089) { Store (Buffer (0) {}, BP01) Return (BP01) }
    Method (T090) { Return (LEqual (BP02, DP02)) }
    Method (T091) { Return (Concatenate (BP01, BP02)) }
    Method (T092) { Return (ToHexString (DP02)) }
    Method (T093) { Return (Concatenate ("a", XB03)) }
    Method (T094) { Increment (BP01) Return (BP01) }
    Method (T095) { Store (RefOf (XB00), Local0) Return (DerefOf (Local0)) }
}
