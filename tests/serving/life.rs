//! The server's life, from the first line on standard error to the exit status.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use headwater::http::{Body, Head, Response, Status};
use headwater::runtime::DriverChoice;
use headwater::server::{Request, Server, ServerOptions, Service};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Binary, Client, PATIENCE, eventually, get, headwater, serve, two_cpus};

/// More than the socket buffers of both sides hold.
const LARGE: usize = 32 * 1024 * 1024;

fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.txt"), "hello\n").expect("a file");
    fs::write(dir.path().join("large.bin"), vec![7; LARGE]).expect("a file");
    dir
}

/// A client in the middle of a download.
fn downloading(server: &mut Binary) -> Client {
    let mut client = server.client();
    client.send(get("/large.bin"));
    client.reply_head();
    client.take(1000);
    client
}

/// Connections are no longer accepted.
fn refuses(address: SocketAddr) -> bool {
    matches!(TcpStream::connect(address), Err(e) if e.kind() == ErrorKind::ConnectionRefused)
}

#[test]
fn a_first_signal_drains() {
    let dir = folder();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let mut server = Binary::serve(dir.path(), &[]);
        let address = server.address();
        let mut idle = server.client();
        assert_eq!(idle.get("/a.txt").status, 200);
        let mut fresh = server.client();
        let mut download = downloading(&mut server);
        server.signal(signal);
        server.line("headwater: stopping");
        // Well before any time-out.
        let start = Instant::now();
        idle.expect_closed();
        eventually("connections are refused", || refuses(address));
        // Accepted before, it still gets an answer; where accepting waits for the first bytes,
        // there is nobody to take them.
        let _ = fresh.stream.write_all(get("/a.txt").as_bytes());
        let answer = fresh.rest();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 200 "));
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(!server.has_ended());
        assert_eq!(download.take(LARGE - 1000).len(), LARGE - 1000);
        download.expect_closed();
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_request_in_the_making_is_still_answered_and_its_connection_closed() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &[]);
    let mut client = server.client();
    assert_eq!(client.get("/a.txt").status, 200);
    client.send("GET /a.txt HTTP/1.1\r\n");
    // Seen by the server before the signal, since it answers what comes later on another connection.
    assert_eq!(server.client().get("/a.txt").status, 200);
    server.signal(Signal::SIGTERM);
    let address = server.address();
    eventually("connections are refused", || refuses(address));
    let reply = client.ask("host: x\r\n\r\n");
    assert_eq!((reply.status, reply.field("connection")), (200, "close"));
    client.expect_closed();
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn draining_has_an_end() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &["--drain-timeout=500ms"]);
    let mut client = downloading(&mut server);
    let start = Instant::now();
    server.signal(Signal::SIGTERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("headwater: cut 1 connection: 1 sending an answer\n"),
        "{said}"
    );
    assert!(start.elapsed() >= Duration::from_millis(450));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(client.rest().len() < LARGE - 1000);
}

#[test]
fn a_second_signal_ends_it_now() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &["--drain-timeout=1h"]);
    let mut client = downloading(&mut server);
    server.signal(Signal::SIGTERM);
    server.line("headwater: stopping");
    server.signal(Signal::SIGINT);
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ending now"), "{said}");
    assert!(client.rest().len() < LARGE - 1000);
}

#[test]
fn other_signals_are_harmless() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &[]);
    let mut client = server.client();
    for signal in [
        Signal::SIGPIPE,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
    ] {
        server.signal(signal);
        assert_eq!(client.get("/a.txt").status, 200, "{signal}");
    }
    server.line("headwater: SIGHUP");
    assert!(!server.has_ended());
}

#[test]
fn the_first_lines_tell_what_is_served_where_and_within_which_limits() {
    let dir = folder();
    let mut command = headwater();
    command
        .current_dir(dir.path())
        .args([
            "serve",
            ".",
            "--cores=0",
            "--listen=127.0.0.1:0",
            "--listen=[::1]:0",
        ])
        .args([
            "--admin=127.0.0.1:0",
            "--max-connections=77",
            "--idle-timeout=9s",
            "--access-log=log",
            "--access-log-format=json",
        ]);
    command.stdout(Stdio::piped());
    let mut server = Binary::spawn(command);
    let root = fs::canonicalize(dir.path()).expect("the folder");
    assert!(
        server
            .line("headwater ")
            .ends_with(&format!("serves {}", root.display()))
    );
    let addresses = server.line("listening");
    let addresses: Vec<SocketAddr> = addresses
        .split(", ")
        .map(|a| a.parse().expect("one"))
        .collect();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_eq!(Client::connect(address).get("/a.txt").status, 200);
    }
    let driver = std::env::var(DriverChoice::VARIABLE).unwrap_or("io_uring".to_owned());
    let cores = format!("1 (CPU 0), one {driver} each, Linux ");
    assert!(server.line("cores").starts_with(&cores));
    let limits = server.line("limits");
    assert!(limits.contains("77 connections"), "{limits}");
    assert!(limits.contains("descriptors"), "{limits}");
    assert!(limits.contains("9 s"), "{limits}");
    let log = format!("{} (json)", root.join("log").display());
    assert_eq!(server.line("access log"), log);
}

#[test]
fn settings_come_from_the_environment_too() {
    let dir = folder();
    let mut command = headwater();
    command
        .arg("serve")
        .env("HEADWATER_ROOT", dir.path())
        .env("HEADWATER_ADMIN", "off")
        .env("HEADWATER_LISTEN", "127.0.0.1:0, [::1]:0")
        .env("HEADWATER_MAX_REQUESTS_PER_CONNECTION", "1");
    let mut server = Binary::spawn(command);
    let addresses = server.line("listening");
    for address in addresses.split(", ") {
        let mut client = Client::connect(address.parse().expect("an address"));
        assert_eq!(client.get("/a.txt").field("connection"), "close");
        client.expect_closed();
    }
    assert_eq!(server.line("admin"), "off");
}

#[test]
fn a_port_alone_is_every_interface() {
    let dir = folder();
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--admin", "off"])
        .env("PORT", "0");
    let mut server = Binary::spawn(command);
    let listening = server.line("listening");
    let port: u16 = listening
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a port");
    for host in ["127.0.0.1", "[::1]"] {
        let address = format!("{host}:{port}").parse().expect("an address");
        assert_eq!(Client::connect(address).get("/a.txt").status, 200, "{host}");
    }
}

#[test]
fn an_address_in_use_is_named() {
    let dir = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = taken.local_addr().expect("an address").to_string();
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--listen", &address, "--admin", "off"]);
    let mut server = Binary::spawn(command);
    let (code, said) = server.end();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

fn serve_on(dir: &TempDir, listen: &str) -> Binary {
    let mut command = headwater();
    command.arg("serve").arg(dir.path());
    command.args(["--admin", "off", "--listen", listen]);
    Binary::spawn(command)
}

#[test]
fn a_start_right_after_a_crash_finds_its_address_free() {
    let dir = folder();
    let mut first = serve_on(&dir, "127.0.0.1:0");
    let tcp = first.line("listening");
    let unix = format!("unix:{}", dir.path().join("x.sock").display());
    for (listen, mut server) in [(&tcp, first), (&unix, serve_on(&dir, &unix))] {
        for _ in 0..5 {
            server.line("listening");
            server.signal(Signal::SIGKILL);
            assert_eq!(server.end().0, None);
            server = serve_on(&dir, listen);
        }
        assert_eq!(&server.line("listening"), listen);
    }
}

#[test]
fn a_living_owner_of_an_address_is_named() {
    let dir = folder();
    let unix = format!("unix:{}", dir.path().join("x.sock").display());
    for listen in ["127.0.0.1:0", &unix] {
        let mut owner = serve_on(&dir, listen);
        let address = owner.line("listening");
        let (code, said) = {
            let mut second = serve_on(&dir, &address);
            let (code, said) = second.end();
            (code, said.to_owned())
        };
        assert_eq!(code, Some(1), "{said}");
        let holder = format!("{address} is already in use by process {} (", owner.pid);
        assert!(said.contains(&holder), "{said}");
        // The owner's socket is still there.
        owner.signal(Signal::SIGTERM);
        assert_eq!(owner.end().0, Some(0));
    }
}

#[test]
fn a_socket_activated_start_names_the_addresses_that_it_ignores() {
    let dir = folder();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("an address").to_string();
    let pass = "exec 3>&1 >/dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    for (listen, ignored) in [(Some("127.0.0.1:1"), true), (None, false)] {
        let mut command = std::process::Command::new("sh");
        let passed = listener.try_clone().expect("a descriptor");
        command.stdout(std::os::fd::OwnedFd::from(passed));
        command.args(["-c", pass, "sh", env!("CARGO_BIN_EXE_headwater"), "serve"]);
        command.arg(dir.path()).args(["--admin", "off"]);
        command.args(listen.map(|listen| format!("--listen={listen}")));
        let mut server = Binary::spawn(command);
        assert_eq!(server.line("listening"), address);
        assert_eq!(server.client().get("/a.txt").status, 200);
        server.signal(Signal::SIGTERM);
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{said}");
        let says = said.contains("so --listen 127.0.0.1:1 is ignored");
        assert_eq!(says, ignored, "{said}");
    }
}

#[test]
fn the_health_page_tells_of_the_drain() {
    let dir = folder();
    let mut command = headwater();
    command.arg("serve").arg(dir.path()).args([
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    ]);
    let mut server = Binary::spawn(command);
    let admin = server.line("admin");
    let admin: SocketAddr = admin
        .split(' ')
        .next()
        .expect("an address")
        .parse()
        .expect("one");
    let mut kept = Client::connect(admin);
    let reply = kept.get("/healthz");
    assert_eq!((reply.status, reply.text()), (200, "ok\n"));
    let shards = kept.get("/debug/shards");
    assert!(shards.text().starts_with("shard 0 "), "{}", shards.text());
    assert_eq!(kept.get("/a.txt").status, 404);
    let refused = kept.ask("POST /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!(refused.status, 405);
    // One download for each shard, so that whichever has one is waited for.
    let mut downloads: Vec<Client> = (0..8).map(|_| downloading(&mut server)).collect();
    server.signal(Signal::SIGTERM);
    server.line("headwater: stopping");
    // A load balancer must hear of it on a connection of its own.
    for _ in 0..3 {
        let reply = Client::connect(admin).get("/healthz");
        assert_eq!((reply.status, reply.text()), (503, "draining\n"));
    }
    let last = downloads.pop().expect("a download");
    for mut download in downloads {
        download.take(LARGE - 1000);
    }
    // As long as there is one, on whichever shard.
    assert_eq!(Client::connect(admin).get("/healthz").status, 503);
    let mut last = last;
    last.take(LARGE - 1000);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn a_unix_socket_is_served_and_removed() {
    let dir = folder();
    let path = dir.path().join("x.sock");
    let listen = format!("unix:{}", path.display());
    let mut command = headwater();
    command
        .arg("serve")
        .arg(dir.path())
        .args(["--admin", "off"]);
    command.args(["--listen", &listen, "--listen", "127.0.0.1:0"]);
    let mut server = Binary::spawn(command);
    assert!(server.line("listening").contains("x.sock"));
    let connect = || {
        let stream = UnixStream::connect(&path).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Client::on(stream)
    };
    let mut client = connect();
    for _ in 0..2 {
        assert_eq!(client.get("/a.txt").text(), "hello\n");
        assert_eq!(client.get("/large.bin").body.len(), LARGE);
    }
    connect().stream.write_all(b"\x16\x03\x01").expect("sent");
    // The socket itself is in the folder, and is no file.
    assert_eq!(client.get("/x.sock").status, 404);
    server.signal(Signal::SIGTERM);
    client.expect_closed();
    assert_eq!(server.end().0, Some(0));
    assert!(!path.exists());
}

/// Answers with the number of its shard.
struct WhichShard(usize);

impl Service for WhichShard {
    fn try_call(&self, _: &Head<'_>) -> Option<Response> {
        let text = self.0.to_string();
        Some(Response::new(Status::OK).with_body(Body::Bytes(text.into())))
    }

    async fn call(&self, _: Request<'_>) -> Response {
        Response::new(Status::NOT_FOUND)
    }
}

#[test]
fn connections_are_spread_over_the_shards() {
    let server = serve(two_cpus(), ServerOptions::default(), WhichShard);
    let mut clients: Vec<Client> = (0..300).map(|_| server.client()).collect();
    let mut served = [0, 0];
    for client in &mut clients {
        let shard: usize = client.get("/").text().parse().expect("a shard");
        served[shard] += 1;
        // It stays where it is.
        assert_eq!(client.get("/").text(), shard.to_string());
    }
    assert!(served.iter().all(|&count| count >= 100), "{served:?}");
    drop(clients);
    eventually("all are gone", || server.connections() == 0);
}

/// Its second shard is held up when it is asked to.
struct HeldUp(usize);

impl Service for HeldUp {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        if head.target == "/hold" && self.0 == 1 {
            std::thread::sleep(Duration::from_secs(1));
        }
        WhichShard(self.0).try_call(head)
    }

    async fn call(&self, _: Request<'_>) -> Response {
        Response::new(Status::NOT_FOUND)
    }
}

#[test]
fn connections_on_their_way_between_shards_are_served_in_a_drain() {
    let listen = ["127.0.0.1:0".parse().expect("an address")];
    let server = Server::bind(two_cpus(), &listen, ServerOptions::default()).expect("a listener");
    let address = server.addresses()[0]
        .to_string()
        .parse()
        .expect("an address");
    let server = server
        .start(|shard| Ok(HeldUp(shard.index())))
        .expect("a server");
    // More of these than it takes to find the second shard.
    let mut first: Vec<Client> = (0..8).map(|_| Client::connect(address)).collect();
    for client in &mut first {
        client.send(get("/hold"));
    }
    let mut clients: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    server.stopper().drain();
    for client in &mut clients {
        assert_eq!(client.reply().status, 200);
    }
    drop((first, clients));
    let end = server.join().expect("a good end");
    assert_eq!(end.cut.total(), 0, "{}", end.cut);
}

#[test]
fn steering_by_cpu_serves() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &["--steer-by-cpu"]);
    for _ in 0..20 {
        assert_eq!(server.client().get("/a.txt").status, 200);
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}
