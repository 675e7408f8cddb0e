//! Entity tags and dates (RFC 9110 section 8.8), also where modification times can't distinguish
//! versions.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use headwater::files::{EtagMode, FilesOptions};
use headwater::runtime::sleep;

use crate::site::{Answer, Site, always_look, on_shard};

const SECOND: Duration = Duration::from_secs(1);

/// Puts a file in the place of another, with this time of modification.
fn replace(site: &Site, path: &str, content: &str, modified: SystemTime) {
    fs::write(site.outside("next"), content).unwrap();
    let file = fs::File::open(site.outside("next")).unwrap();
    file.set_modified(modified).unwrap();
    fs::rename(site.outside("next"), site.path(path)).unwrap();
}

async fn rest(site: &Site, if_range: &str) -> Answer {
    let fields = [("range", "bytes=2-"), ("if-range", if_range)];
    site.ask("GET", "/a", &fields).await
}

/// Archives, package managers and reproducible builds set all times of modification alike.
#[test]
fn other_content_with_the_same_size_and_mtime_is_told_apart() {
    on_shard(async |shard| {
        for coding in ["identity", "gzip"] {
            let site = Site::new(&shard, always_look());
            let fields = [("accept-encoding", coding)];
            let (first, second) = ("A".repeat(2000), "B".repeat(2000));
            replace(&site, "a.js", &first, UNIX_EPOCH + SECOND);
            site.warm("/a.js").await;
            let old = site.ask("GET", "/a.js", &fields).await;
            let tag = old.field("etag");
            assert!(tag.starts_with('"'), "{tag}");
            replace(&site, "a.js", &second, UNIX_EPOCH + SECOND);
            for _ in 0..2 {
                let fields = [("accept-encoding", coding), ("if-none-match", tag)];
                assert_eq!(site.ask("GET", "/a.js", &fields).await.status, 200);
                let fields = [("range", "bytes=2-"), ("if-range", tag)];
                assert_eq!(site.ask("GET", "/a.js", &fields).await.status, 200);
                site.settle().await;
            }
        }
    });
}

#[test]
fn copies_have_equal_tags_where_that_is_asked_for() {
    on_shard(async |shard| {
        let options = FilesOptions {
            etag: EtagMode::Mtime,
            ..always_look()
        };
        let sites = [(); 2].map(|()| Site::new(&shard, options.clone()));
        for site in &sites {
            replace(site, "a", "hello", UNIX_EPOCH + SECOND);
            site.settle().await;
        }
        let (first, second) = (sites[0].get("/a").await, sites[1].get("/a").await);
        assert_eq!(first.field("etag"), second.field("etag"));
        // Other content could have this tag: good enough for a cache, not for a resumed download.
        let tag = first.field("etag");
        assert!(tag.starts_with("W/"), "{tag}");
        assert_eq!(
            sites[1].get_with("/a", "if-none-match", tag).await.status,
            304
        );
        assert_eq!(rest(&sites[1], tag).await.status, 200);
        // Also where the time was set within the second of the change.
        sites[0].write("a", "first");
        let modified = fs::metadata(sites[0].path("a"))
            .unwrap()
            .modified()
            .unwrap();
        sites[0].settle().await;
        replace(&sites[0], "a", "other", modified);
        sites[0].settle().await;
        let tag = sites[0].get("/a").await.field("etag").to_owned();
        assert!(tag.starts_with("W/"), "{tag}");
        // A time of modification that nothing has set is strong here as well.
        sites[0].write("a", "other");
        sites[0].settle().await;
        let natural = sites[0].get("/a").await;
        assert_eq!(rest(&sites[0], natural.field("etag")).await.status, 206);
    });
}

/// Within the second of the change the same date may be given to other content.
#[test]
fn a_date_resumes_a_download_only_once_its_second_is_over() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        loop {
            site.write("a", "AAAA");
            let date = site.get("/a").await.field("last-modified").to_owned();
            site.write("a", "BBBB");
            let resumed = rest(&site, &date).await;
            let again = site.get("/a").await.field("last-modified").to_owned();
            // Otherwise the second was over in between.
            if date == again {
                assert_eq!(resumed.brief(), (200, "BBBB"));
                break;
            }
        }
        for wait_ms in (0..10_000).step_by(50) {
            let date = site.get("/a").await.field("last-modified").to_owned();
            let resumed = rest(&site, &date).await;
            if resumed.status == 206 {
                assert!(wait_ms > 0, "strong at once");
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("the date never became strong");
    });
}

#[test]
fn a_date_that_was_set_resumes_no_download() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        replace(&site, "a", "AAAA", UNIX_EPOCH + SECOND);
        site.settle().await;
        let date = site.get("/a").await.field("last-modified").to_owned();
        assert_eq!(date, "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(rest(&site, &date).await.status, 200);
        assert_eq!(
            site.get_with("/a", "if-modified-since", &date).await.status,
            304
        );
    });
}

/// A date is the file's own, or there is none.
#[test]
fn dates_that_cannot_be_sent_are_left_out() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        let now = SystemTime::now();
        for (modified, date) in [
            (UNIX_EPOCH, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (UNIX_EPOCH - Duration::from_millis(1), ""),
            (UNIX_EPOCH - 3600 * SECOND, ""),
            (now + 3600 * SECOND, ""),
        ] {
            replace(&site, "a", "hello", modified);
            site.settle().await;
            let answer = site.get("/a").await;
            assert_eq!(answer.field("last-modified"), date);
            assert!(answer.field("etag").starts_with('"'));
            let since = "Sun, 06 Nov 1994 08:49:37 GMT";
            let expected = if date.is_empty() { 200 } else { 304 };
            let conditional = site.get_with("/a", "if-modified-since", since).await;
            assert_eq!(conditional.status, expected, "{date}");
            let resumed = rest(&site, since).await;
            assert_eq!(resumed.status, 200);
        }
    });
}

/// The date of a file of the future is sent as soon as it is not.
#[test]
fn a_date_appears_when_its_time_has_come() {
    on_shard(async |shard| {
        let options = FilesOptions {
            revalidate_ms: 3_600_000,
            ..FilesOptions::default()
        };
        let site = Site::new(&shard, options);
        replace(&site, "a", "hello", SystemTime::now() + SECOND + SECOND);
        site.settle().await;
        assert_eq!(site.get("/a").await.field("last-modified"), "");
        for _ in 0..1000 {
            if !site.get("/a").await.field("last-modified").is_empty() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
        panic!("no date");
    });
}

/// What may still change without its times showing it has a tag that no other content can have.
#[test]
fn a_file_that_was_just_written_has_a_weak_tag() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        for size in [100, 100_000] {
            // Unless something holds the test up between the two for so long.
            let mut is_weak = false;
            for _ in 0..1000 {
                site.write("a", "a".repeat(size));
                is_weak = site.get("/a").await.field("etag").starts_with("W/");
                if is_weak {
                    break;
                }
            }
            assert!(is_weak, "{size}");
            site.settle().await;
            let tag = site.get("/a").await.field("etag").to_owned();
            assert!(tag.starts_with('"'), "{size}: {tag}");
            assert_eq!(site.get_with("/a", "if-none-match", &tag).await.status, 304);
        }
    });
}
