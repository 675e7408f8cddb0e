//! The way through an MP4 file to its movie box, as players go: from the head of one box to that of
//! the next (ISO/IEC 14496-12 section 4.2), to `moov` at the front of the file or at its end.

use crate::load::limits;

/// Header with a 64-bit size, and the longest beginning of `mvhd` that matters.
const SCRATCH_BYTES: usize = 16 + 32;
/// Boxes that a file may begin with.
const FIRST: [&[u8; 4]; 8] = [
    b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot",
];

/// Looks for a file's movie box in pieces of it.
#[derive(Clone, Debug)]
pub(super) struct Walker {
    file_bytes: u64,
    /// Where the box begins whose header is read.
    at: u64,
    /// Its first bytes.
    scratch: [u8; SCRATCH_BYTES],
    have: usize,
    boxes: usize,
    stage: Stage,
    /// Where the first `mdat` begins.
    media: Option<u64>,
    duration_s: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Files,
    /// Within `moov`, which is read in one go.
    Movie {
        end: u64,
        /// All before this has come.
        seen: u64,
        /// `mvhd` has been found, or can't be.
        known: bool,
    },
    /// There is no movie box, or no MP4 file.
    Lost,
}

/// What the header of a box says.
struct Header {
    kind: [u8; 4],
    /// Of the header.
    bytes: usize,
    /// Behind the box.
    end: u64,
}

impl Walker {
    pub(crate) fn new(file_bytes: u64) -> Self {
        Self {
            file_bytes,
            at: 0,
            scratch: [0; SCRATCH_BYTES],
            have: 0,
            boxes: 0,
            stage: Stage::Files,
            media: None,
            duration_s: None,
        }
    }

    /// The offset of the next byte that is needed; `None` when the movie box has come, or there is none.
    pub(crate) fn wanted(&self) -> Option<u64> {
        match self.stage {
            Stage::Files => Some(self.at + self.have as u64).filter(|at| *at < self.file_bytes),
            Stage::Movie { end, seen, .. } => (seen < end).then_some(seen),
            Stage::Lost => None,
        }
    }

    /// Whether the movie box has come.
    pub(crate) fn found(&self) -> bool {
        matches!(self.stage, Stage::Movie { end, seen, .. } if seen >= end)
    }

    /// Where the media begin: the first `mdat`, or what follows the movie box.
    pub(crate) fn media(&self) -> Option<u64> {
        match self.stage {
            Stage::Movie { end, .. } => Some(self.media.unwrap_or(end)),
            Stage::Files | Stage::Lost => None,
        }
    }

    /// The duration that `mvhd` states, unless that is none, as in a fragmented file.
    pub(crate) fn duration_s(&self) -> Option<f64> {
        self.duration_s
    }

    /// Takes in bytes of the file from `offset` on. What is not wanted is passed over.
    pub(crate) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        loop {
            let looks = match self.stage {
                Stage::Files => true,
                Stage::Movie { known, .. } => !known,
                Stage::Lost => return,
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
        if let Stage::Movie { seen, .. } = &mut self.stage
            && offset <= *seen
        {
            *seen = end.max(*seen);
        }
    }

    /// How much of the box must be there for [`step`](Self::step) to get further.
    fn needed(&self) -> usize {
        if self.have < 8 {
            return 8;
        }
        let header = if self.size32() == 1 { 16 } else { 8 };
        match self.stage {
            // With the duration, whose place the version says.
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

    /// The header, when all of it is there and it makes sense.
    fn header(&self) -> Option<Header> {
        let (bytes, size) = match self.size32() {
            // To the end of what it is in.
            0 => (8, self.limit() - self.at),
            1 => (16, self.number(8, 8)),
            size => (8, u64::from(size)),
        };
        let end = self.at.checked_add(size)?;
        (size >= bytes as u64 && end <= self.limit()).then_some(Header {
            kind: self.kind(),
            bytes,
            end,
        })
    }

    /// Where the file ends, or the movie box.
    fn limit(&self) -> u64 {
        match self.stage {
            Stage::Movie { end, .. } => end,
            Stage::Files | Stage::Lost => self.file_bytes,
        }
    }

    /// Goes on when as much is there as was needed.
    fn step(&mut self) {
        if self.have < self.needed() {
            return;
        }
        let header = self.header();
        match (&mut self.stage, header) {
            (Stage::Files, Some(header)) => {
                self.boxes += 1;
                let known = self.boxes > 1 || FIRST.contains(&&header.kind);
                if !known || self.boxes > limits::MP4_BOXES_MAX {
                    self.stage = Stage::Lost;
                } else if &header.kind == b"moov" {
                    let seen = self.at + header.bytes as u64;
                    self.stage = Stage::Movie {
                        end: header.end,
                        seen,
                        known: seen == header.end,
                    };
                    self.go_to(seen);
                } else {
                    if &header.kind == b"mdat" {
                        self.media.get_or_insert(self.at);
                    }
                    self.go_to(header.end);
                    if header.end == self.file_bytes {
                        self.stage = Stage::Lost;
                    }
                }
            }
            (Stage::Files, None) => self.stage = Stage::Lost,
            (Stage::Movie { end, known, .. }, Some(header)) if &header.kind != b"mvhd" => {
                *known = header.end >= *end;
                self.go_to(header.end);
            }
            (Stage::Movie { known, .. }, header) => {
                *known = true;
                if let Some(header) = header {
                    self.duration_s = self.duration(header.bytes);
                }
            }
            (Stage::Lost, _) => {}
        }
    }

    fn go_to(&mut self, at: u64) {
        self.at = at;
        self.have = 0;
    }

    /// Of `mvhd` (section 8.2.2): version and flags, two times, then timescale and duration.
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

    /// Reads a file in pieces, as asked; how many, and the walker.
    fn walk(file: &[u8], piece: usize) -> (usize, Walker) {
        let mut walker = Walker::new(file.len() as u64);
        let mut pieces = 0;
        while let Some(wanted) = walker.wanted() {
            let start = wanted as usize / piece * piece;
            let end = file.len().min(start + piece);
            walker.feed(start as u64, &file[start..end]);
            pieces += 1;
            assert!(pieces <= file.len() + 1, "it gets nowhere");
        }
        (pieces, walker)
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
            for (file, media) in [(&front, front.len() - 9008), (&end, 12), (&large, 12)] {
                let (pieces, walker) = walk(file, piece);
                assert!(walker.found());
                assert_eq!(walker.duration_s(), Some(10.0));
                assert_eq!(walker.media(), Some(media as u64));
                // What lies in mdat is jumped over.
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
            let (_, walker) = walk(&file, 50);
            assert!(walker.found() && walker.duration_s().is_none());
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
            let (_, walker) = walk(file, 10);
            assert!(!walker.found() && walker.media().is_none(), "{file:?}");
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
        let mut walker = Walker::new(100_000);
        walker.feed(0, &file);
        assert_eq!(walker.duration_s(), Some(2.0));
        assert_eq!(walker.wanted(), Some(file.len() as u64));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_end(
            mut file in proptest::collection::vec(any::<u8>(), 0..300),
            kinds in proptest::collection::vec((0..300usize, 0..9usize), 0..6),
            piece in 1..64usize,
        ) {
            for (at, kind) in kinds {
                let name = FIRST.get(kind).copied().unwrap_or(b"mvhd");
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
            let mut walker = Walker::new(file.len() as u64);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(file.len())).collect();
            cuts.extend([0, file.len()]);
            cuts.sort_unstable();
            for pair in cuts.windows(2) {
                walker.feed(pair[0] as u64, &file[pair[0]..pair[1]]);
            }
            prop_assert!(walker.found());
            prop_assert_eq!(walker.duration_s(), Some(10.0));
        }
    }
}
