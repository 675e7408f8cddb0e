//! From a path to a file, or to a refusal.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use headwater::files::{Files, FilesOptions};
use headwater::http::mime::Types;
use headwater::limits;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

use crate::site::{Site, always_look, on_shard, shared_work};

#[test]
fn a_file_and_its_fields() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a/b.html", "<p>hello");
        site.settle().await;
        let answer = site.get("/a/b.html?x=1").await;
        assert_eq!(answer.brief(), (200, "<p>hello"));
        assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.field("accept-ranges"), "bytes");
        let metadata = fs::metadata(site.path("a/b.html")).unwrap();
        let tag = answer.field("etag");
        let is_opaque = |text: &str| text.len() == 16 && !text.contains('"');
        let opaque = tag
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        assert!(opaque.is_some_and(is_opaque), "{tag}");
        assert_eq!(
            answer.field("last-modified"),
            httpdate::fmt_http_date(metadata.modified().unwrap())
        );
        // What is not on the way but leads to it all the same.
        assert_eq!(site.get("/a/./%62.html").await.brief(), (200, "<p>hello"));
        assert_eq!(site.get("//x/../a/b.html").await.status, 200);
    });
}

#[test]
fn head_has_the_fields_of_get() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a", "hello");
        site.settle().await;
        let get = site.get("/a").await;
        let head = site.ask("HEAD", "/a", &[("range", "bytes=1-2")]).await;
        assert_eq!(head.status, 200, "a range is for GET only");
        assert_eq!(head.len, 5);
        for name in ["etag", "last-modified", "content-type", "accept-ranges"] {
            assert_eq!(head.field(name), get.field(name));
        }
        assert!(!head.prepared);
    });
}

#[test]
fn empty_files() {
    on_shard(async |shard| {
        for cache_files in [0, 10] {
            let options = FilesOptions {
                cache_files,
                ..FilesOptions::default()
            };
            let site = Site::new(&shard, options);
            site.write("empty", "");
            let answer = site.get("/empty").await;
            assert_eq!((answer.brief(), answer.len), ((200, ""), 0));
            for range in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
                let answer = site.get_with("/empty", "range", range).await;
                assert_eq!((answer.brief(), answer.len), ((200, ""), 0), "{range}");
            }
            let answer = site.get_with("/empty", "range", "bytes=1-").await;
            assert_eq!(answer.status, 416);
            assert_eq!(answer.field("content-range"), "bytes */0");
        }
    });
}

#[test]
fn methods() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a", "hello");
        let allow = "GET, HEAD, OPTIONS";
        for path in ["/a", "/none", "*"] {
            let answer = site.ask("OPTIONS", path, &[]).await;
            assert_eq!((answer.status, answer.len), (204, 0));
            assert_eq!(answer.field("allow"), allow);
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE"] {
            let answer = site.ask(method, "/a", &[]).await;
            assert_eq!(answer.status, 405, "{method}");
            assert_eq!(answer.field("allow"), allow);
            assert_eq!(answer.field("content-type"), "text/plain; charset=utf-8");
        }
        let answer = site.ask("CONNECT", "a:443", &[]).await;
        assert_eq!(answer.status, 405);
        assert_eq!(site.ask("BREW", "/a", &[]).await.status, 501);
        assert_eq!(site.ask("get", "/a", &[]).await.status, 501);
    });
}

#[test]
fn what_is_not_there() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a", "hello");
        let long = format!("/{}", "n".repeat(300));
        for path in ["/none", "/none/b", "/a/b", "/a/", "/a/b/", &long] {
            let answer = site.get(path).await;
            assert_eq!(answer.status, 404, "{path}");
            assert!(answer.text().ends_with(".\n"), "{}", answer.text());
        }
        for path in ["/..", "/%2e%2e/x", "/a%2fb", "/a%00", "/%zz"] {
            let answer = site.get(path).await;
            assert_eq!(answer.status, 400, "{path}");
            assert!(answer.at_once);
        }
    });
}

#[test]
fn dotfiles_are_hidden_unless_told_otherwise() {
    on_shard(async |shard| {
        for (hidden, status) in [(false, 404), (true, 200)] {
            let site = Site::new(
                &shard,
                FilesOptions {
                    hidden,
                    ..FilesOptions::default()
                },
            );
            site.write(".env", "secret");
            site.write(".git/config", "secret");
            site.write(".well-known/acme-challenge/t", "token");
            site.write(".well-known/.git/config", "secret");
            site.write("a/.well-known/b", "secret");
            for path in [
                "/.env",
                "/.git/config",
                "/%2eenv",
                "/a/../.env",
                "/.well-known/.git/config",
                "/a/.well-known/b",
            ] {
                assert_eq!(site.get(path).await.status, status, "{path}");
            }
            // RFC 8615: clients look for these by fixed names.
            for path in [
                "/.well-known/acme-challenge/t",
                "/%2ewell-known/acme-challenge/t",
            ] {
                assert_eq!(site.get(path).await.brief(), (200, "token"), "{path}");
            }
            assert_eq!(site.get("/.well-known").await.status, 301);
        }
    });
}

#[test]
fn links_stay_within_the_root() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        site.write("a", "hello");
        fs::write(site.outside("secret"), "secret").unwrap();
        symlink("a", site.path("in")).unwrap();
        symlink("../secret", site.path("out")).unwrap();
        symlink(site.outside("secret"), site.path("absolute")).unwrap();
        symlink("..", site.path("up")).unwrap();
        symlink("loop", site.path("loop")).unwrap();
        symlink("nothing", site.path("dangling")).unwrap();
        assert_eq!(site.get("/in").await.brief(), (200, "hello"));
        symlink(site.path("a"), site.path("whole")).unwrap();
        assert_eq!(site.get("/whole").await.brief(), (200, "hello"));
        for path in ["/out", "/absolute", "/up", "/up/", "/up/secret"] {
            let answer = site.get(path).await;
            assert_eq!(answer.status, 403, "{path}");
            assert!(!answer.text().contains("secret"));
        }
        assert_eq!(site.get("/loop").await.status, 404);
        assert_eq!(site.get("/dangling").await.status, 404);
        // A link that turns outwards while its target is cached.
        site.warm("/in").await;
        fs::remove_file(site.path("in")).unwrap();
        symlink("../secret", site.path("in")).unwrap();
        assert_eq!(site.get("/in").await.status, 403);
    });
}

/// Links that stay inside the root, and others.
fn make_links(site: &Site) {
    let link = |target: PathBuf, name: &str| symlink(target, site.path(name)).unwrap();
    link(site.path("v/x"), "folder");
    link(site.path("v/x/file"), "v/last");
    link(site.path("folder/file"), "chain");
    link("chain".into(), "chained");
    link("../www/v/x".into(), "out-and-in");
    link(site.path(""), "top");
    link(site.path("index"), "indexed");
    link(site.path("self"), "self");
    link(site.path("v/none"), "dangling");
    // As text these begin like the root, or end up in it.
    link(site.outside("www2"), "beside");
    link(site.path("../secret"), "climbs");
    link("/proc/self/root".into(), "magic");
}

#[test]
fn absolute_links_inside_the_root_are_followed() {
    on_shard(async |shard| {
        let mut site = Site::new(&shard, always_look());
        site.write("v/x/file", "hello");
        site.write("index/index.html", "index");
        fs::write(site.outside("secret"), "secret").unwrap();
        symlink(site.outside("www"), site.outside("current")).unwrap();
        make_links(&site);
        let found = [
            "/folder/file",
            "/v/last",
            "/chain",
            "/chained",
            "/out-and-in/file",
        ];
        for path in found
            .iter()
            .chain(&["/top/v/x/file", "/top/top/folder/file"])
        {
            assert_eq!(site.get(path).await.brief(), (200, "hello"), "{path}");
        }
        assert_eq!(site.get("/indexed/").await.brief(), (200, "index"));
        assert_eq!(site.get("/folder").await.status, 301);
        for (path, status) in [
            ("/self", 404),
            ("/dangling", 404),
            ("/folder/none", 404),
            ("/chain/none", 404),
            ("/beside/x", 403),
            ("/climbs", 403),
            ("/climbs/x", 403),
            ("/magic/etc/hostname", 403),
            ("/top/../climbs", 403),
        ] {
            assert_eq!(site.get(path).await.status, status, "{path}");
        }
        let long = "/top".repeat(limits::LINKS_FOLLOWED_MAX + 1);
        assert_eq!(site.get(&long).await.status, 404);

        // A link that turns outwards while its target is cached.
        site.settle().await;
        assert_eq!(site.get("/chain").await.status, 200);
        fs::remove_file(site.path("folder")).unwrap();
        symlink(site.outside("secret"), site.path("folder")).unwrap();
        assert_eq!(site.get("/chain").await.status, 403);
        fs::remove_file(site.path("folder")).unwrap();
        symlink(site.path("v/x"), site.path("folder")).unwrap();

        // A root that is itself a link: links may name it by either path.
        let (_pool, work) = shared_work();
        let root = site.outside("current");
        site.files = Files::new(&shard, &root, always_look(), &work).unwrap();
        symlink(root.join("v/x/file"), site.path("by-link")).unwrap();
        for path in ["/by-link", "/chain", "/folder/file"] {
            assert_eq!(site.get(path).await.brief(), (200, "hello"), "{path}");
        }
    });
}

#[test]
fn links_that_lead_out_are_followed_where_that_is_wanted() {
    on_shard(async |shard| {
        let options = FilesOptions {
            follow_links: true,
            browse: true,
            ..always_look()
        };
        let site = Site::new(&shard, options);
        fs::write(site.outside("secret"), "shown").unwrap();
        symlink("../secret", site.path("out")).unwrap();
        symlink(site.outside("secret"), site.path("absolute")).unwrap();
        symlink("loop", site.path("loop")).unwrap();
        symlink("/proc/self/fd", site.path("fds")).unwrap();
        for path in ["/out", "/absolute", "/out"] {
            assert_eq!(site.get(path).await.brief(), (200, "shown"), "{path}");
        }
        assert!(site.get("/").await.text().contains("absolute"));
        assert_eq!(site.get("/loop").await.status, 404);
        assert_eq!(site.get("/../secret").await.status, 400);
    });
}

#[test]
fn refusals_have_the_form_that_the_client_prefers() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        for (accept, content_type) in [
            ("*/*", "text/plain; charset=utf-8"),
            ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
            ("application/json", "application/problem+json"),
        ] {
            for path in ["/none", "/.hidden", "/..", "/none/"] {
                let answer = site.get_with(path, "accept", accept).await;
                assert_eq!(answer.field("content-type"), content_type, "{path}");
                assert_eq!(answer.field("vary"), "accept", "{path}");
                assert!(answer.text().contains("path"), "{}", answer.text());
            }
        }
    });
}

#[test]
fn media_types_are_the_operators_first() {
    on_shard(async |shard| {
        let own = [("m3u8".to_owned(), "audio/mpegurl".to_owned())];
        let options = FilesOptions {
            types: Arc::new(Types::new(own.iter().map(|(name, value)| (name, value)))),
            ..FilesOptions::default()
        };
        let site = Site::new(&shard, options);
        site.write("a.M3U8", "#EXTM3U");
        site.write("a.cjs", "1");
        let answer = site.get("/a.M3U8").await;
        assert_eq!(answer.field("content-type"), "audio/mpegurl");
        let answer = site.get("/a.cjs").await;
        assert_eq!(
            answer.field("content-type"),
            "text/javascript; charset=utf-8"
        );
    });
}

#[test]
fn what_is_no_file_is_never_opened() {
    on_shard(async |shard| {
        let mut site = Site::new(&shard, FilesOptions::default());
        // Opening a FIFO for reading and writing would wake its other end.
        mkfifo(&site.path("fifo"), Mode::S_IRWXU).unwrap();
        let _socket = UnixListener::bind(site.path("socket")).unwrap();
        for path in ["/fifo", "/socket", "/fifo/"] {
            assert_eq!(site.get(path).await.status, 404, "{path}");
        }
        let (_pool, work) = shared_work();
        let options = FilesOptions::default();
        site.files = Files::new(&shard, "/dev".as_ref(), options, &work).unwrap();
        assert_eq!(site.get("/null").await.status, 404);
        assert_eq!(site.get("/zero").await.status, 404);
    });
}

#[test]
fn files_that_state_a_wrong_size_are_refused_in_words() {
    on_shard(async |shard| {
        let mut site = Site::new(&shard, FilesOptions::default());
        let (_pool, work) = shared_work();
        for (root, path) in [("/proc", "/version"), ("/sys/kernel", "/uevent_seqnum")] {
            let options = FilesOptions::default();
            let Ok(files) = Files::new(&shard, root.as_ref(), options, &work) else {
                eprintln!("not tried: {root} is not there");
                continue;
            };
            site.files = files;
            let answer = site.get(path).await;
            if answer.status == 404 {
                eprintln!("not tried: {root}{path} is not there");
                continue;
            }
            assert_eq!(answer.status, 403, "{root}{path}");
            assert!(answer.text().contains("size"), "{}", answer.text());
        }
    });
}

#[test]
fn names_that_are_not_utf8() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        fs::write(site.path(OsStr::from_bytes(b"\xff\xfe.txt")), "bytes").unwrap();
        site.write("\u{4e2d} b", "spaced");
        assert_eq!(site.get("/%ff%FE.txt").await.brief(), (200, "bytes"));
        assert_eq!(site.get("/%E4%B8%AD%20b").await.brief(), (200, "spaced"));
    });
}

#[test]
fn unreadable_files_are_forbidden() {
    if Uid::effective().is_root() {
        eprintln!("skipped: root may read everything; run the tests as another user");
        return;
    }
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        site.write("a", "hello");
        site.warm("/a").await;
        fs::set_permissions(site.path("a"), fs::Permissions::from_mode(0o0)).unwrap();
        assert_eq!(site.get("/a").await.status, 403);
        site.write("folder/a", "hello");
        fs::set_permissions(site.path("folder"), fs::Permissions::from_mode(0o0)).unwrap();
        assert_eq!(site.get("/folder/a").await.status, 403);
        fs::set_permissions(site.path("folder"), fs::Permissions::from_mode(0o700)).unwrap();
    });
}

#[test]
fn a_root_that_cannot_be_served_is_told() {
    on_shard(async |shard| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("none");
        let (_pool, work) = shared_work();
        let Err(error) = Files::new(&shard, &root, FilesOptions::default(), &work) else {
            panic!("there is no such folder");
        };
        let message = error.to_string();
        assert!(message.contains("none"), "{message}");
        assert!(message.contains("create it"), "{message}");
    });
}
