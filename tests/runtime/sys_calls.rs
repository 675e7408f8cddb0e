//! Each wrapper of `sys` on the running kernel.

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::time::{Duration, Instant};

use headwater::sys::dir::{Entry, EntryKind, read_dir, stat_entry};
use headwater::sys::eventfd::EventFd;
use headwater::sys::file::{self, Kind};
use headwater::sys::open::{Root, open_how_read, openat2};
use headwater::sys::signal::{self, Signal};
use headwater::sys::{cpu, probe, rlimit, socket, time, transfer};
use nix::sys::stat::Mode;

const EXDEV: Option<i32> = Some(nix::errno::Errno::EXDEV as i32);
const ELOOP: Option<i32> = Some(nix::errno::Errno::ELOOP as i32);

/// `outside.txt` beside a root with a file, a folder, a FIFO and links of every sort.
fn tree() -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("folder")).unwrap();
    fs::write(dir.path().join("outside.txt"), b"secret of 19 bytes!").unwrap();
    fs::write(root.join("file.txt"), b"hello").unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
    symlink("file.txt", root.join("inside")).unwrap();
    symlink("../file.txt", root.join("folder/up")).unwrap();
    symlink("../outside.txt", root.join("climbs")).unwrap();
    symlink(dir.path().join("outside.txt"), root.join("absolute")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink(root.join("file.txt"), root.join("within")).unwrap();
    let root = Root::open(&root).unwrap();
    (dir, root)
}

fn contents(fd: OwnedFd) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs::File::from(fd).read_to_end(&mut bytes).unwrap();
    bytes
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn file_of(len: usize) -> (fs::File, Vec<u8>) {
    let bytes: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.rewind().unwrap();
    (file, bytes)
}

// ---- open -------------------------------------------------------------------

#[test]
fn paths_beneath_the_root_open() {
    let (_dir, root) = tree();
    for path in [
        c"file.txt",
        c"inside",
        c"within",
        c"folder/up",
        c"folder/../file.txt",
    ] {
        let fd = root.open_read(path, false).unwrap();
        assert_eq!(contents(fd), b"hello", "{path:?}");
    }
    assert!(root.open_dir(c"folder", false).is_ok());
    let not_a_folder = root.open_dir(c"file.txt", false).unwrap_err();
    assert_eq!(not_a_folder.kind(), ErrorKind::NotADirectory);
}

#[test]
fn paths_that_leave_the_root_are_refused() {
    let (_dir, root) = tree();
    for path in [
        c"../outside.txt",
        c"folder/../../outside.txt",
        c"climbs",
        c"absolute",
        c"/etc/hostname",
    ] {
        assert_eq!(errno(root.open_read(path, false)), EXDEV, "{path:?}");
        assert_eq!(errno(root.open_path(path, false)), EXDEV, "{path:?}");
    }
    assert_eq!(errno(root.open_read(c"loop", false)), ELOOP);
}

#[test]
fn links_that_lead_out_are_followed_where_that_is_wanted() {
    let (_dir, root) = tree();
    let root = root.following_links_out(true);
    for path in [c"climbs", c"absolute"] {
        let fd = root.open_read(path, false).unwrap();
        assert_eq!(contents(fd).len(), 19, "{path:?}");
    }
    assert!(root.open_path(c"within", true).is_ok());
    assert_eq!(errno(root.open_read(c"/etc/hostname", false)), EXDEV);
    assert_eq!(errno(root.open_read(c"loop", false)), ELOOP);
}

#[test]
fn links_can_be_refused_altogether() {
    let (_dir, root) = tree();
    let how = open_how_read().no_symlinks();
    assert_eq!(errno(openat2(root.as_fd(), c"inside", &how)), ELOOP);
    assert!(openat2(root.as_fd(), c"file.txt", &how).is_ok());
}

#[test]
fn an_empty_path_is_the_root() {
    let (dir, root) = tree();
    let fd = root.open_path(c"", false).unwrap();
    let (kind, stamp) = file::stamp(fd.as_fd()).unwrap();
    assert_eq!(kind, Kind::Directory);
    let metadata = fs::metadata(dir.path().join("root")).unwrap();
    assert_eq!(stamp.ino, metadata.ino());
}

#[test]
fn a_cached_lookup_finds_what_was_just_looked_up() {
    let (_dir, root) = tree();
    root.open_path(c"file.txt", false).unwrap();
    let fd = root.open_read(c"file.txt", true).unwrap();
    assert_eq!(contents(fd), b"hello");
}

#[test]
fn a_fifo_opens_at_once_and_is_no_file() {
    let (_dir, root) = tree();
    let (opened, result) = std::sync::mpsc::channel();
    // On a thread of its own: were it to wait for a writer, it would wait for ever.
    std::thread::spawn(move || opened.send(root.open_read(c"fifo", false)));
    let fd = result.recv_timeout(Duration::from_secs(5)).unwrap();
    let (kind, _) = file::stamp(fd.unwrap().as_fd()).unwrap();
    assert_eq!(kind, Kind::Other);
}

#[test]
fn paths_of_any_bytes_open() {
    let dir = tempfile::tempdir().unwrap();
    let name: &[u8] = b"\xff\xfe odd \n";
    fs::write(dir.path().join(OsStr::from_bytes(name)), b"odd").unwrap();
    let root = Root::open(dir.path()).unwrap();
    let listing = read_dir(root.open_dir(c"", false).unwrap().as_fd(), 10).unwrap();
    assert_eq!(listing.entries[0].name, name);
    let name: &CStr = &CString::new(name).unwrap();
    assert_eq!(contents(root.open_read(name, false).unwrap()), b"odd");
}

#[test]
fn roots_that_cannot_be_say_why() {
    let (dir, _root) = tree();
    let missing = Root::open(dir.path().join("missing")).unwrap_err();
    assert!(missing.to_string().contains("missing: no such folder"));
    let file = Root::open(dir.path().join("outside.txt")).unwrap_err();
    assert!(file.to_string().contains("not a folder"));
}

// ---- file, dir --------------------------------------------------------------

#[test]
fn stamps_tell_size_times_and_change() {
    let (dir, root) = tree();
    let path = dir.path().join("root/file.txt");
    let fd = root.open_path(c"file.txt", false).unwrap();
    let (kind, before) = file::stamp(fd.as_fd()).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(kind, Kind::File);
    assert_eq!((before.size, before.ino), (5, metadata.ino()));
    assert_eq!(before.dev, metadata.dev());
    let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
    assert_eq!(before.mtime_ns, mtime_ns);

    fs::write(&path, b"hello again").unwrap();
    let (_, after) = file::stamp(fd.as_fd()).unwrap();
    assert_ne!(before, after);
    assert_eq!(after.size, 11);
}

#[test]
fn folders_list_every_name_with_its_kind() {
    let (_dir, root) = tree();
    let fd = root.open_dir(c"", false).unwrap();
    let mut listing = read_dir(fd.as_fd(), 100).unwrap();
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    let entry = |name: &str, kind| Entry {
        name: name.into(),
        kind,
    };
    let expected = [
        entry("absolute", EntryKind::Symlink),
        entry("climbs", EntryKind::Symlink),
        entry("fifo", EntryKind::Other),
        entry("file.txt", EntryKind::File),
        entry("folder", EntryKind::Directory),
        entry("inside", EntryKind::Symlink),
        entry("loop", EntryKind::Symlink),
        entry("within", EntryKind::Symlink),
    ];
    assert_eq!(listing.entries, expected);
    assert!(!listing.cut);
}

#[test]
fn large_folders_are_read_whole_or_cut() {
    let dir = tempfile::tempdir().unwrap();
    // More than one batch of entries.
    for i in 0..2000 {
        fs::write(dir.path().join(format!("a rather long name, {i}")), b"").unwrap();
    }
    let root = Root::open(dir.path()).unwrap();
    let read = |max| read_dir(root.open_dir(c"", false).unwrap().as_fd(), max).unwrap();
    let whole = read(2000);
    assert_eq!((whole.entries.len(), whole.cut), (2000, false));
    let cut = read(1999);
    assert_eq!((cut.entries.len(), cut.cut), (1999, true));
}

#[test]
fn entries_are_followed_beneath_the_root_only() {
    let (_dir, root) = tree();
    let top = root.open_dir(c"", false).unwrap();
    let stat = |name: &[u8]| stat_entry(&root, top.as_fd(), b"", name);
    assert_eq!(stat(b"file.txt").unwrap().stamp.size, 5);
    assert_eq!(stat(b"folder").unwrap().kind, Kind::Directory);
    assert_eq!(stat(b"fifo").unwrap().kind, Kind::Other);
    for name in [&b"inside"[..], b"within"] {
        let found = stat(name).unwrap();
        assert_eq!((found.kind, found.stamp.size), (Kind::File, 5));
        assert!(found.is_readable);
    }
    assert_eq!(errno(stat(b"climbs")), EXDEV);
    assert_eq!(errno(stat(b"absolute")), EXDEV);
    assert_eq!(errno(stat(b"loop")), ELOOP);

    // Climbs out of its folder, but not out of the root.
    let folder = root.open_dir(c"folder", false).unwrap();
    let found = stat_entry(&root, folder.as_fd(), b"folder", b"up").unwrap();
    assert_eq!(found.stamp.size, 5);
}

// ---- transfer ---------------------------------------------------------------

#[test]
fn sendfile_sends_from_an_offset() {
    let (mut file, bytes) = file_of(10_000);
    let (mut client, server) = connection();
    let sent = transfer::sendfile(server.as_fd(), file.as_fd(), 1000, 5000).unwrap();
    assert_eq!(sent, 5000);
    let mut got = vec![0; 5000];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes[1000..6000]);
    assert_eq!(file.stream_position().unwrap(), 0);
    let end = transfer::sendfile(server.as_fd(), file.as_fd(), 10_000, 10).unwrap();
    assert_eq!(end, 0);
    let beyond = transfer::sendfile(server.as_fd(), file.as_fd(), u64::MAX, 10);
    assert_eq!(beyond.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_full_nonblocking_socket_is_a_short_count_then_eagain() {
    let (file, _) = file_of(16 << 20);
    let (_client, server) = connection();
    transfer::set_nonblocking(server.as_fd()).unwrap();
    let mut offset = 0;
    let error = loop {
        match transfer::sendfile(server.as_fd(), file.as_fd(), offset, 16 << 20) {
            Ok(0) => panic!("the socket took everything"),
            Ok(sent) => offset += sent as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert!(offset > 0);
    let unsent = socket::unsent_bytes(server.as_fd()).unwrap();
    let unacknowledged = socket::unacknowledged_bytes(server.as_fd()).unwrap();
    assert!(unsent > 0 && unsent <= unacknowledged);
}

#[test]
fn nonblocking_is_set_and_cleared() {
    let (reader, writer) = transfer::pipe().unwrap();
    transfer::set_nonblocking(reader.as_fd()).unwrap();
    let mut reader = fs::File::from(reader);
    let error = reader.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    transfer::set_blocking(reader.as_fd()).unwrap();
    let mut writer = fs::File::from(writer);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| reader.read(&mut [0; 1]).unwrap());
        writer.write_all(b"x").unwrap();
        assert_eq!(waiting.join().unwrap(), 1);
    });
}

#[test]
fn splice_takes_a_file_through_a_pipe() {
    let (file, bytes) = file_of(8192);
    let (mut client, server) = connection();
    let (reader, writer) = transfer::pipe().unwrap();
    let more = transfer::SPLICE_MORE;
    let filled = transfer::splice(file.as_fd(), Some(100), writer.as_fd(), 4000, more).unwrap();
    assert_eq!(filled, 4000);
    let mut left = filled;
    while left > 0 {
        left -= transfer::splice(reader.as_fd(), None, server.as_fd(), left, 0).unwrap();
    }
    let mut got = vec![0; 4000];
    client.read_exact(&mut got).unwrap();
    assert_eq!(got, bytes[100..4100]);

    let nonblock = transfer::SPLICE_NONBLOCK;
    let empty = transfer::splice(reader.as_fd(), None, server.as_fd(), 1, nonblock);
    assert_eq!(empty.unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// A file on a real disk, since one in memory can't be dropped from the cache.
fn dropped_from_cache(len: usize) -> (fs::File, Vec<u8>) {
    let bytes = vec![7; len];
    let mut file = tempfile::tempfile_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync_all().unwrap();
    file.rewind().unwrap();
    transfer::fadvise_dontneed(file.as_fd(), 0, 0).unwrap();
    (file, bytes)
}

#[test]
fn cachestat_sees_pages_come_and_go() {
    let (mut file, bytes) = dropped_from_cache(64 * 1024);
    let fd = file.try_clone().unwrap();
    let cached = || transfer::cached_pages(fd.as_fd(), 0, 0).map(|stat| stat.cached);
    match cached() {
        Ok(pages) => assert_eq!(pages, 0),
        Err(error) if error.kind() == ErrorKind::Unsupported => return, // before Linux 6.5
        Err(error) => panic!("{error}"),
    }
    let mut got = Vec::new();
    file.read_to_end(&mut got).unwrap();
    assert_eq!(got, bytes);
    let stat = transfer::cached_pages(fd.as_fd(), 0, 0).unwrap();
    assert_eq!((stat.cached, stat.dirty), (16, 0));
    let part = transfer::cached_pages(fd.as_fd(), 4096, 8192).unwrap();
    assert_eq!(part.cached, 2);
    transfer::fadvise_dontneed(fd.as_fd(), 0, 0).unwrap();
    assert_eq!(cached().unwrap(), 0);
    transfer::fadvise_willneed(fd.as_fd(), 0, 0).unwrap();
    assert!(cached().unwrap() > 0);
}

#[test]
fn pread_nowait_reads_what_is_cached_and_refuses_what_is_not() {
    let (mut file, bytes) = dropped_from_cache(64 * 1024);
    let mut got = vec![0; 1000];
    let cold = transfer::pread_nowait(file.as_fd(), &mut got, 0);
    assert_eq!(cold.unwrap_err().kind(), ErrorKind::WouldBlock);
    file.read_to_end(&mut Vec::new()).unwrap();
    let warm = transfer::pread_nowait(file.as_fd(), &mut got, 64 * 1024 - 500).unwrap();
    assert_eq!(warm, 500);
    assert_eq!(got[..500], bytes[..500]);
    let end = transfer::pread_nowait(file.as_fd(), &mut got, 64 * 1024).unwrap();
    assert_eq!(end, 0);
}

#[test]
fn send_and_recv_pass_bytes_and_errors() {
    let (client, server) = connection();
    let mut buffer = [0; 16];
    let dontwait = transfer::MSG_DONTWAIT;
    let empty = transfer::recv(server.as_fd(), &mut buffer, dontwait).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
    assert_eq!(transfer::send(client.as_fd(), b"ping", 0).unwrap(), 4);
    for flags in [transfer::MSG_PEEK, 0] {
        let got = transfer::recv(server.as_fd(), &mut buffer, flags).unwrap();
        assert_eq!(buffer[..got], *b"ping");
    }
    socket::shutdown(client.as_fd(), std::net::Shutdown::Write).unwrap();
    let end = transfer::recv(server.as_fd(), &mut buffer, 0).unwrap();
    assert_eq!(end, 0);
    let broken = transfer::send(client.as_fd(), b"more", 0).unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn eventfds_count_and_drain() {
    let event = EventFd::new().unwrap();
    assert_eq!(event.drain().unwrap(), 0);
    event.write(1).unwrap();
    event.write(2).unwrap();
    assert_eq!(event.drain().unwrap(), 3);
    assert_eq!(event.drain().unwrap(), 0);

    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let mut fd = fs::File::from(event.as_fd().try_clone_to_owned().unwrap());
            let mut count = [0; 8];
            fd.read_exact(&mut count).unwrap();
            u64::from_ne_bytes(count)
        });
        event.write(9).unwrap();
        assert_eq!(waiter.join().unwrap(), 9);
    });
}

// ---- sockets ----------------------------------------------------------------

#[test]
fn socket_options_arrive_in_the_kernel() {
    let (client, server) = connection();
    let fd = server.as_fd();
    socket::set_congestion(fd, "reno").unwrap();
    assert_eq!(socket::congestion(fd).unwrap(), "reno");
    let unknown = socket::set_congestion(fd, "nosuch").unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);

    let options = socket2::SockRef::from(&server);
    socket::set_unsent_low_water(fd, 16_384).unwrap();
    assert_eq!(options.tcp_notsent_lowat().unwrap(), 16_384);
    for on in [true, false] {
        socket::set_cork(fd, on).unwrap();
        assert_eq!(options.tcp_cork().unwrap(), on);
        socket::set_nodelay(fd, on).unwrap();
        assert_eq!(options.tcp_nodelay().unwrap(), on);
    }
    socket::set_send_buffer(fd, 65_536).unwrap();
    assert_eq!(options.send_buffer_size().unwrap(), 131_072);
    let cpus = cpu::allowed().unwrap();
    assert!(socket::incoming_cpu(fd).unwrap() <= cpus[cpus.len() - 1]);

    let peer = socket::peer_address(fd).unwrap();
    assert_eq!(peer, Some(client.local_addr().unwrap()));
    let local = socket::local_address(fd).unwrap();
    assert_eq!(local, Some(server.local_addr().unwrap()));
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    assert_eq!(socket::peer_address(unix.as_fd()).unwrap(), None);
}

// ---- cpus, limits, signals, clocks ------------------------------------------

#[test]
fn threads_are_pinned_and_named() {
    let cpus = cpu::allowed().unwrap();
    let last = *cpus.last().unwrap();
    let pinned = std::thread::spawn(move || {
        cpu::pin_current_thread(&[last]).unwrap();
        assert_eq!(cpu::allowed().unwrap(), [last]);
        assert_eq!(cpu::current().unwrap(), last);
        cpu::name_current_thread("shard-with-a-long-name").unwrap();
        let name = fs::read_to_string("/proc/thread-self/comm").unwrap();
        assert_eq!(name.trim_end(), "shard-with-a-lo");
        for cpus in [&[8191][..], &[8192], &[]] {
            let error = cpu::pin_current_thread(cpus).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    });
    pinned.join().unwrap();
}

#[test]
fn open_files_are_raised_to_the_hard_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let lowered = (soft - 1).max(256);
    setrlimit(Resource::RLIMIT_NOFILE, lowered, hard).unwrap();
    assert_eq!(rlimit::raise_open_files().unwrap(), (lowered, hard));
    assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    assert_eq!(rlimit::raise_open_files().unwrap(), (hard, hard));
}

#[test]
fn blocked_signals_are_waited_for() {
    use nix::sys::signal::{Signal as Raw, raise};
    signal::block().unwrap();
    let start = Instant::now();
    let none = signal::wait_timeout(Duration::from_millis(20)).unwrap();
    assert_eq!(none, None);
    assert!(start.elapsed() >= Duration::from_millis(20));
    for (raw, expected) in [
        (Raw::SIGTERM, Signal::Terminate),
        (Raw::SIGINT, Signal::Interrupt),
        (Raw::SIGQUIT, Signal::Quit),
        (Raw::SIGHUP, Signal::Hangup),
        (Raw::SIGUSR1, Signal::User1),
    ] {
        raise(raw).unwrap();
        let got = signal::wait_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(got, Some(expected));
    }
    raise(Raw::SIGUSR2).unwrap();
    assert_eq!(signal::wait().unwrap(), Signal::User2);
    raise(Raw::SIGPIPE).unwrap();
}

#[test]
fn clocks_agree_with_the_standard_library() {
    let before = time::monotonic_ns();
    let span = Instant::now();
    while span.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    assert!(time::monotonic_ns() - before >= 2_000_000);
    assert!(time::monotonic_ms() >= before / 1_000_000 + 2);
    let (seconds, nanoseconds) = time::realtime();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now - seconds <= 1, "{seconds} {now}");
    assert!(nanoseconds < 1_000_000_000);
}

#[test]
fn the_kernel_tells_what_it_is() {
    let release = probe::kernel_release().unwrap();
    let version = probe::KernelVersion::parse(&release).unwrap();
    assert!(version.major >= 5, "{release}");
    assert!(probe::somaxconn().is_some_and(|max| max > 0));
    assert!(probe::io_uring_disabled().is_none_or(|switch| switch <= 2));
}
