//! Folders: redirects, index files, listings.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::rc::Rc;
use std::time::Duration;

use headwater::files::FilesOptions;
use headwater::http::Status;
use headwater::runtime::sleep;
use nix::sys::stat::Mode;
use nix::unistd::{Uid, mkfifo};

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
        // Relative: it holds behind a proxy that strips a prefix, too.
        assert_eq!(answer.field("location"), "c/?x=1&y");
        let answer = site.ask("HEAD", "//a%20b", &[]).await;
        assert_eq!(answer.field("location"), "a%20b/");
        assert_eq!(site.get("/a%20b/c/").await.brief(), (200, "index"));
        // Names that could be read as a scheme, a host or another line.
        for (name, path, location) in [
            ("javascript:a", "/javascript:a", "javascript%3Aa/"),
            ("x\\\\evil", "/x%5c%5cevil", "x%5C%5Cevil/"),
            ("a\r\nb: c", "/a%0d%0ab:%20c", "a%0D%0Ab%3A%20c/"),
            ("a..?#", "/a..%3f%23", "a..%3F%23/"),
        ] {
            site.write(&format!("{name}/index.html"), "index");
            let answer = site.get(path).await;
            assert_eq!((answer.status, answer.field("location")), (301, location));
            assert_eq!(
                site.get(&format!("/{location}")).await.brief(),
                (200, "index")
            );
        }
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
        symlink(site.path("a/b.txt"), site.path("a/inner")).unwrap();
        symlink("/etc/hostname", site.path("a/out")).unwrap();
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
            for shown in ["b.txt", "folder", "link", "inner"] {
                assert!(answer.text().contains(shown), "{}", answer.text());
            }
            for left_out in [".hidden", "leaves", "fifo", "secret", "\"out"] {
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
        assert_eq!(html.field("cache-control"), "no-cache");
        // An index file comes first.
        site.write("a/index.html", "index");
        assert_eq!(site.get("/a/").await.brief(), (200, "index"));
    });
}

#[test]
fn a_listing_has_validators_that_change_with_what_it_shows() {
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        site.write("a/b.txt", "hello");
        let tag = async || site.get("/a/").await.field("etag").to_owned();
        let first = tag().await;
        assert!(first.starts_with('"'), "{first}");
        // Made anew, and still the same.
        assert_eq!(tag().await, first);
        let json = site.get_with("/a/", "accept", "application/json").await;
        assert_ne!(json.field("etag"), first);
        let coded = site.get_with("/a/", "accept-encoding", "gzip").await;
        assert_ne!(coded.field("etag"), first);
        // What was just changed could change again within the same second.
        assert_eq!(site.get("/a/").await.field("last-modified"), "");
        let answer = site.get_with("/a/", "if-none-match", &first).await;
        assert_eq!((answer.status, answer.len), (304, 0));
        assert_eq!(answer.field("etag"), first);
        assert_eq!(answer.field("vary"), "accept, accept-encoding");
        // The folder's own times do not show that a file grows.
        site.write("a/b.txt", "hello again");
        let second = tag().await;
        assert_ne!(second, first);
        assert_eq!(
            site.get_with("/a/", "if-none-match", &first).await.status,
            200
        );
        site.write("a/c.txt", "");
        assert_ne!(tag().await, second);
        fs::remove_file(site.path("a/c.txt")).unwrap();
        assert_eq!(tag().await, second);
    });
}

#[test]
fn last_modified_is_the_last_change_of_anything_shown() {
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        let answer = loop {
            let answer = site.get("/").await;
            if !answer.field("last-modified").is_empty() {
                break answer;
            }
            sleep(Duration::from_millis(100)).await;
        };
        let modified = answer.field("last-modified").to_owned();
        let again = site.get_with("/", "if-modified-since", &modified).await;
        assert_eq!(again.status, 304);
        assert_eq!(again.field("last-modified"), modified);
        site.write("a", "");
        let again = site.get_with("/", "if-modified-since", &modified).await;
        assert_eq!(again.status, 200);
    });
}

#[test]
fn a_kept_listing_shows_every_name_at_once() {
    on_shard(async |shard| {
        let options = FilesOptions {
            browse: true,
            // Longer than the test.
            revalidate_ms: 3_600_000,
            ..FilesOptions::default()
        };
        let site = Site::new(&shard, options);
        for number in 0..20 {
            let name = format!("name-{number}");
            site.write(&name, "");
            assert!(site.get("/").await.text().contains(&format!("\"{name}\"")));
            if number % 3 == 0 {
                site.settle().await;
            }
            assert!(site.get("/").await.text().contains(&format!("\"{name}\"")));
        }
        site.settle().await;
        let before = site.get("/").await;
        fs::write(site.path("name-0"), "longer").unwrap();
        // Only its age shows that this listing is no longer right.
        assert_eq!(site.get("/").await.body, before.body);
        fs::remove_file(site.path("name-1")).unwrap();
        assert!(!site.get("/").await.text().contains("\"name-1\""));
    });
}

#[test]
fn nobody_is_turned_away_while_listings_are_made_or_read_slowly() {
    on_shard(async |shard| {
        let options = FilesOptions {
            browse: true,
            ..FilesOptions::default()
        };
        let site = Rc::new(Site::new(&shard, options));
        for number in 0..20_000 {
            fs::File::create(site.path(format!("a rather long name to fill the page, {number}")))
                .unwrap();
        }
        for folder in 0..50 {
            fs::create_dir_all(site.path(format!("folders/{folder}"))).unwrap();
        }
        site.settle().await;
        // Held as by clients that read slowly; a change in between makes them two.
        let slow = site.respond("/").await;
        site.write("another", "");
        let slow = [slow, site.respond("/").await];
        assert!(slow.iter().all(|response| response.status == Status::OK));
        let mut asking = Vec::new();
        for number in 0..200 {
            let site = Rc::clone(&site);
            let path = match number % 4 {
                0 => "/".to_owned(),
                _ => format!("/folders/{}/", number % 50),
            };
            asking.push(shard.spawn(async move { site.get(&path).await.status }));
        }
        for asked in asking {
            assert_eq!(asked.await.unwrap(), 200);
        }
        drop(slow);
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
fn every_name_that_is_listed_can_be_fetched() {
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        // All bytes that a name can have, in names that are not too long.
        let bytes: Vec<u8> = (1..=255).filter(|&byte| byte != b'/').collect();
        for (number, part) in bytes.chunks(100).enumerate() {
            let name = [b"n", part].concat();
            let path = site.path(OsStr::from_bytes(&name));
            fs::write(path, number.to_string()).unwrap();
        }
        let listing = site.get_with("/", "accept", "application/json").await;
        let links: Vec<&str> = listing
            .text()
            .split("\"href\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert_eq!(links.len(), 3);
        for link in links {
            let answer = site.get(&format!("/{link}")).await;
            assert_eq!((answer.status, answer.body.len()), (200, 1), "{link}");
        }
    });
}

#[test]
fn what_cannot_be_read_is_not_listed() {
    if Uid::effective().is_root() {
        eprintln!("skipped: root may read everything; run the tests as another user");
        return;
    }
    on_shard(async |shard| {
        let site = Site::new(&shard, browse());
        site.write("open", "hello");
        site.write("closed", "hello");
        site.write("folder/a", "hello");
        symlink("closed", site.path("link")).unwrap();
        let forbid = |name, mode| {
            fs::set_permissions(site.path(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        forbid("closed", 0o0);
        forbid("folder", 0o600);
        let listing = site.get_with("/", "accept", "application/json").await;
        assert!(listing.text().contains("\"open\""), "{}", listing.text());
        for name in ["closed", "folder", "link"] {
            assert!(!listing.text().contains(name), "{}", listing.text());
        }
        forbid("folder", 0o700);
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
