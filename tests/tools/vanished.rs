//! A peer that vanishes is noticed in the time that `keepalive::detect` computes: the tests connect
//! two network namespaces by a pair of veth devices and remove the address of one end, so that
//! packets to it are lost silently.
//!
//! Needs permission to create namespaces, and `ip` (iproute2). Without them the tests are skipped,
//! and print that, unless `HEADWATER_NAMESPACES=required` (scripts/namespaces.sh).

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use headwater::keepalive::detect::{Application, Kernel, Situation, notices};
use headwater::keepalive::{Policy, Probes};
use headwater::net::address::ListenAddr;
use headwater::net::listener::ListenerGroup;
use headwater::net::options::ListenOptions;
use headwater::sys::tcp_table;
use nix::sched::{CloneFlags, setns};

/// The kernel counts in jiffies, of up to 10 ms.
const JIFFIES: Duration = Duration::from_millis(30);
/// What is waited for at most beyond the computed time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two namespaces; they go with it.
struct Net {
    server: String,
    client: String,
}

fn ip(arguments: &str) -> bool {
    let status = Command::new("ip")
        .args(arguments.split_ascii_whitespace())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

impl Net {
    /// `None` where they can't be made: the test is skipped.
    fn new() -> Option<Net> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("hw{}-{number}{end}", std::process::id());
        let net = Net {
            server: name("s"),
            client: name("c"),
        };
        let Net { server, client } = &net;
        let lines = [
            format!("netns add {server}"),
            format!("netns add {client}"),
            format!("-n {server} link add vs type veth peer name vc netns {client}"),
            format!("-n {client} link set vc address 02:00:00:00:00:02"),
            format!("-n {server} addr add 10.99.0.1/24 dev vs"),
            format!("-n {client} addr add 10.99.0.2/24 dev vc"),
            format!("-n {server} link set lo up"),
            format!("-n {server} link set vs up"),
            format!("-n {client} link set vc up"),
            // No question for an address that is gone, which would be an answer of its own.
            format!(
                "-n {server} neigh replace 10.99.0.2 lladdr 02:00:00:00:00:02 dev vs nud permanent"
            ),
        ];
        let failed = lines.iter().find(|line| !ip(line));
        let Some(line) = failed else {
            return Some(net);
        };
        let required = std::env::var_os("HEADWATER_NAMESPACES").is_some();
        assert!(!required, "cannot do: ip {line}");
        // Past the test's capture, so that it is seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no right to make network namespaces, or no iproute2 (ip {line}); see scripts/namespaces.sh"
        );
        None
    }

    /// Runs something inside one of them; what it opens stays there.
    fn within<T: Send>(&self, name: &str, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = File::open(format!("/run/netns/{name}")).expect("the namespace");
                setns(namespace, CloneFlags::CLONE_NEWNET).expect("the right to enter it");
                run()
            });
            thread.join().expect("no panic")
        })
    }

    /// A listener of ours in one, and a connection to it from the other, which has said
    /// something; with the time just before it did.
    fn connected(&self, policy: Policy) -> (TcpStream, TcpStream, Instant) {
        let options = ListenOptions {
            keepalive: Some(policy),
            ..ListenOptions::default()
        };
        let (listener, address) = self.within(&self.server, || {
            let address = "10.99.0.1:0".parse().expect("an address");
            let mut group = ListenerGroup::bind(&address, 1, &options).expect("a listener");
            let fd = group.take(0).expect("a listener").fd;
            (TcpListener::from(fd), group.local_addr().clone())
        });
        let ListenAddr::Tcp(address) = address else {
            panic!("a TCP address");
        };
        let mut client = self.client_of(address);
        let (mut server, _) = listener.accept().expect("a connection");
        let before = Instant::now();
        client.write_all(b"x").expect("sent");
        server.read_exact(&mut [0]).expect("received");
        (server, client, before)
    }

    fn client_of(&self, address: SocketAddr) -> TcpStream {
        let connect = || TcpStream::connect_timeout(&address, PATIENCE);
        self.within(&self.client, connect).expect("a connection")
    }

    /// What is sent to the client is lost from now on.
    fn cut(&self) {
        assert!(ip(&format!(
            "-n {} addr del 10.99.0.2/24 dev vc",
            self.client
        )));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.server));
        ip(&format!("netns del {}", self.client));
    }
}

fn policy(idle_s: u64, interval_s: u64, count: u64, user_timeout_ms: u64) -> Policy {
    Policy {
        probes: Some(Probes {
            idle_s,
            interval_s,
            count,
        }),
        user_timeout_ms,
        http_idle_ms: 3_600_000,
    }
}

/// When TCP itself notices in a situation, by the computation that operators are shown.
fn computed(policy: &Policy, situation: Situation) -> Duration {
    let application = Application {
        header_ms: 3_600_000,
        send_period_ms: 3_600_000,
    };
    let notices = notices(policy, &application, &Kernel::default());
    let notice = notices
        .into_iter()
        .find(|notice| notice.situation == situation);
    let first = notice.expect("the situation").clocks.remove(0);
    assert!(first.by.starts_with("TCP"), "{first:?}");
    Duration::from_millis(first.after_ms.expect("a time"))
}

#[track_caller]
fn noticed_in_time(after: Duration, computed: Duration) {
    assert!(
        after + JIFFIES >= computed,
        "{after:?}, before {computed:?}"
    );
    assert!(
        after < computed + PATIENCE,
        "{after:?}, long after {computed:?}"
    );
}

/// Waits until reading fails, which must be for want of an answer.
#[track_caller]
fn wait_for_death(mut server: TcpStream) {
    let patience = Duration::from_secs(60);
    server.set_read_timeout(Some(patience)).expect("a time-out");
    let error = server.read(&mut [0]).expect_err("nothing can come");
    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
    assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT));
}

#[test]
fn a_silent_peer_is_dead_after_idle_and_interval_times_probes() {
    let Some(net) = Net::new() else { return };
    let policy = policy(1, 1, 2, 0);
    let (server, _client, before) = net.connected(policy);
    net.cut();
    wait_for_death(server);
    noticed_in_time(
        before.elapsed(),
        computed(&policy, Situation::AnswerPending),
    );
}

#[test]
fn a_user_timeout_ends_a_silent_peer_whatever_the_number_of_probes() {
    let Some(net) = Net::new() else { return };
    let policy = policy(1, 1, 100, 2_500);
    let (server, _client, before) = net.connected(policy);
    net.cut();
    wait_for_death(server);
    let computed = computed(&policy, Situation::AnswerPending);
    assert_eq!(computed, Duration::from_secs(3));
    noticed_in_time(before.elapsed(), computed);
}

#[test]
fn unacknowledged_bytes_end_a_connection_after_the_user_timeout() {
    let Some(net) = Net::new() else { return };
    let policy = policy(100, 100, 2, 2_000);
    let (mut server, _client, _) = net.connected(policy);
    net.cut();
    let before = Instant::now();
    server
        .write_all(&[b'x'; 1000])
        .expect("taken by the socket");
    wait_for_death(server);
    noticed_in_time(before.elapsed(), computed(&policy, Situation::MidTransfer));
}

/// A headwater of its own in the namespace.
struct Server(Child);

impl Server {
    /// Starts a server of `folder` that probes after a second and gives up after two probes.
    fn start(net: &Net, folder: &Path) -> (Server, SocketAddr) {
        let cpu = headwater::sys::cpu::allowed().expect("affinity")[0].to_string();
        let mut process = Command::new("ip")
            .args([
                "netns",
                "exec",
                &net.server,
                env!("CARGO_BIN_EXE_headwater"),
            ])
            .args([
                "serve",
                "--listen",
                "10.99.0.1:0",
                "--admin",
                "off",
                "--cores",
                &cpu,
            ])
            .args(["--keepalive-idle", "1s", "--keepalive-interval", "1s"])
            .args(["--keepalive-probes", "2", "--idle-timeout", "1h"])
            .arg(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stderr(Stdio::piped())
            .spawn()
            .expect("ip runs");
        let mut said = BufReader::new(process.stderr.take().expect("a pipe")).lines();
        let server = Server(process);
        let address = said.by_ref().map_while(Result::ok).find_map(|line| {
            let address = line.trim_start().strip_prefix("listening")?;
            address.trim().parse::<SocketAddr>().ok()
        });
        (server, address.expect("an address"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads an answer whose last bytes are `end`.
fn read_until(client: &mut TcpStream, end: &[u8]) {
    let mut answer = Vec::new();
    while !answer.ends_with(end) {
        let mut piece = [0; 4096];
        let got = client.read(&mut piece).expect("an answer");
        assert!(got > 0, "closed");
        answer.extend_from_slice(&piece[..got]);
    }
}

#[test]
fn the_server_notices_too_and_its_connections_show_what_they_have() {
    let Some(net) = Net::new() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.txt"), "hello\n").expect("a file");
    let (server, address) = Server::start(&net, folder.path());
    let mut client = net.client_of(address);
    let before = Instant::now();
    client
        .write_all(b"GET /a.txt HTTP/1.1\r\nhost: x\r\n\r\n")
        .expect("sent");
    read_until(&mut client, b"hello\n");
    let pid = server.0.id();
    let shown = Command::new(env!("CARGO_BIN_EXE_headwater"))
        .args(["keepalive", "show", &pid.to_string(), "--json"])
        .output()
        .expect("the program runs");
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let connection = &shown["processes"][0]["connections"][0];
    assert_eq!(
        connection["peer"],
        client.local_addr().unwrap().to_string(),
        "{shown}"
    );
    assert_eq!(connection["state"], "established");
    let options = &connection["options"];
    assert_eq!(
        options,
        &serde_json::json!({
            "keepalive": true, "idle_s": 1, "interval_s": 1, "probes": 2, "user_timeout_ms": 0,
        }),
        "{shown}"
    );
    net.cut();
    let open = || {
        let table = tcp_table::of_process(pid).expect("the table");
        table
            .iter()
            .any(|entry| entry.state.name() == "established")
    };
    let computed = computed(&policy(1, 1, 2, 0), Situation::AnswerPending);
    while open() {
        assert!(before.elapsed() < computed + PATIENCE, "not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    noticed_in_time(before.elapsed(), computed);
}
