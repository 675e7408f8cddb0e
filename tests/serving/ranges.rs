//! Ranges and conditions (RFC 9110 sections 13 and 14).

use crate::support::{Client, Reply, Site, eventually};

const SMALL: usize = 1000;
/// Not kept in memory.
const LARGE: usize = 200_000;

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 7 % 251) as u8).collect()
}

fn site() -> Site {
    let (small, large) = (content(SMALL), content(LARGE));
    Site::new(&[
        ("small.bin", &small),
        ("large.bin", &large),
        ("empty.bin", b""),
    ])
}

fn ask(client: &mut Client, path: &str, fields: &str) -> Reply {
    client.ask(format!("GET {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n"))
}

#[test]
fn one_range_is_that_part() {
    let site = site();
    let mut client = site.client();
    for (path, size) in [("/small.bin", SMALL), ("/large.bin", LARGE)] {
        let whole = content(size);
        for (range, from, to) in [
            ("0-0", 0, 1),
            ("0-99", 0, 100),
            ("500-599", 500, 600),
            ("900-", 900, size),
            ("-1", size - 1, size),
            ("-300", size - 300, size),
            ("0-", 0, size),
            ("-99999999", 0, size),
            ("10-99999999999999999999", 10, size),
            (" 5-9 ", 5, 10),
            // Overlapping, adjacent and swallowed ranges are one.
            ("0-9,5-19", 0, 20),
            ("0-9,10-19", 0, 20),
            ("0-99,3-4,7-8", 0, 100),
            ("5-9,,", 5, 10),
            ("99999999-,5-9", 5, 10),
        ] {
            let reply = ask(&mut client, path, &format!("range: bytes={range}\r\n"));
            assert_eq!(reply.status, 206, "{path} {range}");
            let shown = format!("bytes {from}-{}/{size}", to - 1);
            assert_eq!(reply.field("content-range"), shown, "{path} {range}");
            assert!(reply.body == whole[from..to], "{path} {range}");
        }
    }
}

#[test]
fn several_ranges_are_parts() {
    let site = site();
    let mut client = site.client();
    for (path, size) in [("/small.bin", SMALL), ("/large.bin", LARGE)] {
        let reply = ask(&mut client, path, "range: bytes=0-9, 100-199, -5\r\n");
        assert_eq!(reply.status, 206);
        assert_eq!(reply.field("content-range"), "");
        let kind = reply.field("content-type");
        let boundary = kind
            .strip_prefix("multipart/byteranges; boundary=")
            .expect(kind);
        let whole = content(size);
        let mut wanted = Vec::new();
        for (from, to) in [(0, 10), (100, 200), (size - 5, size)] {
            let head = format!(
                "\r\n--{boundary}\r\ncontent-type: application/octet-stream\r\ncontent-range: bytes {from}-{}/{size}\r\n\r\n",
                to - 1
            );
            wanted.extend_from_slice(head.as_bytes());
            wanted.extend_from_slice(&whole[from..to]);
        }
        wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        // A first delimiter needs no line end before it.
        let body = String::from_utf8_lossy(&reply.body);
        let same = reply.body == wanted || reply.body == wanted[2..];
        assert!(same, "{body}");
    }
}

#[test]
fn absurd_ranges_never_cost_more_than_the_file() {
    let site = site();
    let mut client = site.client();
    let many = (0..30)
        .map(|i| format!("{}-{}", i * 20, i * 20))
        .collect::<Vec<_>>()
        .join(",");
    let too_many = vec!["0-"; 500].join(",");
    for (range, status) in [
        ("bytes=9-5", 200),
        ("bytes=a-b", 200),
        ("bytes=", 200),
        ("bytes=-", 200),
        ("bytes=1-2-3", 200),
        ("bytes=0x0-5", 200),
        ("chapters=1-2", 200),
        ("bytes 0-5", 200),
        (&format!("bytes={too_many}"), 200),
        (&format!("bytes={}", vec!["0-"; 30].join(",")), 206),
        ("bytes=0-,0-,-1000,1-", 206),
        ("bytes=1000-", 416),
        ("bytes=1000-2000,5000-", 416),
        ("bytes=-0", 416),
        ("bytes=99999999999999999999-", 416),
    ] {
        let reply = ask(&mut client, "/small.bin", &format!("range: {range}\r\n"));
        assert_eq!(reply.status, status, "{range}");
        assert!(reply.body.len() <= SMALL, "{range}");
        if status == 416 {
            assert_eq!(reply.field("content-range"), "bytes */1000");
        }
    }
    // Each part has a head of its own, and thirty of those are more than the small file.
    let field = format!("range: bytes={many}\r\n");
    let reply = ask(&mut client, "/small.bin", &field);
    assert_eq!((reply.status, reply.body.len()), (200, SMALL));
    let reply = ask(&mut client, "/large.bin", &field);
    assert_eq!(reply.status, 206);
    assert!(reply.body.len() < 30 * 200, "{}", reply.body.len());
    let twice = "range: bytes=0-5\r\nrange: bytes=7-9\r\n";
    assert_eq!(ask(&mut client, "/small.bin", twice).status, 200);
    // All of nothing, as nginx answers it.
    let reply = ask(&mut client, "/empty.bin", "range: bytes=0-\r\n");
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(
        ask(&mut client, "/nothing", "range: bytes=0-\r\n").status,
        404
    );
    client.send("HEAD /small.bin HTTP/1.1\r\nhost: x\r\nrange: bytes=0-5\r\n\r\n");
    let head = client.reply_head();
    assert_eq!((head.status, head.field("content-length")), (200, "1000"));
}

#[test]
fn conditions_are_heeded_in_their_order() {
    let site = site();
    let mut client = site.client();
    for path in ["/small.bin", "/large.bin"] {
        // Strong once another change would show in the file's times.
        eventually("a strong tag", || {
            ask(&mut client, path, "").field("etag").starts_with('"')
        });
        let first = ask(&mut client, path, "");
        let (etag, modified) = (first.field("etag"), first.field("last-modified"));
        let past = "Thu, 01 Jan 1998 00:00:00 GMT";
        for (fields, status) in [
            (format!("if-none-match: {etag}\r\n"), 304),
            (format!("if-none-match: W/{etag}\r\n"), 304),
            (format!("if-none-match: \"x\", {etag}\r\n"), 304),
            ("if-none-match: *\r\n".to_owned(), 304),
            ("if-none-match: \"x\"\r\n".to_owned(), 200),
            (format!("if-modified-since: {modified}\r\n"), 304),
            (format!("if-modified-since: {past}\r\n"), 200),
            ("if-modified-since: yesterday\r\n".to_owned(), 200),
            // The tag wins over the date.
            (
                format!("if-none-match: \"x\"\r\nif-modified-since: {modified}\r\n"),
                200,
            ),
            (format!("if-match: {etag}\r\n"), 200),
            ("if-match: *\r\n".to_owned(), 200),
            ("if-match: \"x\"\r\n".to_owned(), 412),
            (format!("if-match: W/{etag}\r\n"), 412),
            (format!("if-unmodified-since: {modified}\r\n"), 200),
            (format!("if-unmodified-since: {past}\r\n"), 412),
            (
                format!("if-match: {etag}\r\nif-none-match: {etag}\r\n"),
                304,
            ),
            // If-Range: the part if it is still the same file, else the whole.
            (format!("if-range: {etag}\r\nrange: bytes=0-9\r\n"), 206),
            (format!("if-range: W/{etag}\r\nrange: bytes=0-9\r\n"), 200),
            ("if-range: \"x\"\r\nrange: bytes=0-9\r\n".to_owned(), 200),
            (format!("if-range: {past}\r\nrange: bytes=0-9\r\n"), 200),
            (format!("if-range: {etag}\r\n"), 200),
            (
                "if-range: \"x\"\r\nrange: bytes=99999999-\r\n".to_owned(),
                200,
            ),
            (
                format!("if-none-match: {etag}\r\nrange: bytes=0-9\r\n"),
                304,
            ),
        ] {
            let reply = ask(&mut client, path, &fields);
            assert_eq!(reply.status, status, "{path}: {fields}");
            match status {
                304 => {
                    assert_eq!(reply.field("etag"), etag);
                    assert_eq!(reply.field("content-length"), "");
                }
                206 => assert_eq!(reply.body.len(), 10),
                200 => assert_eq!(reply.body.len(), first.body.len()),
                _ => {}
            }
        }
    }
}
