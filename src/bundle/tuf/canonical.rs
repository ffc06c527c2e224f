//! Canonical JSON as TUF signs it: keys in the order of their bytes, no spaces, only `"` and `\` escaped, whole numbers only.
//!
//! The crate that `tough` uses composes texts to Unicode's NFC on the way, so that two different texts would have one signature;
//! the specification and its reference implementation do not. These few lines follow them; what that crate signs is read here, and what python-tuf
//! signs by `scripts/soak.sh tuf`.

use serde_json::Value;

/// Returns the bytes that are signed, or `None` for a number that is not whole.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out).then_some(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) if number.is_f64() => return false,
        Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::String(text) => write_text(text, out),
        Value::Array(values) => {
            out.push(b'[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                if !write(value, out) {
                    return false;
                }
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| key.as_bytes());
            out.push(b'{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_text(key, out);
                out.push(b':');
                if !write(value, out) {
                    return false;
                }
            }
            out.push(b'}');
        }
    }
    true
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(value: &Value, expect: &str) {
        assert_eq!(String::from_utf8(bytes(value).unwrap()).unwrap(), expect);
    }

    #[test]
    fn keys_are_sorted_and_nothing_is_added() {
        check(
            &json!({"b": [1, -2, u64::MAX], "a": {"y": null, "x": true}}),
            &format!(r#"{{"a":{{"x":true,"y":null}},"b":[1,-2,{}]}}"#, u64::MAX),
        );
        // Control characters stand as they are: this is not JSON any more, and is only ever hashed.
        check(&json!("a\"b\\c\nd"), "\"a\\\"b\\\\c\nd\"");
        check(&json!({}), "{}");
    }

    #[test]
    fn two_texts_that_look_alike_are_not_one() {
        let (composed, decomposed) = (json!("\u{e9}"), json!("e\u{301}"));
        assert_ne!(bytes(&composed), bytes(&decomposed));
    }

    #[test]
    fn a_broken_number_has_no_form() {
        assert_eq!(bytes(&json!({"a": [1.5]})), None);
    }
}
