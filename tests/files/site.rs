//! A folder that is served, and requests to it.

use std::fs;
use std::future::Future;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use headwater::files::{Files, FilesOptions, SharedWork};
use headwater::http::{Body, FileSlice, Known, ParseLimits, Part, Response, parse_request};
use headwater::limits;
use headwater::runtime::{Runtime, Shard, sleep};
use headwater::sys::cpu;
use headwater::tasks::{Options, Pool};
use tempfile::TempDir;

/// Bodies up to this size are read for the assertions.
const BODY_BYTES_MAX: u64 = 1 << 24;

/// Runs a test on a shard.
pub(crate) fn on_shard<F: Future<Output = ()> + 'static>(
    test: impl Fn(Shard) -> F + Send + Sync + 'static,
) {
    let cpu = cpu::allowed().unwrap()[0];
    Runtime::new(vec![cpu])
        .unwrap()
        .unpinned()
        .run(test)
        .unwrap();
}

/// Options that have every cached file looked at again at every request.
pub(crate) fn always_look() -> FilesOptions {
    FilesOptions {
        revalidate_ms: 0,
        ..FilesOptions::default()
    }
}

/// A served folder.
pub(crate) struct Site {
    folder: Rc<TempDir>,
    pub files: Files,
    _pool: Pool,
}

/// A pool for a site's work, and the work.
pub(crate) fn shared_work() -> (Pool, Arc<SharedWork>) {
    let options = Options {
        workers: 2,
        ..Options::default()
    };
    let pool = Pool::start(options).unwrap();
    let shared_work = SharedWork::new(&pool.handle()).unwrap();
    (pool, Arc::new(shared_work))
}

impl Site {
    pub(crate) fn new(shard: &Shard, options: FilesOptions) -> Site {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("www")).unwrap();
        Site::of(shard, Rc::new(folder), options)
    }

    /// The same folder, served by somebody who knows nothing of it yet.
    pub(crate) fn another(&self, shard: &Shard, options: FilesOptions) -> Site {
        Site::of(shard, Rc::clone(&self.folder), options)
    }

    fn of(shard: &Shard, folder: Rc<TempDir>, options: FilesOptions) -> Site {
        let (pool, shared_work) = shared_work();
        let files = Files::new(shard, &folder.path().join("www"), options, &shared_work).unwrap();
        Site {
            folder,
            files,
            _pool: pool,
        }
    }

    /// A path outside of what is served.
    pub(crate) fn outside(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// A path of what is served.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("www").join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Asks as a server does: at once if possible, else waiting.
    pub(crate) async fn ask(&self, method: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let head = head(method, path, fields);
        let parsed = parse_request(&head, &ParseLimits::default())
            .unwrap()
            .unwrap();
        let (mut response, at_once) = match self.files.try_respond(&parsed.head) {
            Some(response) => (response, true),
            None => (self.files.respond(&parsed.head).await, false),
        };
        response.explain(|| parsed.head.headers.get_all(Known::Accept));
        Answer::new(response, at_once)
    }

    /// The response to a GET, with its body as it is.
    pub(crate) async fn respond(&self, path: &str) -> Response {
        let head = head("GET", path, &[]);
        let parsed = parse_request(&head, &ParseLimits::default())
            .unwrap()
            .unwrap();
        self.files.respond(&parsed.head).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    pub(crate) async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        self.ask("GET", path, &[(name, value)]).await
    }

    /// Asks for a settled file in a coding until that comes at once.
    pub(crate) async fn warm_coded(&self, path: &str, coding: &str) -> Answer {
        self.warm(path).await;
        let fields = [("accept-encoding", coding)];
        self.ask("GET", path, &fields).await;
        let answer = self.ask("GET", path, &fields).await;
        assert!(answer.at_once, "{path} in {coding} was not kept");
        assert_eq!(answer.field("content-encoding"), coding, "{path}");
        answer
    }

    /// Lets so much time pass that another change must show in a file's times.
    pub(crate) async fn settle(&self) {
        sleep(Duration::from_nanos(2 * limits::FILE_SETTLED_NS)).await;
    }

    /// Asks for a settled file until it is cached.
    pub(crate) async fn warm(&self, path: &str) {
        self.settle().await;
        self.get(path).await;
        assert!(self.get(path).await.at_once, "{path} was not cached");
    }
}

/// A request head on the wire.
pub(crate) fn head(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\n");
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// A response, with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    pub len: u64,
    /// The body comes from a descriptor.
    pub from_file: bool,
    pub prepared: bool,
    /// `try_respond` gave it.
    pub at_once: bool,
    lines: Vec<u8>,
}

impl Answer {
    fn new(response: Response, at_once: bool) -> Answer {
        let mut body = Vec::new();
        let mut from_file = false;
        let len = response.body.len().unwrap();
        match &response.body {
            Body::Empty => {}
            Body::Bytes(bytes) => body.extend_from_slice(bytes),
            Body::File(slice) => {
                from_file = true;
                read_slice(slice, &mut body);
            }
            Body::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Bytes(bytes) => body.extend_from_slice(bytes),
                        Part::File(slice) => {
                            from_file = true;
                            read_slice(slice, &mut body);
                        }
                    }
                }
            }
            Body::Stream(_) => panic!("files are no streams"),
            Body::Explanation(_) => panic!("it was given a form"),
        }
        Answer {
            status: response.status.code(),
            body,
            len,
            from_file,
            prepared: response.prepared.is_some(),
            at_once,
            lines: response.headers.as_bytes().to_vec(),
        }
    }

    /// The value of the only field called `name`; empty if there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        let lines = std::str::from_utf8(&self.lines).unwrap();
        let mut values = lines
            .split_terminator("\r\n")
            .filter_map(|line| line.split_once(": "))
            .filter(|(found, _)| *found == name);
        let value = values.next().map_or("", |(_, value)| value);
        assert!(values.next().is_none(), "{name} more than once: {lines}");
        value
    }

    /// All header lines.
    pub(crate) fn lines(&self) -> &str {
        std::str::from_utf8(&self.lines).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Status and body in one, for short assertions.
    pub(crate) fn brief(&self) -> (u16, &str) {
        (self.status, self.text())
    }
}

fn read_slice(slice: &FileSlice, into: &mut Vec<u8>) {
    if slice.len > BODY_BYTES_MAX {
        return;
    }
    let file = fs::File::from(slice.file.as_fd().try_clone_to_owned().unwrap());
    let start = into.len();
    into.resize(start + slice.len as usize, 0);
    file.read_exact_at(&mut into[start..], slice.offset)
        .unwrap();
}

/// Undoes a content coding, by its name.
pub(crate) fn expand(coded: &[u8], coding: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut out),
        "zstd" => zstd::stream::read::Decoder::new(coded)
            .unwrap()
            .read_to_end(&mut out),
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut out),
        other => panic!("no coding: {other:?}"),
    }
    .unwrap();
    out
}
