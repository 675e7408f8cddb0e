//! Compressing a representation: the CPU work itself, for a thread that is no shard's.

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use super::source::Source;
use crate::http::Coding;
use crate::limits;

/// The result of compressing.
#[derive(Clone, Debug)]
pub(crate) enum Compressed {
    /// The compressed bytes.
    Smaller(Bytes),
    /// It would hardly become smaller, in this or another coding.
    NotWorthwhile,
}

/// A level for each coding by its own scale, in the order of [`Coding::ALL`]; 0: not made.
pub(crate) type Levels = [usize; Coding::ALL.len()];

/// Compresses all of `source`, which has `size` bytes. The result is the same for the same bytes,
/// level and version of this program.
///
/// # Errors
/// Those of reading the source.
pub(crate) fn compress(
    source: &Source,
    size: u64,
    coding: Coding,
    level: usize,
) -> io::Result<Compressed> {
    let mut sink = Sink {
        out: Vec::new(),
        bytes_max: usize::try_from(size - size / limits::COMPRESS_GAIN_MIN).unwrap_or(usize::MAX),
        is_full: false,
    };
    let done = fill(source, size, coding, level, &mut sink);
    if sink.is_full {
        return Ok(Compressed::NotWorthwhile);
    }
    done?;
    Ok(Compressed::Smaller(Bytes::from(
        sink.out.into_boxed_slice(),
    )))
}

fn fill(
    source: &Source,
    size: u64,
    coding: Coding,
    level: usize,
    sink: &mut Sink,
) -> io::Result<()> {
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(
                sink,
                Compression::new(u32::try_from(level).map_err(io::Error::other)?),
            );
            source.read(|piece| encoder.write_all(piece))?;
            encoder.finish()?;
        }
        Coding::Zstd => {
            let level = i32::try_from(level).map_err(io::Error::other)?;
            let mut encoder = ZstdEncoder::new(sink, level)?;
            encoder.set_pledged_src_size(Some(size))?;
            source.read(|piece| encoder.write_all(piece))?;
            encoder.finish()?;
        }
        Coding::Brotli => {
            let params = BrotliEncoderParams {
                quality: i32::try_from(level).map_err(io::Error::other)?,
                size_hint: usize::try_from(size).unwrap_or(usize::MAX),
                ..BrotliEncoderParams::default()
            };
            let mut encoder =
                CompressorWriter::with_params(sink, limits::COMPRESS_BUFFER_BYTES, &params);
            source.read(|piece| encoder.write_all(piece))?;
            // Ends the stream; the sink records whether it was full.
            encoder.into_inner();
        }
    }
    Ok(())
}

/// Collects what the encoders write, up to the size at which compressing gains too little.
struct Sink {
    out: Vec<u8>,
    bytes_max: usize,
    is_full: bool,
}

impl Write for &mut Sink {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if piece.len() > self.bytes_max - self.out.len() {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.out.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn run(content: &[u8], coding: Coding, level: usize) -> Compressed {
        let source = Source::Memory(Bytes::copy_from_slice(content));
        compress(&source, content.len() as u64, coding, level).unwrap()
    }

    fn expand(coded: &[u8], coding: Coding) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(coded).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(coded)
                .unwrap()
                .read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out),
        }
        .unwrap();
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn what_is_compressed_comes_back(
            words in proptest::collection::vec("[a-e]{1,3} ", 0..20_000),
            level in 1..10_usize,
        ) {
            let content = words.concat().into_bytes();
            for coding in Coding::ALL {
                if let Compressed::Smaller(coded) = run(&content, coding, level) {
                    prop_assert!(coded.len() < content.len());
                    prop_assert_eq!(&expand(&coded, coding), &content);
                } else {
                    prop_assert!(content.len() < 200, "{} bytes of words", content.len());
                }
            }
        }
    }

    #[test]
    fn noise_is_not_worthwhile() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(300_000)
        .collect();
        for coding in Coding::ALL {
            for content in [&noise[..], &noise[..10], &[]] {
                let result = run(content, coding, 5);
                assert!(matches!(result, Compressed::NotWorthwhile), "{coding:?}");
            }
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_result() {
        let content = "the same bytes, ".repeat(10_000);
        for coding in Coding::ALL {
            let results = [(); 2].map(|()| run(content.as_bytes(), coding, 5));
            let [Compressed::Smaller(first), Compressed::Smaller(second)] = results else {
                panic!("{coding:?} makes nothing of it");
            };
            assert_eq!(first, second);
        }
    }
}
