//! Patterns of a grant: text in which `*` stands for any text, also none.
//!
//! Input: pattern and text. Output: whether they match. Takes at most the product of the lengths in steps, so a
//! hostile pattern costs no more than a long one.

pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` does not match: that star takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            retry = Some((p + 1, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((after_star, taken)) = retry {
            (p, t) = (after_star, taken + 1);
            retry = Some((after_star, taken + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Slow and obvious.
    fn oracle(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|n| oracle(rest, &text[n..])),
            Some((byte, rest)) => text.first() == Some(byte) && oracle(rest, &text[1..]),
        }
    }

    #[test]
    fn star_stands_for_any_text() {
        assert!(matches("client:*", "client:bob") && matches("*", "") && matches("+49*1", "+49301"));
        assert!(!matches("client:b*", "client:alice") && !matches("client:bob", "client:bobby"));
    }

    proptest! {
        #[test]
        fn agrees_with_the_obvious_definition(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(matches(&pattern, &text), oracle(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
