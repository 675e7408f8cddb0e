//! Rules about responses: header lines by path and status, cross-origin requests, presets, pages
//! for errors, and the fallback file for missing paths.

use headwater::config::{Config, HeaderRule};

use super::support::{Reply, Site};

const PLAYER: &str = "https://player.example";

fn rule(path: &str, set: &[(&str, &str)]) -> HeaderRule {
    HeaderRule {
        paths: vec![path.to_owned()],
        set: set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..HeaderRule::default()
    }
}

fn with_rules(rules: Vec<HeaderRule>) -> impl FnOnce(&mut Config) {
    |config| config.responses.headers = rules
}

fn ask(site: &Site, method: &str, path: &str, fields: &str) -> Reply {
    let mut client = site.client();
    client.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n"
    ));
    match method {
        "HEAD" => client.reply_head(),
        _ => client.reply(),
    }
}

fn get(site: &Site, path: &str, fields: &str) -> Reply {
    ask(site, "GET", path, fields)
}

/// All values of a field, in order.
fn values(reply: &Reply, name: &str) -> Vec<String> {
    let lines = reply.head.lines().filter_map(|line| line.split_once(": "));
    let named = lines.filter(|(key, _)| *key == name);
    named.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn a_rule_applies_to_the_whole_file_its_parts_and_its_validators() {
    for in_memory in [true, false] {
        let site = Site::with(&[("a.js", b"0123456789"), ("b.css", b"x")], |config| {
            config.responses.headers = vec![rule(
                "*.js",
                &[
                    ("Cache-Control", "max-age=60"),
                    ("X-Content-Type-Options", "nosniff"),
                ],
            )];
            if !in_memory {
                config.cache.body_bytes = 0;
            }
        });
        let etag = get(&site, "/a.js", "").field("etag").to_owned();
        for (fields, status) in [
            (String::new(), 200),
            (String::new(), 200),
            ("range: bytes=1-2\r\n".to_owned(), 206),
            (format!("if-none-match: {etag}\r\n"), 304),
        ] {
            for method in ["GET", "HEAD"] {
                let reply = ask(&site, method, "/a.js", &fields);
                // Range is for GET alone (RFC 9110 section 14.2).
                let status = if (method, status) == ("HEAD", 206) {
                    200
                } else {
                    status
                };
                assert_eq!(reply.status, status, "{method} {fields}");
                assert_eq!(reply.field("cache-control"), "max-age=60", "{}", reply.head);
                assert_eq!(reply.field("x-content-type-options"), "nosniff");
            }
        }
        assert_eq!(get(&site, "/b.css", "").field("cache-control"), "");
    }
}

#[test]
fn several_parts_have_the_rules_lines_once_each() {
    let body = [b'x'; 4096];
    let site = Site::with(
        &[("a.ts", &body)],
        with_rules(vec![rule("*.ts", &[("Cache-Control", "immutable")])]),
    );
    let reply = get(&site, "/a.ts", "range: bytes=0-1,1000-1001\r\n");
    assert_eq!(reply.status, 206);
    assert!(
        reply
            .field("content-type")
            .starts_with("multipart/byteranges")
    );
    assert_eq!(reply.field("cache-control"), "immutable");
}

#[test]
fn errors_get_a_rules_lines_only_where_it_says_so() {
    let always = HeaderRule {
        always: true,
        ..rule("/**", &[("X-Always", "1")])
    };
    let missing = HeaderRule {
        statuses: vec!["404".to_owned(), "5xx".to_owned()],
        ..rule("/**", &[("X-Missing", "1")])
    };
    let usual = rule("/**", &[("Cache-Control", "max-age=31536000, immutable")]);
    let site = Site::with(&[("a", b"a")], with_rules(vec![always, missing, usual]));
    let reply = get(&site, "/nothing", "");
    assert_eq!(reply.status, 404);
    assert_eq!(
        (reply.field("x-always"), reply.field("x-missing")),
        ("1", "1")
    );
    assert_eq!(reply.field("cache-control"), "");
    let reply = get(&site, "/a", "");
    assert_eq!(
        (reply.field("x-always"), reply.field("x-missing")),
        ("1", "")
    );
    assert_eq!(reply.field("cache-control"), "max-age=31536000, immutable");
    for (method, path, status) in [
        ("POST", "/a", 405),
        ("OPTIONS", "/a", 204),
        ("GET", "/%zz", 400),
    ] {
        let reply = ask(&site, method, path, "");
        assert_eq!(
            (reply.status, reply.field("x-always")),
            (status, "1"),
            "{}",
            reply.head
        );
    }
    let reply = get(&site, "/a", "range: bytes=9-\r\n");
    assert_eq!((reply.status, reply.field("x-always")), (416, "1"));
    assert_eq!(reply.field("cache-control"), "");
}

#[test]
fn a_request_that_cannot_be_read_gets_the_lines_for_every_path() {
    let always = |path: &str, name: &str| HeaderRule {
        always: true,
        ..rule(path, &[(name, "1")])
    };
    let rules = vec![
        always("/**", "X-Every"),
        always("*", "X-Name"),
        always("/", "X-Root"),
        always("*.html", "X-Page"),
        rule("/**", &[("Cache-Control", "max-age=9")]),
    ];
    let site = Site::with(&[("a", b"a")], |config| {
        config.responses.headers = rules;
        config.responses.cors = vec!["*".to_owned()];
        config.timeouts.header_ms = 200;
    });
    let long = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/7.1\r\n\r\n", 505),
        ("GET / HTTP/1.1\r\nhost: x\r\n", 408),
        (&long, 431),
        (
            "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999\r\n\r\n",
            413,
        ),
    ] {
        let mut client = site.client();
        client.send(request);
        let reply = client.reply();
        assert_eq!(reply.status, status, "{}", reply.head);
        for (name, value) in [
            ("x-every", "1"),
            ("x-name", "1"),
            ("x-root", ""),
            ("x-page", ""),
            ("cache-control", ""),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(reply.field(name), value, "{}", reply.head);
        }
    }
}

#[test]
fn lines_are_added_and_the_servers_own_removed() {
    let rule = HeaderRule {
        remove: vec!["ETag".to_owned(), "Last-Modified".to_owned()],
        add: vec![
            ("Link".to_owned(), "</a>; rel=preload".to_owned()),
            ("Link".to_owned(), "</b>; rel=preload".to_owned()),
            ("Vary".to_owned(), "Cookie".to_owned()),
        ],
        ..rule("/**", &[])
    };
    let page = [b'a'; 2048];
    let site = Site::with(&[("a.html", &page)], with_rules(vec![rule]));
    for fields in ["", "accept-encoding: gzip\r\n"] {
        let reply = get(&site, "/a.html", fields);
        assert_eq!(reply.status, 200);
        assert_eq!(
            values(&reply, "link"),
            ["</a>; rel=preload", "</b>; rel=preload"]
        );
        assert_eq!(
            (reply.field("etag"), reply.field("last-modified")),
            ("", "")
        );
        assert_eq!(reply.field("vary"), "accept-encoding, cookie");
    }
}

#[test]
fn a_listing_and_a_redirect_are_edited_by_the_path_that_was_asked_for() {
    let site = Site::with(&[("d/a", b"a")], |config| {
        config.server.browse = true;
        config.responses.headers = vec![
            rule(
                "/d/",
                &[("X-Listing", "1"), ("Content-Security-Policy", "none")],
            ),
            rule("/d", &[("X-Redirect", "1")]),
        ];
    });
    let reply = get(&site, "/d/", "");
    assert_eq!((reply.status, reply.field("x-listing")), (200, "1"));
    assert_eq!(reply.field("content-security-policy"), "none");
    let reply = get(&site, "/d", "");
    assert_eq!((reply.status, reply.field("x-redirect")), (301, "1"));
}

#[test]
fn any_origin_may_read_whatever_the_status() {
    let site = Site::with(
        &[("live.m3u8", b"#EXTM3U"), ("big", &[b'x'; 100_000])],
        |config| {
            config.responses.cors = vec!["*".to_owned()];
        },
    );
    let etag = get(&site, "/live.m3u8", "").field("etag").to_owned();
    let origin = format!("origin: {PLAYER}\r\n");
    for (method, path, fields, status) in [
        ("GET", "/live.m3u8", String::new(), 200),
        ("GET", "/live.m3u8", "range: bytes=0-1\r\n".to_owned(), 206),
        (
            "GET",
            "/live.m3u8",
            format!("if-none-match: {etag}\r\n"),
            304,
        ),
        ("GET", "/live.m3u8", "range: bytes=99-\r\n".to_owned(), 416),
        ("GET", "/nothing", String::new(), 404),
        ("PUT", "/live.m3u8", String::new(), 405),
        ("HEAD", "/big", String::new(), 200),
        ("GET", "/big", String::new(), 200),
    ] {
        let reply = ask(&site, method, path, &format!("{origin}{fields}"));
        assert_eq!(reply.status, status, "{method} {path} {fields}");
        assert_eq!(reply.field("access-control-allow-origin"), "*");
        let exposed = reply.field("access-control-expose-headers");
        for name in ["content-range", "content-length", "etag", "accept-ranges"] {
            assert!(exposed.contains(name), "{exposed}");
        }
        assert!(!reply.field("vary").contains("origin"), "{}", reply.head);
    }
}

#[test]
fn a_listed_origin_may_read_and_caches_are_told_by_vary() {
    let files: &[(&str, &[u8])] = &[
        ("a.m3u8", b"#EXTM3U"),
        ("big", &[b'x'; 100_000]),
        ("page.html", &[b'y'; 2000]),
    ];
    let site = Site::with(files, |config| {
        config.responses.cors = vec![PLAYER.to_owned(), "http://localhost:3000".to_owned()];
    });
    for path in ["/a.m3u8", "/a.m3u8", "/big", "/page.html", "/nothing"] {
        for (origin, allowed) in [
            (PLAYER, PLAYER),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://evil.example", ""),
            ("https://player.example.evil", ""),
            ("null", ""),
        ] {
            let reply = get(&site, path, &format!("origin: {origin}\r\n"));
            assert_eq!(
                reply.field("access-control-allow-origin"),
                allowed,
                "{path}"
            );
            assert!(reply.field("vary").contains("origin"), "{}", reply.head);
            assert_eq!(
                reply.field("access-control-expose-headers").is_empty(),
                allowed.is_empty()
            );
        }
        let reply = get(&site, path, "");
        assert_eq!(reply.field("access-control-allow-origin"), "");
        assert!(reply.field("vary").contains("origin"), "{}", reply.head);
    }
    // Both kinds on one connection, as a pipelined burst.
    let mut client = site.client();
    let plain = "GET /a.m3u8 HTTP/1.1\r\nhost: x\r\n\r\n";
    let listed = format!("GET /a.m3u8 HTTP/1.1\r\nhost: x\r\norigin: {PLAYER}\r\n\r\n");
    client.send([plain, &listed, plain, &listed].concat());
    for allowed in ["", PLAYER, "", PLAYER] {
        let reply = client.reply();
        assert_eq!(reply.text(), "#EXTM3U");
        assert_eq!(reply.field("access-control-allow-origin"), allowed);
    }
}

#[test]
fn a_preflight_is_answered_for_origins_that_may_read() {
    let asked = "access-control-request-method: GET\r\naccess-control-request-headers: range, x-token, bad name\r\n";
    for (cors, origin, allowed) in [
        ("*", PLAYER, "*"),
        (PLAYER, PLAYER, PLAYER),
        (PLAYER, "https://evil.example", ""),
    ] {
        let site = Site::with(&[("a", b"a")], |config| {
            config.responses.cors = vec![cors.to_owned()]
        });
        let reply = ask(
            &site,
            "OPTIONS",
            "/a",
            &format!("origin: {origin}\r\n{asked}"),
        );
        assert_eq!(reply.status, 204);
        assert_eq!(reply.field("access-control-allow-origin"), allowed);
        let (methods, fields) = (
            reply.field("access-control-allow-methods"),
            reply.field("access-control-allow-headers"),
        );
        if allowed.is_empty() {
            assert_eq!((methods, fields), ("", ""));
            continue;
        }
        assert_eq!(methods, "GET, HEAD, OPTIONS");
        let fields: Vec<&str> = fields.split(", ").collect();
        assert!(
            fields.contains(&"range") && fields.contains(&"x-token"),
            "{fields:?}"
        );
        assert!(!fields.contains(&"bad name"));
        assert_eq!(reply.field("access-control-max-age"), "86400");
    }
    let silent = Site::new(&[("a", b"a")]);
    let reply = ask(
        &silent,
        "OPTIONS",
        "/a",
        &format!("origin: {PLAYER}\r\n{asked}"),
    );
    assert_eq!(
        (reply.status, reply.field("allow")),
        (204, "GET, HEAD, OPTIONS")
    );
    assert_eq!(reply.field("access-control-allow-origin"), "");
}

#[test]
fn presets_set_what_their_case_needs() {
    let files: &[(&str, &[u8])] = &[
        ("live.m3u8", b"#EXTM3U"),
        ("seg1.m4s", b"x"),
        ("index.html", b"<p>app"),
        ("assets/app.3f2a9c1b.js", b"1"),
    ];
    let site = Site::with(files, |config| {
        config.responses.presets = vec!["hls".to_owned()]
    });
    let reply = get(&site, "/live.m3u8", "");
    assert_eq!(reply.field("cache-control"), "public, max-age=1");
    assert_eq!(reply.field("access-control-allow-origin"), "*");
    assert!(
        get(&site, "/seg1.m4s", "")
            .field("cache-control")
            .contains("immutable")
    );
    let missing = get(&site, "/seg2.m4s", "");
    assert_eq!((missing.status, missing.field("cache-control")), (404, ""));

    let presets = ["immutable-assets", "spa"].map(str::to_owned).to_vec();
    let site = Site::with(files, |config| config.responses.presets = presets);
    assert_eq!(get(&site, "/", "").field("cache-control"), "no-cache");
    let asset = get(&site, "/assets/app.3f2a9c1b.js", "");
    assert!(asset.field("cache-control").contains("immutable"));
    let route = get(&site, "/users/7", "accept: text/html\r\n");
    assert_eq!((route.status, route.text()), (200, "<p>app"));
}

#[test]
fn the_fallback_answers_pages_and_nothing_else() {
    let files: &[(&str, &[u8])] = &[("index.html", b"<p>app"), ("a.js", b"1"), ("d/x", b"x")];
    let site = Site::with(files, |config| {
        config.responses.fallback = Some("/index.html".to_owned());
    });
    const BROWSER: &str = "accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (path, fields, status) in [
        ("/users/7", BROWSER, 200),
        ("/users/", BROWSER, 200),
        ("/users/mail@a.example", BROWSER, 200),
        ("/users/7", "accept: */*\r\n", 200),
        ("/users/7", "", 200),
        ("/d/", BROWSER, 200),
        ("/old.js", "accept: */*\r\n", 404),
        ("/old.png", "accept: image/*\r\n", 404),
        ("/api/x", "accept: application/json\r\n", 404),
        ("/.env", BROWSER, 404),
    ] {
        let reply = get(&site, path, fields);
        assert_eq!(reply.status, status, "{path} {fields}");
        assert_eq!(status == 200, reply.body == b"<p>app", "{path} {fields}");
        if !path.starts_with("/.") {
            let vary = values(&reply, "vary").join(", ");
            assert!(
                vary.split(", ").any(|name| name == "accept"),
                "{path}: {vary}"
            );
        }
    }
    let head = ask(&site, "HEAD", "/users/7", BROWSER);
    assert_eq!((head.status, head.field("content-length")), (200, "6"));
    assert_eq!(get(&site, "/a.js", BROWSER).text(), "1");
    let etag = get(&site, "/index.html", "").field("etag").to_owned();
    let again = get(
        &site,
        "/users/7",
        &format!("{BROWSER}if-none-match: {etag}\r\n"),
    );
    assert_eq!(again.status, 304);
}

#[test]
fn an_error_has_the_operators_page_and_keeps_its_status() {
    let large = vec![b'z'; 200_000];
    let files: &[(&str, &[u8])] = &[
        ("a", b"a"),
        ("404.html", b"<h1>lost"),
        ("e/405.txt", &large),
        ("416.html", b"<p>range"),
    ];
    let site = Site::with(files, |config| {
        let pages = [
            ("404", "/404.html"),
            ("405", "/e/405.txt"),
            ("416", "/416.html"),
            ("403", "/nope.html"),
        ];
        let pages = pages.map(|(status, path)| (status.to_owned(), path.to_owned()));
        config.responses.error_pages = pages.into();
        config.responses.cors = vec!["*".to_owned()];
        config.responses.headers = vec![rule("*.html", &[("Cache-Control", "max-age=9")])];
    });
    for path in ["/nothing", "/nothing.html", "/.hidden", "/nothing/"] {
        for _ in 0..2 {
            let reply = get(
                &site,
                path,
                "if-none-match: *\r\nrange: bytes=0-1\r\naccept-encoding: gzip\r\n",
            );
            assert_eq!((reply.status, reply.text()), (404, "<h1>lost"), "{path}");
            assert_eq!(reply.field("content-type"), "text/html; charset=utf-8");
            for name in [
                "etag",
                "last-modified",
                "cache-control",
                "accept-ranges",
                "content-encoding",
            ] {
                assert_eq!(reply.field(name), "", "{path}");
            }
            assert_eq!(reply.field("access-control-allow-origin"), "*");
        }
        let head = ask(&site, "HEAD", path, "");
        assert_eq!((head.status, head.field("content-length")), (404, "8"));
    }
    let reply = ask(&site, "DELETE", "/a", "");
    assert_eq!((reply.status, reply.body.len()), (405, large.len()));
    assert_eq!(reply.field("allow"), "GET, HEAD, OPTIONS");
    let reply = get(&site, "/a", "range: bytes=7-\r\n");
    assert_eq!((reply.status, reply.text()), (416, "<p>range"));
    assert_eq!(reply.field("content-range"), "bytes */1");
    // A page that isn't there leaves the server's own.
    let folder = get(&site, "/e/", "");
    assert_eq!(folder.status, 403);
    assert!(!folder.body.is_empty());
    // Asked for by its own path it is a file like any other.
    assert_eq!(get(&site, "/404.html", "").status, 200);
}

#[test]
fn compressed_forms_have_the_rules_lines() {
    let page = vec![b'a'; 20_000];
    let site = Site::with(&[("a.html", &page)], |config| {
        config.timeouts.work_ms = 60_000;
        config.responses.headers = vec![rule("*.html", &[("Cache-Control", "no-cache")])];
        config.responses.cors = vec![PLAYER.to_owned()];
    });
    let fields = format!("accept-encoding: gzip\r\norigin: {PLAYER}\r\n");
    for _ in 0..2 {
        let reply = get(&site, "/a.html", &fields);
        if reply.field("content-encoding") == "gzip" {
            let etag = reply.field("etag").to_owned();
            let again = get(
                &site,
                "/a.html",
                &format!("{fields}if-none-match: {etag}\r\n"),
            );
            assert_eq!(
                (again.status, again.field("cache-control")),
                (304, "no-cache")
            );
        }
        assert_eq!(reply.field("cache-control"), "no-cache");
        assert_eq!(reply.field("access-control-allow-origin"), PLAYER);
        let vary = values(&reply, "vary").join(", ");
        assert!(
            vary.contains("accept-encoding") && vary.contains("origin"),
            "{vary}"
        );
    }
}
