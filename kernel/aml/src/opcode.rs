//! Opcodes (20.3). Extended opcodes are 0x5bXX.

pub(crate) const ZERO: u16 = 0x00;
pub(crate) const ONE: u16 = 0x01;
pub(crate) const ALIAS: u16 = 0x06;
pub(crate) const NAME: u16 = 0x08;
pub(crate) const BYTE: u16 = 0x0a;
pub(crate) const WORD: u16 = 0x0b;
pub(crate) const DWORD: u16 = 0x0c;
pub(crate) const STRING: u16 = 0x0d;
pub(crate) const QWORD: u16 = 0x0e;
pub(crate) const SCOPE: u16 = 0x10;
pub(crate) const BUFFER: u16 = 0x11;
pub(crate) const PACKAGE: u16 = 0x12;
pub(crate) const VAR_PACKAGE: u16 = 0x13;
pub(crate) const METHOD: u16 = 0x14;
pub(crate) const EXTERNAL: u16 = 0x15;
pub(crate) const LOCAL0: u16 = 0x60;
pub(crate) const ARG6: u16 = 0x6e;
pub(crate) const STORE: u16 = 0x70;
pub(crate) const REF_OF: u16 = 0x71;
pub(crate) const ADD: u16 = 0x72;
pub(crate) const CONCAT: u16 = 0x73;
pub(crate) const SUBTRACT: u16 = 0x74;
pub(crate) const INCREMENT: u16 = 0x75;
pub(crate) const DECREMENT: u16 = 0x76;
pub(crate) const MULTIPLY: u16 = 0x77;
pub(crate) const DIVIDE: u16 = 0x78;
pub(crate) const SHIFT_LEFT: u16 = 0x79;
pub(crate) const SHIFT_RIGHT: u16 = 0x7a;
pub(crate) const AND: u16 = 0x7b;
pub(crate) const NAND: u16 = 0x7c;
pub(crate) const OR: u16 = 0x7d;
pub(crate) const NOR: u16 = 0x7e;
pub(crate) const XOR: u16 = 0x7f;
pub(crate) const NOT: u16 = 0x80;
pub(crate) const FIND_SET_LEFT_BIT: u16 = 0x81;
pub(crate) const FIND_SET_RIGHT_BIT: u16 = 0x82;
pub(crate) const DEREF_OF: u16 = 0x83;
pub(crate) const CONCAT_RES: u16 = 0x84;
pub(crate) const MOD: u16 = 0x85;
pub(crate) const NOTIFY: u16 = 0x86;
pub(crate) const SIZE_OF: u16 = 0x87;
pub(crate) const INDEX: u16 = 0x88;
pub(crate) const MATCH: u16 = 0x89;
pub(crate) const CREATE_DWORD_FIELD: u16 = 0x8a;
pub(crate) const CREATE_WORD_FIELD: u16 = 0x8b;
pub(crate) const CREATE_BYTE_FIELD: u16 = 0x8c;
pub(crate) const CREATE_BIT_FIELD: u16 = 0x8d;
pub(crate) const OBJECT_TYPE: u16 = 0x8e;
pub(crate) const CREATE_QWORD_FIELD: u16 = 0x8f;
pub(crate) const L_AND: u16 = 0x90;
pub(crate) const L_OR: u16 = 0x91;
pub(crate) const L_NOT: u16 = 0x92;
pub(crate) const L_EQUAL: u16 = 0x93;
pub(crate) const L_GREATER: u16 = 0x94;
pub(crate) const L_LESS: u16 = 0x95;
pub(crate) const TO_BUFFER: u16 = 0x96;
pub(crate) const TO_DECIMAL_STRING: u16 = 0x97;
pub(crate) const TO_HEX_STRING: u16 = 0x98;
pub(crate) const TO_INTEGER: u16 = 0x99;
pub(crate) const TO_STRING: u16 = 0x9c;
pub(crate) const COPY_OBJECT: u16 = 0x9d;
pub(crate) const MID: u16 = 0x9e;
pub(crate) const CONTINUE: u16 = 0x9f;
pub(crate) const IF: u16 = 0xa0;
pub(crate) const ELSE: u16 = 0xa1;
pub(crate) const WHILE: u16 = 0xa2;
pub(crate) const NOOP: u16 = 0xa3;
pub(crate) const RETURN: u16 = 0xa4;
pub(crate) const BREAK: u16 = 0xa5;
pub(crate) const BREAK_POINT: u16 = 0xcc;
pub(crate) const ONES: u16 = 0xff;
pub(crate) const MUTEX: u16 = 0x5b01;
pub(crate) const EVENT: u16 = 0x5b02;
pub(crate) const COND_REF_OF: u16 = 0x5b12;
pub(crate) const CREATE_FIELD: u16 = 0x5b13;
pub(crate) const LOAD_TABLE: u16 = 0x5b1f;
pub(crate) const LOAD: u16 = 0x5b20;
pub(crate) const STALL: u16 = 0x5b21;
pub(crate) const SLEEP: u16 = 0x5b22;
pub(crate) const ACQUIRE: u16 = 0x5b23;
pub(crate) const SIGNAL: u16 = 0x5b24;
pub(crate) const WAIT: u16 = 0x5b25;
pub(crate) const RESET: u16 = 0x5b26;
pub(crate) const RELEASE: u16 = 0x5b27;
pub(crate) const FROM_BCD: u16 = 0x5b28;
pub(crate) const TO_BCD: u16 = 0x5b29;
pub(crate) const UNLOAD: u16 = 0x5b2a;
pub(crate) const REVISION: u16 = 0x5b30;
pub(crate) const DEBUG: u16 = 0x5b31;
pub(crate) const FATAL: u16 = 0x5b32;
pub(crate) const TIMER: u16 = 0x5b33;
pub(crate) const REGION: u16 = 0x5b80;
pub(crate) const FIELD: u16 = 0x5b81;
pub(crate) const DEVICE: u16 = 0x5b82;
pub(crate) const PROCESSOR: u16 = 0x5b83;
pub(crate) const POWER_RESOURCE: u16 = 0x5b84;
pub(crate) const THERMAL_ZONE: u16 = 0x5b85;
pub(crate) const INDEX_FIELD: u16 = 0x5b86;
pub(crate) const BANK_FIELD: u16 = 0x5b87;
pub(crate) const DATA_REGION: u16 = 0x5b88;

/// Whether names declared inside the term belong to another scope than the term itself.
pub(crate) const fn opens_scope(opcode: u16) -> bool {
    matches!(opcode, SCOPE | METHOD | DEVICE | PROCESSOR | POWER_RESOURCE | THERMAL_ZONE)
}

/// Whether the opcode declares a name or opens a scope.
pub(crate) const fn is_declaration(opcode: u16) -> bool {
    matches!(
        opcode,
        ALIAS
            | NAME
            | SCOPE
            | METHOD
            | EXTERNAL
            | CREATE_DWORD_FIELD
            | CREATE_WORD_FIELD
            | CREATE_BYTE_FIELD
            | CREATE_BIT_FIELD
            | CREATE_QWORD_FIELD
            | MUTEX
            | EVENT
            | CREATE_FIELD
            | REGION
            | FIELD
            | DEVICE
            | PROCESSOR
            | POWER_RESOURCE
            | THERMAL_ZONE
            | INDEX_FIELD
            | BANK_FIELD
            | DATA_REGION
    )
}
