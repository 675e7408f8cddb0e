//! `--hdr`: a histogram log, which HdrHistogram's tools read.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::output::cannot_write;

/// Values are nanoseconds, shown as milliseconds.
const MAX_VALUE_DIVISOR: f64 = 1e6;

/// A histogram log being written.
pub(super) struct HdrLog {
    path: PathBuf,
    bytes: Vec<u8>,
    file: BufWriter<File>,
    serializer: V2DeflateSerializer,
    begun: bool,
    failed: Option<String>,
}

impl HdrLog {
    /// Creates the file.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            bytes: Vec::new(),
            file: BufWriter::new(file),
            serializer: V2DeflateSerializer::new(),
            begun: false,
            failed: None,
        })
    }

    /// Adds the times of a second that ended at `at_s`. A failure is kept for [`finish`](Self::finish).
    pub(crate) fn write(
        &mut self,
        at_s: f64,
        length_s: f64,
        histograms: &[(&str, &Histogram<u64>)],
    ) {
        if self.failed.is_none() {
            self.failed = self.try_write(at_s, length_s, histograms).err();
        }
    }

    fn try_write(
        &mut self,
        at_s: f64,
        length_s: f64,
        histograms: &[(&str, &Histogram<u64>)],
    ) -> Result<(), String> {
        let length = Duration::from_secs_f64(length_s);
        let begin = Duration::from_secs_f64((at_s - length_s).max(0.0));
        self.bytes.clear();
        let mut builder = IntervalLogWriterBuilder::new();
        let mut log = builder
            .add_comment("[Histogram log format version 1.3]")
            .with_start_time(SystemTime::now() - begin - length)
            .with_max_value_divisor(MAX_VALUE_DIVISOR)
            .begin_log_with(&mut self.bytes, &mut self.serializer)
            .map_err(|error| cannot_write(&self.path, &error))?;
        for &(name, histogram) in histograms {
            log.write_histogram(histogram, begin, length, Tag::new(name))
                .map_err(|error| format!("cannot write a histogram: {error:?}"))?;
        }
        // Each second is serialised by a new writer; only the first one's header is kept.
        let lines = String::from_utf8_lossy(&self.bytes);
        for line in lines
            .lines()
            .filter(|line| !(self.begun && line.starts_with('#')))
        {
            writeln!(self.file, "{line}").map_err(|error| cannot_write(&self.path, &error))?;
        }
        self.begun = true;
        Ok(())
    }

    /// Ends the file; returns the first failure since its beginning.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        match self.failed {
            Some(failed) => Err(failed),
            None => self
                .file
                .flush()
                .map_err(|error| cannot_write(&self.path, &error)),
        }
    }
}
