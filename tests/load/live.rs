//! `headwater load live`: against `headwater serve` with a growing file, and against small servers
//! with faults: each fault has its own counter.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use headwater::load::live::LiveSummary;

use crate::report::{all_text, parsed, plots};
use crate::serve::Serve;
use crate::server::{Server, Then, next_if};
use crate::{load, run, sentence, summary_of};

/// Exit status and summary of a load of 4 readers, for a second and a half.
#[track_caller]
fn live(url: &str, more: &[&str]) -> (i32, LiveSummary) {
    let args = [
        "live",
        url,
        "--readers",
        "4",
        "-d",
        "1500ms",
        "--join",
        "300ms",
        "--poll",
        "50ms",
        "--interval",
        "50ms",
    ];
    summary_of(&[&args[..], more].concat())
}

/// A file in a folder of its own.
fn a_file() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("live.ts");
    let text = path.to_str().expect("UTF-8").to_owned();
    (folder, path, text)
}

/// What a faithful server answers to a request for a range of this file.
fn ranged(head: &str, path: &Path) -> Vec<u8> {
    let bytes = fs::read(path).expect("the file is there");
    let range = head
        .lines()
        .find_map(|line| line.strip_prefix("Range: bytes="));
    let (start, end) = range
        .and_then(|range| range.split_once('-'))
        .expect("a range");
    let start: usize = start.parse().expect("a number");
    if start >= bytes.len() {
        return b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n".to_vec();
    }
    let end = end.parse().map_or(bytes.len(), |end: usize| end + 1);
    let mut answer = format!(
        "HTTP/1.1 206 Part\r\nContent-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
        end - start,
        end - 1,
        bytes.len()
    )
    .into_bytes();
    answer.extend_from_slice(&bytes[start..end]);
    answer
}

/// A server of ranges whose answers are changed by `change`, which gets how many there were before.
fn changing(path: &Path, change: impl Fn(usize, &mut Vec<u8>) + Send + Sync + 'static) -> Server {
    let (path, count) = (path.to_owned(), Mutex::new(0));
    Server::reading(move |head, connection: &mut TcpStream| {
        let mut answer = ranged(head, &path);
        let before = {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            *count - 1
        };
        change(before, &mut answer);
        next_if(connection.write_all(&answer))
    })
}

/// Where an answer's body begins.
fn body(answer: &[u8]) -> usize {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    end.expect("a head") + 4
}

#[test]
fn all_readers_get_everything_from_a_file_that_grows() {
    for more in [
        &["--from-start"][..],
        &["-t", "2", "--join-at-random", "--seed", "4"],
        // Pieces of many receive buffers, and many pieces in one.
        &["--bitrate", "20M", "--from-start"],
        &["--bitrate", "1M", "--interval", "1ms", "--from-start"],
    ] {
        let (folder, _, path) = a_file();
        fs::write(&path, "something old").expect("written");
        let server = Serve::start(folder.path());
        let url = format!("{}live.ts", server.url);
        let args = [
            &["--write-file", &path, "--grace", "30s", "--stall", "1m"],
            more,
        ]
        .concat();
        let (code, got) = live(&url, &args);
        // On a crowded machine the generator may be late, and says so.
        assert!(matches!(code, 0 | 4 | 5), "{code}: {got:?}");
        assert_eq!((got.errors_total, got.stalls), (0, 0), "{got:?}");
        assert_eq!((got.readers_joined, got.readers_without_piece), (4, 0));
        assert!(
            got.written > 0 && got.write_us.count == got.written,
            "{got:?}"
        );
        let size = fs::metadata(&path).expect("it is there").len();
        assert_eq!(size, got.written * got.piece_bytes as u64);
        if got.from_start {
            assert_eq!(got.pieces, 4 * got.written, "{got:?}");
            assert!(got.behind_us.count <= got.pieces);
        } else {
            assert!(got.pieces <= 4 * got.written, "{got:?}");
        }
        assert_eq!(got.startup_us.count, 4);
        assert!(got.behind_written_us.max <= got.behind_us.max, "{got:?}");
    }
}

#[test]
fn a_server_without_ranges() {
    let (_folder, _, path) = a_file();
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    for more in [&[][..], &["--from-start"]] {
        let args = [&["--write-file", &path, "--grace", "1ms"], more].concat();
        let (code, got) = live(&server.url(), &args);
        assert_eq!((code, got.pieces), (3, 0), "{got:?}");
        assert!(got.errors["bad_range"] >= 4, "{got:?}");
        assert_eq!(got.readers_without_piece, 4);
        assert!(
            got.notes.iter().any(|note| note.contains("--follow")),
            "{:?}",
            got.notes
        );
    }
}

#[test]
fn a_range_that_is_another() {
    let (_folder, path, text) = a_file();
    let server = changing(&path, |_, answer| {
        let text = String::from_utf8_lossy(answer);
        if let Some(at) = text.find("bytes ") {
            // "bytes 0-…" becomes "bytes 9-…", and so on.
            answer[at + 6] = b'9' - (answer[at + 6] - b'0') % 5;
        }
    });
    let args = ["--write-file", &text, "--from-start", "--grace", "1ms"];
    let (code, got) = live(&server.url(), &args);
    assert_eq!((code, got.pieces), (3, 0), "{got:?}");
    assert!(got.errors["bad_range"] >= 4, "{got:?}");
    assert!(got.errors["unread"] >= 4, "{got:?}");
}

#[test]
fn a_file_that_is_not_there() {
    let (folder, _, path) = a_file();
    let server = Serve::start(folder.path());
    let url = format!("{}other.ts", server.url);
    let (code, got) = live(&url, &["--write-file", &path, "--grace", "1ms"]);
    assert_eq!((code, got.pieces), (3, 0), "{got:?}");
    assert!(got.errors["status_4xx"] >= 4, "{got:?}");
    let named = |note: &String| note.contains(&format!("is \"{path}\" what the URL leads to?"));
    assert!(got.notes.iter().any(named), "{:?}", got.notes);
}

#[test]
fn damaged_bytes_are_counted() {
    let (_folder, path, text) = a_file();
    let server = changing(&path, |_, answer| {
        let body = body(answer);
        if answer.len() > body + 1000 {
            answer[body + 500] ^= 1;
        }
    });
    let args = ["--write-file", &text, "--from-start", "--grace", "30s"];
    let (code, got) = live(&server.url(), &args);
    assert_eq!(code, 3);
    assert!(got.errors["damaged"] >= 4, "{got:?}");
    assert_eq!(
        (got.errors["gap"], got.errors["repeated"]),
        (0, 0),
        "{got:?}"
    );
    assert_eq!(
        got.pieces + got.errors["damaged"],
        4 * got.written,
        "{got:?}"
    );
}

#[test]
fn skipped_and_repeated_pieces_are_counted() {
    let (_folder, path, text) = a_file();
    // Whole pieces, since a write may be seen half done.
    let piece = 12_500;
    let server = changing(&path, move |_, answer| {
        let body = body(answer);
        if answer.len() >= body + 2 * piece && &answer[body..body + 4] == b"hw1:" {
            // The first two become the second, twice.
            answer.copy_within(body + piece..body + 2 * piece, body);
        }
    });
    // Seldom, so that two pieces come at once.
    let args = [
        "--write-file",
        &text,
        "--from-start",
        "--poll",
        "300ms",
        "--grace",
        "30s",
    ];
    let (code, got) = live(&server.url(), &args);
    assert_eq!((code, got.piece_bytes), (3, piece));
    assert!(got.errors["gap"] >= 4, "{got:?}");
    assert!(got.errors["repeated"] >= 4, "{got:?}");
    assert_eq!(got.errors["damaged"], 0, "{got:?}");
    assert_eq!(got.pieces + got.errors["gap"], 4 * got.written, "{got:?}");
}

#[test]
fn pieces_of_another_run_are_told_apart() {
    let (_folder, path, text) = a_file();
    let server = changing(&path, |_, answer| {
        let body = body(answer);
        if answer[body..].starts_with(b"hw1:") {
            answer[body + 4] = if answer[body + 4] == b'0' { b'1' } else { b'0' };
        }
    });
    let args = ["--write-file", &text, "--from-start", "--grace", "1ms"];
    let (code, got) = live(&server.url(), &args);
    assert_eq!(code, 3);
    assert!(got.errors["foreign"] >= 4, "{got:?}");
    assert_eq!(got.errors["damaged"], 0, "{got:?}");
}

#[test]
fn a_server_that_hangs_makes_readers_stall() {
    let (_folder, path, text) = a_file();
    let server = Server::reading(move |head, connection| {
        let answer = ranged(head, &path);
        // Half of it, for ever.
        let _ = connection.write_all(&answer[..answer.len() - answer.len() / 4]);
        thread::sleep(Duration::from_secs(3600));
        Then::Close
    });
    let args = [
        "--from-start",
        "--stall",
        "200ms",
        "--timeout",
        "500ms",
        "--grace",
        "1ms",
    ];
    let (code, got) = live(
        &server.url(),
        &[&["--write-file", &text], &args[..]].concat(),
    );
    assert_eq!(code, 3, "{got:?}");
    assert!(got.errors["timeout"] >= 4 && got.reconnects >= 4, "{got:?}");
    assert!(got.stalls >= 1 && got.stalled_s > 0.2, "{got:?}");
    assert!(
        got.notes.iter().any(|note| note.contains("--stall")),
        "{:?}",
        got.notes
    );
}

#[test]
fn a_server_that_resets_is_asked_again() {
    let (_folder, path, text) = a_file();
    let count = Mutex::new(0);
    let server = Server::reading(move |head, connection| {
        let answer = ranged(head, &path);
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        if *count % 4 == 0 {
            // In the middle of a piece: the rest is asked for on the next connection.
            let _ =
                connection.write_all(&answer[..body(&answer) + (answer.len() - body(&answer)) / 2]);
            return Then::Reset;
        }
        next_if(connection.write_all(&answer))
    });
    let args = [
        "--write-file",
        &text,
        "--from-start",
        "--grace",
        "30s",
        "--stall",
        "1m",
    ];
    let (code, got) = live(&server.url(), &args);
    assert_eq!(code, 3);
    let broken = got.errors["reset"] + got.errors["truncated"] + got.errors["closed"];
    assert!(broken >= 4 && got.reconnects >= 4, "{got:?}");
    assert_eq!(got.errors_total, broken, "nothing else is wrong: {got:?}");
    assert_eq!(got.pieces, 4 * got.written);
}

/// What an upload has brought so far, and whether it is over.
type Stream = Arc<(Mutex<(Vec<u8>, bool)>, Condvar)>;

/// A server with one live stream: what is put there goes to all who get it, in chunks, from its
/// beginning on. `lives` is how many bytes an answer has before it is ended.
fn live_server(lives: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}/live", listener.local_addr().expect("an address"));
    let stream: Stream = Arc::default();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let stream = Arc::clone(&stream);
            thread::spawn(move || serve_live(connection, &stream, lives));
        }
    });
    url
}

/// `None`: the client has gone.
fn serve_live(mut connection: TcpStream, stream: &Stream, lives: usize) -> Option<()> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break bytes.drain(..end + 4).collect::<Vec<u8>>();
        }
        read_more(&mut connection, &mut bytes)?;
    };
    let (state, changed) = &**stream;
    if head.starts_with(b"PUT ") {
        loop {
            let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") else {
                read_more(&mut connection, &mut bytes)?;
                continue;
            };
            let size = str::from_utf8(&bytes[..end]).expect("a size");
            let size = usize::from_str_radix(size, 16).expect("hexadecimal");
            while bytes.len() < end + 2 + size + 2 {
                read_more(&mut connection, &mut bytes)?;
            }
            let mut state = state.lock().expect("not poisoned");
            state.0.extend_from_slice(&bytes[end + 2..end + 2 + size]);
            state.1 = size == 0;
            changed.notify_all();
            bytes.drain(..end + 2 + size + 2);
            if size == 0 {
                let answer = b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n";
                return connection.write_all(answer).ok();
            }
        }
    }
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.write_all(head).ok()?;
    let mut at = 0;
    loop {
        let (new, over) = {
            let state = state.lock().expect("not poisoned");
            let waits = |state: &mut (Vec<u8>, bool)| state.0.len() == at && !state.1;
            let state = changed.wait_while(state, waits).expect("not poisoned");
            (state.0[at..state.0.len().min(lives)].to_vec(), state.1)
        };
        at += new.len();
        let mut chunk = format!("{:x}\r\n", new.len()).into_bytes();
        chunk.extend_from_slice(&new);
        chunk.extend_from_slice(b"\r\n");
        if !new.is_empty() {
            connection.write_all(&chunk).ok()?;
        }
        if over || at >= lives {
            return connection.write_all(b"0\r\n\r\n").ok();
        }
    }
}

fn read_more(connection: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<()> {
    let mut piece = [0; 4096];
    let count = connection
        .read(&mut piece)
        .ok()
        .filter(|count| *count > 0)?;
    bytes.extend_from_slice(&piece[..count]);
    Some(())
}

#[test]
fn an_answer_that_grows_is_followed() {
    let url = live_server(usize::MAX);
    let args = [
        "--follow",
        "--write-url",
        &url,
        "--grace",
        "30s",
        "--stall",
        "1m",
    ];
    let (code, got) = live(&url, &args);
    assert!(matches!(code, 0 | 4 | 5), "{code}: {got:?}");
    assert_eq!((got.errors_total, got.reconnects), (0, 0), "{got:?}");
    assert_eq!((got.requests, got.nothing_new), (4, 0));
    // The server begins each answer at the beginning.
    assert_eq!(got.pieces, 4 * got.written, "{got:?}");
    assert!(got.behind_us.count > 0 && got.behind_us.count <= got.pieces);
    assert_eq!((got.poll_s, got.startup_us.count), (None, 4));
}

#[test]
fn an_answer_that_ends_early_is_asked_for_again() {
    // In the middle of the third piece.
    let url = live_server(30_000);
    let args = ["--follow", "--write-url", &url, "--grace", "1ms"];
    let (code, got) = live(&url, &args);
    assert_eq!(code, 3);
    assert!(got.errors["closed"] >= 4, "{got:?}");
    // Each begins at the beginning again, which is no repetition of the object's.
    assert_eq!(
        (got.errors["repeated"], got.errors["damaged"]),
        (0, 0),
        "{got:?}"
    );
    assert!(got.pieces > 0 && got.pieces <= 4 * got.written, "{got:?}");
}

#[test]
fn an_upload_that_is_refused() {
    let server = Server::answering("HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n");
    let url = server.url();
    let args = [
        "--follow",
        "--write-url",
        &url,
        "--write-method",
        "POST",
        "--grace",
        "1ms",
    ];
    let (code, got) = live(&url, &args);
    assert_eq!((code, got.pieces), (3, 0), "{got:?}");
    assert!(got.errors["status_4xx"] >= 5, "{got:?}");
    assert!(got.unwritten > 0, "{got:?}");
}

/// The sentence of a load that could not be run.
#[track_caller]
fn refused(status: i32, args: &[&str]) -> String {
    let all = [&["live", "--readers", "2"][..], args].concat();
    sentence(&run(&all), status)
}

#[test]
fn what_ends_it_before_it_begins() {
    let (_folder, _, path) = a_file();
    let nobody = "http://127.0.0.1:1/x";
    let said = refused(1, &[nobody, "--write-file", &path]);
    assert!(said.contains("nothing listens on 127.0.0.1:1"), "{said}");
    let said = refused(1, &[nobody, "--follow", "--write-url", nobody]);
    assert!(said.contains("nothing listens on 127.0.0.1:1"), "{said}");
    let server = Server::answering(crate::server::OK);
    let said = refused(1, &[&server.url(), "--write-file", "/does/not/exist/x"]);
    assert!(
        said.starts_with("cannot write \"/does/not/exist/x\": No such file or directory"),
        "{said}"
    );
    let said = refused(1, &["http://no.such.name.invalid/", "--write-file", &path]);
    assert!(said.contains("does not resolve"), "{said}");
}

#[test]
fn mistyped_command_lines() {
    let url = "http://127.0.0.1:1/x";
    for (args, words) in [
        (&[url][..], "add --write-file PATH"),
        (
            &[url, "--write-file", "/tmp/x", "--write-url", url],
            "leave out one of them",
        ),
        (
            &["https://x/", "--write-file", "/tmp/x"],
            "only http:// is supported",
        ),
        (&[url, "--write-url", "ftp://x/"], "--write-url: "),
        (
            &[
                url,
                "--write-file",
                "/tmp/x",
                "--bitrate",
                "1k",
                "--interval",
                "1ms",
            ],
            "pieces of 0 bytes",
        ),
        (
            &[url, "--write-file", "/tmp/x", "--join", "5s", "-d", "5s"],
            "--join: readers must join before",
        ),
        (
            &[url, "--write-file", "/tmp/x", "-H", "Range: bytes=0-"],
            "leave out yours",
        ),
        (
            &[url, "--write-file", "/tmp/x", "-H", "no colon"],
            "Name: value",
        ),
        (
            &[url, "--write-url", url, "--write-method", "A B"],
            "\"A B\" is not a method",
        ),
        (
            &[url, "--write-file", "/tmp/x", "--readers", "2m"],
            "--readers: 2000000 is out of range",
        ),
    ] {
        let said = refused(2, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    for args in [
        &["live", url, "--write-file", "/tmp/x"][..],
        &["live", "--readers", "1", "--write-file", "/tmp/x"],
        &["live", url, "--readers", "0", "--write-file", "/tmp/x"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn ctrl_c_gives_the_report_so_far() {
    let (_folder, path, text) = a_file();
    let server = changing(&path, |_, _| {});
    let hdr = path.with_extension("hdr");
    let args = [
        "live",
        &server.url(),
        "--readers",
        "2",
        "-d",
        "1h",
        "--join",
        "1ms",
        "--poll",
        "20ms",
        "--stall",
        "1m",
        "--write-file",
        &text,
        "--json",
        "-",
        "--hdr",
        hdr.to_str().expect("UTF-8"),
    ];
    let child = load(&args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    server.wait_for_requests(40);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let got: LiveSummary = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(got.interrupted && got.seconds < 60.0, "{got:?}");
    assert_eq!((got.errors_total, got.unwritten), (0, 0), "{got:?}");
    let log = fs::read_to_string(&hdr).expect("the log is there");
    for tag in ["Tag=due,", "Tag=written,"] {
        assert!(log.contains(tag), "{log}");
    }
}

#[test]
fn a_load_leaves_a_page_and_has_a_line_in_its_folder() {
    let (folder, _path, file) = a_file();
    let server = Serve::start(folder.path());
    let url = format!("{}live.ts", server.url);
    let out = tempfile::tempdir().expect("a folder");
    let path = |name: &str| {
        let path = out.path().join(name);
        path.to_str().expect("UTF-8").to_owned()
    };
    let (page, json) = (path("live.html"), path("live.json"));
    let args = [
        "live",
        &url,
        "--readers",
        "3",
        "-d",
        "1200ms",
        "--join",
        "300ms",
    ];
    let args = [
        &args[..],
        &["--write-file", &file, "--report", &page, "--json", &json],
    ]
    .concat();
    let output = run(&args);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("start-up"), "{said}");
    let text = fs::read_to_string(&page).expect("written");
    let document = parsed(&text);
    let words = all_text(&document);
    for fact in ["start-up P99", "stalls", "behind", "readers3", &url] {
        assert!(words.contains(fact), "{fact}: {words}");
    }
    let drawn = plots(&document);
    assert_eq!(
        drawn,
        [
            "Latency by percentile",
            "Pieces read over time",
            "P99 over time"
        ]
    );

    run(&["index", out.path().to_str().expect("UTF-8")]);
    let index = fs::read_to_string(path("index.html")).expect("written");
    let words = all_text(&parsed(&index));
    assert!(
        words.contains("Live readers") && !words.contains("Other files"),
        "{words}"
    );
    let output = run(&["compare", &json, &json]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("behind P99"), "{table}");
}
