//! Listeners of `net` on real sockets.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use headwater::keepalive::{self, Policy, Preset, Probes};
use headwater::net::activation;
use headwater::net::address::ListenAddr;
use headwater::net::error::ListenErrorKind;
use headwater::net::listener::ListenerGroup;
use headwater::net::options::ListenOptions;
use headwater::sys::{cpu, probe, socket, transfer};
use socket2::SockRef;

fn bind(address: &str, shards: usize, options: &ListenOptions) -> ListenerGroup {
    ListenerGroup::bind(&address.parse().unwrap(), shards, options).unwrap()
}

/// Binds an address that was just given up. A process that another test is starting holds
/// copies of all descriptors until it runs its program.
fn bind_soon(address: &str, shards: usize) -> ListenerGroup {
    let address: ListenAddr = address.parse().unwrap();
    let start = std::time::Instant::now();
    loop {
        match ListenerGroup::bind(&address, shards, &ListenOptions::default()) {
            Ok(group) => return group,
            Err(error) => assert!(start.elapsed().as_secs() < 10, "{error}"),
        }
        std::thread::yield_now();
    }
}

fn refusal(address: &str) -> (ListenErrorKind, String) {
    let address: ListenAddr = address.parse().unwrap();
    let error = ListenerGroup::bind(&address, 1, &ListenOptions::default()).unwrap_err();
    (error.kind().clone(), error.to_string())
}

fn ip(group: &ListenerGroup) -> SocketAddr {
    match group.local_addr() {
        ListenAddr::Tcp(ip) => *ip,
        other => panic!("{other} is no IP address"),
    }
}

fn take(group: &mut ListenerGroup, shards: usize) -> Vec<OwnedFd> {
    (0..shards).map(|i| group.take(i).unwrap().fd).collect()
}

fn tcp(fd: OwnedFd) -> TcpListener {
    TcpListener::from(fd)
}

fn closes_on_exec(fd: &OwnedFd) -> bool {
    use nix::fcntl::{F_GETFD, FdFlag, fcntl};
    FdFlag::from_bits_retain(fcntl(fd, F_GETFD).unwrap()).contains(FdFlag::FD_CLOEXEC)
}

/// Accepts all that waits on each listener; returns the counts.
fn accept_waiting(listeners: &[TcpListener]) -> Vec<usize> {
    let accept = |listener: &TcpListener| {
        listener.set_nonblocking(true).unwrap();
        std::iter::from_fn(|| listener.accept().ok()).count()
    };
    listeners.iter().map(accept).collect()
}

/// Connects this many clients, and checks that each listener gets some and all are accepted.
#[track_caller]
fn assert_every_listener_accepts(listeners: &[TcpListener], address: SocketAddr, clients: usize) {
    let clients: Vec<_> = (0..clients)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    let counts = accept_waiting(listeners);
    assert_eq!(counts.iter().sum::<usize>(), clients.len());
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}

// ---- TCP ----------------------------------------------------------------------

#[test]
fn shards_share_a_port_that_the_kernel_chose() {
    let mut group = bind("127.0.0.1:0", 4, &ListenOptions::default());
    let address = ip(&group);
    assert_ne!(address.port(), 0);
    let listeners: Vec<_> = take(&mut group, 4).into_iter().map(tcp).collect();
    for listener in &listeners {
        assert_eq!(listener.local_addr().unwrap(), address);
    }
    assert_every_listener_accepts(&listeners, address, 200);
}

#[test]
fn a_listener_is_handed_out_once() {
    let mut group = bind("127.0.0.1:0", 2, &ListenOptions::default());
    assert!(group.take(1).is_some());
    assert!(group.take(1).is_none());
    assert!(group.take(2).is_none());
    assert!(group.take(0).is_some());
}

#[test]
fn sockets_block_and_close_on_exec() {
    let mut group = bind("127.0.0.1:0", 1, &ListenOptions::default());
    let fd = take(&mut group, 1).remove(0);
    assert!(!SockRef::from(&fd).nonblocking().unwrap());
    assert!(closes_on_exec(&fd));
}

/// The keepalive options of a connection accepted on a listener with `policy`.
fn accepted_under(address: &str, policy: Policy) -> keepalive::options::Actual {
    let options = ListenOptions {
        keepalive: Some(policy),
        ..ListenOptions::default()
    };
    let mut group = bind(address, 1, &options);
    let _client = TcpStream::connect(ip(&group)).unwrap();
    let listener = tcp(take(&mut group, 1).remove(0));
    let (server, _) = listener.accept().unwrap();
    keepalive::options::get(server.as_fd()).unwrap()
}

#[test]
fn accepted_connections_inherit_every_keepalive_policy() {
    let least = Policy {
        probes: Some(Probes {
            idle_s: 1,
            interval_s: 1,
            count: 1,
        }),
        user_timeout_ms: 1,
        http_idle_ms: 1,
    };
    let most = Policy {
        probes: Some(Probes {
            idle_s: 32_767,
            interval_s: 32_767,
            count: 127,
        }),
        user_timeout_ms: 86_400_000,
        http_idle_ms: 1,
    };
    let presets = Preset::ALL.map(Preset::policy);
    for policy in presets.into_iter().chain([least, most]) {
        for address in ["127.0.0.1:0", ":0"] {
            let actual = accepted_under(address, policy);
            assert!(actual.is_of(&policy), "{address}: {policy:?}: {actual:?}");
        }
    }
    let off = accepted_under("127.0.0.1:0", Preset::Off.policy());
    assert!(!off.keepalive);
}

#[test]
fn keepalive_values_that_the_kernel_refuses_are_refused_with_their_range() {
    for (idle_s, interval_s, count, words) in [
        (0, 1, 1, "idle time in seconds of 0"),
        (32_768, 1, 1, "choose from 1 to 32767"),
        (1, 32_768, 1, "interval in seconds of 32768"),
        (1, 1, 0, "number of probes of 0"),
        (1, 1, 128, "choose from 1 to 127"),
    ] {
        let options = ListenOptions {
            keepalive: Some(Policy {
                probes: Some(Probes {
                    idle_s,
                    interval_s,
                    count,
                }),
                ..Policy::default()
            }),
            ..ListenOptions::default()
        };
        let error = ListenerGroup::bind(&"127.0.0.1:0".parse().unwrap(), 1, &options);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        // The kernel agrees.
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let set = headwater::sys::keepalive::set_times(socket.as_fd(), idle_s, interval_s, count);
        assert_eq!(
            set.unwrap_err().raw_os_error(),
            Some(libc::EINVAL),
            "{words}"
        );
    }
}

#[test]
fn accepted_connections_inherit_the_options() {
    let options = ListenOptions {
        congestion: Some("reno".to_owned()),
        send_buffer_bytes: Some(65_536),
        unsent_low_water_bytes: Some(16_384),
        ..ListenOptions::default()
    };
    let mut group = bind("127.0.0.1:0", 1, &options);
    let _client = TcpStream::connect(ip(&group)).unwrap();
    let listener = tcp(take(&mut group, 1).remove(0));
    let (server, _) = listener.accept().unwrap();
    assert_eq!(socket::congestion(server.as_fd()).unwrap(), "reno");
    assert!(server.nodelay().unwrap());
    let server = SockRef::from(&server);
    assert_eq!(server.send_buffer_size().unwrap(), 131_072);
    assert_eq!(server.tcp_notsent_lowat().unwrap(), 16_384);
}

#[test]
fn deferred_accept_waits_for_data() {
    let options = ListenOptions {
        defer_accept_s: Some(30),
        ..ListenOptions::default()
    };
    let mut group = bind("127.0.0.1:0", 1, &options);
    let mut client = TcpStream::connect(ip(&group)).unwrap();
    let listener = tcp(take(&mut group, 1).remove(0));
    listener.set_nonblocking(true).unwrap();
    let early = listener.accept().unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock);
    client.write_all(b"GET").unwrap();
    listener.set_nonblocking(false).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut got = [0; 3];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"GET");
}

#[test]
fn connections_are_steered_to_the_shard_of_their_cpu() {
    let cpus = cpu::allowed().unwrap();
    // In reverse, so that the order matters even where CPU i would be shard i.
    let reversed: Vec<usize> = cpus.iter().rev().copied().collect();
    let shards = reversed.len();
    let options = ListenOptions {
        steer_by_cpu: Some(reversed.clone()),
        ..ListenOptions::default()
    };
    let mut group = bind("127.0.0.1:0", shards, &options);
    let address = ip(&group);
    let listeners: Vec<_> = take(&mut group, shards).into_iter().map(tcp).collect();
    for (shard, &cpu) in reversed.iter().enumerate() {
        // On loopback the sender's CPU also receives.
        let clients = std::thread::spawn(move || {
            cpu::pin_current_thread(&[cpu]).unwrap();
            let connect = |_| TcpStream::connect(address).unwrap();
            (0..20).map(connect).collect::<Vec<_>>()
        });
        let clients = clients.join().unwrap();
        let mut expected = vec![0; shards];
        expected[shard] = clients.len();
        assert_eq!(accept_waiting(&listeners), expected, "CPU {cpu}");
    }
}

#[test]
fn cpus_without_a_shard_are_spread_by_the_hash() {
    let here = cpu::allowed().unwrap()[0];
    let options = ListenOptions {
        steer_by_cpu: Some(vec![here + 1000, here + 1001]),
        ..ListenOptions::default()
    };
    let mut group = bind("127.0.0.1:0", 2, &options);
    let address = ip(&group);
    let listeners: Vec<_> = take(&mut group, 2).into_iter().map(tcp).collect();
    assert_every_listener_accepts(&listeners, address, 100);
}

#[test]
fn every_interface_takes_ipv4_and_ipv6() {
    let mut group = bind(":0", 1, &ListenOptions::default());
    let port = ip(&group).port();
    let listener = tcp(take(&mut group, 1).remove(0));
    let mut loopbacks = vec![format!("127.0.0.1:{port}")];
    if ip(&group).is_ipv6() {
        loopbacks.push(format!("[::1]:{port}"));
    }
    for loopback in loopbacks {
        let client = TcpStream::connect(&loopback).unwrap();
        let (_, peer) = listener.accept().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
    }
}

#[test]
fn an_explicit_ipv6_wildcard_leaves_ipv4_alone() {
    if !ip(&bind(":0", 1, &ListenOptions::default())).is_ipv6() {
        return; // a host without IPv6
    }
    let v6 = bind("[::]:0", 1, &ListenOptions::default());
    let port = ip(&v6).port();
    let _v4 = bind(&format!("0.0.0.0:{port}"), 1, &ListenOptions::default());
}

#[test]
fn localhost_listens_on_loopback_only() {
    let group = bind("localhost:0", 2, &ListenOptions::default());
    assert!(ip(&group).ip().is_loopback());
}

#[test]
fn a_port_in_use_is_refused_though_it_could_be_shared() {
    let first = bind("127.0.0.1:0", 2, &ListenOptions::default());
    let address = ip(&first).to_string();
    let (kind, message) = refusal(&address);
    assert_eq!(kind, ListenErrorKind::InUse);
    let expected = format!(
        "{address} is already in use by process {} (",
        std::process::id()
    );
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.ends_with("stop it, or choose another with --listen"));
    let every = refusal(&format!(":{}", ip(&first).port()));
    assert_eq!(every.0, ListenErrorKind::InUse);

    let options = ListenOptions {
        share_port: true,
        ..ListenOptions::default()
    };
    bind(&address, 2, &options);
    drop(first);
    bind_soon(&address, 2);
}

#[test]
fn a_port_is_free_again_while_old_connections_linger() {
    let mut group = bind("127.0.0.1:0", 1, &ListenOptions::default());
    let address = ip(&group);
    let mut client = TcpStream::connect(address).unwrap();
    let (server, _) = tcp(take(&mut group, 1).remove(0)).accept().unwrap();
    drop(group);
    bind_soon(&address.to_string(), 1);
    // The server closes first, and so keeps the port in TIME_WAIT.
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop(client);
    bind_soon(&address.to_string(), 1);
}

#[test]
fn refusals_say_what_to_do() {
    // TEST-NET-1 (RFC 5737) is an address of no host.
    let (kind, message) = refusal("192.0.2.1:8080");
    assert_eq!(kind, ListenErrorKind::NoSuchAddress);
    assert!(message.contains("ip address"), "{message}");

    let options = ListenOptions {
        congestion: Some("nosuch".to_owned()),
        ..ListenOptions::default()
    };
    let address = "127.0.0.1:0".parse().unwrap();
    let error = ListenerGroup::bind(&address, 1, &options).unwrap_err();
    let kind = ListenErrorKind::Congestion("nosuch".to_owned());
    assert_eq!(error.kind(), &kind);
    let advice = "net.ipv4.tcp_available_congestion_control";
    assert!(error.to_string().contains(advice), "{error}");
}

#[test]
fn a_cut_backlog_is_told() {
    let somaxconn = probe::somaxconn().unwrap();
    let mut options = ListenOptions {
        backlog: i32::try_from(somaxconn).unwrap(),
        ..ListenOptions::default()
    };
    let whole = bind("127.0.0.1:0", 1, &options);
    assert_eq!(whole.backlog_effective(), somaxconn);
    assert_eq!(whole.backlog_warning(), None);
    options.backlog += 1;
    let cut = bind("127.0.0.1:0", 1, &options);
    assert_eq!(cut.backlog_effective(), somaxconn);
    let warning = cut.backlog_warning().unwrap();
    let advice = format!("sysctl -w net.core.somaxconn={}", somaxconn + 1);
    assert!(warning.contains(&advice), "{warning}");
}

// ---- Unix sockets -------------------------------------------------------------

fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn shards_share_a_unix_socket_and_its_file_goes_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let options = ListenOptions {
        unix_mode: Some(0o660),
        ..ListenOptions::default()
    };
    let mut group = bind(&unix(&path), 2, &options);
    let metadata = fs::metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);

    let listeners = [group.take(0).unwrap(), group.take(1).unwrap()];
    drop(group);
    for listener in &listeners {
        let _client = UnixStream::connect(&path).unwrap();
        let listener = UnixListener::from(listener.fd.try_clone().unwrap());
        listener.accept().unwrap();
    }
    let [first, second] = listeners;
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let group = bind(&unix(&path), 1, &ListenOptions::default());

    let (kind, message) = refusal(&unix(&path));
    assert_eq!(kind, ListenErrorKind::InUse);
    assert!(message.contains("x.sock is already in use"), "{message}");
    UnixStream::connect(&path).unwrap();

    // Another server's file in its place is left alone.
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    drop(group);
    assert!(path.exists());
}

#[test]
fn a_file_that_is_no_socket_is_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes.txt");
    fs::write(&path, b"dear diary").unwrap();
    let (kind, message) = refusal(&unix(&path));
    assert_eq!(kind, ListenErrorKind::NotASocket(path.clone()));
    assert!(message.contains("is not a socket"), "{message}");
    assert_eq!(fs::read(&path).unwrap(), b"dear diary");

    let (kind, message) = refusal(&unix(&dir.path().join("missing/x.sock")));
    assert_eq!(kind, ListenErrorKind::Failed);
    assert!(message.contains("No such file"), "{message}");
}

// ---- socket activation --------------------------------------------------------

/// Runs `child` in a process of its own, with `passed` as descriptor 3 and the
/// environment of the activation protocol: the test of this name is started
/// once more, and this time only calls `child`.
fn activated(test: &str, passed: impl FnOnce() -> OwnedFd, count: usize, child: impl FnOnce()) {
    if std::env::var_os("LISTEN_PID").is_some() {
        return child();
    }
    let script = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS="$2"
        exec "$0" --exact "$1" --test-threads 1"#;
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args([&format!("listeners::{test}"), &count.to_string()])
        .stdin(Stdio::from(passed()))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
fn nothing_is_inherited_without_the_environment() {
    let groups = activation::inherited(2, &ListenOptions::default()).unwrap();
    assert!(groups.is_empty());
}

#[test]
fn a_passed_tcp_socket_serves_every_shard() {
    let listener = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        listener.into()
    };
    activated(
        "a_passed_tcp_socket_serves_every_shard",
        listener,
        1,
        || {
            let options = ListenOptions {
                congestion: Some("reno".to_owned()),
                ..ListenOptions::default()
            };
            let mut groups = activation::inherited(2, &options).unwrap();
            let [group] = groups.as_mut_slice() else {
                panic!("{groups:?}");
            };
            let address = ip(group);
            for fd in take(group, 2) {
                assert!(!SockRef::from(&fd).nonblocking().unwrap());
                assert!(closes_on_exec(&fd));
                let _client = TcpStream::connect(address).unwrap();
                let (server, _) = tcp(fd).accept().unwrap();
                assert_eq!(socket::congestion(server.as_fd()).unwrap(), "reno");
            }
            // The passed descriptor is closed with its duplicates.
            let open = fs::read_dir("/proc/self/fd").unwrap();
            let targets = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
            let sockets = targets.filter(|target| target.to_string_lossy().starts_with("socket:"));
            assert_eq!(sockets.count(), 0);
            let again = activation::inherited(2, &options).unwrap();
            assert!(again.is_empty());
        },
    );
}

#[test]
fn a_passed_unix_socket_keeps_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let listener = || UnixListener::bind(&path).unwrap().into();
    activated("a_passed_unix_socket_keeps_its_file", listener, 1, || {
        let mut groups = activation::inherited(1, &ListenOptions::default()).unwrap();
        let ListenAddr::Unix(path) = groups[0].local_addr().clone() else {
            panic!("{groups:?}");
        };
        let _client = UnixStream::connect(&path).unwrap();
        let listener = UnixListener::from(take(&mut groups[0], 1).remove(0));
        listener.accept().unwrap();
        drop((listener, groups));
        // The service manager made it, and connects the next process to it.
        assert!(path.exists());
    });
}

#[test]
fn a_passed_descriptor_must_listen() {
    let reader = || transfer::pipe().unwrap().0;
    activated("a_passed_descriptor_must_listen", reader, 1, || {
        let error = activation::inherited(1, &ListenOptions::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("descriptor 3"), "{message}");
        assert!(message.contains("not a listening stream"), "{message}");
    });
}

#[test]
fn promised_descriptors_must_be_open() {
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap().into();
    activated("promised_descriptors_must_be_open", listener, 1000, || {
        let error = activation::inherited(1, &ListenOptions::default()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("LISTEN_FDS promises 1000"), "{message}");
    });
}
