//! HTTP/1.1 and HTTP/1.0 with correct clients (RFC 9110, RFC 9112).

use headwater::http::{Body, Response, Status};
use headwater::server::{Request, ServerOptions, Service};

use crate::support::{Running, Site, an_allowed_cpu, get, serve};

fn site() -> Site {
    let large: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    Site::new(&[
        ("index.html", b"<h1>home</h1>\n"),
        ("a.txt", b"hello\n"),
        ("empty.txt", b""),
        ("middle.js", &large[..20_000]),
        ("large.bin", &large),
        ("films/one.mp4", b"film"),
        ("films/live/seg-1.ts", b"segment"),
        ("films/live/list.m3u8", b"#EXTM3U\n"),
    ])
}

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n")
}

#[test]
fn a_connection_is_kept() {
    let site = site();
    let mut client = site.client();
    for _ in 0..3 {
        for (path, bytes) in [
            ("/a.txt", 6),
            ("/empty.txt", 0),
            ("/middle.js", 20_000),
            ("/large.bin", 300_000),
        ] {
            let reply = client.get(path);
            assert_eq!((reply.status, reply.body.len()), (200, bytes), "{path}");
            assert_eq!(reply.field("connection"), "", "{path}");
        }
    }
    let reply = client.ask(request("GET", "/a.txt", "connection: foo, Close\r\n"));
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("hello\n", "close")
    );
    client.expect_closed();
}

#[test]
fn an_answer_says_what_it_is() {
    let site = site();
    let mut client = site.client();
    let reply = client.get("/a.txt");
    assert_eq!(reply.field("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.field("accept-ranges"), "bytes");
    assert_eq!(reply.field("content-length"), "6");
    assert!(reply.field("etag").starts_with('"'), "{}", reply.head);
    for name in ["date", "last-modified"] {
        assert!(
            httpdate::parse_http_date(reply.field(name)).is_ok(),
            "{}",
            reply.head
        );
    }
    for (path, kind) in [
        ("/films/one.mp4", "video/mp4"),
        ("/films/live/seg-1.ts", "video/mp2t"),
        ("/films/live/list.m3u8", "application/vnd.apple.mpegurl"),
        ("/middle.js", "text/javascript; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
        ("/large.bin", "application/octet-stream"),
    ] {
        assert_eq!(client.get(path).field("content-type"), kind, "{path}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = site();
    let mut client = site.client();
    client.send(get("/a.txt").repeat(100));
    for _ in 0..100 {
        assert_eq!(client.reply().text(), "hello\n");
    }
    let mix = [
        ("/a.txt", 6),
        ("/large.bin", 300_000),
        ("/nothing", 0),
        ("/middle.js", 20_000),
        ("/empty.txt", 0),
    ];
    let burst: String = mix.iter().map(|(path, _)| get(path)).collect();
    client.send(burst.repeat(10));
    for _ in 0..10 {
        for (path, bytes) in mix {
            let reply = client.reply();
            match path {
                "/nothing" => assert_eq!(reply.status, 404),
                _ => assert_eq!((reply.status, reply.body.len()), (200, bytes), "{path}"),
            }
        }
    }
    // A large file's bytes, each in its place.
    let wanted = std::fs::read(site.root().join("large.bin")).expect("the file");
    assert!(client.get("/large.bin").body == wanted);
}

#[test]
fn http_10_closes_unless_asked_to_keep() {
    let site = site();
    let mut client = site.client();
    let keep = "GET /a.txt HTTP/1.0\r\nconnection: keep-alive\r\n\r\n";
    for path in [keep, &keep.replace("a.txt", "large.bin"), keep] {
        let reply = client.ask(path);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.field("connection"), "keep-alive");
    }
    let reply = client.ask("GET /a.txt HTTP/1.0\r\n\r\n");
    assert_eq!(
        (reply.text(), reply.field("connection")),
        ("hello\n", "close")
    );
    client.expect_closed();
    let mut client = site.client();
    let reply = client.ask("GET /a.txt HTTP/1.0\r\nconnection: keep-alive, close\r\n\r\n");
    assert_eq!(reply.field("connection"), "close");
    client.expect_closed();
}

#[test]
fn head_is_get_without_the_body() {
    let site = site();
    let mut client = site.client();
    for path in [
        "/a.txt",
        "/large.bin",
        "/middle.js",
        "/empty.txt",
        "/nothing",
        "/films",
        "/films/",
        "/%zz",
        "/",
    ] {
        let whole = client.get(path);
        client.send(request("HEAD", path, ""));
        let head = client.reply_head();
        let but_date = |head: &str| -> Vec<String> {
            let lines = head.lines().filter(|l| !l.starts_with("date:"));
            lines.map(str::to_owned).collect()
        };
        assert_eq!(but_date(&head.head), but_date(&whole.head), "{path}");
    }
    // Nothing of a body stood between them.
    assert_eq!(client.get("/a.txt").text(), "hello\n");
}

#[test]
fn methods_that_files_do_not_answer_to() {
    let site = site();
    let mut client = site.client();
    for target in ["/a.txt", "*", "/nothing"] {
        let reply = client.ask(request("OPTIONS", target, ""));
        assert_eq!(reply.status, 204, "{target}");
        assert_eq!(reply.field("allow"), "GET, HEAD, OPTIONS");
        assert_eq!(reply.field("content-length"), "", "RFC 9110 section 8.6");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
        let reply = client.ask(request(method, "/a.txt", ""));
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.field("allow"), "GET, HEAD, OPTIONS");
    }
    assert_eq!(client.ask(request("get", "/a.txt", "")).status, 501);
}

#[test]
fn folders_are_answered_for_by_their_index_or_not_at_all() {
    let site = site();
    let mut client = site.client();
    let home = client.get("/");
    assert_eq!((home.status, home.text()), (200, "<h1>home</h1>\n"));
    assert_eq!(client.get("/?q=1").status, 200);
    let reply = client.get("/films?a=b%20c");
    assert_eq!(reply.status, 301);
    assert_eq!(reply.field("location"), "films/?a=b%20c");
    assert_eq!(client.get("/films/").status, 403);
    // `//host` would lead elsewhere.
    assert_eq!(client.get("//films").field("location"), "films/");
}

#[test]
fn folders_are_listed_when_asked_to() {
    let site = Site::with(
        &[
            ("films/one.mp4", b"film"),
            ("films/two & <three>.mp4", b"films"),
        ],
        |config| {
            config.server.browse = true;
        },
    );
    let mut client = site.client();
    let page = client.get("/films/");
    assert_eq!(page.field("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains("href=\"one.mp4\""), "{}", page.text());
    assert!(page.text().contains("two &amp; &lt;three&gt;.mp4"));
    let json = client.ask(request("GET", "/films/", "accept: application/json\r\n"));
    assert_eq!(json.field("content-type"), "application/json");
    assert_eq!(json.field("vary"), "accept, accept-encoding");
    assert!(json.text().contains("\"one.mp4\""), "{}", json.text());
}

#[test]
fn a_body_on_get_is_read_and_thrown_away() {
    let site = site();
    let mut client = site.client();
    let body = vec![b'G'; 200_000];
    client.send(request("GET", "/a.txt", "content-length: 200000\r\n"));
    client.send(&body);
    assert_eq!(client.reply().text(), "hello\n");
    let chunked = "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\ntrailer: x\r\n\r\n";
    for _ in 0..3 {
        client.send(request("GET", "/a.txt", "transfer-encoding: chunked\r\n") + chunked);
    }
    client.send(request("POST", "/a.txt", "content-length: 4\r\n") + "GET ");
    for _ in 0..3 {
        assert_eq!(client.reply().text(), "hello\n");
    }
    assert_eq!(client.reply().status, 405);
    assert_eq!(client.get("/a.txt").status, 200);
}

/// Gives the body back, or refuses without reading it.
struct Echo;

impl Service for Echo {
    async fn call(&self, mut request: Request<'_>) -> Response {
        if request.head.path() == "/no" {
            return Response::error(Status::FORBIDDEN, "no");
        }
        let mut body = Vec::new();
        loop {
            match request.body.next().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) => break,
                Err(e) => return e.response(),
            }
        }
        Response::new(Status::OK).with_body(Body::Bytes(body.into()))
    }
}

fn echo() -> Running {
    let options = ServerOptions {
        body_bytes_max: 1000,
        ..ServerOptions::default()
    };
    serve(vec![an_allowed_cpu()], options, |_| Echo)
}

#[test]
fn an_expectation_is_met_when_the_body_is_wanted() {
    let server = echo();
    let mut client = server.client();
    for _ in 0..2 {
        let head = request("POST", "/", "expect: 100-continue\r\ncontent-length: 5\r\n");
        assert_eq!(client.ask(head).status, 100);
        assert_eq!(client.ask("hello").text(), "hello");
    }
    // What comes with the head needs no invitation (RFC 9110 section 10.1.1).
    let head = request("POST", "/", "expect: 100-continue\r\ncontent-length: 5\r\n");
    assert_eq!(client.ask(head + "hello").status, 200);
    // An unwanted body: the final answer at once, and no guess at what follows.
    let head = request(
        "POST",
        "/no",
        "expect: 100-continue\r\ncontent-length: 5\r\n",
    );
    let reply = client.ask(head);
    assert_eq!((reply.status, reply.field("connection")), (403, "close"));
    client.expect_closed();
    // HTTP/1.0 knows no interim answers.
    let mut client = server.client();
    client.send("POST / HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello");
    assert_eq!(client.reply().text(), "hello");
}

#[test]
fn an_unwanted_body_of_a_file_is_not_invited() {
    let site = site();
    for method in ["GET", "POST"] {
        let mut client = site.client();
        let head = request(
            method,
            "/a.txt",
            "expect: 100-continue\r\ncontent-length: 5\r\n",
        );
        let reply = client.ask(head);
        assert_eq!(reply.status, if method == "GET" { 200 } else { 405 });
        assert_eq!(reply.field("connection"), "close");
        client.expect_closed();
    }
    let mut client = site.client();
    assert_eq!(
        client
            .ask(request("GET", "/a.txt", "expect: 100-continue\r\n"))
            .status,
        200
    );
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn bodies_arrive_whole() {
    let server = echo();
    let mut client = server.client();
    let chunks: String = (0..100).map(|i| format!("1\r\n{}\r\n", i % 10)).collect();
    let reply =
        client.ask(request("POST", "/", "transfer-encoding: chunked\r\n") + &chunks + "0\r\n\r\n");
    assert_eq!(reply.text(), "0123456789".repeat(10));
    let full = "x".repeat(1000);
    let reply = client.ask(request("POST", "/", "content-length: 1000\r\n") + &full);
    assert_eq!(reply.text(), full);
    // A chunked body's size is known when it is there.
    let chunk = format!("3e8\r\n{full}\r\n1\r\nx\r\n0\r\n\r\n");
    let reply = client.ask(request("POST", "/", "transfer-encoding: chunked\r\n") + &chunk);
    assert_eq!((reply.status, reply.field("connection")), (413, "close"));
    client.expect_closed();
    let mut client = server.client();
    let reply = client.ask(request("POST", "/", "transfer-encoding: chunked\r\n") + "zz\r\n");
    assert_eq!((reply.status, reply.field("connection")), (400, "close"));
    client.expect_closed();
}
