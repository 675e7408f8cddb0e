//! Refused requests: the status of each, and whether the connection stays open.

use crate::support::{Client, Site, get};

fn site() -> Site {
    Site::new(&[("a.txt", b"hello\n")])
}

/// A good request, then the bad one on the same connection: it must be
/// answered with this status, and no byte behind it may be taken for a request.
#[track_caller]
fn refused(site: &Site, bad: &[u8], status: u16) {
    let shown = String::from_utf8_lossy(bad);
    let mut client = site.client();
    assert_eq!(client.get("/a.txt").body, b"hello\n");
    client.send(bad);
    let reply = client.reply();
    assert_eq!(reply.status, status, "{shown:?}: {}", reply.text());
    assert_eq!(reply.field("connection"), "close", "{shown:?}");
    assert!(reply.field("content-type").starts_with("text/plain"));
    client.expect_closed();
    // Others never notice.
    assert_eq!(site.client().get("/a.txt").status, 200);
}

/// A head with these lines behind the Host field, and a request smuggled behind it.
fn lines(lines: &str) -> Vec<u8> {
    format!(
        "GET /a.txt HTTP/1.1\r\nhost: x\r\n{lines}\r\n\r\nGET /a.txt HTTP/1.1\r\nhost: y\r\n\r\n"
    )
    .into_bytes()
}

#[test]
fn ambiguous_lengths_are_refused() {
    let site = site();
    for (fields, status) in [
        ("content-length: 5\r\ntransfer-encoding: chunked", 400),
        ("transfer-encoding: chunked\r\ncontent-length: 5", 400),
        ("content-length: 5\r\ncontent-length: 6", 400),
        ("content-length: 5\r\ncontent-length: 5", 400),
        ("content-length: 5, 6", 400),
        ("content-length: +5", 400),
        ("content-length: -1", 400),
        ("content-length: 0x5", 400),
        ("content-length: 5 5", 400),
        ("content-length:", 400),
        ("content-length: 18446744073709551616", 400),
        ("transfer-encoding: chunked, gzip", 400),
        ("transfer-encoding: chunked, chunked", 400),
        (
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            400,
        ),
        ("transfer-encoding: chunked;q=1", 400),
        ("transfer-encoding: ", 400),
        ("transfer-encoding: \u{b}chunked", 400),
        // RFC 9112 section 6.3: where `chunked` is not last, the length is not known.
        ("transfer-encoding: gzip", 400),
        ("transfer-encoding: identity", 400),
        ("transfer-encoding: xchunked", 400),
        // Section 6.1: the length is known, the coding is not.
        ("transfer-encoding: gzip, chunked", 501),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked", 501),
    ] {
        refused(&site, &lines(fields), status);
    }
    let old = b"GET /a.txt HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    refused(&site, old, 400);
}

#[test]
fn lines_that_two_parsers_could_read_in_two_ways_are_refused() {
    let site = site();
    for fields in [
        "a: b\n c: d",
        "a: b\nc: d",
        "a: b\r c: d",
        "a: b\r\n folded",
        "a: b\r\n\tfolded",
        "a: nul\0l",
        "a: bell\u{7}",
        "a: delete\u{7f}",
        "a : b",
        "a\t: b",
        ": b",
        "a b: c",
        "no colon",
        "a(b): c",
        "h\u{f6}st: x",
    ] {
        refused(&site, &lines(fields), 400);
    }
    for head in [
        "GET /a.txt HTTP/1.1\nhost: x\n\n",
        "GET /a.txt HTTP/1.1\r\n host: x\r\n\r\n",
        "GET  /a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET\t/a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a.txt  HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1 \r\nhost: x\r\n\r\n",
        "GET /a .txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a\u{1}.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a\0.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /\u{e4}.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET * HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a.txt http/1.1\r\nhost: x\r\n\r\n",
        "GET /a.txt HTTP/11\r\nhost: x\r\n\r\n",
        "GET /a.txt\r\n",
        "G@T /a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        refused(&site, head.as_bytes(), 400);
    }
}

#[test]
fn a_host_is_asked_for_once() {
    let site = site();
    for head in [
        "GET /a.txt HTTP/1.1\r\n\r\n",
        "GET http://x/a.txt HTTP/1.1\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x\r\nHOST: y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x/y\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: u@x\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nhost: x:port\r\n\r\n",
        "GET http:///a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET ftp://x/a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
    ] {
        refused(&site, head.as_bytes(), 400);
    }
    // HTTP/1.0 knew no Host, and an empty one is allowed.
    let mut client = site.client();
    let reply = client.ask("GET /a.txt HTTP/1.1\r\nhost:\r\n\r\n");
    assert_eq!(reply.status, 200);
    assert_eq!(client.ask("GET /a.txt HTTP/1.0\r\n\r\n").status, 200);
    client.expect_closed();
}

#[test]
fn an_absolute_target_is_served() {
    let site = site();
    let mut client = site.client();
    for target in [
        "http://x/a.txt",
        "HTTP://other:81/a.txt?q",
        "https://x/a.txt",
    ] {
        let reply = client.ask(format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert_eq!((reply.status, reply.text()), (200, "hello\n"), "{target}");
    }
}

#[test]
fn what_is_no_http_is_told_so() {
    let site = site();
    // The beginning of a TLS 1.2 handshake: record, version, length, ClientHello.
    let mut tls = vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3];
    tls.resize(205, 0xab);
    refused(&site, &tls, 400);
    refused(&site, b"\x80\x2e\x01\x00\x02", 400);
    refused(&site, b"\0\0\0\0", 400);
    refused(&site, b"SSH-2.0-OpenSSH_9.2\r\n", 400);
    refused(&site, &[0xff; 4096], 400);
    refused(&site, b"\r\n\r\n\r\n\r\n", 400);
    refused(&site, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400);
    refused(&site, b"GET / HTTP/2.0\r\nhost: x\r\n\r\n", 505);
    refused(&site, b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", 505);
    // A later HTTP/1 is spoken to as HTTP/1.1 (RFC 9110 section 2.5).
    let reply = site.client().ask("GET /a.txt HTTP/1.2\r\nhost: x\r\n\r\n");
    assert_eq!(reply.status, 200);
}

#[test]
fn heads_beyond_the_bounds_are_refused() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.head_bytes = 4096;
        config.limits.headers = 10;
        config.limits.uri_bytes = 1000;
    });
    let long_path = format!("/{}", "a".repeat(1000));
    refused(&site, get(&long_path).as_bytes(), 414);
    // The beginning says enough.
    refused(&site, format!("GET /{}", "a".repeat(1000)).as_bytes(), 414);
    refused(&site, &lines(&["a: b"; 10].join("\r\n")), 431);
    let long_field = format!("a: {}", "b".repeat(4096));
    refused(&site, &lines(&long_field), 431);
    refused(
        &site,
        format!("GET / HTTP/1.1\r\n{}", "b".repeat(4096)).as_bytes(),
        431,
    );
    refused(
        &site,
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGHI / HTTP/1.1\r\n",
        501,
    );
    refused(&site, &lines("expect: a-miracle"), 417);
    // Exactly at the bounds is within them.
    let mut client = site.client();
    assert_eq!(client.get(&long_path[..1000]).status, 404);
    let nine = lines(&["a: b"; 9].join("\r\n"));
    assert_eq!(client.ask(nine).status, 200);
    assert_eq!(client.reply().status, 200);
    let frame = lines("a: ").len() - get("/a.txt").len();
    let full = format!("a: {}", "b".repeat(4096 - frame));
    assert_eq!(client.ask(lines(&full)).status, 200);
}

#[test]
fn a_bad_target_costs_the_request_and_not_the_connection() {
    let site = site();
    let mut client = site.client();
    for (request, status) in [
        (get("/%zz"), 400),
        (get("/%"), 400),
        (get("/../a.txt"), 400),
        ("BREW /a.txt HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 501),
        ("DELETE /a.txt HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405),
        ("CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), 405),
        (get("/nothing"), 404),
    ] {
        let reply = client.ask(&request);
        assert_eq!(reply.status, status, "{request:?}");
        assert_eq!(reply.field("connection"), "", "{request:?}");
    }
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn a_body_that_breaks_its_framing_ends_the_connection() {
    let site = site();
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhelloGET /a.txt HTTP/1.1\r\nhost: x\r\n\r\n",
        "-1\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nbad trailer\r\n\r\n",
    ] {
        let mut client: Client = site.client();
        client.send(format!(
            "GET /a.txt HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{body}{}",
            get("/a.txt")
        ));
        // The answer didn't depend on the body; but nothing behind it is a request.
        assert_eq!(client.reply().status, 200, "{body:?}");
        client.expect_closed();
    }
}

#[test]
fn a_refusal_has_the_form_that_the_client_prefers() {
    let site = site();
    for (accept, kind) in [
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        // Several lines are one list.
        ("*/*;q=0.1\r\nAccept: text/html", "text/html; charset=utf-8"),
        ("application/json", "application/problem+json"),
        ("*/*", "text/plain; charset=utf-8"),
    ] {
        // By the service, by the parser as far as the head was read, and for a body too large.
        for request in [
            format!("GET /none HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nbad line\r\n\r\n"),
            format!(
                "POST / HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\ncontent-length: 99999999999\r\n\r\n"
            ),
        ] {
            let mut client = site.client();
            client.send(request.as_bytes());
            let reply = client.reply();
            assert!(reply.status >= 400, "{request}");
            assert_eq!(reply.field("content-type"), kind, "{request}");
            assert_eq!(reply.field("vary"), "accept", "{request}");
        }
    }
}
