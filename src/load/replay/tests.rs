use proptest::prelude::*;

use super::*;

const AGENT: &str = "\"-\" \"curl/7.88.1\"";

fn request(second: i64, request: &str) -> LogLine {
    LogLine::Request {
        second,
        request: request.to_owned(),
    }
}

#[test]
fn both_formats_are_read() {
    let common = r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326"#;
    assert_eq!(parse(common.as_bytes()), request(971_211_336, "GET /a.gif"));
    let combined = format!("{common} {AGENT}").replace("GET", "HEAD");
    assert_eq!(
        parse(combined.as_bytes()),
        request(971_211_336, "HEAD /a.gif")
    );
    let host_before = format!("example.org:443 ::1 [x] {common}");
    assert_eq!(
        parse(host_before.as_bytes()),
        request(971_211_336, "GET /a.gif")
    );
}

#[test]
fn headwaters_own_forms_are_read() {
    let json = r#"{"timestamp":"1970-01-02T00:00:01.999Z","client.address":"::1","http.request.method":"GET","url.original":"/a\"b\\x41?q","http.response.status_code":200}"#;
    let logfmt = r#"time=1970-01-02T00:00:01.999Z client=::1 method=GET target="/a\"b\\x41?q" status=200 user_agent="x method=POST""#;
    for line in [json, logfmt] {
        let expected = request(86_401, r#"GET /a"b\x41?q"#);
        assert_eq!(parse(line.as_bytes()), expected, "{line}");
        let none = line.replace("GET", "POST");
        assert_eq!(parse(none.as_bytes()), LogLine::Other, "{none}");
        let bad = line.replace("1970-", "1970/");
        assert_eq!(parse(bad.as_bytes()), LogLine::Malformed, "{bad}");
    }
    assert_eq!(parse(b"{}"), LogLine::Malformed);
    assert_eq!(parse(b"time=\"a"), LogLine::Malformed);
    let refused = br#"{"timestamp":"1970-01-02T00:00:01.999Z","error.type":"refused"}"#;
    assert_eq!(parse(refused), LogLine::Other);
}

#[test]
fn what_was_escaped_is_sent_as_it_was() {
    let line = |target: &str| {
        let line = format!("- - - [01/Jan/1970:00:00:00 +0000] \"GET {target} HTTP/1.1\" 200 0");
        parse(line.as_bytes())
    };
    assert_eq!(line(r"/a\x22b\xC3\xA9?q"), request(0, "GET /a\"b%C3%A9?q"));
    assert_eq!(line(r#"/a\"b\\"#), request(0, r#"GET /a"b\"#));
    assert_eq!(line("http://h:1/p?q"), request(0, "GET /p?q"));
    for other in ["*", "http://h", r"\x", "h:443"] {
        assert_eq!(line(other), LogLine::Other, "{other}");
    }
}

#[test]
fn lines_without_a_request_to_replay() {
    let line = |request: &str| {
        parse(format!("- - - [01/Jan/1970:00:00:00 +0000] \"{request}\" 400 0").as_bytes())
    };
    for other in [
        "POST / HTTP/1.1",
        "-",
        r"\x16\x03\x01",
        "",
        "GET /a b HTTP/1.1",
    ] {
        assert_eq!(line(other), LogLine::Other, "{other}");
    }
    for malformed in [
        "",
        "hello",
        "- - - [01/Jan/1970:00:00:00] \"GET / HTTP/1.1\"",
        "- - - [01/Jän/1970:00:00:00 +0000] \"GET / HTTP/1.1\"",
        "- - - [99/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1\"",
        "- - - [01/Jan/1970:00:00:00 +0000] GET / HTTP/1.1",
        "- - - [01/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1",
    ] {
        assert_eq!(
            parse(malformed.as_bytes()),
            LogLine::Malformed,
            "{malformed}"
        );
    }
}

#[test]
fn dates_agree_with_another_implementation() {
    for days_on in (0..60_000).step_by(13) {
        let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(days_on * 86_400);
        // As in `Sun, 06 Nov 1994 08:49:37 GMT`.
        let date = httpdate::fmt_http_date(when);
        let text = format!(
            "{}/{}/{}:00:00:00 +0000",
            &date[5..7],
            &date[8..11],
            &date[12..16]
        );
        assert_eq!(
            time(text.as_bytes()),
            Some(days_on as i64 * 86_400),
            "{date}"
        );
    }
}

#[test]
fn a_second_is_shared_by_its_requests() {
    let line = |second: u32, path: &str| {
        format!("- - - [01/Jan/1970:00:00:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 0\n")
    };
    let text = line(11, "/a") + &line(10, "/b") + "?\n\n" + &line(10, "/a") + &line(13, "/b");
    let log = Log::read(text.as_bytes()).unwrap();
    assert_eq!(log.requests, ["GET /a", "GET /b"]);
    assert_eq!((log.len(), log.malformed, log.malformed_first), (4, 1, 3));
    let replay = log.at_its_times(1.0);
    assert_eq!(replay.requests[..], [1, 0, 0, 1]);
    let moments = replay.moments_ns.unwrap();
    assert_eq!(moments[..], [0, 500_000_000, 1_000_000_000, 3_000_000_000]);
    assert_eq!(log.length_ns(1.0), 4_000_000_000);
    assert_eq!(log.length_ns(8.0), 500_000_000);
    assert_eq!(log.at_its_times(2.0).moments_ns.unwrap()[1], 250_000_000);
}

#[test]
fn a_line_without_end_is_one_malformed_line() {
    let long = "x".repeat(limits::LOG_LINE_BYTES_MAX as usize + 5);
    let text = format!("{long}\n- - - [01/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1\" 200 0");
    let log = Log::read(text.as_bytes()).unwrap();
    assert_eq!((log.len(), log.malformed), (1, 1));
    let said = Log::read(long.as_bytes()).unwrap_err().to_string();
    assert!(said.contains("1 lines, the first of them line 1"), "{said}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..120)) {
        parse(&line);
        time(&line);
        utc_time(&line);
        let begins: [&[u8]; 2] = [b"{", LOGFMT_BEGIN];
        for begin in begins {
            parse(&[begin, &line].concat());
        }
    }

    #[test]
    fn a_request_can_be_sent(
        target in r#"[ -~]{0,20}(\\x[0-9A-F]{2})?[^"]{0,10}"#, year in 1970..2100i64,
    ) {
        let line = format!("- - - [28/Feb/{year}:23:59:60 -1200] \"GET /{target} HTTP/1.1\" 200 0");
        if let LogLine::Request { request, .. } = parse(line.as_bytes()) {
            let path = request.strip_prefix("GET ").unwrap();
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
        }
    }
}
