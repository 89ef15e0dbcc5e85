//! Numbers as people read them.

/// A size in the largest unit that leaves at most one digit behind the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut scale = 1u64;
    while unit + 1 < UNITS.len() && bytes / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(scale) / 2) / u128::from(scale);
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, UNITS[unit]),
        tenth => format!("{}.{tenth} {}", tenths / 10, UNITS[unit]),
    }
}

/// A size of frames.
pub fn frames(pages: u64) -> String {
    size(pages.saturating_mul(guest::schema::PAGE))
}

/// A number with its thousands set apart.
pub fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How many of something.
pub fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes are rounded, not cut, and change units where people do.
    #[test]
    fn sizes() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            (535_724_032, "510.9 MiB"),
            (1 << 40, "1 TiB"),
            (u64::MAX, "16384 PiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    /// Thousands are set apart from the right.
    #[test]
    fn numbers() {
        assert_eq!([number(7), number(64_512), number(1_000_000)], ["7", "64,512", "1,000,000"]);
        assert_eq!([count(1, "frame", "frames"), count(0, "frame", "frames")], ["1 frame", "0 frames"]);
    }
}
