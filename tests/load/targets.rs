//! The requests of a load: several URLs with weights, lists, access logs.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use headwater::load::Summary;

use crate::server::{OK, Server, Then, next_if};
use crate::{load, run, sentence, summary};

/// A server that notes the request lines it gets.
fn noting() -> (Server, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    let server = Server::reading(move |head, connection: &mut TcpStream| -> Then {
        let line = head.lines().next().unwrap_or_default();
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        let is_head = line.starts_with("HEAD");
        noted.lock().expect("not poisoned").push(line);
        let answer = if is_head { &OK[..OK.len() - 5] } else { OK };
        next_if(connection.write_all(answer.as_bytes()))
    });
    (server, lines)
}

fn count(lines: &Mutex<Vec<String>>, wanted: &str) -> usize {
    let lines = lines.lock().expect("not poisoned");
    lines.iter().filter(|line| *line == wanted).count()
}

/// A log line of a second of the epoch's first minute.
fn line(second: u32, request: &str) -> String {
    format!("::1 - - [01/Jan/1970:00:00:{second:02} +0000] \"{request}\" 200 5 \"-\" \"x\"\n")
}

/// A load that reads a file from standard input.
fn fed(args: &[&str], input: &str) -> (i32, Summary) {
    let mut child = load(&[args, &["--json", "-"]].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("written");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let summary = serde_json::from_slice(&output.stdout).expect("JSON");
    (output.status.code().expect("it ended by itself"), summary)
}

#[test]
fn urls_are_asked_for_by_their_weights() {
    let (server, lines) = noting();
    let (a, b) = (server.url() + "a", server.url() + "b");
    let (code, got) = summary(&[&a, &b, "--weights", "9,1", "-n", "1000", "-c", "3"]);
    assert_eq!((code, got.requests), (0, 1000));
    let first = count(&lines, "GET /a");
    assert!((850..950).contains(&first), "{first}");
    assert_eq!(first + count(&lines, "GET /b"), 1000);
    // The summary has the same counts by URL.
    let told: Vec<_> = got
        .by_url
        .iter()
        .map(|row| (row.url.as_deref(), row.requests))
        .collect();
    let second = 1000 - first as u64;
    assert_eq!(told, [(Some(&a[..]), first as u64), (Some(&b[..]), second)]);
    assert!(got.by_url.iter().all(|row| row.response_p99_us > 0.0));
}

#[test]
fn a_list_has_methods_weights_and_errors_of_their_own() {
    let server = Server::reading(|head, connection| {
        let answer = match head.starts_with("GET /gone") {
            true => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            false if head.starts_with("HEAD") => &OK[..OK.len() - 5],
            false => OK,
        };
        next_if(connection.write_all(answer.as_bytes()))
    });
    let url = server.url();
    let list = format!("# what we serve\nHEAD /a 2\n\n{url}gone 0.5\n/c\n");
    let (code, got) = fed(
        &[&url, "--urls", "-", "-n", "200", "--pipeline", "4"],
        &list,
    );
    assert_eq!((code, got.requests), (3, 200));
    let [head, gone, plain] = &got.by_url[..] else {
        panic!("{:?}", got.by_url);
    };
    assert_eq!(head.url, Some(format!("HEAD {url}a")));
    assert_eq!(gone.errors, gone.requests);
    assert_eq!((head.errors, plain.errors), (0, 0));
    assert_eq!(got.errors["status_4xx"], gone.requests);
    assert!(head.requests > plain.requests && plain.requests > gone.requests);
}

#[test]
fn a_long_list_has_its_first_urls_told() {
    let server = Server::answering(OK);
    let list: String = (0..5000).fold(String::new(), |mut list, number| {
        let _ = writeln!(list, "/{number}");
        list
    });
    let args = [&server.url(), "--urls", "-", "-n", "500"];
    let (_, got) = fed(&args, &list);
    assert_eq!(
        (got.urls_total, got.urls.len(), got.by_url.len()),
        (5000, 32, 33)
    );
    let all: u64 = got.by_url.iter().map(|row| row.requests).sum();
    assert_eq!((all, &got.by_url[32].url), (500, &None));
    assert!(got.by_url[32].requests > 400);
    assert!(got.to_string().contains("and 4,997 more"), "{got}");
}

#[test]
fn a_log_is_replayed_in_its_order_at_its_times() {
    let (server, lines) = noting();
    // Four in the first second, nothing for eight, one at the end.
    let mut log = String::new();
    for path in ["/a", "/b", "/a", "/c"] {
        log += &line(10, &format!("GET {path} HTTP/1.1"));
    }
    log += &line(18, "HEAD /last HTTP/1.1");
    let args = [
        &server.url(),
        "--replay",
        "-",
        "--speed",
        "10x",
        "-c",
        "2",
        "-t",
        "2",
    ];
    let (_, got) = fed(&args, &log);
    assert_eq!((got.requests, got.errors_total), (5, 0));
    assert!(got.model.contains("log"), "{}", got.model);
    let asked = got.asked_rate_per_s.expect("an open loop");
    assert!((asked - 5.0 / 0.9).abs() < 0.01, "{asked}");
    // The silence lasts its tenth.
    assert!(got.seconds >= 0.8, "{}", got.seconds);
    let paths = ["GET /a", "GET /b", "GET /c", "HEAD /last"];
    assert_eq!(paths.map(|wanted| count(&lines, wanted)), [2, 1, 1, 1]);
}

#[test]
fn a_log_at_a_rate_is_gone_through_once_or_as_often_as_asked() {
    let (server, lines) = noting();
    let log = line(1, "GET /a HTTP/1.1") + &line(59, "GET /b HTTP/1.0") + &line(2, "GET /c");
    let url = server.url();
    let (_, got) = fed(&[&url, "--replay", "-", "--rate", "200", "-c", "1"], &log);
    assert_eq!(got.requests, 3);
    let args = [&url, "--replay", "-", "--rate", "200", "-c", "1", "-n", "7"];
    let (_, got) = fed(&args, &log);
    assert_eq!(got.requests, 7);
    let lines = lines.lock().expect("not poisoned");
    let order: Vec<&str> = lines.iter().map(String::as_str).collect();
    let log = ["GET /a", "GET /c", "GET /b"];
    let wanted: Vec<&str> = log
        .into_iter()
        .chain(log.into_iter().cycle().take(7))
        .collect();
    assert_eq!(order, wanted);
}

#[test]
fn a_duration_cuts_a_log() {
    let (server, lines) = noting();
    let log: String = (0..50)
        .map(|second| line(second, "GET /a HTTP/1.1"))
        .collect();
    let args = [
        &server.url(),
        "--replay",
        "-",
        "--speed",
        "100",
        "-d",
        "195ms",
    ];
    let (_, got) = fed(&args, &log);
    assert_eq!(got.requests + got.unanswered + got.unsent, 20);
    assert_eq!(
        count(&lines, "GET /a") as u64,
        got.requests + got.unanswered
    );
}

#[test]
fn what_of_a_log_is_not_replayed_is_told() {
    let server = Server::answering(OK);
    let log = line(1, "GET /a HTTP/1.1")
        + "garbage\n"
        + &line(1, "POST /form HTTP/1.1")
        + &line(1, "-")
        + "more garbage\n";
    let (_, got) = fed(&[&server.url(), "--replay", "-", "--speed", "10x"], &log);
    assert_eq!(got.requests, 1);
    assert!(
        got.notes
            .iter()
            .any(|note| note.starts_with("2 lines") && note.contains("GET"))
    );
    assert!(
        got.notes
            .iter()
            .any(|note| note.contains("the first is line 2")),
        "{:?}",
        got.notes
    );
}

#[test]
fn files_that_can_not_be_used_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("list");
    let path = path.to_str().expect("UTF-8");
    let server = "http://localhost/";
    for (flag, text, words) in [
        ("--urls", "/a\n/b x\n", "list line 2: the weight \"x\""),
        ("--urls", "http://elsewhere/\n", "two servers"),
        ("--urls", "\n# none\n", "list has no URL"),
        ("--urls", "G@T /a\n", "list line 1"),
        ("--replay", "", "list is empty"),
        ("--replay", "x\ny\n", "2 lines, the first of them line 1"),
    ] {
        std::fs::write(path, text).expect("written");
        let said = sentence(&run(&[server, flag, path]), 2);
        assert!(said.contains(words), "{text}: {said}");
    }
    std::fs::write(path, line(1, "POST / HTTP/1.1")).expect("written");
    let said = sentence(&run(&[server, "--replay", path]), 2);
    assert!(
        said.contains("none of its 1 requests is a GET or HEAD"),
        "{said}"
    );
    std::fs::write(path, "/a\n").expect("written");
    let said = sentence(&run(&["--urls", path]), 2);
    assert!(said.contains("a path needs a server"), "{said}");
    for flag in ["--urls", "--replay"] {
        let said = sentence(&run(&[server, flag, "/does/not/exist"]), 2);
        assert!(said.contains(&format!("{flag}: cannot read")), "{said}");
        let said = sentence(&run(&[server, server, flag, path]), 2);
        assert!(said.contains("names its server alone"), "{said}");
    }
    let said = sentence(&run(&[server, server, "--weights", "1"]), 2);
    assert!(said.contains("1 numbers for 2 URLs"), "{said}");
    for args in [
        &[server, "--weights", "0"][..],
        &[server, "--speed", "2"],
        &[server, "--replay", path, "--speed", "0"],
        &[server, "--replay", path, "--speed", "2", "--rate", "5"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn unix_sockets_and_other_addresses_are_connected_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("a.sock");
    let listener = UnixListener::bind(&socket).expect("bound");
    let server = thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut head = Vec::new();
        for answered in 0..2 {
            while head.windows(4).filter(|four| four == b"\r\n\r\n").count() <= answered {
                let mut piece = [0; 1024];
                let count = connection.read(&mut piece).expect("a request");
                assert!(count > 0, "it closed");
                head.extend_from_slice(&piece[..count]);
            }
            connection.write_all(OK.as_bytes()).expect("sent");
        }
        String::from_utf8(head).expect("UTF-8")
    });
    let url = format!("unix:{}:/b?c", socket.display());
    let (code, got) = summary(&[&url, "-c", "1", "-n", "2"]);
    assert_eq!((code, got.requests), (0, 2), "{got}");
    assert_eq!(got.urls, [url]);
    let head = server.join().expect("it ended well");
    assert!(
        head.starts_with("GET /b?c HTTP/1.1\r\nHost: localhost\r\n"),
        "{head}"
    );

    let heads = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&heads);
    let server = Server::reading(move |head, connection| {
        head.clone_into(&mut seen.lock().expect("not poisoned"));
        next_if(connection.write_all(OK.as_bytes()))
    });
    let to = format!(
        "no.such.host.invalid:81:127.0.0.1:{}",
        server.address.port()
    );
    let url = "http://no.such.host.invalid:81/a";
    let (code, got) = summary(&[url, "-n", "2", "-c", "1", "--connect-to", &to]);
    assert_eq!((code, got.requests), (0, 2), "{got}");
    let head = heads.lock().expect("not poisoned").clone();
    assert!(head.contains("Host: no.such.host.invalid:81\r\n"), "{head}");
    let said = sentence(&run(&["unix:/does/not/exist", "-n", "1"]), 1);
    assert!(said.contains("unix:/does/not/exist"), "{said}");
}
