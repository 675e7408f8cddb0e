//! The cost of a delivery to the subscribers of `headwater load rooms`.
//!
//! `cargo bench --bench rooms`, or `-- --quick` for a second of each row; HEADWATER_BIN names
//! another binary to measure. The server is a thread of this program on the first CPU, which only
//! forwards each message to all subscribers, several in one write; the load runs on the second CPU.
//! The requested rate is more than either can do, so the bench shows a core's highest rate and the
//! CPU time of a delivery.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use headwater::http::websocket::{Decoder, Event, Limits, Opcode, Role, frame, handshake};
use headwater::load::rooms::RoomsSummary;
use headwater::sys;
use nix::sys::resource::{UsageWho, getrusage};

const SUBSCRIBERS: usize = 100;
/// How long a message waits for others to be sent with it.
const PATIENCE: Duration = Duration::from_millis(5);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How messages are gathered.
#[derive(Clone, Copy)]
enum Gather {
    /// This many frames in a write.
    Frames(usize),
    /// This many messages in a frame.
    Messages(usize),
}

impl Gather {
    fn count(self) -> usize {
        match self {
            Self::Frames(count) | Self::Messages(count) => count,
        }
    }
}

/// With the messages published per second: the backlog of the warm-up must be short.
const ROWS: [(&str, Gather, &str); 5] = [
    ("1 message a write", Gather::Frames(1), "3k"),
    ("16 frames a write", Gather::Frames(16), "60k"),
    ("64 frames a write", Gather::Frames(64), "100k"),
    ("16 messages a frame", Gather::Messages(16), "60k"),
    ("64 messages a frame", Gather::Messages(64), "100k"),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    println!(
        "{:<22} {:>13} {:>9} {:>12} {:>10} {:>10} {:>6}",
        "", "deliveries/s", "busy", "a core's", "user ns", "kernel ns", "lost"
    );
    for (name, gather, rate) in ROWS {
        let row = measure(gather, rate, if quick { "1s" } else { "4s" })?;
        println!("{name:<22} {row}");
    }
    Ok(())
}

/// Runs a load against a new server.
fn measure(gather: Gather, rate: &str, duration: &str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || serve(&listener, gather));
    let before = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let output = load(address, rate, duration)?.wait_with_output()?;
    let after = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    server
        .join()
        .map_err(|_| "the server's thread panicked")??;
    let summary: RoomsSummary = serde_json::from_slice(&output.stdout)?;
    let ns =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e9 + time.tv_usec() as f64 * 1e3;
    let user = ns(after.user_time()) - ns(before.user_time());
    let kernel = ns(after.system_time()) - ns(before.system_time());
    // Relative to the time for which its thread was busy, without waits for the next message.
    let busy = summary.client_busy.min(1.0);
    let per_core = summary.delivery_rate_per_s / busy;
    let (user_ns, kernel_ns) = (
        1e9 / per_core * user / (user + kernel),
        1e9 / per_core * kernel / (user + kernel),
    );
    let mut row = String::new();
    write!(
        row,
        "{:>13.0} {:>8.0}% {per_core:>12.0} {user_ns:>10.0} {kernel_ns:>10.0} {:>6}",
        summary.delivery_rate_per_s,
        busy * 100.0,
        summary.lost
    )?;
    Ok(row)
}

fn load(address: SocketAddr, rate: &str, duration: &str) -> Result<std::process::Child> {
    let binary = std::env::var("HEADWATER_BIN");
    let binary = binary.unwrap_or_else(|_| env!("CARGO_BIN_EXE_headwater").to_owned());
    let subscribers = SUBSCRIBERS.to_string();
    let (sub, publish) = (format!("ws://{address}/sub"), format!("ws://{address}/pub"));
    let mut command = Command::new(binary);
    command.args([
        "load",
        "rooms",
        "--subscribers",
        &subscribers,
        "--rate",
        rate,
    ]);
    command.args(["--sub-url", &sub, "--pub-url", &publish, "--cores", "1"]);
    command.args(["-d", duration, "--warmup", "100ms", "--json", "-"]);
    Ok(command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?)
}

/// Accepts the subscribers and one publisher, and forwards the publisher's messages until it
/// closes.
fn serve(listener: &TcpListener, gather: Gather) -> Result<()> {
    sys::cpu::pin_current_thread(&[0])?;
    let mut subscribers = Vec::with_capacity(SUBSCRIBERS);
    let mut publisher = loop {
        let connection = listener.accept()?.0;
        match shake_hands(&connection)? {
            true => subscribers.push(connection),
            false => break connection,
        }
    };
    publisher.set_read_timeout(Some(PATIENCE))?;
    let mut decoder = Decoder::new(Role::Server, Limits::default());
    let mut relay = Relay {
        gather,
        subscribers,
        message: Vec::new(),
        held: Vec::new(),
        count: 0,
    };
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = match publisher.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                relay.flush();
                continue;
            }
            Err(_) => return Ok(()),
        };
        let mut rest = &mut bytes[..read];
        while !rest.is_empty() {
            let step = decoder.decode(rest)?;
            match step.event {
                Some(Event::Data { bytes, last, .. }) => relay.take(bytes, last),
                Some(Event::Close(_)) => return Ok(()),
                _ => {}
            }
            let consumed = step.consumed;
            rest = &mut rest[consumed..];
        }
    }
}

struct Relay {
    gather: Gather,
    subscribers: Vec<TcpStream>,
    message: Vec<u8>,
    held: Vec<u8>,
    count: usize,
}

impl Relay {
    fn take(&mut self, bytes: &[u8], last: bool) {
        self.message.extend_from_slice(bytes);
        if !last {
            return;
        }
        match self.gather {
            Gather::Frames(_) => frame::push(&mut self.held, Opcode::Text, &self.message, None),
            Gather::Messages(_) => self.held.extend_from_slice(&self.message),
        }
        self.message.clear();
        self.count += 1;
        if self.count == self.gather.count() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if std::mem::take(&mut self.count) == 0 {
            return;
        }
        let mut bytes = std::mem::take(&mut self.held);
        if let Gather::Messages(_) = self.gather {
            let text = std::mem::take(&mut bytes);
            frame::push(&mut bytes, Opcode::Text, &text, None);
        }
        // The load reports subscribers whose connections have ended.
        for subscriber in &mut self.subscribers {
            let _ = subscriber.write_all(&bytes);
        }
    }
}

/// Answers a handshake; returns whether it is a subscriber's.
fn shake_hands(connection: &TcpStream) -> Result<bool> {
    connection.set_nodelay(true)?;
    let mut lines = BufReader::new(connection).lines();
    let first = lines.next().ok_or("nothing came")??;
    let mut key = String::new();
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("sec-websocket-key") => {
                value.clone_into(&mut key);
            }
            Some(_) => {}
            None => break,
        }
    }
    let accept = handshake::accept_value(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    (&*connection).write_all(head.as_bytes())?;
    Ok(first.contains(" /sub "))
}
