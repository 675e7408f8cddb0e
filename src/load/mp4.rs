//! Finds the movie box (`moov`) of an MP4 file as players do: reads the header of one top-level box
//! after another (ISO/IEC 14496-12 section 4.2), until `moov` at the front of the file or at its
//! end.

use crate::load::limits;

/// The longest header, with a 64-bit size, and the fields of `mvhd` up to the duration.
const SCRATCH_BYTES: usize = 16 + 32;
/// Types of the box that a file may begin with.
const FIRST_BOXES: [&[u8; 4]; 8] = [
    b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot",
];

/// Scans pieces of a file for its movie box.
#[derive(Clone, Debug)]
pub(super) struct MovieBoxScanner {
    file_bytes: u64,
    /// The offset of the box whose header is being read.
    at: u64,
    /// The first bytes of that box, as far as received.
    scratch: [u8; SCRATCH_BYTES],
    have: usize,
    boxes: usize,
    stage: Stage,
    /// The offset of the first `mdat`.
    media_at: Option<u64>,
    duration_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    TopLevel,
    /// Inside `moov`, all of which is read.
    Movie {
        end: u64,
        /// The file was received up to this offset.
        received_to: u64,
        /// `mvhd` was found, or is not in this box.
        mvhd_done: bool,
    },
    /// The file has no movie box, or is not an MP4 file.
    NotFound,
}

/// The header of a box.
struct Header {
    kind: [u8; 4],
    /// Length of the header.
    bytes: usize,
    /// The offset behind the box.
    end: u64,
}

impl MovieBoxScanner {
    pub(crate) fn new(file_bytes: u64) -> Self {
        Self {
            file_bytes,
            at: 0,
            scratch: [0; SCRATCH_BYTES],
            have: 0,
            boxes: 0,
            stage: Stage::TopLevel,
            media_at: None,
            duration_s: None,
        }
    }

    /// The offset of the next byte that is needed; `None` once the movie box was received, or if
    /// there is none.
    pub(crate) fn wanted(&self) -> Option<u64> {
        match self.stage {
            Stage::TopLevel => Some(self.at + self.have as u64).filter(|at| *at < self.file_bytes),
            Stage::Movie {
                end, received_to, ..
            } => (received_to < end).then_some(received_to),
            Stage::NotFound => None,
        }
    }

    /// Whether the whole movie box was received.
    pub(crate) fn found(&self) -> bool {
        matches!(self.stage, Stage::Movie { end, received_to, .. } if received_to >= end)
    }

    /// The offset at which the media begin: the first `mdat`, or the end of the movie box.
    pub(crate) fn media_at(&self) -> Option<u64> {
        match self.stage {
            Stage::Movie { end, .. } => Some(self.media_at.unwrap_or(end)),
            Stage::TopLevel | Stage::NotFound => None,
        }
    }

    /// The duration from `mvhd`; `None` if it states none, as in a fragmented file.
    pub(crate) fn duration_s(&self) -> Option<f64> {
        self.duration_s
    }

    /// Takes bytes of the file that begin at `offset`. Skips those that are not needed.
    pub(crate) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        loop {
            let looks = match self.stage {
                Stage::TopLevel => true,
                Stage::Movie { mvhd_done, .. } => !mvhd_done,
                Stage::NotFound => return,
            };
            let next = self.at + self.have as u64;
            if !looks || next < offset || next >= end {
                break;
            }
            let rest = &bytes[(next - offset) as usize..];
            let room = self.needed() - self.have;
            let taken = room.min(rest.len());
            self.scratch[self.have..self.have + taken].copy_from_slice(&rest[..taken]);
            self.have += taken;
            if taken == room {
                self.step();
            }
        }
        if let Stage::Movie { received_to, .. } = &mut self.stage
            && offset <= *received_to
        {
            *received_to = end.max(*received_to);
        }
    }

    /// How many bytes of the box [`step`](Self::step) needs.
    fn needed(&self) -> usize {
        if self.have < 8 {
            return 8;
        }
        let header = if self.size32() == 1 { 16 } else { 8 };
        match self.stage {
            // Up to the duration, whose place depends on the version.
            Stage::Movie { .. } if self.kind() == *b"mvhd" => match self.scratch[header] {
                _ if self.have < header + 20 => header + 20,
                1 => header + 32,
                _ => header + 20,
            },
            _ => header,
        }
    }

    fn size32(&self) -> u32 {
        u32::from_be_bytes([
            self.scratch[0],
            self.scratch[1],
            self.scratch[2],
            self.scratch[3],
        ])
    }

    fn kind(&self) -> [u8; 4] {
        [
            self.scratch[4],
            self.scratch[5],
            self.scratch[6],
            self.scratch[7],
        ]
    }

    fn number(&self, at: usize, bytes: usize) -> u64 {
        let digits = &self.scratch[at..at + bytes];
        digits
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The header, if it is valid; all of its bytes must have been received.
    fn header(&self) -> Option<Header> {
        let (bytes, size) = match self.size32() {
            // The box extends to the end of its container.
            0 => (8, self.container_end() - self.at),
            1 => (16, self.number(8, 8)),
            size => (8, u64::from(size)),
        };
        let end = self.at.checked_add(size)?;
        (size >= bytes as u64 && end <= self.container_end()).then_some(Header {
            kind: self.kind(),
            bytes,
            end,
        })
    }

    /// The end of the container: the file or the movie box.
    fn container_end(&self) -> u64 {
        match self.stage {
            Stage::Movie { end, .. } => end,
            Stage::TopLevel | Stage::NotFound => self.file_bytes,
        }
    }

    /// Evaluates the box's header, or `mvhd`, once the needed bytes were received.
    fn step(&mut self) {
        if self.have < self.needed() {
            return;
        }
        let header = self.header();
        match (&mut self.stage, header) {
            (Stage::TopLevel, Some(header)) => {
                self.boxes += 1;
                let plausible = self.boxes > 1 || FIRST_BOXES.contains(&&header.kind);
                if !plausible || self.boxes > limits::MP4_BOXES_MAX {
                    self.stage = Stage::NotFound;
                } else if &header.kind == b"moov" {
                    let received_to = self.at + header.bytes as u64;
                    self.stage = Stage::Movie {
                        end: header.end,
                        received_to,
                        mvhd_done: received_to == header.end,
                    };
                    self.go_to(received_to);
                } else {
                    if &header.kind == b"mdat" {
                        self.media_at.get_or_insert(self.at);
                    }
                    self.go_to(header.end);
                    if header.end == self.file_bytes {
                        self.stage = Stage::NotFound;
                    }
                }
            }
            (Stage::TopLevel, None) => self.stage = Stage::NotFound,
            (Stage::Movie { end, mvhd_done, .. }, Some(header)) if &header.kind != b"mvhd" => {
                *mvhd_done = header.end >= *end;
                self.go_to(header.end);
            }
            (Stage::Movie { mvhd_done, .. }, header) => {
                *mvhd_done = true;
                if let Some(header) = header {
                    self.duration_s = self.duration(header.bytes);
                }
            }
            (Stage::NotFound, _) => {}
        }
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.have = 0;
    }

    /// Reads the duration from `mvhd` (section 8.2.2): version and flags, two times, then timescale
    /// and duration.
    fn duration(&self, header: usize) -> Option<f64> {
        let (timescale, duration, unknown) = match self.scratch[header] {
            0 => (
                header + 12,
                self.number(header + 16, 4),
                u64::from(u32::MAX),
            ),
            _ => (header + 20, self.number(header + 24, 8), u64::MAX),
        };
        let timescale = self.number(timescale, 4);
        (timescale > 0 && duration > 0 && duration != unknown)
            .then(|| duration as f64 / timescale as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn a_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u32 + 8).to_be_bytes();
        [&size[..], kind, content].concat()
    }

    fn mvhd(version: u8, timescale: u32, duration: u64) -> Vec<u8> {
        let mut content = vec![version, 0, 0, 0];
        match version {
            0 => {
                content.extend([0; 8]);
                content.extend(timescale.to_be_bytes());
                content.extend((duration as u32).to_be_bytes());
            }
            _ => {
                content.extend([0; 16]);
                content.extend(timescale.to_be_bytes());
                content.extend(duration.to_be_bytes());
            }
        }
        content.extend([0; 80]);
        a_box(b"mvhd", &content)
    }

    fn moov(version: u8) -> Vec<u8> {
        let before = a_box(b"free", &[0; 3]);
        a_box(
            b"moov",
            &[before, mvhd(version, 600, 6000), a_box(b"trak", &[7; 500])].concat(),
        )
    }

    /// Reads a file in the pieces that the scanner needs; returns how many, and the scanner.
    fn walk(file: &[u8], piece: usize) -> (usize, MovieBoxScanner) {
        let mut scanner = MovieBoxScanner::new(file.len() as u64);
        let mut pieces = 0;
        while let Some(wanted) = scanner.wanted() {
            let start = wanted as usize / piece * piece;
            let end = file.len().min(start + piece);
            scanner.feed(start as u64, &file[start..end]);
            pieces += 1;
            assert!(pieces <= file.len() + 1, "the scanner makes no progress");
        }
        (pieces, scanner)
    }

    #[test]
    fn the_movie_box_is_found_at_the_front_and_at_the_end() {
        let (ftyp, mdat) = (a_box(b"ftyp", b"isom"), a_box(b"mdat", &[1; 9000]));
        let wide = [
            &1u32.to_be_bytes()[..],
            b"mdat",
            &9016u64.to_be_bytes(),
            &[1; 9000],
        ]
        .concat();
        let front = [ftyp.clone(), moov(0), mdat.clone()].concat();
        let end = [ftyp.clone(), mdat, moov(1)].concat();
        let large = [ftyp, wide, moov(1)].concat();
        for piece in [1, 7, 64, 1000, 100_000] {
            for (file, media_at) in [(&front, front.len() - 9008), (&end, 12), (&large, 12)] {
                let (pieces, scanner) = walk(file, piece);
                assert!(scanner.found());
                assert_eq!(scanner.duration_s(), Some(10.0));
                assert_eq!(scanner.media_at(), Some(media_at as u64));
                // The content of mdat is skipped.
                assert!(pieces <= 700 / piece + 4, "{piece}: {pieces}");
            }
        }
    }

    #[test]
    fn a_movie_without_a_duration_and_files_without_a_movie() {
        let fragmented = a_box(b"moov", &mvhd(0, 1000, 0));
        let unknown = a_box(b"moov", &mvhd(1, 1000, u64::MAX));
        let bare = a_box(b"moov", &[]);
        for file in [fragmented, unknown, bare] {
            let (_, scanner) = walk(&file, 50);
            assert!(scanner.found() && scanner.duration_s().is_none());
        }
        let ftyp = a_box(b"ftyp", b"isom");
        let beyond = [&ftyp[..], &900u32.to_be_bytes(), b"moov"].concat();
        let no_movie = [ftyp.clone(), a_box(b"mdat", &[1; 100])].concat();
        let open_end = [&ftyp[..], &0u32.to_be_bytes(), b"mdat", &[0; 50]].concat();
        for file in [
            &b"<!doctype html><p>hello"[..],
            b"",
            b"moo",
            &beyond,
            &no_movie,
            &open_end,
        ] {
            let (_, scanner) = walk(file, 10);
            assert!(!scanner.found() && scanner.media_at().is_none(), "{file:?}");
        }
    }

    #[test]
    fn another_implementation_s_file() {
        // The head of `ffmpeg -f lavfi -i color -t 2 -movflags +faststart`, cut behind mvhd: 2.000 s.
        let mvhd = mvhd(0, 1000, 2000);
        let mut file = a_box(b"ftyp", b"isom\0\0\x02\0isomiso2avc1mp41");
        file.extend((8 + mvhd.len() as u32 + 300).to_be_bytes());
        file.extend(b"moov");
        file.extend(&mvhd);
        let mut scanner = MovieBoxScanner::new(100_000);
        scanner.feed(0, &file);
        assert_eq!(scanner.duration_s(), Some(2.0));
        assert_eq!(scanner.wanted(), Some(file.len() as u64));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_end(
            mut file in proptest::collection::vec(any::<u8>(), 0..300),
            kinds in proptest::collection::vec((0..300usize, 0..9usize), 0..6),
            piece in 1..64usize,
        ) {
            for (at, kind) in kinds {
                let name = FIRST_BOXES.get(kind).copied().unwrap_or(b"mvhd");
                if let Some(place) = file.get_mut(at..at + 8) {
                    place[..3].fill(0);
                    place[4..].copy_from_slice(name);
                }
            }
            walk(&file, piece);
        }

        #[test]
        fn cuts_do_not_matter(at_end: bool, version in 0..2u8, cuts in proptest::collection::vec(0..1500usize, 0..8)) {
            let mdat = a_box(b"mdat", &[1; 700]);
            let file = match at_end {
                true => [mdat, moov(version)].concat(),
                false => [moov(version), mdat].concat(),
            };
            let mut scanner = MovieBoxScanner::new(file.len() as u64);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(file.len())).collect();
            cuts.extend([0, file.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                scanner.feed(pair[0] as u64, &file[pair[0]..pair[1]]);
            }
            prop_assert!(scanner.found());
            prop_assert_eq!(scanner.duration_s(), Some(10.0));
        }
    }
}
