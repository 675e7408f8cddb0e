//! The program's access log: its lines, for which requests, and that nothing waits for it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::logged::{BODY, Fields, LARGE_BYTES, Logged, MIDDLE_BYTES};
use crate::support::{Binary, Client, an_allowed_cpu, eventually, get, headwater};

/// The request whose line docs/access-log.md shows.
const DOCUMENTED: &str = "GET /clip.txt?t=5&token=abc HTTP/1.1\r\nhost: localhost\r\n\
                          referer: https://example.org/\r\nuser-agent: curl/7.88.1\r\n\
                          authorization: Bearer abc\r\ncookie: id=abc\r\n\r\n";

#[test]
fn the_examples_of_the_docs_are_lines_of_the_server() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/access-log.md"));
    let docs = docs.expect("the page");
    let template = "$remote_addr [$time_iso8601] $request_method $request_path $status $bytes_sent \
                    $request_time $cut";
    assert!(docs.contains(template), "the page shows another template");
    for format in ["combined", "json", "logfmt", "template"] {
        let (_, behind) = docs
            .split_once(&format!("<!-- example {format} -->\n```text\n"))
            .expect(format);
        let example = behind.lines().next().expect(format);
        let text = if format == "template" {
            template
        } else {
            format
        };
        let mut site = Logged::start(&["--access-log-format", text]);
        assert_eq!(site.client().ask(DOCUMENTED).body, BODY);
        assert_eq!(masked(&site.lines(1)[0]), masked(example), "{format}");
    }
}

/// A line without what differs from run to run: times, ports, sizes of heads.
fn masked(line: &str) -> String {
    let mut out = String::new();
    for word in line.split_inclusive([' ', ',', '[', ']', '=']) {
        let is_version = word.contains("HTTP/") || word.contains("curl/");
        let is_status = word.trim() == "200" || word.contains("\"network");
        let mut digits = false;
        for c in word.chars() {
            let digit = c.is_ascii_digit() && !is_version && !is_status;
            if !(digit && digits) {
                out.push(if digit { '0' } else { c });
            }
            digits = digit;
        }
    }
    for month in [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ] {
        out = out.replace(month, "Month");
    }
    out
}

/// As log analysers read the combined format, written without a look at how it is made.
#[test]
fn the_combined_format_is_read_by_another_parser() {
    let mut site = Logged::start(&[]);
    let mut client = site.client();
    client.ask(
        b"GET /clip.txt HTTP/1.1\r\nhost: x\r\nuser-agent: a \"b\" \\ c\r\nreferer: \xff\r\n\r\n",
    );
    client.ask("GET /clip.txt HTTP/1.1\r\nhost: x\r\nrange: bytes=0-4\r\n\r\n");
    client.send("HEAD /clip.txt HTTP/1.1\r\nhost: x\r\n\r\n");
    client.reply_head();
    client.ask("GET /none HTTP/1.1\r\nhost: x\r\n\r\n");
    let lines = site.lines(4);
    let parsed: Vec<[String; 6]> = lines.iter().map(|line| combined(line)).collect();
    let requests: Vec<&str> = parsed.iter().map(|line| &*line[1]).collect();
    assert_eq!(
        requests,
        [
            "GET /clip.txt HTTP/1.1",
            "GET /clip.txt HTTP/1.1",
            "HEAD /clip.txt HTTP/1.1",
            "GET /none HTTP/1.1"
        ]
    );
    let statuses: Vec<&str> = parsed.iter().map(|line| &*line[2]).collect();
    assert_eq!(statuses, ["200", "206", "200", "404"]);
    let bodies: Vec<&str> = parsed.iter().map(|line| &*line[3]).take(3).collect();
    assert_eq!(bodies, ["11", "5", "0"]);
    assert_eq!(parsed[0][4], "\\xFF");
    assert_eq!(parsed[0][5], "a \\x22b\\x22 \\x5C c");
    assert_eq!((&*parsed[1][4], &*parsed[1][5]), ("-", "-"));
    assert!(parsed.iter().all(|line| line[0] == "127.0.0.1"));
}

/// Address, request, status, body bytes, referer and user agent.
#[track_caller]
fn combined(line: &str) -> [String; 6] {
    let (address, rest) = line.split_once(" - - [").expect(line);
    let (time, rest) = rest.split_once("] \"").expect(line);
    let shape: String = time
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "00/aaa/0000:00:00:00 +0000", "{line}");
    let (request, rest) = rest.split_once("\" ").expect(line);
    let (numbers, rest) = rest.split_once(" \"").expect(line);
    let (status, bytes) = numbers.split_once(' ').expect(line);
    let (referer, agent) = rest.split_once("\" \"").expect(line);
    let agent = agent.strip_suffix('"').expect(line);
    let all = [address, request, status, bytes, referer, agent];
    assert!(all.iter().all(|text| !text.contains('"')), "{line}");
    all.map(str::to_owned)
}

#[test]
fn a_pipelined_burst_has_a_line_for_each_request() {
    let mut site = Logged::with_fields(&[]);
    let mut client = site.client();
    client.get("/clip.txt");
    let burst = [get("/clip.txt"), get("/none"), get("/large")]
        .concat()
        .repeat(3);
    let burst = burst + &get("/clip.txt").repeat(200);
    client.send(&burst);
    let mut bytes = Vec::new();
    for _ in 0..3 {
        for (status, length) in [(200, BODY.len() as u64), (404, 0), (200, LARGE_BYTES)] {
            let reply = client.reply_head();
            assert_eq!(reply.status, status);
            let body: u64 = reply.field("content-length").parse().expect("a length");
            assert!(length == 0 || body == length);
            skip(&mut client, body);
            bytes.push((reply.head.len() as u64 + body, body));
        }
    }
    for _ in 0..200 {
        let reply = client.reply();
        bytes.push((
            reply.head.len() as u64 + BODY.len() as u64,
            BODY.len() as u64,
        ));
    }
    drop(client);
    let lines = site.end();
    assert_eq!(lines.len(), 210);
    for (index, line) in lines.iter().enumerate() {
        assert_eq!((line.connection, line.number), (1, index as u64 + 1));
        assert_eq!((&*line.cut, &*line.completion), ("-", "OK"), "{line:?}");
        assert!(
            line.first_byte.is_some_and(|first| first <= line.duration),
            "{line:?}"
        );
    }
    let logged: Vec<(u64, u64)> = lines[1..]
        .iter()
        .map(|line| (line.bytes, line.body))
        .collect();
    assert_eq!(logged, bytes);
}

fn skip(client: &mut Client, mut bytes: u64) {
    while bytes > 0 {
        let piece = bytes.min(1 << 20);
        client.take(piece as usize);
        bytes -= piece;
    }
}

#[test]
fn what_could_not_be_answered_as_asked_has_its_line() {
    let mut site = Logged::with_fields(&["--header-timeout", "300ms", "--body-timeout", "300ms"]);
    // Not HTTP at all.
    let mut client = site.client();
    client.send(b"\x16\x03\x01\"\\\x00\r\n\r\n");
    assert_eq!(client.reply().status, 400);
    // A head that never ends.
    let mut client = site.client();
    client.send("GET /late HTTP/1.1\r\nhost: x\r\n");
    assert_eq!(client.reply().status, 408);
    // A client that goes away in the middle of one.
    let mut client = site.client();
    client.send("GET /gone HTTP/1.1\r\n");
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("an end");
    client.expect_closed();
    // One without a word has no line.
    drop(site.client());
    let lines = site.lines(3);
    let lines: Vec<Fields> = lines.iter().map(|line| Fields::of(line)).collect();
    let find = |cut: &str| lines.iter().find(|line| line.cut == cut).expect(cut);
    let malformed = find("malformed");
    assert!(
        malformed.is(400, "malformed", r"\x16\x03\x01\x22\x5C\x00"),
        "{malformed:?}"
    );
    assert!(malformed.body > 0 && malformed.bytes > malformed.body);
    assert!(find("head_timeout").is(408, "head_timeout", "GET /late HTTP/1.1"));
    assert!(find("head_timeout").duration >= 0.3);
    assert!(find("client_closed").is(499, "client_closed", "GET /gone HTTP/1.1"));
    assert_eq!(find("client_closed").bytes, 0);
    assert_eq!(site.end().len(), 3);
}

#[test]
fn a_connection_too_many_has_its_line() {
    let mut site = Logged::with_fields(&["--max-connections", "1", "--keepalive-adaptive=false"]);
    let mut first = site.client();
    first.get("/clip.txt");
    let mut second = site.client();
    second.send(get("/clip.txt"));
    let answer = second.rest();
    assert!(answer.starts_with(b"HTTP/1.1 503"));
    drop(first);
    let lines = site.end();
    let refused = lines
        .iter()
        .find(|line| line.cut == "refused")
        .expect("a line");
    assert!(refused.is(503, "refused", "-"), "{refused:?}");
    assert_eq!((refused.number, refused.bytes), (0, answer.len() as u64));
}

/// Asks for the large file and takes its beginning.
fn begin_download(site: &mut Logged) -> Client {
    let mut client = site.client();
    client.send(get("/large"));
    client.reply_head();
    client.take(1 << 20);
    client
}

#[track_caller]
fn assert_cut_download(line: &Fields, cut: &str) {
    assert!(line.is(200, cut, "GET /large HTTP/1.1"), "{line:?}");
    assert!(line.body >= 1 << 20 && line.body < LARGE_BYTES, "{line:?}");
    assert_eq!(line.completion, "-");
}

#[test]
fn a_download_that_the_client_resets_has_its_bytes() {
    let mut site = Logged::with_fields(&[]);
    let client = begin_download(&mut site);
    socket2::SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .expect("a reset");
    drop(client);
    let lines = site.lines(1);
    assert_cut_download(&Fields::of(&lines[0]), "client_reset");
}

#[test]
fn a_client_that_is_too_slow_is_said_to_be() {
    let mut site = Logged::with_fields(&["--send-period", "300ms", "--send-rate-min", "1GiB"]);
    let client = begin_download(&mut site);
    let lines = site.lines(1);
    assert_cut_download(&Fields::of(&lines[0]), "slow_client");
    drop(client);
}

#[test]
fn a_download_at_the_end_of_the_drain_has_its_line() {
    let mut site = Logged::with_fields(&["--drain-timeout", "200ms"]);
    let client = begin_download(&mut site);
    let lines = site.end();
    assert_eq!(lines.len(), 1);
    assert_cut_download(&lines[0], "drain_deadline");
    drop(client);
}

#[test]
fn a_file_cut_short_is_said_to_have_changed() {
    let mut site = Logged::with_fields(&[]);
    let mut client = begin_download(&mut site);
    let file = fs::File::options()
        .write(true)
        .open(site.dir.path().join("root/large"));
    file.expect("the file")
        .set_len(2 << 20)
        .expect("a shorter file");
    client.rest();
    let lines = site.lines(1);
    assert_cut_download(&Fields::of(&lines[0]), "file_changed");
}

/// Small answers that the kernel does not take are not said to have been sent.
#[test]
fn answers_that_a_full_socket_did_not_take_are_cut() {
    let mut site = Logged::with_fields(&["--send-period", "300ms", "--send-rate-min", "1GiB"]);
    let mut client = site.client();
    client.get("/clip.txt");
    // The client does not read the answers: it sends until the server doesn't read on either.
    client.stream.set_nonblocking(true).expect("a mode");
    let (burst, start) = (get("/clip.txt").repeat(1000), Instant::now());
    let mut asked = 0;
    while !site.text().contains("slow_client") && start.elapsed() < Duration::from_secs(10) {
        asked += client.stream.write(burst.as_bytes()).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(1));
    }
    client.stream.set_nonblocking(false).expect("a mode");
    let received = client.rest().len() as u64;
    let lines = site.end();
    assert!(lines.len() - 1 <= asked / get("/clip.txt").len());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line.number, index as u64 + 1, "{line:?}");
        assert_eq!(line.cut == "-", line.body == BODY.len() as u64, "{line:?}");
    }
    let first_cut = lines
        .iter()
        .position(|line| line.cut != "-")
        .expect("a cut");
    assert!(
        lines[first_cut..]
            .iter()
            .all(|line| line.cut == "slow_client")
    );
    assert!(lines[first_cut + 1..].iter().all(|line| line.bytes == 0));
    let sent: u64 = lines[1..].iter().map(|line| line.bytes).sum();
    assert!(sent >= received, "{sent} are logged, and {received} came");
}

/// A client with little room, of a server with little room that gives up on slow ones.
fn little_room() -> (Logged, Client) {
    let mut site = Logged::with_fields(&[
        "--browse",
        "--send-buffer=4KiB",
        "--send-period=1s",
        "--send-rate-min=1GiB",
        // On a busy machine, too, a listing is made well within the period.
        "--task-scheduling=normal",
    ]);
    let mut first = site.client();
    for path in ["/middle", "/clip.txt"] {
        // A file that was written just now has a weak tag, and is looked at again before each use.
        eventually("the file has settled", || {
            let etag = first.get(path).field("etag").to_owned();
            !etag.is_empty() && !etag.starts_with("W/")
        });
    }
    // From here on the large one is answered at once, too.
    first.send("HEAD /large HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(first.reply_head().status, 200);
    let domain = socket2::Domain::IPV4;
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    let address = site.server.address();
    socket.connect(&address.into()).expect("a connection");
    (site, Client::on(socket.into()))
}

/// The lines of the client with little room, once there are this many.
fn lines_of_second(site: &mut Logged, count: usize) -> Vec<Fields> {
    eventually("enough lines", || {
        let text = site.text();
        let lines = text.lines().filter(|line| line.starts_with("2 "));
        lines.count() >= count
    });
    let mut lines = site.end();
    lines.retain(|line| line.connection == 2);
    lines
}

#[test]
fn what_waits_behind_an_answer_that_is_cut_is_cut_too() {
    let (mut site, mut client) = little_room();
    // The listing is made elsewhere, and by then the file before it has filled the socket.
    let listing = "GET /folder/ HTTP/1.1\r\nhost: x\r\naccept: application/json\r\n\r\n";
    client.send([&get("/middle"), listing, &get("/clip.txt"), &get("/none")].concat());
    let lines = lines_of_second(&mut site, 4);
    let asked: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.status,
                &*line.cut,
                line.bytes > 0,
                line.first_byte.is_some(),
            )
        })
        .collect();
    let cut = "slow_client";
    assert_eq!(
        asked,
        [
            (200, cut, true, true),
            (200, cut, false, false),
            (200, cut, false, false),
            (404, cut, false, false)
        ]
    );
    assert!(lines[0].body < MIDDLE_BYTES as u64, "{:?}", lines[0]);
}

#[test]
fn what_is_sent_before_a_large_answers_head_is_cut_with_it() {
    let (mut site, mut client) = little_room();
    client.send(get("/clip.txt").repeat(80) + &get("/large"));
    let asked = lines_of_second(&mut site, 81);
    let first_cut = asked
        .iter()
        .position(|line| line.cut != "-")
        .expect("a cut");
    assert!(first_cut < 80, "the socket has taken all small answers");
    for (index, line) in asked.iter().enumerate() {
        assert_eq!(line.cut == "slow_client", index >= first_cut, "{line:?}");
        assert!(line.bytes == 0 || index <= first_cut, "{line:?}");
    }
}

#[test]
fn secrets_are_not_logged() {
    let every = "[$request] [$request_uri] [$args] [$http_referer] [$http_user_agent]";
    let ask = "GET /clip.txt?password=hunter2&a=b HTTP/1.1\r\nhost: x\r\n\
               authorization: Basic aHVudGVyMg==\r\ncookie: a=hunter2\r\n\
               referer: http://u:hunter2@h/?key=hunter2\r\n\r\n";
    for (rule, shown) in [
        ("redact", "password=REDACTED&a=b"),
        ("drop", "[GET /clip.txt HTTP/1.1]"),
    ] {
        for format in [every, "combined", "json", "logfmt"] {
            let mut site =
                Logged::start(&["--access-log-format", format, "--access-log-query", rule]);
            site.client().ask(ask);
            let line = &site.lines(1)[0];
            assert!(
                !line.contains("hunter2") && !line.contains("aHVudGVyMg"),
                "{line}"
            );
            assert!(format != every || line.contains(shown), "{line}");
        }
    }
    let mut site = Logged::start(&["--access-log-query", "keep"]);
    site.client().ask(ask);
    assert!(site.lines(1)[0].contains("password=hunter2&a=b"));
}

#[test]
fn a_format_that_cannot_be_used_is_refused_at_the_start() {
    for (format, said) in [
        ("$http_cookie", "never logged"),
        ("$nothing", "$nothing, which is not known"),
        ("plain", "combined, json, logfmt"),
    ] {
        let dir = TempDir::new().expect("a folder");
        let args = [
            "--access-log",
            "-",
            "--access-log-format",
            format,
            "--check",
        ];
        let mut server = Binary::serve(dir.path(), &args);
        let (code, text) = server.end();
        assert_eq!(code, Some(2), "{text}");
        assert!(
            text.contains(said) && text.contains("--access-log-format"),
            "{text}"
        );
    }
}

#[test]
fn json_on_standard_output() {
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("clip.txt"), BODY).expect("a file");
    let out = fs::File::create(dir.path().join("out")).expect("a file");
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .args(["--access-log", "-", "--access-log-format", "json"])
        .stdout(out);
    let mut server = Binary::spawn(command);
    server.client().get("/clip.txt");
    server.signal(Signal::SIGTERM);
    server.end();
    let text = fs::read_to_string(dir.path().join("out")).expect("a text");
    let line: Value = serde_json::from_str(&text).expect(&text);
    assert_eq!(line["http.response.status_code"], 200);
    assert_eq!(line["url.original"], "/clip.txt");
}

#[test]
fn a_signal_reopens_the_log_and_no_line_is_lost() {
    let mut site = Logged::with_fields(&[]);
    let mut client = site.client();
    let old = |number: usize| site.dir.path().join(format!("old{number}"));
    for number in 0..10 {
        for _ in 0..20 {
            client.get("/clip.txt");
        }
        eventually("a log", || site.path().exists());
        fs::rename(site.path(), old(number)).expect("a renamed log");
        site.server.signal(Signal::SIGUSR1);
    }
    eventually("a reopened log", || site.path().exists());
    drop(client);
    let old: Vec<String> = (0..10)
        .map(|n| fs::read_to_string(old(n)).expect("a log"))
        .collect();
    let last: Vec<u64> = site.end().iter().map(|line| line.number).collect();
    let numbers = old
        .iter()
        .flat_map(|text| text.lines().map(|line| Fields::of(line).number));
    let mut numbers: Vec<u64> = numbers.chain(last).collect();
    // Read after the end, so that what was written late to an old one is there, too.
    if numbers.len() < 200 {
        numbers = (0..10)
            .flat_map(|n| {
                let text =
                    fs::read_to_string(site.dir.path().join(format!("old{n}"))).expect("a log");
                text.lines()
                    .map(|line| Fields::of(line).number)
                    .collect::<Vec<_>>()
            })
            .chain(site.text().lines().map(|line| Fields::of(line).number))
            .collect();
    }
    numbers.sort();
    assert_eq!(numbers, (1..=200).collect::<Vec<u64>>());
}

/// Where the file's name leads nowhere, only the signal has it opened again.
#[test]
fn a_signal_reopens_a_log_that_nothing_shows_to_have_moved() {
    let dir = TempDir::new().expect("a folder");
    let (link, old, new) = (
        dir.path().join("logs"),
        dir.path().join("old"),
        dir.path().join("new"),
    );
    let point_to = |target: &Path| {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, &link).expect("a link");
    };
    for folder in [&old, &new] {
        fs::create_dir(folder).expect("a folder");
    }
    point_to(&old);
    let log = link.join("log");
    let mut server = Binary::serve(dir.path(), &["--access-log", log.to_str().expect("a path")]);
    let mut client = server.client();
    let lines = |folder: &Path| {
        let text = fs::read_to_string(folder.join("log")).unwrap_or_default();
        text.lines().count()
    };
    client.get("/none");
    eventually("a line", || lines(&old) == 1);
    point_to(&link);
    server.signal(Signal::SIGUSR1);
    let said = server.line("headwater: the access log");
    assert!(said.contains("Too many levels of symbolic links"), "{said}");
    // The open file is written to meanwhile.
    client.get("/none");
    eventually("another line", || lines(&old) == 2);
    point_to(&new);
    server.signal(Signal::SIGUSR1);
    eventually("a new file", || new.join("log").exists());
    client.get("/none");
    eventually("a line in it", || lines(&new) == 1);
    assert_eq!(lines(&old), 2);
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    const BURSTS: usize = 100;
    const BURST: usize = 500;
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("clip.txt"), BODY).expect("a file");
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args([
            "--listen=127.0.0.1:0",
            "--admin=127.0.0.1:0",
            "--access-log=/dev/full",
        ])
        .args(["--cores", &an_allowed_cpu().to_string()]);
    let mut server = Binary::spawn(command);
    let mut client = server.client();
    let burst = get("/clip.txt").repeat(BURST);
    // More than the writer's lines and the shard's batches hold.
    for _ in 0..BURSTS {
        client.send(&burst);
        for _ in 0..BURST {
            assert_eq!(client.reply().status, 200);
        }
    }
    let said = server.line("headwater: the access log /dev/full:");
    assert!(said.contains("No space left on device"), "{said}");
    let admin = server.line("admin");
    let admin = admin.split(' ').next().expect("an address");
    let metrics = Client::connect(admin.parse().expect("an address")).get("/metrics");
    let metric = |name: &str| -> u64 {
        let lines = metrics.text().lines();
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.split(' ').nth(1));
        let value = values.next().expect(name);
        value.parse().expect(name)
    };
    assert_eq!(metric("headwater_access_log_lines_total"), 0);
    assert!(metric("headwater_access_log_errors_total") > 0);
    let dropped = metric("headwater_access_log_dropped_total");
    assert!(
        dropped > 0 && dropped < (BURSTS * BURST) as u64,
        "{dropped}"
    );
    server.signal(Signal::SIGTERM);
    let (code, said) = server.end();
    let lost = format!(
        "headwater: {} lines of the access log were lost",
        BURSTS * BURST
    );
    assert!(code == Some(0) && said.contains(&lost), "{said}");
}

/// A file may have 4 KiB here, as on a disk that is full then: what is written of a line before
/// that is taken back, and the line is whole in the next file.
#[test]
fn a_line_that_a_full_disk_cuts_in_two_is_written_whole_later() {
    const REQUESTS: usize = 250;
    let dir = TempDir::new().expect("a folder");
    let (log, old) = (dir.path().join("log"), dir.path().join("old"));
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"])
        .args([env!("CARGO_BIN_EXE_headwater"), "serve"])
        .arg(dir.path())
        .args(["--listen=127.0.0.1:0", "--admin=off", "--access-log"])
        .arg(&log)
        .args(["--access-log-format", "$connection_requests $request"]);
    let mut server = Binary::spawn(command);
    let mut client = server.client();
    for _ in 0..REQUESTS {
        client.get("/none");
    }
    let said = server.line("headwater: the access log");
    assert!(said.contains("File too large"), "{said}");
    fs::rename(&log, &old).expect("another name");
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    eventually("all lines", || {
        read(&log).lines().count() + read(&old).lines().count() == REQUESTS
    });
    let all = read(&old) + &read(&log);
    let expected = (1..=REQUESTS).map(|number| format!("{number} GET /none HTTP/1.1\n"));
    assert_eq!(all, expected.collect::<String>());
    server.signal(Signal::SIGTERM);
    let (code, said) = server.end();
    assert!(
        code == Some(0) && said.contains("lines are written again; 0 were dropped"),
        "{said}"
    );
}

/// The log is a FIFO with a reader that has stopped reading.
#[test]
fn a_stopped_log_holds_up_neither_requests_nor_the_end() {
    let dir = TempDir::new().expect("a folder");
    fs::write(dir.path().join("clip.txt"), BODY).expect("a file");
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let reader = fs::File::options()
        .read(true)
        .write(true)
        .open(&fifo)
        .expect("a reader");
    let mut server = Binary::serve(
        dir.path(),
        &["--access-log", fifo.to_str().expect("a path")],
    );
    let mut client = server.client();
    let burst = get("/clip.txt").repeat(500);
    // More than a pipe, the writer's lines and the shard's batches hold.
    for _ in 0..100 {
        client.send(&burst);
        for _ in 0..500 {
            assert_eq!(client.reply().status, 200);
        }
    }
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(said.contains("lines of the access log were lost"), "{said}");
    drop(reader);
}

#[test]
fn the_load_generator_replays_the_log() {
    for format in ["combined", "json", "logfmt"] {
        let mut site = Logged::start(&["--access-log-format", format]);
        let mut client = site.client();
        client.get("/clip.txt?a=%22b");
        client.get("/none");
        client.ask(
            "GET /clip.txt HTTP/1.1\r\nhost: x\r\nrange: bytes=0-1\r\nuser-agent: \"\\\r\n\r\n",
        );
        site.lines(3);
        let address = site.server.address();
        let output = headwater()
            .arg("load")
            .arg(format!("http://{address}/"))
            .arg("--replay")
            .arg(site.path())
            .args(["-c", "1", "--json", "-"])
            .output()
            .expect("a load");
        let text = String::from_utf8_lossy(&output.stdout);
        let json: Value = serde_json::from_str(&text)
            .unwrap_or_else(|e| panic!("{e}: {text} {}", String::from_utf8_lossy(&output.stderr)));
        let requests = json.to_string();
        assert!(requests.contains("/clip.txt"), "{format}: {requests}");
        let lines = site.lines(6);
        assert!(lines[3].contains("/clip.txt?a=%22b"), "{format}: {lines:?}");
    }
}
