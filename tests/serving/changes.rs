//! Files that change while they are sent.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Client, Site, eventually, get, two_cpus};

/// More than the socket buffers of both sides hold.
const LARGE: u64 = 48 * 1024 * 1024;

/// A large file of one byte, over and over.
fn fill(path: &Path, byte: u8) {
    let mut file = File::create(path).expect("a file");
    let piece = vec![byte; 1024 * 1024];
    for _ in 0..LARGE / piece.len() as u64 {
        file.write_all(&piece).expect("written");
    }
}

fn site() -> Site {
    let site = Site::with(&[("small.txt", b"small\n")], |config| {
        config.cache.revalidate_ms = 0;
    });
    fill(&site.root().join("large.bin"), b'a');
    site
}

/// A client in the middle of a download.
fn downloading(site: &Site) -> Client {
    let mut client = site.client();
    client.send(get("/large.bin"));
    let head = client.reply_head();
    assert_eq!(head.field("content-length"), LARGE.to_string());
    assert!(client.take(1000).iter().all(|&byte| byte == b'a'));
    client
}

/// The answer can't be completed, and only the connection's end can say so.
#[track_caller]
fn ends_short(site: &Site, mut client: Client) {
    let rest = client.rest();
    assert!(rest.len() as u64 + 1000 < LARGE, "{}", rest.len());
    assert!(rest.iter().all(|&byte| byte == b'a'), "a mixture was sent");
    assert_eq!(site.client().get("/small.txt").status, 200);
}

#[test]
fn a_file_that_shrinks_ends_the_connection_short() {
    let site = site();
    let client = downloading(&site);
    let file = OpenOptions::new()
        .write(true)
        .open(site.root().join("large.bin"));
    // Beyond what is on its way: `sendfile` sends the page cache's own pages, not copies.
    let left = LARGE - 1_000_000;
    file.and_then(|f| f.set_len(left)).expect("shrunk");
    ends_short(&site, client);
    let reply = site.client().get("/large.bin");
    assert_eq!(reply.body.len() as u64, left);
}

#[test]
fn a_file_that_is_edited_ends_the_connection_short() {
    let site = site();
    let client = downloading(&site);
    let file = OpenOptions::new()
        .write(true)
        .open(site.root().join("large.bin"));
    let mut file = file.expect("the file");
    // Where no sample is taken.
    let place = SeekFrom::Start(LARGE - 1_000_000);
    file.seek(place).expect("near its end");
    file.write_all(b"b").expect("edited");
    ends_short(&site, client);
    assert!(site.client().get("/large.bin").body.contains(&b'b'));
}

#[test]
fn a_file_that_is_replaced_is_sent_whole_and_then_anew() {
    let site = site();
    let mut client = downloading(&site);
    let next = site.outside().join("next");
    fill(&next, b'b');
    fs::rename(next, site.root().join("large.bin")).expect("replaced");
    // Another client gets the new file, while the old one is still being sent.
    let mut other = site.client();
    other.send(get("/large.bin"));
    other.reply_head();
    assert!(other.take(1000).iter().all(|&byte| byte == b'b'));
    let rest = client.take(LARGE as usize - 1000);
    assert!(rest.iter().all(|&byte| byte == b'a'), "a mixture was sent");
    assert!(
        client
            .get("/large.bin")
            .body
            .iter()
            .all(|&byte| byte == b'b')
    );
}

#[test]
fn a_file_that_is_removed_or_given_another_mode_is_sent_whole() {
    let site = site();
    let path = site.root().join("large.bin");
    let mut client = downloading(&site);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");
    fs::hard_link(&path, site.root().join("link.bin")).expect("a link");
    fs::remove_file(&path).expect("removed");
    assert_eq!(
        client.take(LARGE as usize - 1000).len() as u64,
        LARGE - 1000
    );
    assert_eq!(client.get("/large.bin").status, 404);
}

/// What a response to one of these requests promises, as (offset, length) of the file.
const REQUESTS: [(&str, &[(u64, u64)]); 3] = [
    ("", &[(0, LARGE)]),
    ("range: bytes=1000-41943039\r\n", &[(1000, 41_942_040)]),
    (
        "range: bytes=0-19999999,20000001-45000000\r\n",
        &[(0, 20_000_000), (20_000_001, 24_999_999 + 1)],
    ),
];

/// Begins each kind of download, has `change` change the file meanwhile, and gives what came.
fn change_while_sent(path: &str, change: impl Fn(&Path)) -> Vec<(u64, Vec<u8>)> {
    let mut received = Vec::new();
    for (fields, _) in REQUESTS {
        let site = site();
        symlink("large.bin", site.root().join("link.bin")).expect("a link");
        let mut client = site.client();
        client.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n"
        ));
        let head = client.reply_head();
        let promised = head.field("content-length").parse().expect("a length");
        change(&site.root().join("large.bin"));
        received.push((promised, client.rest()));
    }
    received
}

#[track_caller]
fn assert_whole(received: Vec<(u64, Vec<u8>)>) {
    for ((promised, body), (fields, parts)) in received.iter().zip(REQUESTS) {
        assert_eq!(body.len() as u64, *promised, "{fields}");
        let of_file: u64 = parts.iter().map(|part| part.1).sum();
        let sent = body.iter().filter(|&&byte| byte == b'a').count() as u64;
        assert!(sent >= of_file, "{fields}: {sent} of {of_file}");
    }
}

#[track_caller]
fn assert_cut(received: Vec<(u64, Vec<u8>)>) {
    for ((promised, body), (fields, _)) in received.iter().zip(REQUESTS) {
        assert!((body.len() as u64) < *promised, "{fields}: sent whole");
    }
}

#[test]
fn a_file_that_grows_is_sent_as_promised() {
    for path in ["/large.bin", "/link.bin"] {
        assert_whole(change_while_sent(path, |file| {
            let mut file = OpenOptions::new().append(true).open(file).expect("a file");
            for _ in 0..20 {
                file.write_all(b"another line of a log\n").expect("written");
                std::thread::sleep(Duration::from_millis(2));
            }
        }));
    }
}

/// A larger file looks as if it had been appended to. What was sent of it, and the last bytes that
/// were promised, tell that it was not.
#[test]
fn a_file_that_is_rewritten_in_place_and_grows_ends_the_connection_short() {
    for path in ["/large.bin", "/link.bin"] {
        for half in [0..LARGE / 2, LARGE / 2..LARGE] {
            assert_cut(change_while_sent(path, |file| {
                let file = OpenOptions::new().write(true).open(file).expect("a file");
                // First, so that every later look finds it larger.
                file.write_all_at(b"more", LARGE).expect("written");
                let piece = vec![b'b'; 1024 * 1024];
                for at in half.clone().step_by(piece.len()) {
                    file.write_all_at(&piece, at).expect("written");
                }
            }));
        }
    }
}

/// The folder of its other name is not watched, and setting a mode looks like a touch.
#[test]
fn a_file_that_is_linked_and_rewritten_by_that_name_ends_the_connection_short() {
    assert_cut(change_while_sent("/large.bin", |file| {
        let other = file.with_file_name("linked");
        fs::create_dir(&other).expect("a folder");
        let other = other.join("other.bin");
        fs::hard_link(file, &other).expect("a link");
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("a mode");
        let file = OpenOptions::new().write(true).open(&other).expect("a file");
        file.write_all_at(b"b", LARGE / 2).expect("written");
    }));
}

/// As touch(1) does it. The kernel reports the time of modification alone as a write.
fn touch(file: &Path) {
    let now = SystemTime::now();
    let times = FileTimes::new().set_accessed(now).set_modified(now);
    let file = File::open(file).expect("a file");
    file.set_times(times).expect("touched");
}

#[test]
fn a_file_that_is_touched_is_sent_whole() {
    assert_whole(change_while_sent("/large.bin", touch));
}

/// Where the folder is not watched, here since a link leads to the file, a touch can't be told
/// from a rewrite.
#[test]
fn an_unwatched_file_that_is_touched_ends_the_connection_short() {
    assert_cut(change_while_sent("/link.bin", touch));
}

#[test]
fn a_file_that_is_rewritten_in_place_ends_the_connection_short() {
    for path in ["/large.bin", "/link.bin"] {
        assert_cut(change_while_sent(path, |file| {
            let file = OpenOptions::new().write(true).open(file).expect("a file");
            file.write_all_at(b"b", LARGE - 10).expect("written");
        }));
    }
}

#[test]
fn a_file_that_is_cut_behind_what_was_promised_is_sent_as_promised() {
    let received = change_while_sent("/large.bin", |file| {
        let file = OpenOptions::new().write(true).open(file).expect("a file");
        file.set_len(LARGE - 100).expect("cut");
    });
    let is_whole: Vec<bool> = received
        .iter()
        .map(|(promised, body)| body.len() as u64 == *promised)
        .collect();
    assert_eq!(is_whole, [false, true, true]);
}

/// A write through a mapping changes the time and is not reported at all, while a touch is.
#[test]
fn a_file_that_is_written_through_a_mapping_ends_the_connection_short() {
    assert_cut(change_while_sent("/large.bin", |file| {
        let file = OpenOptions::new().read(true).write(true).open(file);
        mapped::write_last(&file.expect("a file"), LARGE as usize, b'b');
    }));
}

/// What is written to a file that has another name by now is reported by that name. A mode that
/// was set looks like a touch.
#[test]
fn a_file_that_is_renamed_and_rewritten_ends_the_connection_short() {
    assert_cut(change_while_sent("/large.bin", |file| {
        let other = file.with_file_name("other.bin");
        fs::set_permissions(file, fs::Permissions::from_mode(0o640)).expect("a mode");
        fs::rename(file, &other).expect("renamed");
        let file = OpenOptions::new().write(true).open(&other).expect("a file");
        file.write_all_at(b"b", LARGE / 2).expect("written");
    }));
}

/// One byte through a shared mapping.
mod mapped {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    pub(super) fn write_last(file: &File, len: usize, byte: u8) {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file that has `len` bytes, at an address of the kernel's
        // choice; the one write lies within it, and it is unmapped before the call ends.
        unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                len,
                access,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            );
            assert_ne!(map, libc::MAP_FAILED, "mmap");
            map.cast::<u8>().add(len - 1).write(byte);
            assert_eq!(libc::msync(map, len, libc::MS_SYNC), 0);
            libc::munmap(map, len);
        }
    }
}

/// A server on two shards that looks at cached files once an hour only.
fn watched_site() -> Site {
    Site::on(two_cpus(), &[("sub/small.txt", b"first\n")], |config| {
        config.cache.revalidate_ms = 3_600_000;
    })
}

/// Enough connections to a site that every shard has some.
fn clients(site: &Site) -> Vec<Client> {
    (0..16).map(|_| site.client()).collect()
}

/// Whether all of these clients get this answer.
fn all_get(clients: &mut [Client], path: &str, status: u16, text: &str) -> bool {
    clients.iter_mut().all(|client| {
        let reply = client.get(path);
        reply.status == status && (status != 200 || reply.text() == text)
    })
}

#[test]
fn a_cached_file_is_seen_to_change_by_every_shard() {
    let site = watched_site();
    let mut clients = clients(&site);
    let path = site.root().join("sub/small.txt");
    let staged = site.outside().join("staged");
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>, u16, &'a str);
    let changes: [Change<'_>; 5] = [
        (
            "append",
            Box::new(|| {
                let file = OpenOptions::new().append(true).open(&path);
                file.and_then(|mut file| file.write_all(b"second\n"))
                    .expect("appended");
            }),
            200,
            "first\nsecond\n",
        ),
        (
            "rename over",
            Box::new(|| {
                fs::write(&staged, "third\n").expect("a file");
                fs::rename(&staged, &path).expect("replaced");
            }),
            200,
            "third\n",
        ),
        (
            "write",
            Box::new(|| fs::write(&path, "4th\n").expect("a file")),
            200,
            "4th\n",
        ),
        (
            "remove",
            Box::new(|| fs::remove_file(&path).expect("removed")),
            404,
            "",
        ),
        (
            "create",
            Box::new(|| fs::write(&path, "6th\n").expect("a file")),
            200,
            "6th\n",
        ),
    ];
    assert!(all_get(&mut clients, "/sub/small.txt", 200, "first\n"));
    for (what, change, status, text) in changes {
        // Cached by both shards, and old enough that another change shows in the times.
        std::thread::sleep(Duration::from_millis(30));
        for client in &mut clients {
            client.get("/sub/small.txt");
        }
        change();
        eventually(what, || {
            all_get(&mut clients, "/sub/small.txt", status, text)
        });
    }
}

#[test]
fn a_folder_that_is_renamed_takes_its_cached_files_along() {
    let site = watched_site();
    let mut clients = clients(&site);
    std::thread::sleep(Duration::from_millis(30));
    assert!(all_get(&mut clients, "/sub/small.txt", 200, "first\n"));
    fs::rename(site.root().join("sub"), site.root().join("other")).expect("renamed");
    eventually("the old path is gone", || {
        all_get(&mut clients, "/sub/small.txt", 404, "")
    });
    assert!(all_get(&mut clients, "/other/small.txt", 200, "first\n"));
}

/// The rename is reported by the folder above it, which is watched for another file.
#[test]
fn a_folder_further_up_that_is_renamed_takes_its_cached_files_along() {
    let files: [(&str, &[u8]); 2] = [("top.txt", b"top\n"), ("sub/a/b/small.txt", b"first\n")];
    let site = Site::on(two_cpus(), &files, |config| {
        config.cache.revalidate_ms = 3_600_000;
    });
    let mut clients = clients(&site);
    std::thread::sleep(Duration::from_millis(30));
    assert!(all_get(&mut clients, "/top.txt", 200, "top\n"));
    assert!(all_get(&mut clients, "/sub/a/b/small.txt", 200, "first\n"));
    fs::rename(site.root().join("sub"), site.root().join("other")).expect("renamed");
    eventually("the old path is gone", || {
        all_get(&mut clients, "/sub/a/b/small.txt", 404, "")
    });
    assert!(all_get(
        &mut clients,
        "/other/a/b/small.txt",
        200,
        "first\n"
    ));
}

#[test]
fn a_coded_form_that_appears_or_goes_is_seen() {
    let site = Site::with(&[("app.js", &b"let a = 1; ".repeat(100))], |config| {
        config.cache.revalidate_ms = 3_600_000;
        config.compression.enabled = false;
    });
    let mut client = site.client();
    let mut coding = move || {
        let request = "GET /app.js HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\n\r\n";
        client.ask(request).field("content-encoding").to_owned()
    };
    std::thread::sleep(Duration::from_millis(30));
    assert_eq!((coding(), coding()), (String::new(), String::new()));
    let sibling = site.root().join("app.js.gz");
    fs::write(&sibling, "not really gzip").expect("a file");
    eventually("the coded form is sent", || coding() == "gzip");
    fs::remove_file(&sibling).expect("removed");
    eventually("it is sent no more", || coding().is_empty());
}

/// Descriptors of this process that keep a removed file of the site.
fn kept_open(site: &Site) -> usize {
    let root = site.root();
    let links = fs::read_dir("/proc/self/fd").expect("descriptors");
    links
        .filter_map(|link| fs::read_link(link.ok()?.path()).ok())
        .filter(|to| {
            to.starts_with(&root) && to.as_os_str().as_encoded_bytes().ends_with(b" (deleted)")
        })
        .count()
}

#[test]
fn a_removed_file_is_let_go_of_without_a_request() {
    let site = watched_site();
    let path = site.root().join("sub/large.bin");
    for round in ["removed", "replaced", "removed with its folder"] {
        fs::create_dir_all(site.root().join("sub")).expect("a folder");
        fs::write(&path, vec![b'a'; 1 << 20]).expect("a file");
        std::thread::sleep(Duration::from_millis(30));
        for client in &mut clients(&site) {
            assert_eq!(client.get("/sub/large.bin").body.len(), 1 << 20);
        }
        match round {
            "removed" => fs::remove_file(&path).expect("removed"),
            "replaced" => {
                let staged = site.outside().join("staged");
                fs::write(&staged, "short").expect("a file");
                fs::rename(staged, &path).expect("replaced");
            }
            _ => fs::remove_dir_all(site.root().join("sub")).expect("removed"),
        }
        eventually(round, || kept_open(&site) == 0);
    }
}

#[test]
fn a_removed_file_is_let_go_of_where_nothing_is_watched() {
    let site = Site::with(&[("real/large.bin", &[b'a'; 1 << 20])], |config| {
        config.cache.revalidate_ms = 200;
    });
    symlink("real", site.root().join("link")).expect("a link");
    let mut client = site.client();
    assert_eq!(client.get("/link/large.bin").body.len(), 1 << 20);
    fs::remove_file(site.root().join("real/large.bin")).expect("removed");
    assert!(kept_open(&site) <= 1);
    eventually("it is let go of", || kept_open(&site) == 0);
}

/// Whether or not the kernel's queue of events overflows.
#[test]
fn a_change_after_very_many_others_is_seen() {
    let site = watched_site();
    let mut clients = clients(&site);
    let path = site.root().join("sub/small.txt");
    for round in 0..3 {
        std::thread::sleep(Duration::from_millis(30));
        for client in &mut clients {
            client.get("/sub/small.txt");
        }
        let busy = site.root().join("sub/busy");
        for number in 0..30_000 {
            let staged = busy.with_extension((number % 2).to_string());
            File::create(&staged).expect("a file");
            fs::remove_file(&staged).expect("removed");
        }
        let text = format!("round {round}\n");
        fs::write(&path, &text).expect("a file");
        eventually("the change", || {
            all_get(&mut clients, "/sub/small.txt", 200, &text)
        });
    }
}

#[test]
fn small_files_are_seen_to_change_at_once() {
    let site = site();
    let mut client = site.client();
    let path = site.root().join("small.txt");
    for round in 0..20 {
        // Cached by now, since another change would show in its times.
        std::thread::sleep(Duration::from_millis(30));
        client.get("/small.txt");
        let text = format!("round {round}");
        let staged = site.outside().join("staged");
        fs::write(&staged, &text).expect("a file");
        fs::rename(&staged, &path).expect("replaced");
        let reply = client.get("/small.txt");
        assert_eq!((reply.status, reply.text()), (200, &*text));
    }
    fs::remove_file(&path).expect("removed");
    assert_eq!(client.get("/small.txt").status, 404);
}

/// File systems stamp changes by a finer clock than the kernel's tick once somebody
/// has looked (multigrain timestamps, Linux 6.13). By the tick a fresh file would lie
/// in the future, and its Last-Modified would be cut.
#[test]
fn the_clock_is_never_behind_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut file = File::create(dir.path().join("a")).expect("a file");
    for _ in 0..2000 {
        file.write_all(b"x").expect("written");
        let modified = file.metadata().and_then(|m| m.modified()).expect("a time");
        let modified = modified.duration_since(UNIX_EPOCH).expect("after 1970");
        let (seconds, nanoseconds) = headwater::sys::time::realtime();
        assert!(Duration::new(seconds, nanoseconds) >= modified);
    }
}
