//! Ranges and conditions.

use std::fs;
use std::os::unix::fs::FileExt;

use headwater::files::FilesOptions;

use crate::site::{Answer, Site, on_shard};

/// Every test here runs with the file in memory and with it behind a descriptor.
const BODY_BYTES: [usize; 2] = [0, 65_536];

fn options(cache_body_bytes: usize) -> FilesOptions {
    FilesOptions {
        cache_body_bytes,
        ..FilesOptions::default()
    }
}

#[test]
fn one_range() {
    on_shard(async |shard| {
        for body_bytes in BODY_BYTES {
            let site = Site::new(&shard, options(body_bytes));
            site.write("a.mp4", "0123456789");
            site.settle().await;
            for (range, text, content_range) in [
                ("bytes=2-4", "234", "bytes 2-4/10"),
                ("bytes=7-", "789", "bytes 7-9/10"),
                ("bytes=-3", "789", "bytes 7-9/10"),
                ("bytes=0-99", "0123456789", "bytes 0-9/10"),
            ] {
                let answer = site.get_with("/a.mp4", "range", range).await;
                assert_eq!(answer.brief(), (206, text), "{range}");
                assert_eq!(answer.field("content-range"), content_range);
                assert_eq!(answer.field("content-type"), "video/mp4");
                assert_eq!(answer.field("etag"), site.get("/a.mp4").await.field("etag"));
                assert_eq!(answer.from_file, body_bytes == 0);
                assert!(!answer.prepared);
            }
            let answer = site.get_with("/a.mp4", "range", "bytes=10-").await;
            assert_eq!(answer.status, 416);
            assert_eq!(answer.field("content-range"), "bytes */10");
            for ignored in ["bytes=4-2", "lines=1-2", "bytes=x"] {
                let answer = site.get_with("/a.mp4", "range", ignored).await;
                assert_eq!(answer.brief(), (200, "0123456789"), "{ignored}");
            }
            let twice = [("range", "bytes=0-1"), ("range", "bytes=2-3")];
            assert_eq!(site.ask("GET", "/a.mp4", &twice).await.status, 200);
        }
    });
}

#[test]
fn several_ranges() {
    on_shard(async |shard| {
        for body_bytes in BODY_BYTES {
            let site = Site::new(&shard, options(body_bytes));
            // Long enough to outweigh the heads of its parts.
            let content = "0123456789".repeat(100);
            site.write("a.mp4", &content);
            let answer = site.get_with("/a.mp4", "range", "bytes=0-1,-2").await;
            assert_eq!(answer.status, 206);
            let boundary = answer
                .field("content-type")
                .strip_prefix("multipart/byteranges; boundary=")
                .unwrap()
                .to_owned();
            let part = |range: &str, text: &str| {
                format!(
                    "--{boundary}\r\ncontent-type: video/mp4\r\ncontent-range: bytes {range}/1000\r\n\r\n{text}\r\n"
                )
            };
            let wanted =
                part("0-1", "01") + &part("998-999", "89") + &format!("--{boundary}--\r\n");
            assert_eq!(answer.text(), wanted);
            assert_eq!(answer.len, wanted.len() as u64);
            assert_eq!(answer.field("content-range"), "");
            assert_eq!(answer.from_file, body_bytes == 0);
            let again = site.get_with("/a.mp4", "range", "bytes=0-1,-2").await;
            assert_ne!(
                again.field("content-type"),
                answer.field("content-type"),
                "a boundary must not be known beforehand"
            );
            // Joined into one, and beyond the file.
            let joined = site.get_with("/a.mp4", "range", "bytes=0-4,3-6").await;
            assert_eq!(joined.brief(), (206, "0123456"));
            let none = site.get_with("/a.mp4", "range", "bytes=1000-,2000-").await;
            assert_eq!(none.status, 416);
            // The heads of its parts would make it more than the file.
            site.write("b.mp4", "0123456789");
            let whole = site.get_with("/b.mp4", "range", "bytes=0-1,-2").await;
            assert_eq!(whole.brief(), (200, "0123456789"));
        }
    });
}

#[test]
fn if_range_protects_from_mixed_content() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a", "0123456789");
        site.settle().await;
        let whole = site.get("/a").await;
        let ask = async |if_range: &str| -> Answer {
            let fields = [("range", "bytes=0-1"), ("if-range", if_range)];
            site.ask("GET", "/a", &fields).await
        };
        assert_eq!(ask(whole.field("etag")).await.status, 206);
        assert_eq!(ask("\"other\"").await.brief(), (200, "0123456789"));
        let weak = format!("W/{}", whole.field("etag"));
        assert_eq!(ask(&weak).await.status, 200);
    });
}

#[test]
fn conditions() {
    on_shard(async |shard| {
        for body_bytes in BODY_BYTES {
            let site = Site::new(&shard, options(body_bytes));
            site.write("a", "0123456789");
            site.settle().await;
            let whole = site.get("/a").await;
            let (etag, modified) = (whole.field("etag"), whole.field("last-modified"));
            for (name, value) in [
                ("if-none-match", etag),
                ("if-none-match", "*"),
                ("if-modified-since", modified),
            ] {
                for method in ["GET", "HEAD"] {
                    let answer = site.ask(method, "/a", &[(name, value)]).await;
                    assert_eq!((answer.status, answer.len), (304, 0), "{name}");
                    assert_eq!(answer.field("etag"), etag);
                    assert_eq!(answer.field("last-modified"), modified);
                    assert_eq!(answer.field("content-type"), "");
                }
            }
            let old = "Thu, 01 Jan 1970 00:00:00 GMT";
            for (name, value) in [("if-match", "\"other\""), ("if-unmodified-since", old)] {
                assert_eq!(site.get_with("/a", name, value).await.status, 412, "{name}");
            }
            for (name, value) in [
                ("if-match", etag),
                ("if-none-match", "\"other\""),
                ("if-modified-since", old),
            ] {
                let answer = site.get_with("/a", name, value).await;
                assert_eq!(answer.brief(), (200, "0123456789"), "{name}");
            }
        }
    });
}

#[test]
fn ranges_beyond_four_gibibytes() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        let size = (5_u64 << 30) + 3;
        let file = fs::File::create(site.path("big")).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"abcdef", (4 << 30) - 3).unwrap();
        file.write_all_at(b"end", size - 3).unwrap();
        let whole = site.get("/big").await;
        assert_eq!((whole.status, whole.len), (200, size));
        let range = "bytes=4294967293-4294967298";
        let answer = site.get_with("/big", "range", range).await;
        assert_eq!(answer.brief(), (206, "abcdef"));
        assert_eq!(
            answer.field("content-range"),
            "bytes 4294967293-4294967298/5368709123"
        );
        let answer = site.get_with("/big", "range", "bytes=-3").await;
        assert_eq!(answer.brief(), (206, "end"));
        let answer = site.get_with("/big", "range", "bytes=1-").await;
        assert_eq!((answer.status, answer.len), (206, size - 1));
        let answer = site
            .get_with("/big", "range", "bytes=0-1,4294967293-4294967295")
            .await;
        assert!(answer.text().contains("\r\n\r\nabc\r\n--"));
    });
}

#[test]
fn a_modification_in_the_future_is_not_told() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a", "hello");
        let now = std::time::SystemTime::now();
        let file = fs::File::open(site.path("a")).unwrap();
        file.set_modified(now + std::time::Duration::from_secs(1 << 20))
            .unwrap();
        let answer = site.get("/a").await;
        assert_eq!(answer.field("last-modified"), "");
    });
}
