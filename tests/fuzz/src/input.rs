//! Takes an input apart.

use arbitrary::Unstructured;

/// A number below `most`, 0 when the input is used up.
pub fn below(input: &mut Unstructured<'_>, most: usize) -> usize {
    input.int_in_range(0..=most.saturating_sub(1)).unwrap_or(0)
}

/// True once in so many times; false when the input is used up.
pub fn once_in(input: &mut Unstructured<'_>, times: usize) -> bool {
    !input.is_empty() && below(input, times) == times - 1
}

/// One of these.
pub fn one_of<'a, T>(input: &mut Unstructured<'_>, from: &'a [T]) -> &'a T {
    &from[below(input, from.len())]
}

/// Any number, with a liking for those at which something overflows.
pub fn number(input: &mut Unstructured<'_>) -> u64 {
    const EDGES: [u64; 12] = [
        0,
        1,
        u8::MAX as u64,
        i32::MAX as u64,
        u32::MAX as u64,
        1 << 62,
        i64::MAX as u64,
        i64::MAX as u64 + 1,
        u64::MAX / 4,
        u64::MAX / 2,
        u64::MAX - 1,
        u64::MAX,
    ];
    match below(input, 3) {
        0 => *one_of(input, &EDGES),
        1 => input.arbitrary::<u16>().unwrap_or(0).into(),
        _ => input.arbitrary().unwrap_or(0),
    }
}

/// Text with what isn't UTF-8 replaced.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes up to the first NUL, and those after it.
pub fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}
