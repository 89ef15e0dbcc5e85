// Methods that do one thing Arg0 times, for `cargo xtask bench --aml`; each returns how long that took, in units of 100 ns.
// Their registers lie in memory, since acpiexec's ports answer with ones only. Compiled by
// `iasl -oa -of -p loops.aml loops.asl`.
DefinitionBlock ("", "DSDT", 2, "CARA", "LOOPS", 1)
{
    Method (LOOP, 1) { Store (Timer, Local7) Store (0, Local0) While (LLess (Local0, Arg0)) { Increment (Local0) } Return (Subtract (Timer, Local7)) }
    Scope (_SB)
    {
        Name (NUMB, 0)
        OperationRegion (REGS, SystemMemory, 0x00100000, 0x18)
        Device (DEV0)
        {
            Name (_HID, EisaId ("PNP0A06"))
            Field (REGS, DWordAcc, NoLock, Preserve) { MRBL, 32, MRBH, 32, MRLL, 32, MRLH, 32, MPX, 32 }
            Field (REGS, ByteAcc, NoLock, WriteAsZeros) { Offset (0x14), MES, 1, MINS, 1, MRMV, 1, MEJ, 1 }
            Field (REGS, DWordAcc, NoLock, Preserve) { MSEL, 32, MOEV, 32, MOSC, 32 }
            // Names of enclosing scopes.
            Method (VARS, 1)
            {
                Store (Timer, Local7)
                Store (0, NUMB)
                While (LLess (NUMB, Arg0)) { Add (NUMB, 1, NUMB) }
                Return (Subtract (Timer, Local7))
            }
            // A field of 32 bits, and one of 1 bit.
            Method (FELD, 1)
            {
                Store (Timer, Local7)
                Store (0, Local0)
                While (LLess (Local0, Arg0)) { Store (Local0, MSEL) Store (MSEL, Local1) Store (MINS, Local2) Increment (Local0) }
                Return (Subtract (Timer, Local7))
            }
            // A scan of slots of which none has news.
            Method (SCAN, 1)
            {
                Store (Timer, Local7)
                Store (0, Local0)
                While (LLess (Local0, Arg0))
                {
                    Store (0, MSEL)
                    If (LEqual (MINS, 1)) { Store (1, MINS) }
                    ElseIf (LEqual (MRMV, 1)) { Store (1, MRMV) }
                    Add (Local0, 1, Local0)
                }
                Return (Subtract (Timer, Local7))
            }
            Method (SUM, 2) { Return (Add (Arg0, Arg1)) }
            Method (CALL, 1)
            {
                Store (Timer, Local7)
                Store (0, Local0)
                While (LLess (Local0, Arg0)) { Store (SUM (Local0, 1), Local0) }
                Return (Subtract (Timer, Local7))
            }
            // What a _CRS does: a template, its fields, a copy.
            Method (MCRS, 1, Serialized)
            {
                Name (MR64, Buffer (48) {0x8a, 0x2b})
                CreateDWordField (MR64, 14, MINL)
                CreateDWordField (MR64, 18, MINH)
                CreateDWordField (MR64, 38, LENL)
                Store (Arg0, MINL)
                Store (0, MINH)
                Add (MINL, 0x10000, LENL)
                Return (MR64)
            }
            Method (RSRC, 1)
            {
                Store (Timer, Local7)
                Store (0, Local0)
                While (LLess (Local0, Arg0)) { Store (MCRS (Local0), Local1) Increment (Local0) }
                Return (Subtract (Timer, Local7))
            }
            Method (TEXT, 1)
            {
                Store (Timer, Local7)
                Store (0, Local0)
                While (LLess (Local0, Arg0)) { Store (Concatenate ("slot", ToHexString (Local0)), Local1) Increment (Local0) }
                Return (Subtract (Timer, Local7))
            }
        }
    }
}
