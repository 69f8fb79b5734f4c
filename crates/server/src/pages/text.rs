//! Text from elsewhere, made harmless for the eye. Templates escape HTML; this is about what HTML does not catch.

use std::fmt::Write as _;

/// Shows control characters and marks that reorder or hide text (security row 78), and cuts at a number of characters.
/// Joiners stay: emoji and several scripts need them.
pub(crate) fn visible(text: &str, max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(max * 4));
    for (count, c) in text.chars().enumerate() {
        if count + 1 == max && text.chars().nth(max).is_some() {
            shown.push('…');
            break;
        }
        if is_deceptive(c) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "⟦U+{:04X}⟧", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061C}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}' | '\u{00AD}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hidden_things_are_shown_and_emoji_stay() {
        assert_eq!(visible("gpj.\u{202E}exe", 99), "gpj.⟦U+202E⟧exe");
        assert_eq!(visible("a\r\n\0b", 99), "a⟦U+000D⟧⟦U+000A⟧⟦U+0000⟧b");
        assert_eq!(visible("👩\u{200D}🚀 é", 99), "👩\u{200D}🚀 é");
        assert_eq!(visible("abcdef", 4), "abc…");
        assert_eq!(visible("abcd", 4), "abcd");
    }

    proptest! {
        #[test]
        fn nothing_deceptive_is_left(text in ".{0,64}", max in 1usize..80) {
            let shown = visible(&text, max);
            prop_assert!(!shown.chars().any(is_deceptive));
        }
    }
}
