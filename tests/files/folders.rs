//! Folders: redirects, index files, listings.

use std::fs;
use std::os::unix::fs::symlink;

use headwater::files::FilesOptions;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::site::{Site, always_look, expand, on_shard};

fn browse() -> FilesOptions {
    FilesOptions {
        browse: true,
        ..always_look()
    }
}

#[test]
fn a_folder_is_at_its_path_with_a_slash() {
    on_shard(async |shard| {
        let site = Site::new(&shard, FilesOptions::default());
        site.write("a b/c/index.html", "index");
        let answer = site.get("/a%20b/c?x=1&y").await;
        assert_eq!(answer.status, 301);
        assert_eq!(answer.field("location"), "/a%20b/c/?x=1&y");
        let answer = site.ask("HEAD", "//a%20b", &[]).await;
        assert_eq!(answer.field("location"), "/a%20b/");
        assert_eq!(site.get("/a%20b/c/").await.brief(), (200, "index"));
    });
}

#[test]
fn the_index_answers_for_its_folder() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        assert_eq!(site.get("/").await.status, 403);
        site.write("index.html", "root");
        site.write("a/index.html", "a");
        site.settle().await;
        assert_eq!(site.get("/").await.brief(), (200, "root"));
        let answer = site.get("/a/").await;
        assert_eq!(answer.brief(), (200, "a"));
        assert_eq!(answer.field("content-type"), "text/html; charset=utf-8");
        for path in ["/", "/a/", "/index.html", "/a/index.html"] {
            assert!(site.get(path).await.at_once, "{path}");
        }
        // An index that appears, changes, goes, or is no file.
        fs::remove_file(site.path("a/index.html")).unwrap();
        assert_eq!(site.get("/a/").await.status, 403);
        fs::create_dir(site.path("a/index.html")).unwrap();
        assert_eq!(site.get("/a/").await.status, 403);
        site.write("index.html", "other");
        assert_eq!(site.get("/").await.brief(), (200, "other"));
        assert_eq!(site.get("/none/").await.status, 404);
    });
}

#[test]
fn another_index_or_none() {
    on_shard(async |shard| {
        for (index, status) in [(Some("home.htm"), 200), (None, 403)] {
            let options = FilesOptions {
                index: index.map(str::to_owned),
                ..FilesOptions::default()
            };
            let site = Site::new(&shard, options);
            site.write("home.htm", "home");
            site.write("index.html", "index");
            let answer = site.get("/").await;
            assert_eq!(answer.status, status);
            assert!(!answer.text().contains("index"));
        }
    });
}

#[test]
fn listings_in_both_forms() {
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        fs::write(site.outside("secret"), "secret").unwrap();
        site.write("a/b.txt", "hello");
        site.write("a/.hidden", "hello");
        site.write("a/folder/x", "x");
        symlink("b.txt", site.path("a/link")).unwrap();
        symlink("../../secret", site.path("a/leaves")).unwrap();
        mkfifo(&site.path("a/fifo"), Mode::S_IRWXU).unwrap();
        let html = site.get("/a/").await;
        assert_eq!(html.status, 200);
        assert_eq!(html.field("content-type"), "text/html; charset=utf-8");
        assert_eq!(html.field("vary"), "accept, accept-encoding");
        assert!(html.field("content-security-policy").contains("'none'"));
        assert_eq!(html.field("x-listing-truncated"), "");
        let json = site.get_with("/a/", "accept", "application/json").await;
        assert_eq!(json.field("content-type"), "application/json");
        assert_eq!(json.field("vary"), "accept, accept-encoding");
        for answer in [&html, &json] {
            for shown in ["b.txt", "folder", "link"] {
                assert!(answer.text().contains(shown), "{}", answer.text());
            }
            for left_out in [".hidden", "leaves", "fifo", "secret"] {
                assert!(!answer.text().contains(left_out), "{}", answer.text());
            }
        }
        let link = "\"name\":\"link\",\"type\":\"file\"";
        assert!(json.text().contains(link), "{}", json.text());
        assert!(json.text().contains("\"size\":5"), "{}", json.text());
        assert!(html.text().contains("../"));
        assert!(!site.get("/").await.text().contains("../"));
        assert_eq!(site.get("/a/b.txt/").await.status, 404);
        assert_eq!(site.get("/none/").await.status, 404);
        assert_eq!(site.get("/a").await.status, 301);
        let answer = site.get_with("/a/", "if-match", "\"x\"").await;
        assert_eq!(answer.status, 412);
        // An index file comes first.
        site.write("a/index.html", "index");
        assert_eq!(site.get("/a/").await.brief(), (200, "index"));
    });
}

#[test]
fn hidden_names_are_listed_when_they_are_served() {
    on_shard(async |shard| {
        let options = FilesOptions {
            hidden: true,
            ..browse()
        };
        let site = Site::new(&shard, options);
        site.write(".hidden", "hello");
        assert!(site.get("/").await.text().contains(".hidden"));
    });
}

#[test]
fn a_cut_listing_says_so() {
    on_shard(async |shard| {
        let options = FilesOptions {
            listing_entries_max: 100,
            ..browse()
        };
        let site = Site::new(&shard, options);
        for number in 0..101 {
            fs::File::create(site.path(format!("f{number}"))).unwrap();
        }
        let answer = site.get_with("/", "accept", "application/json").await;
        assert_eq!(answer.field("x-listing-truncated"), "true");
        assert_eq!(answer.text().matches("\"name\"").count(), 100);
        fs::remove_file(site.path("f0")).unwrap();
        let answer = site.get_with("/", "accept", "application/json").await;
        assert_eq!(answer.field("x-listing-truncated"), "");
        assert_eq!(answer.text().matches("\"name\"").count(), 100);
    });
}

#[test]
fn a_listing_is_compressed_for_those_who_accept_it() {
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        for number in 0..500 {
            fs::File::create(site.path(format!("f{number}"))).unwrap();
        }
        let plain = site.get("/").await;
        assert_eq!(plain.field("content-encoding"), "");
        for coding in ["br", "zstd", "gzip"] {
            let coded = site.get_with("/", "accept-encoding", coding).await;
            assert_eq!(coded.field("content-encoding"), coding);
            assert_eq!(coded.field("vary"), "accept, accept-encoding");
            assert_eq!(expand(&coded.body, coding), plain.body);
            assert!(coded.body.len() < plain.body.len() / 4, "{coding}");
        }
        let refused = site.get_with("/", "accept-encoding", "identity;q=0").await;
        assert_eq!(refused.status, 406);
        // A short one is not worth it.
        site.write("a/b", "");
        let options = [("accept-encoding", "gzip"), ("accept", "application/json")];
        let short = site.ask("GET", "/a/", &options).await;
        assert_eq!(short.field("content-encoding"), "");
        assert_eq!(short.field("vary"), "accept, accept-encoding");
    });
}
