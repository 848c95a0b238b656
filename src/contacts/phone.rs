//! Telephone numbers as people write them.

/// Digits of the shortest and of the longest number.
const DIGITS: std::ops::RangeInclusive<usize> = 6..=15;

/// E.164 with its plus: blanks, dashes, dots, slashes and brackets go; the plus may be missing, or be dialled as 00. None if
/// it is no number, or one without its country's code, which none begins with 0. Whether such a number exists is WhatsApp's
/// to know.
pub fn normalize(text: &str) -> Option<String> {
    let text = text.trim_matches(is_mark);
    let digits = match text.strip_prefix(['+', '\u{ff0b}']) {
        Some(rest) => split(rest)?.1,
        None => {
            let (_, digits) = split(text)?;
            digits.strip_prefix("00").map(str::to_owned).unwrap_or(digits)
        }
    };
    if digits.starts_with('0') {
        return None;
    }
    DIGITS.contains(&digits.len()).then(|| format!("+{digits}"))
}

/// What to look for when a person typed these words: part of a number, without what people write between digits. None
/// if they are other words.
pub fn part(text: &str) -> Option<String> {
    let text = text.trim_matches(is_mark);
    let international = text.starts_with(['+', '\u{ff0b}']);
    let (spaced, digits) = split(text.strip_prefix(['+', '\u{ff0b}']).unwrap_or(text))?;
    let plus = if international { "+" } else { "" };
    (!digits.is_empty() && (international || spaced)).then(|| format!("{plus}{digits}"))
}

/// The digits of a number, and whether something stood between them.
fn split(text: &str) -> Option<(bool, String)> {
    let mut digits = String::with_capacity(16);
    let mut spaced = false;
    for c in text.chars() {
        match c {
            '0'..='9' => digits.push(c),
            '-' | '(' | ')' | '[' | ']' | '.' | '/' | '\u{2010}'..='\u{2015}' | '\u{2212}' => spaced = true,
            c if is_mark(c) => spaced = true,
            _ => return None,
        }
    }
    Some((spaced, digits))
}

/// Blanks, and the marks for the direction of writing that a number carries when it is copied from a chat.
fn is_mark(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::{normalize, part};

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in [
            "+49 (1512) 000-0001",
            "4915120000001",
            " +49-1512-0000001 ",
            "+4915120000001",
            "+49\u{a0}1512\u{2011}0000\u{2013}001",
            "\u{ff0b}49/1512.0000001",
            "\u{202a}+49 1512 0000001\u{202c}",
            "0049 1512 0000001",
        ] {
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
            "0151 20000001",
            "+0049 1512 0000001",
            "00049 1512 0000001",
        ] {
            assert_eq!(normalize(text), None, "{text}");
        }
    }

    #[test]
    fn parts_of_numbers_are_found_however_they_are_written() {
        assert_eq!(part("+49 151").as_deref(), Some("+49151"));
        assert_eq!(part("151-20").as_deref(), Some("15120"));
        for words in ["15120", "Ada 2", "", "-", "7th"] {
            assert_eq!(part(words), None, "{words}");
        }
    }
}
