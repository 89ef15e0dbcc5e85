//! Numbers as people read them.

use carapace_cli::format_size::Size;

/// A size as the kernel's shell writes it, in the largest unit, with one digit behind the point.
pub fn size(bytes: u64) -> String {
    Size(bytes).to_string()
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

    /// Thousands are set apart from the right.
    #[test]
    fn numbers() {
        assert_eq!([number(7), number(64_512), number(1_000_000)], ["7", "64,512", "1,000,000"]);
        assert_eq!([count(1, "frame", "frames"), count(0, "frame", "frames")], ["1 frame", "0 frames"]);
    }
}
