//! Masking (RFC 6455 section 5.3): every byte of a client's payload is XORed with one of four.

/// A masking key, turned so that its first byte is the next one's.
pub type Key = [u8; 4];

/// Masks or unmasks `bytes`, and gives the key for those that follow.
#[inline]
pub fn apply(bytes: &mut [u8], key: Key) -> Key {
    let word = u64::from(u32::from_ne_bytes(key));
    let word = word << 32 | word;
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for chunk in words {
        *chunk = (u64::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
    let mut key = key;
    key.rotate_left(rest.len() % 4);
    key
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_masks_as_byte_by_byte(
            bytes in prop::collection::vec(any::<u8>(), 0..100), key: Key, cut in 0usize..100,
        ) {
            let wanted: Vec<u8> = bytes.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
            let mut masked = bytes;
            let cut = cut.min(masked.len());
            let (first, second) = masked.split_at_mut(cut);
            let key = apply(first, key);
            apply(second, key);
            prop_assert_eq!(masked, wanted);
        }
    }
}
