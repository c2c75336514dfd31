//! The character map of a SentencePiece normalizer, checked before the library reads it: it allocates what the map claims.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// As lenient as the library, which takes text without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Refuses a tokenizer with a character map whose trie is longer than the map, and what is not JSON: the library reads maps before it comes to what
/// is wrong behind them, and each of several of the same name.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    serde_json::from_slice(json)
        .map(|Checked(_)| ())
        .map_err(|error| error.to_string())
}

/// A value of JSON whose character maps were checked; of a text the text.
struct Checked(Option<String>);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        while let Some((name, Checked(text))) = map.next_entry::<String, Checked>()? {
            if let (Some(text), "precompiled_charsmap") = (text, name.as_str()) {
                check_map(&text).map_err(de::Error::custom)?;
            }
        }
        Ok(Checked(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Checked, A::Error> {
        while values.next_element::<Checked>()?.is_some() {}
        Ok(Checked(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Checked, E> {
        Ok(Checked(Some(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked(None))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked(None))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked(None))
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked(None))
    }
}

/// A map is the length of its trie in bytes (u32, little-endian), the trie, and the texts that it points to; in base64.
fn check_map(map: &str) -> Result<(), String> {
    let Ok(bytes) = BASE64.decode(map) else { return Ok(()) };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Err("its `precompiled_charsmap` is shorter than the length of its trie".to_owned());
    };
    let length = u32::from_le_bytes(*length) as usize;
    match length <= rest.len() {
        true => Ok(()),
        false => Err(format!(
            "its `precompiled_charsmap` says that its trie has {length} bytes, and has {} in all",
            bytes.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trie_is_no_longer_than_its_map() {
        let file = |map: &[u8]| {
            let map = BASE64.encode(map);
            let normalizer = serde_json::json!({"type": "Precompiled", "precompiled_charsmap": map});
            serde_json::json!({"normalizer": {"type": "Sequence", "normalizers": [normalizer]}}).to_string()
        };
        assert_eq!(check(file(&[4, 0, 0, 0, 1, 2, 3, 4, b'a', 0]).as_bytes()), Ok(()));
        for map in [
            &[][..],
            &[4, 0, 0],
            &[5, 0, 0, 0, 1, 2, 3, 4],
            &[255, 255, 255, 255, 1, 2, 3, 4],
        ] {
            assert!(check(file(map).as_bytes()).is_err(), "{map:?}");
        }
        assert!(check(br#"{"precompiled_charsmap": "TemplateProcessing"}"#).is_err());
        // The library would read the map before it finds the fault, and the first of two maps.
        assert!(check(b"{").is_err());
        assert!(check(br#"{"precompiled_charsmap": "TemplateProcessing", "merges b}"#).is_err());
        assert!(check(br#"{"precompiled_charsmap": "TemplateProcessing", "precompiled_charsmap": "?"}"#).is_err());
        // Left to the library.
        assert_eq!(check(br#"{"precompiled_charsmap": "?"}"#), Ok(()));
    }
}
