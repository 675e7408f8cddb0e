//! Paths that must not be served, and folders with unusual entries.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Uid, mkfifo};

use crate::support::{Binary, Site};

#[test]
fn nothing_outside_the_root_is_served() {
    let site = Site::new(&[("a/b.txt", b"inside\n")]);
    fs::write(site.outside().join("secret"), "secret\n").expect("a secret");
    symlink("../secret", site.root().join("up")).expect("a link");
    symlink(site.outside().join("secret"), site.root().join("absolute")).expect("a link");
    symlink(site.outside(), site.root().join("folder")).expect("a link");
    symlink("a/b.txt", site.root().join("inward")).expect("a link");
    symlink("loop", site.root().join("loop")).expect("a link");
    let mut client = site.client();
    for (path, status) in [
        ("/../secret", 400),
        ("/a/../../secret", 400),
        ("/%2e%2e/secret", 400),
        ("/%2E./secret", 400),
        ("/a/%2e%2e/%2e%2e/secret", 400),
        ("//../secret", 400),
        ("/..%2fsecret", 400),
        ("/a%2f..%2f..%2fsecret", 400),
        // A backslash and an overlong dot are bytes of a name.
        ("/..%5csecret", 404),
        ("/%c0%ae%c0%ae/secret", 404),
        ("/%e0%80%ae%e0%80%ae/secret", 404),
        ("/..%c0%afsecret", 404),
        // Decoded once.
        ("/%252e%252e/secret", 404),
        ("/%00", 400),
        ("/a/b.txt%00.html", 400),
        // Any byte but NUL can stand in a name.
        ("/a/b.txt%0a", 404),
        ("/up", 403),
        ("/absolute", 403),
        ("/folder/secret", 403),
        ("/loop", 404),
        ("/a/b.txt/", 404),
        ("/a/b.txt/c", 404),
        ("/inward", 200),
        ("/a/../a/./b.txt", 200),
        ("//a//b.txt", 200),
    ] {
        let reply = client.get(path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(!reply.text().contains("secret"), "{path}");
    }
    let name = "n".repeat(256);
    assert_eq!(client.get(&format!("/{name}")).status, 404);
    let deep = "/d".repeat(3000);
    assert_eq!(client.get(&deep).status, 404);
}

#[test]
fn what_is_no_file_is_not_there() {
    let site = Site::with(&[("a.txt", b"hello\n")], |c| c.server.browse = true);
    mkfifo(&site.root().join("fifo"), Mode::S_IRUSR).expect("a FIFO");
    let _socket = UnixListener::bind(site.root().join("socket")).expect("a socket");
    fs::create_dir(site.root().join("empty")).expect("a folder");
    let mut paths = vec!["/fifo", "/socket", "/fifo/"];
    if Uid::effective().is_root() {
        let null = makedev(1, 3);
        let kind = SFlag::S_IFCHR;
        mknod(&site.root().join("null"), kind, Mode::S_IRUSR, null).expect("a device");
        paths.push("/null");
    } else {
        eprintln!("not root: no device was tried");
    }
    let mut client = site.client();
    // A FIFO that is opened would wait for a writer, and the shard with it.
    for path in paths {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    assert_eq!(client.get("/empty").status, 301);
    let listing = client.get("/");
    assert!(listing.text().contains("a.txt"), "{}", listing.text());
    for name in ["fifo", "socket", "null"] {
        assert!(!listing.text().contains(name), "{name} is listed");
    }
}

#[test]
fn a_name_need_not_be_utf8() {
    let site = Site::with(&[], |config| config.server.browse = true);
    let name = OsStr::from_bytes(b"\xff\xfe.mp4");
    fs::write(site.root().join(name), "film").expect("a file");
    fs::write(site.root().join("\u{5f39}\u{5e55}.txt"), "danmaku").expect("a file");
    fs::write(site.root().join("<b>&\".txt"), "markup").expect("a file");
    let mut client = site.client();
    let reply = client.get("/%ff%FE.mp4");
    assert_eq!((reply.status, reply.text()), (200, "film"));
    assert_eq!(reply.field("content-type"), "video/mp4");
    assert_eq!(client.get("/%E5%BC%B9%E5%B9%95.txt").text(), "danmaku");
    assert_eq!(client.get("/%3Cb%3E%26%22.txt").text(), "markup");
    let listing = client.get("/");
    assert!(listing.text().contains("%FF%FE.mp4"), "{}", listing.text());
    assert!(!listing.text().contains("<b>"), "{}", listing.text());
}

#[test]
fn names_with_a_dot_are_hidden_unless_asked_for() {
    let files: &[(&str, &[u8])] = &[(".env", b"key"), (".git/config", b"x"), ("a.txt", b"a")];
    let site = Site::new(files);
    let mut client = site.client();
    for path in ["/.env", "/.git/config", "/%2eenv", "/.git/../.env"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    let site = Site::with(files, |config| config.server.hidden = true);
    assert_eq!(site.client().get("/.env").text(), "key");
}

#[test]
fn a_root_may_vanish_and_come_back() {
    let site = Site::with(&[("a.txt", b"first\n")], |config| {
        config.cache.revalidate_ms = 0;
    });
    let mut client = site.client();
    assert_eq!(client.get("/a.txt").text(), "first\n");
    fs::remove_dir_all(site.root()).expect("gone");
    for path in ["/a.txt", "/"] {
        assert_eq!(client.get(path).status, 404, "{path}");
    }
    fs::create_dir(site.root()).expect("made again");
    fs::write(site.root().join("a.txt"), "second\n").expect("a file");
    assert_eq!(client.get("/a.txt").text(), "second\n");
    // Also when it is switched to another folder, by a rename.
    let next = site.outside().join("next");
    fs::create_dir(&next).expect("another");
    fs::write(next.join("a.txt"), "third\n").expect("a file");
    fs::rename(site.root(), site.outside().join("old")).expect("moved");
    fs::rename(&next, site.root()).expect("moved");
    assert_eq!(client.get("/a.txt").text(), "third\n");
}

#[test]
fn a_file_without_permission_is_forbidden() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("a mode");
    for (name, mode) in [("open", 0o644), ("shut", 0o600)] {
        fs::write(dir.path().join(name), name).expect("a file");
        fs::set_permissions(dir.path().join(name), Permissions::from_mode(mode)).expect("a mode");
    }
    fs::create_dir(dir.path().join("closed")).expect("a folder");
    fs::write(dir.path().join("closed/a"), "a").expect("a file");
    fs::set_permissions(dir.path().join("closed"), Permissions::from_mode(0o0)).expect("a mode");
    if !Uid::effective().is_root() {
        fs::set_permissions(dir.path().join("shut"), Permissions::from_mode(0o0)).expect("a mode");
    }
    // Root may read everything, so the server is somebody else.
    let mut server = match Uid::effective().is_root() {
        false => Binary::serve(dir.path(), &[]),
        true => {
            let program = dir.path().join("headwater");
            fs::copy(env!("CARGO_BIN_EXE_headwater"), &program).expect("the program");
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(program)
                .arg("serve")
                .arg(dir.path())
                .args(["--listen", "127.0.0.1:0", "--admin", "off"]);
            Binary::spawn(command)
        }
    };
    let mut client = server.client();
    assert_eq!(client.get("/open").text(), "open");
    assert_eq!(client.get("/shut").status, 403);
    assert_eq!(client.get("/closed/a").status, 403);
    assert_eq!(client.get("/open").status, 200);
    let shut = dir.path().join("shut");
    fs::set_permissions(shut, Permissions::from_mode(0o644)).expect("a mode");
    assert_eq!(client.get("/shut").text(), "shut");
    // So that the folder can be removed.
    let _ = fs::set_permissions(dir.path().join("closed"), Permissions::from_mode(0o755));
}
