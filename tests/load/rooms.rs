//! `headwater load rooms` against a small room server that behaves and misbehaves: each fault has
//! its own counter.

use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use headwater::load::Verdict;
use headwater::load::rooms::RoomsSummary;

use crate::room_server::RoomServer;
use crate::server::{Server, Then};
use crate::{load, run, sentence, summary_of};

/// Exit status and summary of a load of 4 subscribers and 2 publishers with 100 messages.
#[track_caller]
fn rooms(server: &RoomServer, scheme: &str, more: &[&str]) -> (i32, RoomsSummary) {
    let (sub, publish) = (server.sub(), server.publish(scheme));
    let args = [
        "rooms",
        "--subscribers",
        "4",
        "--publishers",
        "2",
        "--rate",
        "200",
        "-d",
        "500ms",
        "--warmup",
        "100ms",
        "--sub-url",
        &sub,
        "--pub-url",
        &publish,
    ];
    summary_of(&[&args[..], more].concat())
}

/// Arguments of a load of 2 subscribers with 100 messages a second.
fn two_subscribers<'a>(sub: &'a str, publish: &'a str, duration: &'a str) -> [&'a str; 13] {
    [
        "rooms",
        "--subscribers",
        "2",
        "--rate",
        "100",
        "-d",
        duration,
        "--warmup",
        "1ms",
        "--sub-url",
        sub,
        "--pub-url",
        publish,
    ]
}

fn faithful() -> RoomServer {
    RoomServer::new(|text| vec![text])
}

#[test]
fn everything_is_delivered_once_and_in_order() {
    let server = faithful();
    for (scheme, more) in [
        ("http", &["--poisson", "--seed", "3"][..]),
        ("ws", &["-t", "2"]),
        ("http", &["--size", "1000", "-t", "2"]),
    ] {
        let (code, got) = rooms(&server, scheme, more);
        // On a crowded machine the generator may be late, and says so.
        assert!(matches!(code, 0 | 5), "{code}: {got:?}");
        assert_eq!((got.wrong(), got.unsent), (0, 0), "{got:?}");
        assert!(more[0] == "--poisson" || got.published == 100, "{got:?}");
        assert_eq!(got.deliveries, 4 * got.published);
        assert_eq!(got.expected_deliveries, got.deliveries);
        assert_eq!(got.delivery_time_us.count, got.deliveries);
        assert_eq!(got.transit_time_us.count, got.deliveries);
        assert!(got.transit_time_us.max <= got.delivery_time_us.max);
        assert_eq!(got.publish_time_us.is_some(), scheme == "http");
        // One that was due in the warm-up may come after it, and is no delivery that counts.
        let each = got.deliveries_per_websocket_message;
        assert!((0.9..=1.0).contains(&each), "{each}");
    }
}

#[test]
fn what_is_wrapped_and_gathered_is_found() {
    let mut held = Vec::new();
    // Four at a time, as a server that coalesces does it; the last ones wait for ever.
    let server = RoomServer::new(move |text| {
        held.push(format!("{{\"from\":\"é\",\"text\":\"{text}\"}}"));
        match held.len() {
            4 => vec![format!("[{}]", std::mem::take(&mut held).join(","))],
            _ => vec![],
        }
    });
    let (_, got) = rooms(&server, "ws", &["--grace", "100ms"]);
    assert_eq!(got.deliveries + got.lost, 400);
    assert!(got.lost <= 12 && got.damaged == 0, "{got:?}");
    assert_eq!((got.duplicates, got.out_of_order), (0, 0));
    assert!(got.deliveries_per_websocket_message > 3.9, "{got:?}");
}

#[test]
fn lost_messages_are_counted() {
    let mut count = 0;
    let server = RoomServer::new(move |text| {
        count += 1;
        if count % 10 == 0 { vec![] } else { vec![text] }
    });
    let (code, got) = rooms(&server, "http", &["--grace", "100ms", "--warmup", "1ms"]);
    assert_eq!(code, 3);
    assert!((9 * 4..=11 * 4).contains(&got.lost), "{got:?}");
    assert_eq!(got.deliveries + got.lost, got.expected_deliveries);
    assert_eq!((got.duplicates, got.out_of_order, got.damaged), (0, 0, 0));
    assert!(
        got.notes.iter().any(|note| note.contains("--grace")),
        "{:?}",
        got.notes
    );
}

#[test]
fn doubled_messages_are_counted() {
    let server = RoomServer::new(|text| vec![text.clone(), text]);
    let (code, got) = rooms(&server, "http", &[]);
    assert_eq!((code, got.duplicates, got.deliveries), (3, 400, 400));
    assert_eq!((got.lost, got.out_of_order), (0, 0));
}

#[test]
fn reordered_messages_are_counted() {
    let mut held: Option<String> = None;
    // Every two change places, so of each publisher, whose messages take turns, every four.
    let mut pairs = Vec::new();
    let server = RoomServer::new(move |text| {
        if let Some(first) = held.take() {
            pairs.extend([text, first]);
            if pairs.len() == 4 {
                pairs.rotate_left(2);
                return std::mem::take(&mut pairs);
            }
            return vec![];
        }
        held = Some(text);
        vec![]
    });
    let (code, got) = rooms(&server, "http", &["--publishers", "1", "--grace", "100ms"]);
    assert_eq!(code, 3);
    assert!(got.out_of_order >= 4 * 60, "{got:?}");
    assert_eq!((got.duplicates, got.damaged), (0, 0));
    // The last few may have been held for ever.
    assert!(got.lost <= 12, "{got:?}");
}

#[test]
fn damaged_messages_are_counted() {
    let server = RoomServer::new(|text| vec![text[..text.len() - 3].to_owned()]);
    let (code, got) = rooms(&server, "http", &[]);
    assert_eq!(code, 3);
    // Those of the warm-up, too, until the measured time begins.
    assert!(got.damaged >= 400, "{got:?}");
}

#[test]
fn messages_of_other_runs_are_told_apart() {
    let old = format!(
        "hw1:00000000-00000000-00000000-{0}-{0}-{0}-0000005c:;",
        "0".repeat(16)
    );
    let server = RoomServer::new(move |text| vec![old.clone(), text, "hello".to_owned()]);
    let (code, got) = rooms(&server, "http", &[]);
    assert!(matches!(code, 0 | 5), "{code}: {got:?}");
    assert!(got.foreign >= 400 && got.untagged >= 400, "{got:?}");
    assert_eq!((got.deliveries, got.wrong()), (400, 0));
}

#[test]
fn frames_that_are_none_are_errors() {
    for raw in [
        // Masked, as a server's must not be; a reserved bit; too large.
        &b"\x81\x81abcd\x00"[..],
        b"\xf1\x00",
        b"\x82\x7f\x00\x00\x00\x00\x7f\x00\x00\x00",
        b"garbage that goes on",
    ] {
        let server = RoomServer::sending(raw);
        let (code, got) = rooms(&server, "http", &["--grace", "50ms"]);
        assert_eq!(code, 3);
        assert!(
            got.errors["bad_frame"] >= 4 && got.connections_lost >= 4,
            "{got:?}"
        );
    }
}

#[test]
fn pings_are_answered_and_a_close_is_obeyed() {
    let server = RoomServer::sending(b"\x89\x02hi");
    let (code, got) = rooms(&server, "http", &[]);
    assert!(matches!(code, 0 | 5) && got.wrong() == 0, "{code}: {got:?}");
    let server = RoomServer::sending(b"\x88\x05\x03\xe9bye");
    let (code, got) = rooms(&server, "http", &["--grace", "50ms"]);
    assert_eq!(code, 3);
    assert!(got.errors["closed"] >= 4, "{got:?}");
}

/// The sentence of a load that could not be run.
#[track_caller]
fn refused(sub: &str, more: &[&str]) -> String {
    let args = [
        "rooms",
        "--subscribers",
        "2",
        "--rate",
        "10",
        "-d",
        "1s",
        "--sub-url",
        sub,
        "--pub-url",
        "http://127.0.0.1:1/",
    ];
    sentence(&run(&[&args[..], more].concat()), 1)
}

#[test]
fn servers_without_a_websocket() {
    let said = refused("ws://127.0.0.1:1/", &[]);
    assert!(said.contains("nothing listens on 127.0.0.1:1"), "{said}");
    let said = refused("ws://no.such.name.invalid/", &[]);
    assert!(said.contains("does not resolve"), "{said}");
    for (answer, words) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "it answered 200 and not 101",
        ),
        (
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            "it answered 404 and not 101",
        ),
        (
            "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
            "does not answer the key",
        ),
        ("HTTP/1.1 101 X\r\n\r\n", "does not switch to WebSocket"),
        (
            "SSH-2.0-OpenSSH_9.2\r\n",
            "does not begin with an HTTP/1 status line",
        ),
    ] {
        let server = Server::answering(answer);
        let said = refused(&server.url(), &[]);
        assert!(said.contains(words), "{said}");
    }
    let server = Server::new(|_| Then::Reset);
    let said = refused(&server.url(), &[]);
    assert!(said.contains("reset the connection"), "{said}");
    let server = Server::new(|_| Then::Close);
    let said = refused(&server.url(), &[]);
    assert!(said.contains("closed the connection"), "{said}");
    let server = Server::new(|_| {
        thread::sleep(Duration::from_secs(3600));
        Then::Close
    });
    let said = refused(&server.url(), &["--timeout", "100ms"]);
    assert!(said.contains("no answer came"), "{said}");
}

#[test]
fn publishers_that_are_refused() {
    let server = faithful();
    let broken = Server::new(|connection| {
        let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
        match connection.write_all(answer) {
            Ok(()) => Then::Next,
            Err(_) => Then::Reset,
        }
    });
    // `each` answers at the end of a head, so the body looks like the next one's beginning.
    let (sub, publish) = (server.sub(), broken.url());
    let args = two_subscribers(&sub, &publish, "300ms");
    let (code, got): (i32, RoomsSummary) = summary_of(&args);
    assert_eq!(code, 3, "{got:?}");
    assert!(got.errors["status_5xx"] >= 20, "{got:?}");
    assert_eq!(
        (got.published, got.expected_deliveries, got.lost),
        (0, 0, 0)
    );
}

#[test]
fn a_publisher_that_is_refused_is_an_error_of_its_own() {
    // Of three threads one has no publisher and one but that which is refused.
    let server = RoomServer::refusing(1);
    let (code, got) = rooms(&server, "ws", &["-t", "3"]);
    assert_eq!(code, 3, "{got:?}");
    assert_eq!(got.errors["upgrade_refused"], 1, "{got:?}");
    // It tried again when it had something to say.
    let counts = (got.published, got.deliveries, got.lost);
    assert_eq!(counts, (100, 400, 0), "{got:?}");

    // When no publisher can connect there is nothing to measure, whichever thread has none.
    let broken = Server::answering("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    let publish = broken.url().replace("http://", "ws://");
    let args = ["rooms", "--subscribers", "4", "--publishers", "2"];
    let more = ["-t", "3", "--rate", "10", "--sub-url"];
    let urls = [&server.sub(), "--pub-url", &publish];
    let said = sentence(&run(&[&args[..], &more, &urls].concat()), 1);
    assert!(said.contains("answered 503 and not 101"), "{said}");
}

#[test]
fn mistyped_command_lines() {
    for (args, words) in [
        (&["--sub-url", "wss://x/"][..], "TLS is not supported"),
        (&["--sub-url", "ws://x/", "--rooms", "2"], "need {room}"),
        (
            &["--sub-url", "ws://x/", "--publishers", "1", "--rooms", "2"],
            "as many subscribers",
        ),
        (&["--sub-url", "ftp://x/"], "not ftp://"),
        (&["--sub-url", "ws://x/", "-H", "no colon"], "Name: value"),
    ] {
        let all = [
            &[
                "rooms",
                "--subscribers",
                "4",
                "--rate",
                "1",
                "--pub-url",
                "http://x/",
            ][..],
            args,
        ];
        let said = sentence(&run(&all.concat()), 2);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn ctrl_c_gives_the_report_so_far() {
    let (sender, seen) = mpsc::channel();
    let server = RoomServer::new(move |text| {
        let _ = sender.send(());
        vec![text]
    });
    let (sub, publish) = (server.sub(), server.publish("http"));
    let args = two_subscribers(&sub, &publish, "1h");
    let child = load(&[&args[..], &["--json", "-"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    for _ in 0..20 {
        let patience = Duration::from_secs(60);
        seen.recv_timeout(patience).expect("a message");
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).expect("sent");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let got: RoomsSummary = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(got.interrupted && got.seconds < 60.0, "{got:?}");
    assert_eq!((got.lost, got.deliveries), (0, got.expected_deliveries));
    assert_ne!(got.verdict, Verdict::RateNotReached);
}
