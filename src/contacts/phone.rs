//! Telephone numbers as people write them.

/// E.164 with its plus: blanks, dashes, dots and brackets go, the plus may be missing. None if it is no number. Whether
/// such a number exists is WhatsApp's to know.
pub fn normalize(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let mut number = String::with_capacity(16);
    number.push('+');
    for c in digits.chars() {
        match c {
            '0'..='9' => number.push(c),
            ' ' | '\u{a0}' | '-' | '(' | ')' | '[' | ']' => {}
            _ => return None,
        }
    }
    (7..=16).contains(&number.len()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["+49 (1512) 000-0001", "4915120000001", " +49-1512-0000001 ", "+4915120000001"] {
            assert_eq!(normalize(text).as_deref(), Some("+4915120000001"), "{text}");
        }
        for text in [
            "",
            "+",
            "12345",
            "+1234567890123456",
            "++49151200000",
            "49151x",
            "DE.1234567",
            "1@g.us",
            "+49+151200",
        ] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }
}
