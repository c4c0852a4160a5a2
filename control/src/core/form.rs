//! Form encoding (`application/x-www-form-urlencoded`), as `twilio.params` and `parameters.Params` carry it.
//!
//! Input and output are strings; pairs keep their order. Owns nothing. Limits are the caller's.

/// Pairs of `a=b&c=d`. A pair without `=` has an empty value; wrong percent signs stand for themselves.
pub fn parse(text: &str) -> Vec<(String, String)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(parse_pair).collect()
}

fn parse_pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (decode(name), decode(value))
}

pub fn write(pairs: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|h| std::str::from_utf8(h).ok());
        match (bytes[i], hex.and_then(|h| u8::from_str_radix(h, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

// The stock client reads values with `decodeURIComponent`, which knows no `+`: a space is `%20`.
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn params_of_the_stock_client_are_read() {
        assert_eq!(
            parse("To=client%3Abob&note=a%20b%2Bc&flag"),
            [("To", "client:bob"), ("note", "a b+c"), ("flag", "")].map(|(a, b)| (a.into(), b.into()))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(pairs in prop::collection::vec((".+", ".*"), 0..5)) {
            prop_assert_eq!(parse(&write(&pairs)), pairs);
        }

        #[test]
        fn any_text_is_read(text in "(%|[0-9a-f]|é|.)*") {
            parse(&text);
        }
    }
}
