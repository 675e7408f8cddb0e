//! UTF-8 that arrives in pieces.

/// Validates a text piece by piece; a character may be split between two.
#[derive(Clone, Copy, Default)]
pub(super) struct Utf8 {
    /// The first bytes of an incomplete character.
    partial: [u8; 4],
    len: u8,
}

impl Utf8 {
    /// Whether the text is well-formed so far.
    #[inline]
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> bool {
        while self.len > 0 {
            let Some((&byte, rest)) = bytes.split_first() else {
                return true;
            };
            bytes = rest;
            self.partial[usize::from(self.len)] = byte;
            self.len += 1;
            match std::str::from_utf8(&self.partial[..usize::from(self.len)]) {
                Ok(_) => self.len = 0,
                // Never four bytes long: those are a whole character or an error.
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                let cut = &bytes[error.valid_up_to()..];
                self.partial[..cut.len()].copy_from_slice(cut);
                self.len = cut.len() as u8;
                true
            }
            Err(_) => false,
        }
    }

    /// Whether the text may end here; the next one begins.
    pub(crate) fn end(&mut self) -> bool {
        std::mem::take(&mut self.len) == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_cut_is_judged_as_the_whole(
            text in prop_oneof![
                "\\PC{0,20}".prop_map(String::into_bytes),
                prop::collection::vec(prop::sample::select(vec![0x41, 0x80, 0xbf, 0xc3, 0xe2, 0xed, 0xa0, 0xf0, 0x9f, 0xf4, 0xff]), 0..8),
            ],
            cuts in prop::collection::vec(0usize..20, 0..5),
        ) {
            let mut utf8 = Utf8::default();
            let (mut good, mut at) = (true, 0);
            let mut cuts = cuts;
            cuts.sort_unstable();
            for cut in cuts {
                let cut = cut.clamp(at, text.len());
                good = good && utf8.push(&text[at..cut]);
                at = cut;
            }
            good = good && utf8.push(&text[at..]) && utf8.end();
            prop_assert_eq!(good, std::str::from_utf8(&text).is_ok());
        }
    }
}
