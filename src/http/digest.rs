//! Digests of representations: Want-Repr-Digest and Repr-Digest (RFC 9530).

use sfv::{BareItem, DictSerializer, Dictionary, KeyRef, ListEntry, Parser};

use super::Headers;
use super::known::Known;

/// The algorithm's key (RFC 9530 section 7.2). The others are not implemented: a server may ignore a preference.
const SHA_256: &str = "sha-256";

/// A SHA-256 digest.
pub type Sha256 = [u8; 32];

/// Whether Want-Repr-Digest asks for `sha-256`.
///
/// The field is a dictionary of preferences from 1 to 10; 0 means "not acceptable" (RFC 9530
/// section 4). Several lines are one dictionary. A field that breaks the grammar of RFC 9651 is
/// ignored as a whole, as that demands, and so is a preference that is no integer in that range.
pub fn wants_sha256(headers: &Headers<'_>) -> bool {
    if !headers.has(Known::WantReprDigest) {
        return false;
    }
    let lines: Vec<&[u8]> = headers.get_all(Known::WantReprDigest).collect();
    let Ok(wanted) = Parser::new(&lines.join(&b", "[..])).parse::<Dictionary>() else {
        return false;
    };
    let Some(ListEntry::Item(item)) = wanted.get(SHA_256) else {
        return false;
    };
    matches!(item.bare_item, BareItem::Integer(preference) if (1..=10).contains(&i64::from(preference)))
}

/// The value of Repr-Digest for this digest of a whole representation.
pub fn repr_digest(digest: &Sha256) -> String {
    let mut fields = DictSerializer::new();
    if let Ok(key) = KeyRef::from_str(SHA_256) {
        let _ = fields.bare_item(key, digest.as_slice());
    }
    fields.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{ParseLimits, parse_request};

    fn wants(lines: &[&str]) -> bool {
        let mut head = "GET / HTTP/1.1\r\nhost: a\r\n".to_owned();
        for line in lines {
            head.push_str(&format!("want-repr-digest: {line}\r\n"));
        }
        head.push_str("\r\n");
        let parsed = parse_request(head.as_bytes(), &ParseLimits::default());
        wants_sha256(&parsed.unwrap().unwrap().head.headers)
    }

    #[test]
    fn preferences() {
        for (line, wanted) in [
            ("sha-256=1", true),
            ("sha-256=10", true),
            ("sha-512=10, sha-256=3", true),
            ("sha-256=3;x=y", true),
            ("sha-256=0", false),
            ("sha-256=11", false),
            ("sha-256=-1", false),
            ("sha-256", false),
            ("sha-256=1.0", false),
            ("sha-256=(1)", false),
            ("sha-512=10", false),
            ("SHA-256=1", false),
            ("sha-256=1,", false),
            ("sha-256=1, =", false),
            ("", false),
            // The last of two members with one key counts (RFC 9651 section 4.2.2).
            ("sha-256=1, sha-256=0", false),
        ] {
            assert_eq!(wants(&[line]), wanted, "{line}");
        }
        assert!(!wants(&[]));
        assert!(wants(&["sha-512=1", "sha-256=2"]));
        assert!(!wants(&["sha-256=2", "sha-256=0"]));
    }

    /// The digest of nothing, from the examples of RFC 9530 appendix D.
    #[test]
    fn the_field_is_a_dictionary_with_a_byte_sequence() {
        let empty = [
            0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f,
            0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b,
            0x78, 0x52, 0xb8, 0x55,
        ];
        assert_eq!(
            repr_digest(&empty),
            "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
        );
    }
}
