//! What the cache keeps, for how long, and how changes to files become visible.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, symlink};
use std::rc::Rc;
use std::time::Duration;

use headwater::files::FilesOptions;
use headwater::limits;
use headwater::runtime::{Shard, sleep, yield_now};
use headwater::sys::transfer::fadvise_dontneed;

use crate::site::{Site, always_look, on_shard};

fn for_an_hour() -> FilesOptions {
    FilesOptions {
        revalidate_ms: 3_600_000,
        ..FilesOptions::default()
    }
}

#[test]
fn small_files_are_kept_in_memory() {
    on_shard(async |shard| {
        let site = Site::new(&shard, for_an_hour());
        site.write("small", "s".repeat(65_536));
        site.write("large", "l".repeat(65_537));
        site.settle().await;
        let first = site.get("/small").await;
        assert!(!first.at_once && !first.from_file);
        let second = site.get("/small").await;
        assert!(second.at_once && second.prepared);
        assert_eq!(second.body, first.body);
        assert!(!site.ask("HEAD", "/small", &[]).await.prepared);
        let large = site.get("/large").await;
        assert!(large.from_file && !large.prepared);
        assert!(site.get("/large").await.at_once);
    });
}

#[test]
fn a_file_in_memory_stays_for_the_stated_time() {
    on_shard(async |shard| {
        let options = FilesOptions {
            revalidate_ms: 300,
            ..FilesOptions::default()
        };
        let site = Site::new(&shard, options);
        // A link leads to it, so the folder of its path is not watched.
        site.write("real/a", "old");
        symlink("real/a", site.path("a")).unwrap();
        site.settle().await;
        let began_ms = shard.now_ms();
        site.get("/a").await;
        let cached_ms = shard.now_ms();
        site.write("real/a", "new");
        loop {
            let asked_ms = shard.now_ms();
            let answer = site.get("/a").await;
            match answer.text() {
                "old" => {
                    let age_ms = asked_ms - cached_ms;
                    assert!(age_ms < 300, "old after {age_ms} ms");
                }
                new => {
                    assert_eq!(new, "new");
                    let age_ms = shard.now_ms() - began_ms;
                    assert!(age_ms >= 300, "looked again after {age_ms} ms");
                    return;
                }
            }
            sleep(Duration::from_millis(10)).await;
        }
    });
}

#[test]
fn an_unchanged_file_stays_in_the_cache_when_looked_at_again() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        site.write("a", "hello");
        site.write("b", "b".repeat(100_000));
        for path in ["/a", "/b"] {
            site.warm(path).await;
            assert!(site.get(path).await.at_once);
        }
    });
}

#[test]
fn replaced_by_rename() {
    on_shard(async |shard| {
        for size in [5, 100_000] {
            let site = Site::new(&shard, always_look());
            site.write("a", "1".repeat(size));
            site.warm("/a").await;
            let old = site.get("/a").await;
            fs::write(site.outside("next"), "2".repeat(size)).unwrap();
            fs::rename(site.outside("next"), site.path("a")).unwrap();
            let new = site.get("/a").await;
            assert_eq!(new.text(), "2".repeat(size));
            assert_ne!(new.field("etag"), old.field("etag"));
        }
    });
}

#[test]
fn an_open_file_shows_changes_at_once() {
    on_shard(async |shard| {
        let site = Site::new(&shard, for_an_hour());
        site.write("a", "1".repeat(100_000));
        site.write("b", "1".repeat(100_000));
        site.warm("/a").await;
        site.warm("/b").await;
        let file = fs::OpenOptions::new()
            .write(true)
            .open(site.path("a"))
            .unwrap();
        file.write_all_at(b"2", 0).unwrap();
        let edited = site.get("/a").await;
        assert!(edited.text().starts_with("211"));
        file.set_len(70_000).unwrap();
        let shrunk = site.get("/a").await;
        assert_eq!(shrunk.len, 70_000);
        assert_ne!(shrunk.field("etag"), edited.field("etag"));
        file.set_len(3).unwrap();
        assert_eq!(site.get("/a").await.brief(), (200, "211"));
        fs::remove_file(site.path("b")).unwrap();
        assert_eq!(site.get("/b").await.status, 404);
    });
}

#[test]
fn edits_in_place_of_a_small_file() {
    on_shard(async |shard| {
        let site = Site::new(&shard, always_look());
        site.write("a", "0123456789");
        site.warm("/a").await;
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(site.path("a"))
            .unwrap();
        file.write_all(b"more").unwrap();
        assert_eq!(site.get("/a").await.text(), "0123456789more");
        file.set_len(3).unwrap();
        assert_eq!(site.get("/a").await.text(), "012");
        file.set_len(200_000).unwrap();
        assert_eq!(site.get("/a").await.len, 200_000);
        // The same size and a restored time of modification: the inode's time of change differs.
        let modified = fs::metadata(site.path("a")).unwrap().modified().unwrap();
        site.write("a", "abc");
        site.warm("/a").await;
        site.write("a", "xyz");
        file.set_modified(modified).unwrap();
        assert_eq!(site.get("/a").await.text(), "xyz");
        fs::remove_file(site.path("a")).unwrap();
        assert_eq!(site.get("/a").await.status, 404);
        fs::create_dir(site.path("a")).unwrap();
        assert_eq!(site.get("/a").await.status, 301);
    });
}

/// Writes within one tick of the file system's clock leave equal stamps, so what
/// was read just after a write must not be kept.
#[test]
fn a_file_that_was_just_written_is_not_cached() {
    on_shard(async |shard| {
        let site = Site::new(&shard, for_an_hour());
        for round in 0..200 {
            let text = format!("{round:03}");
            site.write("a", &text);
            assert_eq!(site.get("/a").await.text(), text);
        }
    });
}

/// A writer replaces and rewrites a file over and over while it is served: every
/// body is one that was written as a whole.
#[test]
fn bodies_are_never_mixed() {
    on_shard(async |shard| {
        let site = Rc::new(Site::new(&shard, always_look()));
        let write = |site: &Site, letter: u8| {
            fs::write(site.outside("next"), [letter; 30_000]).unwrap();
            fs::rename(site.outside("next"), site.path("a")).unwrap();
        };
        write(&site, b'a');
        let done = Rc::new(Cell::new(0));
        for _ in 0..8 {
            let (site, done) = (Rc::clone(&site), Rc::clone(&done));
            shard.spawn_detached(async move {
                for _ in 0..100 {
                    let body = site.get("/a").await.body;
                    assert_eq!(body.len(), 30_000);
                    assert!(body.iter().all(|byte| *byte == body[0]));
                    yield_now().await;
                }
                done.set(done.get() + 1);
            });
        }
        for letter in (b'a'..=b'z').cycle() {
            if done.get() == 8 {
                return;
            }
            assert!(shard.stats().panics == 0, "a reader saw a mixed body");
            write(&site, letter);
            yield_now().await;
        }
    });
}

#[test]
fn the_cache_is_bounded_in_files() {
    on_shard(async |shard| {
        let options = FilesOptions {
            cache_files: 4,
            cache_body_bytes: 0,
            ..for_an_hour()
        };
        let site = Site::new(&shard, options);
        for number in 0..20 {
            site.write(&format!("f{number}"), "hello");
        }
        for number in 0..20 {
            site.get(&format!("/f{number}")).await;
        }
        let mut hits = 0;
        for number in 0..20 {
            hits += usize::from(site.get(&format!("/f{number}")).await.at_once);
        }
        assert_eq!(hits, 0, "4 of 20 in a cycle are never hit");
        for number in 16..20 {
            assert!(site.get(&format!("/f{number}")).await.at_once);
        }
    });
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    on_shard(async |shard| {
        let options = FilesOptions {
            // Each body counts twice: once more in its prepared answer.
            cache_bodies_bytes: 2 * 3000,
            ..for_an_hour()
        };
        let site = Site::new(&shard, options);
        for name in ["a", "b", "c", "d"] {
            site.write(name, [b'x'; 1000]);
        }
        site.write("big", [b'x'; 3001]);
        site.settle().await;
        for path in ["/a", "/b", "/c"] {
            site.get(path).await;
        }
        assert!(site.get("/a").await.at_once);
        site.get("/d").await;
        for (path, kept) in [("/a", true), ("/c", true), ("/d", true), ("/b", false)] {
            assert_eq!(site.get(path).await.at_once, kept, "{path}");
        }
        assert!(site.get("/big").await.from_file, "no room for it at all");
        assert!(site.get("/big").await.at_once);
    });
}

#[test]
fn without_a_cache_everything_still_works() {
    on_shard(async |shard| {
        let options = FilesOptions {
            cache_files: 0,
            ..FilesOptions::default()
        };
        let site = Site::new(&shard, options);
        site.write("a", "hello");
        site.settle().await;
        for _ in 0..3 {
            let answer = site.get("/a").await;
            assert_eq!(answer.brief(), (200, "hello"));
            assert!(!answer.at_once && !answer.prepared);
        }
    });
}

/// On a disk this has a worker of the kernel do the reading; in memory-backed
/// file systems nothing is ever cold.
#[test]
fn cold_files_are_read_without_the_shard() {
    on_shard(async |shard| {
        let site = Rc::new(Site::new(&shard, for_an_hour()));
        let names: Vec<String> = (0..2 * limits::COLD_READS_MAX)
            .map(|number| format!("f{number}"))
            .collect();
        for name in &names {
            site.write(name, name.repeat(5000));
            let file = fs::File::open(site.path(name)).unwrap();
            file.sync_all().unwrap();
            fadvise_dontneed(file.as_fd(), 0, 0).unwrap();
        }
        let ask = |name: &String| {
            let (site, name) = (Rc::clone(&site), name.clone());
            shard.spawn(async move {
                let answer = site.get(&format!("/{name}")).await;
                assert_eq!(answer.brief(), (200, &*name.repeat(5000)));
            })
        };
        let asked: Vec<_> = names.iter().map(ask).collect();
        for answer in asked {
            answer.await.unwrap();
        }
    });
}

/// How a test replaces the served folder.
async fn root_replaced(shard: Shard, options: FilesOptions, wait_ms: u64) {
    let site = Site::new(&shard, options);
    site.write("a", "old");
    site.warm("/a").await;
    fs::rename(site.path(""), site.outside("away")).unwrap();
    sleep(Duration::from_millis(wait_ms)).await;
    assert_eq!(site.get("/a").await.status, 404);
    assert_eq!(site.get("/").await.status, 404);
    fs::create_dir(site.outside("www")).unwrap();
    sleep(Duration::from_millis(wait_ms)).await;
    assert_eq!(site.get("/a").await.status, 404);
    site.write("a", "new");
    assert_eq!(site.get("/a").await.brief(), (200, "new"));
    fs::remove_dir_all(site.outside("www")).unwrap();
    fs::rename(site.outside("away"), site.outside("www")).unwrap();
    sleep(Duration::from_millis(wait_ms)).await;
    assert_eq!(site.get("/a").await.brief(), (200, "old"));
    // A release behind a link that is switched.
    fs::rename(site.outside("www"), site.outside("one")).unwrap();
    fs::create_dir(site.outside("two")).unwrap();
    fs::write(site.outside("two/a"), "two").unwrap();
    symlink("one", site.outside("www")).unwrap();
    sleep(Duration::from_millis(wait_ms)).await;
    assert_eq!(site.get("/a").await.brief(), (200, "old"));
    symlink("two", site.outside("next")).unwrap();
    fs::rename(site.outside("next"), site.outside("www")).unwrap();
    sleep(Duration::from_millis(wait_ms)).await;
    assert_eq!(site.get("/a").await.brief(), (200, "two"));
}

#[test]
fn the_root_is_replaced() {
    on_shard(|shard| root_replaced(shard, always_look(), 0));
}

#[test]
fn the_root_is_replaced_and_noticed_in_time() {
    let options = FilesOptions {
        revalidate_ms: 30,
        ..FilesOptions::default()
    };
    on_shard(move |shard| root_replaced(shard, options.clone(), 30));
}
