//! The decoder of resource buffers on descriptors put together by hand from ACPI 6.5 section 6.4.
use carapace_aml::resources::{RangeForm, RangeRole, Resource, ResourceError, decode};

const END: [u8; 2] = [0x79, 0];

fn decoded(descriptors: &[&[u8]]) -> Vec<Result<Resource, ResourceError>> {
    decode(&[descriptors.concat().as_slice(), &END].concat()).collect()
}

/// A large descriptor: tag, length, body.
fn large(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("short").to_le_bytes();
    [&[tag], length.as_slice(), body].concat()
}

/// An address space descriptor of memory that its device produces, with numbers of `width` bytes.
fn space(tag: u8, head: &[u8], numbers: [u64; 5], width: usize) -> Vec<u8> {
    let mut body = head.to_vec();
    for number in numbers {
        body.extend(&number.to_le_bytes()[..width]);
    }
    large(tag, &body)
}

fn range(descriptor: &[u8]) -> (RangeForm, u64, u64, u64, u64) {
    match decoded(&[descriptor]).as_slice() {
        [Ok(Resource::Memory(range))] => (range.form, range.min, range.max, range.length, range.translation),
        other => panic!("{other:?}"),
    }
}

/// Each of the seven descriptors of memory gives its range. Breaks with a wrong offset or width.
#[test]
fn every_memory_descriptor_is_decoded() {
    let numbers = [0, 0x1000, 0x1fff, 7, 0x1000];
    assert_eq!(range(&space(0x88, &[0, 0, 0], numbers, 2)), (RangeForm::Word, 0x1000, 0x1fff, 0x1000, 7));
    let numbers = [0, 0x8000_0000, 0x8fff_ffff, 0, 0x1000_0000];
    let expected = (RangeForm::DWord, 0x8000_0000, 0x8fff_ffff, 0x1000_0000, 0);
    assert_eq!(range(&space(0x87, &[0, 0, 0], numbers, 4)), expected);
    let numbers = [0, 0x1_0000_0000, 0x1_0fff_ffff, 0, 0x1000_0000];
    let expected = (RangeForm::QWord, 0x1_0000_0000, 0x1_0fff_ffff, 0x1000_0000, 0);
    assert_eq!(range(&space(0x8a, &[0, 0, 0], numbers, 8)), expected);
    let expected = (RangeForm::Extended, 0x1_0000_0000, 0x1_0fff_ffff, 0x1000_0000, 0);
    assert_eq!(range(&space(0x8b, &[0, 0, 0, 1, 0], numbers, 8)), expected);
    // Memory24 counts in units of 256 bytes: base 0xc0000, length 0x8000.
    let expected = (RangeForm::Memory24, 0xc_0000, 0xc_7fff, 0x8000, 0);
    assert_eq!(range(&large(0x81, &[1, 0, 0x0c, 0, 0x0c, 0, 0, 0x80, 0])), expected);
    let body = [&[1u8][..], &[0, 0, 0, 0xd0], &[0, 0, 0, 0xd0], &[0; 4], &[0, 0x10, 0, 0]].concat();
    let expected = (RangeForm::Memory32, 0xd000_0000, 0xd000_0fff, 0x1000, 0);
    assert_eq!(range(&large(0x85, &body)), expected);
    let expected = (RangeForm::Memory32Fixed, 0xfed0_0000, 0xfed0_03ff, 0x400, 0);
    assert_eq!(range(&large(0x86, &[0, 0, 0, 0xd0, 0xfe, 0, 4, 0, 0])), expected);
}

/// All ranges of a buffer come out, in order, with other kinds between them passed over by their length.
#[test]
fn other_kinds_are_passed_over() {
    let memory = space(0x87, &[0, 1, 0], [0, 0x1000, 0x1fff, 0, 0x1000], 4);
    let io = space(0x88, &[1, 0, 0], [0, 0, 0xcf7, 0, 0xcf8], 2);
    // Shorter than its count says.
    let interrupt = large(0x89, &[0x0d, 2, 5, 0, 0, 0]);
    let irq = [0x22, 2, 0];
    let found = decoded(&[&irq, &memory, &io, &interrupt, &memory]);
    let [irq, Ok(Resource::Memory(first)), Ok(Resource::AddressSpace { class, range }), interrupt, last] =
        found.as_slice()
    else {
        panic!("{found:?}");
    };
    assert_eq!((*irq, *interrupt), (Ok(Resource::Other { tag: 0x20 }), Ok(Resource::Other { tag: 0x89 })));
    assert_eq!((first.role, range.role), (RangeRole::Consumer, RangeRole::Producer));
    assert_eq!((*class, range.max), (1, 0xcf7));
    assert_eq!(*last, Ok(Resource::Memory(*first)));
}

/// A malformed descriptor is an error with its offset, and the iterator ends after it.
#[test]
fn malformed_buffers_are_errors() {
    let memory = space(0x87, &[0, 0, 0], [0, 0x1000, 0x1fff, 0, 0x1000], 4);
    let errors = |buffer: &[u8]| decode(buffer).filter_map(Result::err).collect::<Vec<_>>();
    assert_eq!(errors(&[]), [ResourceError::NoEndTag]);
    assert_eq!(errors(&memory), [ResourceError::NoEndTag]);
    assert_eq!(errors(&memory[..10]), [ResourceError::Truncated { offset: 0 }]);
    assert_eq!(errors(&[0x8a, 4]), [ResourceError::Truncated { offset: 0 }]);
    let short = large(0x8a, &[0, 0, 0, 0]);
    let both = [memory.as_slice(), &short, &END].concat();
    assert_eq!(errors(&both), [ResourceError::TooShort { tag: 0x8a, offset: memory.len() }]);
    assert_eq!(errors(&[0x78]), [ResourceError::TooShort { tag: 0x78, offset: 0 }]);
    assert_eq!(errors(&[0x22, 2, 0, 0x79, 0x11]), [ResourceError::Checksum]);
    // 0x22 + 0x02 + 0x79 + 0x63 = 0x100.
    assert_eq!(errors(&[0x22, 2, 0, 0x79, 0x63]), []);
}

/// Any bytes give descriptors and at most one error, at the end; the iterator always ends.
#[test]
fn any_bytes_are_decoded_or_refused() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..20_000 {
        let buffer: Vec<u8> = (0..64)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Many lengths are small, so that several descriptors fit.
                if state & 0x100 == 0 { state.to_le_bytes()[0] & 0x8f } else { state.to_le_bytes()[1] }
            })
            .collect();
        let found: Vec<_> = decode(&buffer).collect();
        assert!(found.len() <= buffer.len() + 1);
        assert!(found.iter().rev().skip(1).all(Result::is_ok));
    }
}

/// Proves that extended interrupts are decoded with trigger and polarity, several in one descriptor too, and that a
/// descriptor shorter than its count is passed over. Fails when a generic event device's interrupt is routed wrongly.
#[test]
fn interrupts_are_decoded() {
    use carapace_aml::resources::{Polarity, Trigger};
    let buffer =
        [&[0x89, 6, 0, 3, 1, 9, 0, 0, 0, 0x89, 10, 0, 4, 2, 1, 0, 0, 0, 2, 1, 0, 0][..], &[0x79, 0]].concat();
    let found: Vec<_> = decode(&buffer)
        .map(|one| match one {
            Ok(Resource::Interrupts(one)) => {
                (one.trigger, one.polarity, one.numbers(&buffer).collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let expected =
        [(Trigger::Edge, Polarity::High, vec![9]), (Trigger::Level, Polarity::Low, vec![1, 0x102])];
    assert_eq!(found, expected);
    let short = [0x89, 6, 0, 3, 2, 9, 0, 0, 0, 0x79, 0];
    assert_eq!(decode(&short).next(), Some(Ok(Resource::Other { tag: 0x89 })));
}
