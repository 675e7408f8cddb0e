//! The program with an access log, and a parser of its lines.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::{Binary, Client, an_allowed_cpu, eventually, headwater};

/// The content of `clip.txt`.
pub(crate) const BODY: &[u8] = b"hello world";
/// Does not fit into socket buffers.
pub(crate) const LARGE_BYTES: u64 = 256 * 1024 * 1024;
/// The size of `middle`, which is kept in memory and is too large for a small socket buffer.
pub(crate) const MIDDLE_BYTES: usize = 60_000;
/// Everything that the tests below look at.
const FIELDS: &str = "$connection $connection_requests $status $cut $bytes_sent $body_bytes_sent \
                      $request_completion $first_byte_time $request_time [$request]";

pub(crate) struct Logged {
    pub server: Binary,
    pub dir: TempDir,
}

impl Logged {
    pub(crate) fn start(args: &[&str]) -> Logged {
        let dir = TempDir::new().expect("a folder");
        let root = dir.path().join("root");
        fs::create_dir(&root).expect("a root");
        fs::write(root.join("clip.txt"), BODY).expect("a file");
        let large = fs::File::create(root.join("large")).expect("a file");
        large.set_len(LARGE_BYTES).expect("a large file");
        fs::write(root.join("middle"), [7; MIDDLE_BYTES]).expect("a file");
        fs::create_dir(root.join("folder")).expect("a folder");
        let mut command = headwater();
        command
            .env("TZ", "UTC")
            .arg("serve")
            .arg(&root)
            .args(["--listen", "127.0.0.1:0", "--admin", "off", "--cores"])
            .arg(an_allowed_cpu().to_string())
            .arg("--access-log")
            .arg(dir.path().join("log"))
            .args(args);
        let server = Binary::spawn(command);
        Logged { server, dir }
    }

    pub(crate) fn with_fields(args: &[&str]) -> Logged {
        Self::start(&[&["--access-log-format", FIELDS], args].concat())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub(crate) fn client(&mut self) -> Client {
        self.server.client()
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap_or_default()
    }

    /// The first lines, once there are this many.
    #[track_caller]
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        eventually("enough lines", || self.text().lines().count() >= count);
        self.text().lines().map(str::to_owned).collect()
    }

    /// Ends it as an operator does; all lines are written then.
    #[track_caller]
    pub(crate) fn end(&mut self) -> Vec<Fields> {
        self.server.signal(Signal::SIGTERM);
        assert_eq!(self.server.end().0, Some(0));
        self.text().lines().map(Fields::of).collect()
    }
}

/// A line of [`FIELDS`].
#[derive(Debug)]
pub(crate) struct Fields {
    pub connection: u64,
    pub number: u64,
    pub status: u16,
    pub cut: String,
    pub bytes: u64,
    pub body: u64,
    pub completion: String,
    pub first_byte: Option<f64>,
    pub duration: f64,
    pub request: String,
}

impl Fields {
    #[track_caller]
    pub(crate) fn of(line: &str) -> Fields {
        let words: Vec<&str> = line.splitn(10, ' ').collect();
        let number = |at: usize| words[at].parse().unwrap_or_else(|_| panic!("{line}"));
        Fields {
            connection: number(0),
            number: number(1),
            status: words[2].parse().expect(line),
            cut: words[3].to_owned(),
            bytes: number(4),
            body: number(5),
            completion: words[6].to_owned(),
            first_byte: words[7].parse().ok(),
            duration: words[8].parse().expect(line),
            request: words[9].trim_matches(['[', ']']).to_owned(),
        }
    }

    pub(crate) fn is(&self, status: u16, cut: &str, request: &str) -> bool {
        (self.status, &*self.cut, &*self.request) == (status, cut, request)
    }
}
