//! Tables and terms as bytes.

/// A definition block of revision 2 around `body`.
pub fn table(body: &[u8]) -> Vec<u8> {
    let mut table = b"SSDT\0\0\0\0\x02\0CARAPATESTTEST\x01\0\0\0TEST\x01\0\0\0".to_vec();
    assert_eq!(table.len(), 36);
    table.extend(body);
    let length = u32::try_from(table.len()).expect("small");
    table[4..8].copy_from_slice(&length.to_le_bytes());
    table
}

/// A term with a package length: its opcode, then at most 4 KiB.
pub fn package(opcode: &[u8], contents: &[u8]) -> Vec<u8> {
    let length = contents.len() + 2;
    let lead = 0x40 | u8::try_from(length & 0xf).expect("four bits");
    [opcode, &[lead, u8::try_from(length >> 4).expect("short")], contents].concat()
}

/// Method (METH, 0) with this body.
pub fn method(body: &[u8]) -> Vec<u8> {
    named_method("METH", body)
}

/// Method (`name`, 0) with this body.
pub fn named_method(name: &str, body: &[u8]) -> Vec<u8> {
    package(&[0x14], &[name.as_bytes(), &[0], body].concat())
}
