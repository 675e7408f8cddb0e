//! Whether the bytes that a response has promised are still in their file.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use crate::http::FileSlice;
use crate::limits;
use crate::runtime::{Shard, read_at, sleep};
use crate::sys;
use crate::sys::file::{File, Stamp};
use crate::sys::transfer::pread_nowait;

/// Whether the bytes that a response has promised are still there, as far as that can be known
/// (docs/decisions/055-growing-files.md). One for all parts of a response.
///
/// They are gone when the file ends before the last of them. They may have been rewritten when
/// the file has the size that it had, but another time of modification, and was written to: the
/// response would be a mixture. The watch on the folder distinguishes a rewrite from a `touch`.
/// Where the folder is not watched, another time counts as a rewrite. A file that has another size
/// was appended to if [`Samples`] of it are unchanged, and what lies before the appended bytes is
/// sent. Replacing the file by a rename, removing it or changing its mode leaves the open file as
/// it is.
pub(super) struct Integrity {
    /// The time of modification of a file that was touched.
    touched_ns: Option<i64>,
    samples: Samples,
}

impl Integrity {
    /// Of a response that sends these parts of one file.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a FileSlice>) -> Integrity {
        let ends = parts.into_iter().map(|part| part.offset + part.len);
        Integrity {
            touched_ns: None,
            samples: Samples::of(ends.max().unwrap_or(0)),
        }
    }

    /// Notes that what the file has from `offset` on is about to be sent.
    pub(super) async fn note_next(&mut self, shard: &Shard, slice: &FileSlice, offset: u64) {
        // A short part mostly leaves in one step, and then nothing of it is compared.
        if slice.len > limits::SAMPLES_DISTANCE_BYTES {
            self.samples.take(shard, slice, offset).await;
        }
    }

    /// Notes that a part of the file needs a further step.
    pub(super) async fn note_incomplete(&mut self, shard: &Shard, slice: &FileSlice) {
        if slice.len <= limits::SAMPLES_DISTANCE_BYTES {
            self.samples.take(shard, slice, slice.offset).await;
        }
    }

    /// Fails when the bytes are gone or may have been rewritten.
    pub(super) async fn check(&mut self, shard: &Shard, slice: &FileSlice) -> io::Result<()> {
        let stamp = look(slice)?;
        if is_unchanged(slice, &stamp) {
            return Ok(());
        }
        if is_rewritten(slice, &stamp) && !self.is_known_touch(slice, &stamp) {
            self.settle(slice).await?;
        }
        match self.samples.are_unchanged(shard, &slice.file).await {
            true => Ok(()),
            false => Err(changed()),
        }
    }

    /// Waits until a change at the same size is an append or a touch after all.
    async fn settle(&mut self, slice: &FileSlice) -> io::Result<()> {
        // The time changes before the size does, and both before the change is reported.
        for _ in 0..limits::CHANGE_SETTLE_LOOKS {
            sleep(Duration::from_millis(limits::CHANGE_SETTLE_MS)).await;
            let stamp = look(slice)?;
            match was_written(slice, &stamp) {
                _ if !is_rewritten(slice, &stamp) => return Ok(()),
                Some(true) => return Err(changed()),
                Some(false) => {
                    self.touched_ns = Some(stamp.mtime_ns);
                    return Ok(());
                }
                None => {}
            }
        }
        Err(changed())
    }

    fn is_known_touch(&self, slice: &FileSlice, now: &Stamp) -> bool {
        self.touched_ns == Some(now.mtime_ns) && was_written(slice, now) == Some(false)
    }
}

/// What the connection ends with when it can't send what was promised.
pub(super) fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the file was changed while it was sent",
    )
}

/// The file's stamp now; an error if the file ends before the last byte promised.
fn look(slice: &FileSlice) -> io::Result<Stamp> {
    let (_, stamp) = sys::file::stamp(slice.file.as_fd())?;
    match stamp.size < slice.offset + slice.len {
        true => Err(changed()),
        false => Ok(stamp),
    }
}

fn is_unchanged(slice: &FileSlice, now: &Stamp) -> bool {
    let before = &slice.file.stamp;
    now.size == before.size && now.mtime_ns == before.mtime_ns
}

/// Whether the file looks as if it had been written to in place, or touched.
fn is_rewritten(slice: &FileSlice, now: &Stamp) -> bool {
    now.size == slice.file.stamp.size && !is_unchanged(slice, now)
}

/// What the watch on the folder says. It sees no writes by a name that the file was given in
/// another folder since it was opened.
fn was_written(slice: &FileSlice, now: &Stamp) -> Option<bool> {
    let was_written = slice.file.was_written()?;
    (was_written || now.links == 1).then_some(was_written)
}

/// Bytes of a file as they were just before they were sent.
///
/// The kernel says that a file was written to, not where. A file that was rewritten in place and
/// is larger now has the size and the times of one that was appended to; what differs is its
/// content. So a response that takes several steps to send remembers a few bytes in evenly spaced
/// places of what it has sent, and the last that it has promised. Where they are the same later,
/// what follows belongs to what was sent, but for changes between these places.
struct Samples {
    sent: Vec<Sample>,
    /// The end of what was promised, until its last bytes have been looked for.
    end: Option<u64>,
    /// Those bytes, if they were in memory.
    last: Option<Sample>,
    /// The end of the part under way.
    part_end: u64,
    /// From where on the next sample of it is taken.
    next: u64,
    /// The distance between samples.
    every: u64,
}

/// A few bytes at a place of a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Sample {
    at: u64,
    bytes: [u8; limits::SAMPLE_BYTES],
}

impl Samples {
    fn of(end: u64) -> Samples {
        Samples {
            sent: Vec::new(),
            end: Some(end),
            last: None,
            part_end: 0,
            next: 0,
            every: limits::SAMPLES_DISTANCE_BYTES,
        }
    }

    /// Takes samples of a slice that is being sent at `offset`, if it is time for that.
    async fn take(&mut self, shard: &Shard, slice: &FileSlice, offset: u64) {
        let file = &slice.file;
        if let Some(end) = self.end.take() {
            let at = end.checked_sub(limits::SAMPLE_BYTES as u64);
            self.last = at.and_then(|at| Sample::in_memory(file, at).ok());
        }
        let part_end = slice.offset + slice.len;
        if self.part_end != part_end {
            (self.part_end, self.next) = (part_end, 0);
        }
        if offset < self.next || offset + limits::SAMPLE_BYTES as u64 > part_end {
            return;
        }
        self.next = offset + self.every;
        let sample = match Sample::in_memory(file, offset) {
            Ok(sample) => Some(sample),
            // Evicted, or this file system can't tell.
            Err(_) => Sample::read(shard, file, offset).await,
        };
        if let Some(sample) = sample {
            self.keep(sample);
        }
    }

    fn keep(&mut self, sample: Sample) {
        if self.sent.len() == limits::SAMPLES_MAX {
            let mut is_kept = false;
            self.sent.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.next += self.every;
            self.every *= 2;
        }
        self.sent.push(sample);
    }

    /// Whether all places have the bytes that they had. What can't be read has not.
    async fn are_unchanged(&self, shard: &Shard, file: &Rc<File>) -> bool {
        for sample in self.sent.iter().chain(&self.last) {
            if !sample.is_unchanged(shard, file).await {
                return false;
            }
        }
        true
    }
}

impl Sample {
    /// What is at a place.
    ///
    /// # Errors
    /// When it is not in memory, or the file system can't tell; or the file ends before.
    fn in_memory(file: &File, at: u64) -> io::Result<Sample> {
        let mut bytes = [0; limits::SAMPLE_BYTES];
        match pread_nowait(file.as_fd(), &mut bytes, at)? {
            limits::SAMPLE_BYTES => Ok(Sample { at, bytes }),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// The same, read by a worker of the kernel.
    async fn read(shard: &Shard, file: &Rc<File>, at: u64) -> Option<Sample> {
        let buf = Vec::with_capacity(limits::SAMPLE_BYTES);
        let (result, buf) = read_at(shard, Rc::clone(file) as _, buf, at, true).await;
        result.ok()?;
        let bytes = buf.get(..limits::SAMPLE_BYTES)?.try_into().ok()?;
        Some(Sample { at, bytes })
    }

    async fn is_unchanged(&self, shard: &Shard, file: &Rc<File>) -> bool {
        match Sample::in_memory(file, self.at) {
            Ok(now) => now == *self,
            Err(_) => Sample::read(shard, file, self.at).await == Some(*self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Runtime;

    fn slice(content: &[u8]) -> (tempfile::TempDir, FileSlice) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, content).unwrap();
        let fd = std::fs::File::open(&path).unwrap().into();
        let stamp = sys::file::stamp(std::os::fd::OwnedFd::as_fd(&fd))
            .unwrap()
            .1;
        let slice = FileSlice {
            file: Rc::new(File::new(fd, stamp)),
            offset: 100,
            len: stamp.size - 100,
        };
        (dir, slice)
    }

    fn on_shard<F: Future<Output = ()> + 'static>(
        test: impl Fn(Shard) -> F + Send + Sync + 'static,
    ) {
        let cpu = sys::cpu::allowed().unwrap()[0];
        let runtime = Runtime::new(vec![cpu]).unwrap().unpinned();
        runtime.run(test).unwrap();
    }

    #[test]
    fn samples_are_few_and_spread_over_all_that_was_sent() {
        on_shard(async |shard| {
            let content: Vec<u8> = (0..=u8::MAX).cycle().take(40_000_000).collect();
            let (_dir, slice) = slice(&content);
            let mut samples = Samples::of(slice.offset + slice.len);
            let step = 10_000;
            for offset in (slice.offset + step..content.len() as u64).step_by(step as usize) {
                samples.take(&shard, &slice, offset).await;
                assert!(samples.sent.len() <= limits::SAMPLES_MAX);
                let places = samples.sent.iter().map(|sample| sample.at);
                let ends: Vec<u64> = places.chain([offset]).collect();
                let gaps = ends.windows(2).map(|pair| pair[1] - pair[0]);
                let gap_max = gaps.max().unwrap();
                let share = offset / limits::SAMPLES_MAX as u64 * 4;
                let fair = share.max(limits::SAMPLES_DISTANCE_BYTES);
                assert!(gap_max <= fair + step, "{gap_max} at {offset}");
                assert!(ends[0] <= slice.offset + step);
            }
            assert!(samples.sent.len() >= limits::SAMPLES_MAX / 2);
            let last = samples.last.unwrap();
            assert_eq!(last.at, 40_000_000 - limits::SAMPLE_BYTES as u64);
            for sample in &samples.sent {
                let at = sample.at as usize;
                assert_eq!(sample.bytes, content[at..at + limits::SAMPLE_BYTES]);
                assert!(sample.is_unchanged(&shard, &slice.file).await);
            }
        });
    }

    #[test]
    fn a_slice_is_sampled_within_itself() {
        on_shard(async |shard| {
            let (_dir, mut slice) = slice(&[b'a'; 1000]);
            slice.len = limits::SAMPLE_BYTES as u64 - 1;
            let mut samples = Samples::of(5);
            samples.take(&shard, &slice, slice.offset).await;
            assert!(samples.sent.is_empty() && samples.last.is_none());
        });
    }
}
