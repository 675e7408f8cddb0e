//! However a stream of requests is split into packets, the answers are the same bytes.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::{Client, Site, get};

fn site() -> Site {
    let large: Vec<u8> = (0..150_000u32).map(|i| (i % 251) as u8).collect();
    Site::new(&[
        ("a.txt", b"hello\n"),
        ("empty.txt", b""),
        ("middle.bin", &large[..9000]),
        ("large.bin", &large),
    ])
}

/// Good requests, of every kind of framing.
fn good() -> impl Strategy<Value = String> {
    let with = |line: &str, rest: &str| format!("{line} HTTP/1.1\r\nhost: x\r\n{rest}");
    prop_oneof![
        Just(get("/a.txt")),
        Just(get("/empty.txt")),
        Just(get("/middle.bin")),
        Just(get("/large.bin")),
        Just(get("/nothing")),
        Just(get("/%zz")),
        Just("\r\n".to_owned() + &get("/a.txt")),
        Just(with("HEAD /large.bin", "\r\n")),
        Just(with("OPTIONS *", "\r\n")),
        Just(with("GET /large.bin", "range: bytes=100-40000\r\n\r\n")),
        Just(with("GET /a.txt", "if-none-match: *\r\n\r\n")),
        Just(with("POST /a.txt", "content-length: 11\r\n\r\nGET / HTTP/")),
        Just(with("GET /a.txt", "content-length: 0\r\n\r\n")),
        Just(with(
            "GET /a.txt",
            "transfer-encoding: chunked\r\n\r\n4;a=b\r\nGET \r\n1\r\n/\r\n0\r\nt: x\r\n\r\n"
        )),
        (0..3000usize)
            .prop_map(move |n| with("GET /a.txt", &format!("x: {}\r\n\r\n", "y".repeat(n)))),
    ]
}

/// How a stream ends: with a farewell, or with a request that is refused.
fn last() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "GET /a.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET /large.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        "GET /a.txt HTTP/1.0\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\na : b\r\n\r\n",
        "GET /a.txt HTTP/1.1\nhost: x\n\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\nexpect: more\r\n\r\n",
        "GET /a.txt HTTP/3.0\r\nhost: x\r\n\r\n",
        "\u{16}\u{3}\u{1}\0\u{5}hello",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n",
    ])
    .prop_map(str::to_owned)
}

/// All that the server answers, with the date masked.
#[track_caller]
fn answers(client: &mut Client) -> Vec<u8> {
    let mut bytes = client.rest();
    let marks: Vec<usize> = bytes
        .windows(8)
        .enumerate()
        .filter_map(|(at, w)| (w == b"\r\ndate: ").then_some(at + 8))
        .collect();
    for at in marks {
        bytes[at..at + 29].fill(b'-');
    }
    bytes
}

#[test]
fn answers_do_not_depend_on_packets() {
    let site = site();
    let strategy = (
        prop::collection::vec(good(), 0..12),
        last(),
        prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    );
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let check = |(requests, last, cuts): (Vec<String>, String, Vec<prop::sample::Index>)| {
        let stream = (requests.concat() + &last).into_bytes();
        let mut client = site.client();
        client.send(&stream);
        let whole = answers(&mut client);
        let heads = |bytes: &[u8]| bytes.windows(8).filter(|w| w == b"\r\ndate: ").count();
        prop_assert_eq!(heads(&whole), requests.len() + 1);

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut client = site.client();
        for cut in cuts.windows(2) {
            client.send(&stream[cut[0]..cut[1]]);
        }
        let split = answers(&mut client);
        let at = split.iter().zip(&whole).position(|(a, b)| a != b);
        let near = |bytes: &[u8]| {
            let at = at.unwrap_or(0);
            let near = &bytes[at.saturating_sub(40).min(bytes.len())..(at + 60).min(bytes.len())];
            near.escape_ascii().to_string()
        };
        let lengths = (whole.len(), split.len());
        prop_assert!(
            split == whole,
            "{lengths:?} at {at:?}: {} when split {}",
            near(&whole),
            near(&split)
        );
        Ok(())
    };
    TestRunner::new(config)
        .run(&strategy, check)
        .expect("equal");
}

#[test]
fn byte_by_byte_is_the_same() {
    let site = site();
    let chunked =
        "GET /a.txt HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let stream =
        get("/a.txt") + &get("/large.bin") + chunked + "GET / HTTP/1.1\r\nhost : x\r\n\r\n";
    let mut client = site.client();
    client.send(&stream);
    let whole = answers(&mut client);
    let mut client = site.client();
    for byte in stream.bytes() {
        // The end, after the colon's place is known to be wrong, may find the connection closed.
        if std::io::Write::write_all(&mut client.stream, &[byte]).is_err() {
            break;
        }
    }
    assert!(answers(&mut client) == whole);
}
