//! Telephone numbers as people write them, and as we keep them.

/// Digits of the shortest and of the longest number.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=15;

/// A number in E.164 with its plus sign, from one that a person wrote: spaces, dashes, brackets, dots and slashes are
/// left out. None where it is not a whole international number: no plus, a country code that begins with 0, letters,
/// too short or too long.
pub fn normalize(text: &str) -> Option<String> {
    let digits = text.trim().strip_prefix(['+', '\u{ff0b}'])?;
    let mut number = String::with_capacity(16);
    number.push('+');
    for character in digits.chars() {
        match character {
            '0'..='9' => number.push(character),
            '-' | '(' | ')' | '[' | ']' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => {}
            // Copied from a chat, a number may carry marks for the direction of writing.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            space if space.is_whitespace() => {}
            _ => return None,
        }
    }
    (DIGITS.contains(&(number.len() - 1)) && !number.starts_with("+0")).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn what_people_write_becomes_one_number() {
        for text in [
            "+491700000002",
            " +49 170 0000002 ",
            "+49 (170) 000-0002",
            "+49\u{a0}170\u{2011}0000\u{2013}002",
            "\u{ff0b}49/170.0000002",
            "+\u{202a}49 170 0000002\u{202c}",
        ] {
            assert_eq!(normalize(text).as_deref(), Some("+491700000002"), "{text}");
        }
    }

    #[test]
    fn what_is_no_whole_number_is_none() {
        for text in ["", "+", "491700000002", "0170 0000002", "+0170000002", "+12345", "+1234567890123456", "+49abc", "DE.123"] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }
}
