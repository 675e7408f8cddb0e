//! Files that change while they are sent.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use crate::support::{Client, Site, get};

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
    file.seek(SeekFrom::Start(LARGE - 10)).expect("its end");
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

#[test]
fn small_files_are_seen_to_change_at_once() {
    let site = site();
    let mut client = site.client();
    let path = site.root().join("small.txt");
    for round in 0..50 {
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
