use super::*;
use crate::http::Status;

fn parse(text: &[u8]) -> Result<Option<Parsed<'_>>, ParseError> {
    parse_request(text, &ParseLimits::default())
}

#[track_caller]
fn whole(text: &str) -> Parsed<'_> {
    parse(text.as_bytes()).unwrap().unwrap()
}

#[track_caller]
fn refused(text: impl AsRef<[u8]>, error: ParseError, code: u16) {
    assert_eq!(parse(text.as_ref()).err(), Some(error));
    assert_eq!(error.status().code(), code);
    assert!(!error.to_string().is_empty());
}

/// A GET of `/` with `lines` after its Host.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn a_plain_request() {
    let text = "GET /video.mp4?t=5 HTTP/1.1\r\nHost: example.org:80\r\nRange:bytes=0- \r\n\r\nrest";
    let parsed = whole(text);
    assert_eq!(parsed.head.method, Method::Get);
    assert_eq!(parsed.head.method_name, "GET");
    assert_eq!(parsed.head.target, "/video.mp4?t=5");
    assert_eq!(parsed.head.path(), "/video.mp4");
    assert_eq!(parsed.head.query(), Some("t=5"));
    assert_eq!(parsed.head.authority, b"example.org:80");
    assert_eq!(parsed.head.version, Version::Http11);
    assert_eq!(
        parsed.head.headers.get(Known::Range),
        Some(&b"bytes=0-"[..])
    );
    assert_eq!(parsed.head_bytes, text.len() - 4);
    assert_eq!(parsed.framing, Framing::None);
    assert!(parsed.keep_alive);
    assert!(!parsed.expect_continue);
}

#[test]
fn a_prefix_needs_more() {
    let text =
        "\r\n\r\nPUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    for length in 0..text.len() {
        assert!(
            parse(&text.as_bytes()[..length]).unwrap().is_none(),
            "{length}"
        );
    }
    let parsed = whole(text);
    assert_eq!(parsed.framing, Framing::Length(3));
    assert!(parsed.expect_continue);
}

#[test]
fn methods() {
    let parsed = whole("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(parsed.head.method, Method::Other);
    assert_eq!(parsed.head.method_name, "M-SEARCH");
    refused("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", ParseError::Method, 400);
    refused(
        "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n",
        ParseError::Method,
        400,
    );
    refused(" GET / HTTP/1.1\r\n", ParseError::Garbage, 400);
    refused("A".repeat(33), ParseError::MethodTooLong, 501);
}

#[test]
fn tls_and_other_garbage_are_refused_at_the_first_byte() {
    refused([0x16], ParseError::Garbage, 400);
    refused([0x00], ParseError::Garbage, 400);
    refused("SSH-2.0-x\r", ParseError::Method, 400);
}

#[test]
fn two_empty_lines_and_no_more() {
    let parsed = whole("\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    assert_eq!(parsed.head_bytes, 22);
    refused("\r\n\r\n\r", ParseError::Garbage, 400);
    refused("\nGET / HTTP/1.0\r\n\r\n", ParseError::BareLf, 400);
    refused("\rGET / HTTP/1.0\r\n\r\n", ParseError::BareCr, 400);
}

#[test]
fn target_forms() {
    let absolute = whole("GET http://b.org:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(absolute.head.target, "/x?y");
    assert_eq!(absolute.head.authority, b"b.org:81");
    assert_eq!(
        whole("GET HTTPS://b HTTP/1.1\r\nHost: a\r\n\r\n")
            .head
            .target,
        "/"
    );
    let bare_query = whole("GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n").head;
    assert_eq!((bare_query.path(), bare_query.query()), ("/", Some("y")));
    assert_eq!(
        whole("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").head.target,
        "*"
    );
    assert_eq!(
        whole("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n")
            .head
            .target,
        "*"
    );
    let connect = whole("CONNECT b:443 HTTP/1.1\r\nHost: a\r\n\r\n").head;
    assert_eq!(
        (connect.method, connect.authority),
        (Method::Connect, &b"b:443"[..])
    );
    // Two slashes at the start are a path, not an authority.
    assert_eq!(
        whole("GET //b/c HTTP/1.1\r\nHost: a\r\n\r\n")
            .head
            .authority,
        b"a"
    );
}

#[test]
fn target_forms_that_their_method_does_not_take() {
    for target in ["*", "b:443", "b", "ftp://b/", "http:/b", "://b/", "?x"] {
        refused(
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            ParseError::Target,
            400,
        );
    }
    for target in ["/", "b", ":443", "b:", "http://b/", "*"] {
        refused(
            format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            ParseError::Target,
            400,
        );
    }
    for authority in ["", ":80", "u@b", "b:x", "[::1"] {
        refused(
            format!("GET http://{authority}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
            ParseError::Host,
            400,
        );
    }
}

#[test]
fn bytes_that_may_not_stand_in_a_target() {
    for byte in (0..0x20u8).chain([b'#', 0x7f, 0x80, 0xff]) {
        let mut text = b"GET /a".to_vec();
        text.push(byte);
        refused(text, ParseError::Target, 400);
    }
    refused(
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        ParseError::Target,
        400,
    );
    refused("GET /a b HTTP/1.1\r\n", ParseError::Version, 400);
}

#[test]
fn versions() {
    assert_eq!(
        whole("GET / HTTP/1.7\r\nHost: a\r\n\r\n").head.version,
        Version::Http11
    );
    assert_eq!(
        whole("GET / HTTP/1.0\r\n\r\n").head.version,
        Version::Http10
    );
    for bad in [
        "http/1.1",
        "HTTP/1",
        "HTTP/11",
        "HTTP/1.10",
        "HTTP/1.x",
        "HTTP 1.1",
        "HTTP/1.1 ",
    ] {
        refused(format!("GET / {bad}\r\n"), ParseError::Version, 400);
    }
    // As soon as it is certain.
    refused("GET / HTX", ParseError::Version, 400);
    for other in ["HTTP/2.0", "HTTP/0.9", "HTTP/3.0"] {
        refused(
            format!("GET / {other}"),
            ParseError::VersionUnsupported,
            505,
        );
    }
    refused("GET / HTTP/1.1\n", ParseError::BareLf, 400);
    refused("GET / HTTP/1.1\rH", ParseError::BareCr, 400);
    refused("GET /\r\n", ParseError::Target, 400);
}

#[test]
fn line_endings() {
    refused(with("A: b\n"), ParseError::BareLf, 400);
    refused(with("A: b\rc\r\n"), ParseError::BareCr, 400);
    refused(with("A\n"), ParseError::BareLf, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n", ParseError::BareLf, 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\rX", ParseError::BareCr, 400);
}

#[test]
fn field_lines() {
    refused(with("A: b\r\n c\r\n"), ParseError::Folded, 400);
    refused(with("A: b\r\n\tc\r\n"), ParseError::Folded, 400);
    refused(
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
        ParseError::Folded,
        400,
    );
    refused(with("A : b\r\n"), ParseError::SpaceBeforeColon, 400);
    refused(with(": b\r\n"), ParseError::FieldName, 400);
    refused(with("A\r\n"), ParseError::FieldName, 400);
    refused(with("A@: b\r\n"), ParseError::FieldName, 400);
    refused(with("\u{e4}: b\r\n"), ParseError::FieldName, 400);
    for byte in (0..0x20u8).chain([0x7f]) {
        if matches!(byte, b'\t' | b'\r' | b'\n') {
            continue;
        }
        let text = with(&format!("A: b{}c\r\n", char::from(byte)));
        refused(text, ParseError::FieldValue, 400);
    }
    let mut text = b"GET / HTTP/1.1\r\nHost: a\r\nX-A:\t\x80 \xff\t\r\n\r\n".to_vec();
    let parsed = parse(&text).unwrap().unwrap();
    assert_eq!(parsed.head.headers.find("x-a"), Some(&b"\x80 \xff"[..]));
    text.insert(29, 0);
    refused(text, ParseError::FieldValue, 400);
}

#[test]
fn hosts() {
    refused("GET / HTTP/1.1\r\n\r\n", ParseError::HostMissing, 400);
    refused(
        "GET http://b/ HTTP/1.1\r\n\r\n",
        ParseError::HostMissing,
        400,
    );
    refused(with("Host: a\r\n"), ParseError::HostRepeated, 400);
    for bad in ["a b", "a/b", "u@a", "a:b", "a,b:c", "\u{e4}", "a\\"] {
        refused(
            format!("GET / HTTP/1.1\r\nHost: {bad}\r\n\r\n"),
            ParseError::Host,
            400,
        );
    }
    assert_eq!(
        whole("GET / HTTP/1.1\r\nhOST:\t[::1]:80 \r\n\r\n")
            .head
            .authority,
        b"[::1]:80"
    );
    assert_eq!(whole("GET / HTTP/1.1\r\nHost:\r\n\r\n").head.authority, b"");
    assert_eq!(whole("GET / HTTP/1.0\r\n\r\n").head.authority, b"");
}

#[test]
fn lengths() {
    let framing = |lines: &str| whole(&with(lines)).framing;
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(
        framing("Content-Length: 18446744073709551615\r\n"),
        Framing::Length(u64::MAX)
    );
    for bad in [
        "",
        "x",
        "-1",
        "+1",
        "0x1",
        "1 2",
        "1.0",
        "5, 5",
        "18446744073709551616",
    ] {
        refused(
            with(&format!("Content-Length: {bad}\r\n")),
            ParseError::ContentLength,
            400,
        );
    }
    for second in ["5", "6"] {
        refused(
            with(&format!(
                "Content-Length: 5\r\ncontent-length: {second}\r\n"
            )),
            ParseError::ContentLengthRepeated,
            400,
        );
    }
}

#[test]
fn length_and_coding_together_in_either_order() {
    refused(
        with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        ParseError::LengthAndCoding,
        400,
    );
    refused(
        with("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
        ParseError::LengthAndCoding,
        400,
    );
}

#[test]
fn transfer_codings() {
    assert_eq!(
        whole(&with("Transfer-Encoding: Chunked\r\n")).framing,
        Framing::Chunked
    );
    for bad in [
        "",
        "chunked, gzip",
        "chunked, chunked",
        "gzip, chunked, chunked",
        "chunked;q=1",
        "chunked,",
        ", chunked",
        "chun ked",
        "\"chunked\"",
        "chunked\r\nTransfer-Encoding: gzip",
        "gzip",
        "identity",
        "xchunked",
        "gzip;q=1",
    ] {
        refused(
            with(&format!("Transfer-Encoding: {bad}\r\n")),
            ParseError::TransferEncoding,
            400,
        );
    }
    for unknown in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        refused(
            with(&format!("Transfer-Encoding: {unknown}\r\n")),
            ParseError::TransferCodingUnknown,
            501,
        );
    }
    refused(
        "PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
        ParseError::TransferEncodingInHttp10,
        400,
    );
}

#[test]
fn expectations() {
    assert!(whole(&with("Expect: 100-Continue\r\n")).expect_continue);
    assert!(!whole("PUT / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect_continue);
    refused(with("Expect: 200-maybe\r\n"), ParseError::Expect, 417);
}

#[test]
fn keep_alive() {
    let http11 = |lines: &str| whole(&with(lines)).keep_alive;
    let http10 = |lines: &str| whole(&format!("GET / HTTP/1.0\r\n{lines}\r\n")).keep_alive;
    assert!(http11(""));
    assert!(http11("Connection: upgrade\r\n"));
    assert!(!http11("Connection: Close\r\n"));
    assert!(!http11("Connection: foo ,\tclose\r\n"));
    assert!(!http11("Connection: close, keep-alive\r\n"));
    assert!(!http11("Connection: keep-alive\r\nConnection: close\r\n"));
    assert!(!http10(""));
    assert!(http10("Connection: Keep-Alive\r\n"));
    assert!(!http10("Connection: keep-alive, close\r\n"));
}

#[test]
fn the_target_limit_is_exact_and_early() {
    let limits = ParseLimits {
        uri_bytes_max: 10,
        ..ParseLimits::default()
    };
    let fits = b"GET /123456789 HTTP/1.0\r\n\r\n";
    assert!(parse_request(fits, &limits).unwrap().is_some());
    let error = parse_request(b"GET /1234567890", &limits).unwrap_err();
    assert_eq!(error, ParseError::TargetTooLong);
    assert_eq!(error.status(), Status::URI_TOO_LONG);
}

#[test]
fn the_head_limit_is_exact() {
    let text = b"GET / HTTP/1.0\r\nA: b\r\n\r\nbody";
    let limits = |head_bytes_max| ParseLimits {
        head_bytes_max,
        ..ParseLimits::default()
    };
    assert!(parse_request(text, &limits(24)).unwrap().is_some());
    let error = parse_request(text, &limits(23)).unwrap_err();
    assert_eq!(error, ParseError::HeadTooLarge);
    assert_eq!(error.status(), Status::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert!(parse_request(&text[..22], &limits(23)).unwrap().is_none());
}

#[test]
fn the_line_limit_is_exact() {
    let limits = ParseLimits {
        headers_max: 2,
        ..ParseLimits::default()
    };
    let two = b"GET / HTTP/1.0\r\nA: b\r\nA: b\r\n\r\n";
    assert!(parse_request(two, &limits).unwrap().is_some());
    let three = b"GET / HTTP/1.0\r\nA: b\r\nA: b\r\nA: b\r\n\r\n";
    let error = parse_request(three, &limits).unwrap_err();
    assert_eq!(error, ParseError::TooManyFields);
    assert_eq!(error.status(), Status::REQUEST_HEADER_FIELDS_TOO_LARGE);
}
