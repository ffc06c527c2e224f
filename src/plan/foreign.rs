//! Files of a newer program: they say so in their first field, and what else they say nobody here can judge.

use serde::Deserialize;

#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// Returns the format a file in JSON says it has, where that is not the `known` one. Asked before the file is read: fields that a newer
/// program added would be reported as mistakes.
pub fn other_format(json: &[u8], known: u32) -> Option<u32> {
    let head: Head = serde_json::from_slice(json).ok()?;
    (head.format != known).then_some(head.format)
}

/// The same of a file in YAML.
pub fn other_yaml_format(yaml: &[u8], known: u32) -> Option<u32> {
    let head: Head = serde_yaml::from_slice(yaml).ok()?;
    (head.format != known).then_some(head.format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_number_is_another_format() {
        for (text, expect) in [
            ("{\"format\":1,\"x\":2}", None),
            ("{\"format\":2,\"y\":[]}", Some(2)),
            ("{\"x\":2}", None),
            ("{", None),
            ("{\"format\":\"2\"}", None),
        ] {
            assert_eq!(other_format(text.as_bytes(), 1), expect, "{text}");
            assert_eq!(other_yaml_format(text.as_bytes(), 1), expect, "{text}");
        }
        assert_eq!(other_yaml_format(b"format: 3\nnew: [1]\n", 1), Some(3));
    }
}
