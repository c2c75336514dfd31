//! The character map of a SentencePiece normalizer, checked before the library reads it: it allocates what the map claims.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

/// As lenient as the library, which takes text without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Refuses a tokenizer with a character map whose trie is longer than the map; what is not JSON is left to the library.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    serde_json::from_slice(json).map_or(Ok(()), |file| check_all(&file))
}

fn check_all(value: &Value) -> Result<(), String> {
    match value {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value {
            Value::String(map) if name == "precompiled_charsmap" => check_map(map),
            _ => check_all(value),
        }),
        Value::Array(values) => values.iter().try_for_each(check_all),
        _ => Ok(()),
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
        // Left to the library.
        assert_eq!(check(b"{"), Ok(()));
        assert_eq!(check(br#"{"precompiled_charsmap": "?"}"#), Ok(()));
    }
}
