//! Precompressed files beside the requested one.

use std::fs;
use std::time::{Duration, SystemTime};

use headwater::files::FilesOptions;
use headwater::runtime::Shard;

use crate::site::{Answer, Site, always_look, on_shard};

/// Without compression of our own, so that it is clear whose form comes.
fn siblings_only() -> FilesOptions {
    FilesOptions {
        compress: false,
        ..always_look()
    }
}

async fn ask(site: &Site, accepted: &str) -> Answer {
    site.get_with("/a.js", "accept-encoding", accepted).await
}

fn site(shard: &Shard, options: FilesOptions) -> Site {
    let site = Site::new(shard, options);
    site.write("a.js", "plain");
    site
}

#[test]
fn a_sibling_goes_in_its_files_place() {
    on_shard(async |shard| {
        let site = site(&shard, siblings_only());
        for (name, content) in [
            ("a.js.br", "in br"),
            ("a.js.zst", "in zstd"),
            ("a.js.gz", "in gzip"),
        ] {
            site.write(name, content);
        }
        site.settle().await;
        let plain = site.get("/a.js").await;
        let mut tags = vec![plain.field("etag").to_owned()];
        for coding in ["br", "zstd", "gzip"] {
            ask(&site, coding).await;
            let answer = ask(&site, coding).await;
            assert_eq!(answer.text(), format!("in {coding}"));
            assert_eq!(answer.field("content-encoding"), coding);
            assert_eq!(
                answer.field("content-type"),
                "text/javascript; charset=utf-8"
            );
            assert_eq!(answer.field("vary"), "accept-encoding");
            assert_eq!(answer.field("last-modified"), plain.field("last-modified"));
            assert!(answer.at_once && answer.prepared, "{coding}");
            let tag = answer.field("etag").to_owned();
            assert!(!tags.contains(&tag));
            tags.push(tag);
        }
        assert_eq!(plain.text(), "plain");
        // By its own name it is a file like others.
        let archive = site.get_with("/a.js.gz", "accept-encoding", "gzip").await;
        assert_eq!(archive.text(), "in gzip");
        assert_eq!(archive.field("content-encoding"), "");
        assert_eq!(archive.field("content-type"), "application/gzip");
    });
}

#[test]
fn what_lies_there_is_preferred_to_what_would_be_made() {
    on_shard(async |shard| {
        let site = site(&shard, always_look());
        site.write(
            "a.js",
            "plain, and long enough to be compressed. ".repeat(100),
        );
        site.write("a.js.gz", "in gzip");
        site.settle().await;
        assert_eq!(ask(&site, "br, zstd, gzip").await.text(), "in gzip");
        // But the client's word comes first.
        let answer = ask(&site, "br, gzip;q=0.5").await;
        assert_eq!(answer.field("content-encoding"), "br");
    });
}

#[test]
fn only_a_fresh_one_is_sent() {
    on_shard(async |shard| {
        let site = site(&shard, siblings_only());
        site.write("a.js.gz", "in gzip");
        site.settle().await;
        assert_eq!(ask(&site, "gzip").await.text(), "in gzip");
        let file = fs::File::options()
            .write(true)
            .open(site.path("a.js.gz"))
            .unwrap();
        let long_ago = SystemTime::now() - Duration::from_secs(3600);
        file.set_modified(long_ago).unwrap();
        for _ in 0..3 {
            assert_eq!(ask(&site, "gzip").await.text(), "plain", "it is older");
        }
        assert!(ask(&site, "gzip").await.at_once, "and known to be");
        // As old as the file is as good.
        let file = fs::File::options()
            .write(true)
            .open(site.path("a.js"))
            .unwrap();
        file.set_modified(long_ago).unwrap();
        site.settle().await;
        assert_eq!(ask(&site, "gzip").await.text(), "in gzip");
    });
}

#[test]
fn it_comes_changes_and_goes() {
    on_shard(async |shard| {
        // In memory and behind a descriptor.
        for cache_body_bytes in [1024, 0] {
            let options = FilesOptions {
                cache_body_bytes,
                ..siblings_only()
            };
            let site = site(&shard, options);
            site.settle().await;
            assert_eq!(ask(&site, "gzip").await.text(), "plain");
            site.write("a.js.gz", "one");
            site.settle().await;
            assert_eq!(ask(&site, "gzip").await.text(), "one");
            site.write("a.js.gz", "another");
            site.settle().await;
            assert_eq!(ask(&site, "gzip").await.text(), "another");
            assert!(ask(&site, "gzip").await.at_once);
            fs::remove_file(site.path("a.js.gz")).unwrap();
            assert_eq!(ask(&site, "gzip").await.text(), "plain");
            // No file, or nothing in it.
            fs::create_dir(site.path("a.js.gz")).unwrap();
            assert_eq!(ask(&site, "gzip").await.text(), "plain");
            fs::remove_dir(site.path("a.js.gz")).unwrap();
            site.write("a.js.gz", "");
            site.settle().await;
            assert_eq!(ask(&site, "gzip").await.text(), "plain");
            // The file itself changes: what lies beside it is of the old one.
            site.write("a.js.gz", "another");
            site.settle().await;
            site.write("a.js", "changed");
            site.settle().await;
            assert_eq!(ask(&site, "gzip").await.text(), "changed");
        }
    });
}

#[test]
fn it_can_be_turned_off_and_does_without_a_cache() {
    on_shard(async |shard| {
        let site = site(&shard, siblings_only());
        site.write("a.js.gz", "in gzip");
        site.settle().await;
        let off = FilesOptions {
            precompressed: false,
            ..siblings_only()
        };
        let without = site.another(&shard, off);
        let answer = ask(&without, "gzip").await;
        assert_eq!((answer.text(), answer.field("vary")), ("plain", ""));
        let uncached = FilesOptions {
            cache_files: 0,
            ..siblings_only()
        };
        let uncached = site.another(&shard, uncached);
        for _ in 0..2 {
            assert_eq!(ask(&uncached, "gzip").await.text(), "in gzip");
        }
    });
}

/// Descriptors of siblings count among the cache's.
#[test]
fn siblings_take_places_of_the_cache() {
    on_shard(async |shard| {
        let options = FilesOptions {
            cache_files: 3,
            cache_body_bytes: 0,
            ..siblings_only()
        };
        let site = Site::new(&shard, options);
        for name in ["a", "b"] {
            site.write(&format!("{name}.js"), "plain");
            site.write(&format!("{name}.js.gz"), "in gzip");
        }
        site.settle().await;
        for path in ["/a.js", "/b.js", "/b.js"] {
            let answer = site.get_with(path, "accept-encoding", "gzip").await;
            assert_eq!(answer.text(), "in gzip");
        }
        assert!(site.get("/b.js").await.at_once);
        assert!(
            !site.get("/a.js").await.at_once,
            "two files and two siblings are four"
        );
    });
}
