//! JSON without two readings: a key that appears twice is refused, at any depth and however it is escaped.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

/// Parses `bytes` as `T`. The two passes read the same bytes: the first looks for repeated keys, which the second, going by
/// the type, would not see everywhere.
///
/// # Errors
/// What is no JSON, has a key twice, or is not a `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice::<EveryKeyOnce>(bytes)?;
    serde_json::from_slice(bytes)
}

/// Any JSON value whose objects name each key once. It keeps nothing of the value.
struct EveryKeyOnce;

impl<'de> Deserialize<'de> for EveryKeyOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)?;
        Ok(Self)
    }
}

struct Check;

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Check)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.contains(&key) {
                return Err(A::Error::custom(format!("the key `{}` appears twice", shown(&key))));
            }
            keys.insert(key);
            entries.next_value_seed(Check)?;
        }
        Ok(())
    }
}

/// Returns what a terminal may be shown of a text that came from outside.
pub fn shown(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<serde_json::Value, String> {
        parse(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_appear_once_at_any_depth() {
        assert!(check(r#"{"a":1,"b":{"a":2},"c":[{"a":3},{"a":4}]}"#).is_ok());
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"{"b":{"a":1,"c":2,"a":3}}"#,
            r#"{"b":[0,[{"a":1,"a":null}]]}"#,
            r#"{"a":1,"\u0061":1}"#,
        ] {
            let error = check(twice).unwrap_err();
            assert!(error.contains("the key `a` appears twice"), "{twice}: {error}");
        }
    }

    #[test]
    fn nothing_may_follow_and_nothing_may_nest_without_end() {
        assert!(check("{} {}").is_err());
        assert!(check(&"[".repeat(100_000)).is_err());
        assert!(check("").is_err());
    }
}
