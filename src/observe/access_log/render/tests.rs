use std::net::SocketAddr;

use proptest::prelude::*;
use serde_json::Value;

use super::redact::tests::NAMES_READ;
use super::*;

/// Friday, 28 November 2026.
const START_MS: u64 = 1_795_827_336_042;

fn record() -> Record {
    let peer: SocketAddr = "192.0.2.7:4711".parse().unwrap();
    let mut record = Record::new(12, 3, Some(peer), START_MS);
    record.first_byte(START_MS + 5);
    record.end(START_MS + 1234);
    record.status = 200;
    record.sent_bytes = 1300;
    record.body_bytes = 1024;
    record.head_bytes = 77;
    record
}

/// A line for a request with these fields, without its end.
fn line(
    format: &str,
    rule: QueryRule,
    record: &Record,
    request: Option<&[u8]>,
    fields: &[(&str, &[u8])],
) -> String {
    let format = Format::parse(format).unwrap();
    let mut batch = Batch::new(1);
    let find = |name: &String| {
        fields
            .iter()
            .find(|(field, _)| field == name)
            .map(|(_, value)| *value)
    };
    let headers: Vec<_> = format.headers().iter().map(find).collect();
    batch.push(record, std::iter::once(request).chain(headers));
    let mut out = Vec::new();
    Renderer::new(format, rule).put_batch(&mut out, &batch);
    let text = String::from_utf8(out).unwrap();
    let line = text.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n'), "{text}");
    line.to_owned()
}

fn plain(format: &str) -> String {
    let fields: &[(&str, &[u8])] = &[
        ("host", b"example.org"),
        ("referer", b"https://example.org/?sig=x"),
        ("user-agent", b"curl/7.88.1 \"x\""),
    ];
    let request = b"GET /a%20b?token=x&c=d HTTP/1.1";
    line(format, QueryRule::Redact, &record(), Some(request), fields)
}

#[test]
fn combined() {
    let mut moments = Moments::default();
    let time = String::from_utf8(moments.local(START_MS as i64 + 1234).to_vec()).unwrap();
    let expected = format!(
        "192.0.2.7 - - [{time}] \"GET /a%20b?token=REDACTED&c=d HTTP/1.1\" 200 1024 \
         \"https://example.org/?sig=REDACTED\" \"curl/7.88.1 \\x22x\\x22\""
    );
    assert_eq!(plain("combined"), expected);
}

#[test]
fn json() {
    assert_eq!(
        plain("json"),
        "{\"timestamp\":\"2026-11-28T00:55:36.042Z\",\"client.address\":\"192.0.2.7\",\
         \"client.port\":4711,\"http.request.method\":\"GET\",\
         \"url.original\":\"/a%20b?token=REDACTED&c=d\",\"network.protocol.version\":\"1.1\",\
         \"http.response.status_code\":200,\"http.response.body.size\":1024,\
         \"http.response.size\":1300,\"http.server.request.duration\":1.234,\
         \"headwater.first_byte\":0.005,\"http.request.header.host\":\"example.org\",\
         \"http.request.header.referer\":\"https://example.org/?sig=REDACTED\",\
         \"user_agent.original\":\"curl/7.88.1 \\\"x\\\"\",\"headwater.shard\":1,\
         \"headwater.connection\":12,\"headwater.request\":3}"
    );
}

#[test]
fn logfmt() {
    assert_eq!(
        plain("logfmt"),
        "time=2026-11-28T00:55:36.042Z client=192.0.2.7 port=4711 method=GET \
         target=\"/a%20b?token=REDACTED&c=d\" protocol=HTTP/1.1 status=200 body_bytes=1024 \
         bytes=1300 duration=1.234 first_byte=0.005 host=example.org \
         referer=\"https://example.org/?sig=REDACTED\" user_agent=\"curl/7.88.1 \\\"x\\\"\" \
         shard=1 connection=12 request=3"
    );
}

#[test]
fn a_template() {
    let template = "$request_path|$args|$server_protocol|$request_method|$remote_port|$msec|\
                    $start_msec|$request_time|$first_byte_time|$request_head_length|$bytes_sent|\
                    $shard/$connection/$connection_requests|$cut|$request_completion|$remote_user|\
                    $http_missing|${status}x";
    assert_eq!(
        plain(template),
        "/a%20b|token=REDACTED&c=d|HTTP/1.1|GET|4711|1795827337.276|1795827336.042|1.234|0.005|77|\
         1300|1/12/3|-|OK|-|-|200x"
    );
}

#[test]
fn the_normalised_path_is_the_servers_own() {
    for (target, uri) in [
        (
            "/a%20b/./c//../d.ts?x=/e",
            "/a\\x20b/d.ts".replace("\\x20", " "),
        ),
        ("/", "/".to_owned()),
        ("/a/b/", "/a/b/".to_owned()),
        ("/a/b/..", "/a/".to_owned()),
        ("http://h:1/a//b?c", "/a/b".to_owned()),
        ("http://h?c", "/".to_owned()),
        ("/a://b", "/a:/b".to_owned()),
        ("/%0a%22", r"/\x0A\x22".to_owned()),
        ("/../a", "-".to_owned()),
        ("/%zz", "-".to_owned()),
        ("*", "-".to_owned()),
    ] {
        let request = format!("GET {target} HTTP/1.1");
        let shown = line(
            "$uri",
            QueryRule::Redact,
            &record(),
            Some(request.as_bytes()),
            &[],
        );
        assert_eq!(shown, uri, "{target}");
    }
}

#[test]
fn a_request_is_redacted_once_for_all_of_its_fields() {
    const PARAMETERS: usize = 100;
    let request = format!("GET /?{} HTTP/1.1", "name=value&".repeat(PARAMETERS));
    for format in [
        "json",
        "logfmt",
        "$request $request_uri $args $request_path $uri $args",
    ] {
        NAMES_READ.set(0);
        let text = line(
            format,
            QueryRule::Redact,
            &record(),
            Some(request.as_bytes()),
            &[],
        );
        assert!(text.contains("name=value"));
        assert_eq!(NAMES_READ.get(), PARAMETERS, "{format}");
    }
    NAMES_READ.set(0);
    line(
        "$status",
        QueryRule::Redact,
        &record(),
        Some(request.as_bytes()),
        &[],
    );
    assert_eq!(NAMES_READ.get(), 0);
}

#[test]
fn a_request_that_was_cut_before_it_was_read() {
    let mut record = Record::new(1, 0, None, START_MS);
    record.cut = Some(Cut::Refused);
    let json: Value =
        serde_json::from_str(&line("json", QueryRule::Redact, &record, None, &[])).unwrap();
    assert_eq!(json["client.address"], "unix:");
    assert_eq!(json["error.type"], "refused");
    for absent in [
        "http.request.method",
        "http.response.status_code",
        "headwater.first_byte",
    ] {
        assert_eq!(json.get(absent), None, "{absent}");
    }
    let text = line(
        "$remote_addr \"$request\" $status $cut $request_completion",
        QueryRule::Redact,
        &record,
        None,
        &[],
    );
    assert_eq!(text, "unix: \"-\" 000 refused -");
}

#[test]
fn what_was_no_request_line_is_shown_whole() {
    let tls = b"\x16\x03\x01\x02";
    let json = line("json", QueryRule::Redact, &record(), Some(tls), &[]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["headwater.request_line"], "\u{16}\u{3}\u{1}\u{2}");
    assert_eq!(json.get("url.original"), None);
    let combined = line(
        "$request $request_uri",
        QueryRule::Redact,
        &record(),
        Some(tls),
        &[],
    );
    assert_eq!(combined, r"\x16\x03\x01\x02 -");
}

#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_shown_as_such() {
    let mut record = record();
    record.peer = Some("[::ffff:192.0.2.7]:1".parse().unwrap());
    assert_eq!(
        line("$remote_addr", QueryRule::Keep, &record, None, &[]),
        "192.0.2.7"
    );
}

proptest! {
    #[test]
    fn addresses_are_written_as_the_library_writes_them(groups in any::<[u16; 8]>(), mask in any::<u8>()) {
        let mut groups = groups;
        for (bit, group) in groups.iter_mut().enumerate() {
            *group *= u16::from(mask >> bit & 1);
        }
        let address = Ipv6Addr::from(groups);
        let mut out = Vec::new();
        put_address(&mut out, address.into());
        prop_assert_eq!(String::from_utf8(out).unwrap(), address.to_canonical().to_string());
        let mut out = Vec::new();
        let v4 = Ipv4Addr::from_bits(u32::from(groups[0]) << 16 | u32::from(groups[1]));
        put_address(&mut out, v4.into());
        prop_assert_eq!(String::from_utf8(out).unwrap(), v4.to_string());
    }

    /// Whatever a client sends, a line is one line, and JSON has it as it was.
    #[test]
    fn json_is_always_valid(
        request in proptest::collection::vec(any::<u8>(), 0..60),
        agent in proptest::collection::vec(any::<u8>(), 0..60),
        request_line in any::<bool>(),
    ) {
        let request = match request_line {
            true => [b"GET /", &request[..], b" HTTP/1.1"].concat(),
            false => request,
        };
        let fields: &[(&str, &[u8])] = &[("user-agent", &agent)];
        let text = line("json", QueryRule::Keep, &record(), Some(&request), fields);
        let json: Value = serde_json::from_str(&text).unwrap();
        let shown_agent = String::from_utf8_lossy(&agent);
        prop_assert_eq!(json["user_agent.original"].as_str(), Some(&*shown_agent));
        let shown = match json.get("url.original") {
            Some(target) => format!(
                "{} {} HTTP/{}",
                json["http.request.method"].as_str().unwrap(),
                target.as_str().unwrap(),
                json["network.protocol.version"].as_str().unwrap()
            ),
            None => json["headwater.request_line"].as_str().unwrap().to_owned(),
        };
        prop_assert_eq!(shown, String::from_utf8_lossy(&request));
        line("logfmt", QueryRule::Redact, &record(), Some(&request), fields);
        line("combined", QueryRule::Redact, &record(), Some(&request), fields);
        line("json", QueryRule::Drop, &record(), Some(&request), fields);
    }
}
