//! The kernel's table of TCP sockets, `/proc/net/tcp` and `tcp6` (proc(5),
//! Documentation/networking/proc_net_tcp.rst).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The local address.
    pub local: SocketAddr,
    /// The peer's address.
    pub peer: SocketAddr,
    /// The connection's state.
    pub state: State,
    /// The timer that runs, and when it is due, in milliseconds.
    pub timer: Option<(Timer, u64)>,
    /// The socket's inode; 0 once no process holds the socket.
    pub inode: u64,
}

/// A state as `enum tcp_state` of the kernel numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State(u8);

impl State {
    /// Listening.
    pub const LISTEN: Self = Self(10);

    /// The name that ss(8) prints for it.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 13] = [
            "?",
            "established",
            "syn-sent",
            "syn-recv",
            "fin-wait-1",
            "fin-wait-2",
            "time-wait",
            "closed",
            "close-wait",
            "last-ack",
            "listen",
            "closing",
            "syn-recv",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("?")
    }
}

/// The kind of timer that runs for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Retransmission of unacknowledged bytes.
    Retransmit,
    /// The keepalive timer.
    Keepalive,
    /// TIME_WAIT.
    TimeWait,
    /// Probes of a peer whose receive window is zero.
    ZeroWindow,
}

/// The sockets of the network namespace of process `pid`, IPv4 and IPv6.
pub fn of_process(pid: u32) -> io::Result<Vec<Entry>> {
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}"));
    let mut entries = parse(&table("tcp")?);
    // Missing where the kernel has no IPv6.
    entries.extend(parse(&table("tcp6").unwrap_or_default()));
    Ok(entries)
}

/// The descriptors of process `pid` that are sockets, by inode.
pub fn descriptors_by_inode(pid: u32) -> io::Result<HashMap<u64, u32>> {
    let mut found = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let number = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        // The descriptor was closed after the listing.
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        let inode = target.to_str().and_then(|target| {
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            inode.parse().ok()
        });
        if let (Some(number), Some(inode)) = (number, inode) {
            found.insert(inode, number);
        }
    }
    Ok(found)
}

/// All processes that this one may see.
pub fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries.filter_map(pid).collect()
}

/// Reads a table; lines that can't be read are left out.
pub fn parse(table: &str) -> Vec<Entry> {
    table.lines().skip(1).filter_map(entry).collect()
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`, in hexadecimal.
fn entry(line: &str) -> Option<Entry> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let &[_, local, peer, state, _, timer, _, _, _, inode, ..] = &fields[..] else {
        return None;
    };
    let (kind, due) = timer.split_once(':')?;
    let due_ms = u64::from_str_radix(due, 16)
        .ok()?
        .saturating_mul(CLOCK_TICK_MS);
    let timer = match u8::from_str_radix(kind, 16).ok()? {
        1 => Some(Timer::Retransmit),
        2 => Some(Timer::Keepalive),
        3 => Some(Timer::TimeWait),
        4 => Some(Timer::ZeroWindow),
        _ => None,
    };
    Some(Entry {
        local: address(local)?,
        peer: address(peer)?,
        state: State(u8::from_str_radix(state, 16).ok()?),
        timer: timer.map(|timer| (timer, due_ms)),
        inode: inode.parse().ok()?,
    })
}

/// Linux shows times to programs in hundredths of a second on every architecture (USER_HZ).
const CLOCK_TICK_MS: u64 = 10;

/// Words of an address in network order, each printed as a number of this machine.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = words.get(8 * at..8 * at + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match words.len() {
        8 => IpAddr::from(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_processs_own_sockets_are_in_the_table() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let table = of_process(std::process::id()).unwrap();
        // The other end of the connection has the listener's address too.
        let listens = |entry: &Entry| entry.local == address && entry.state == State::LISTEN;
        assert!(table.iter().any(listens));
        // Another connection, to another peer, may have this one's port too.
        let ends = (client.local_addr().unwrap(), address);
        let own = table.iter().find(|entry| (entry.local, entry.peer) == ends);
        let own = own.unwrap();
        assert_eq!(own.state.name(), "established");
        let descriptors = descriptors_by_inode(std::process::id()).unwrap();
        assert!(descriptors.contains_key(&own.inode));
        assert!(processes().contains(&std::process::id()));
    }

    #[test]
    fn addresses_of_both_families_and_timers_are_read() {
        let words = |ip: Ipv6Addr| {
            let words = ip.octets();
            let words = words
                .chunks_exact(4)
                .map(|part| format!("{:08X}", u32::from_ne_bytes(part.try_into().unwrap())));
            words.collect::<String>()
        };
        let table = format!(
            "header\n 0: {}:0050 {}:1F90 01 00000000:00000000 02:000000C8 00000000 0 0 77 2 0\nx\n",
            words(Ipv6Addr::LOCALHOST),
            words("::ffff:10.0.0.1".parse().unwrap()),
        );
        let entries = parse(&table);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].local, "[::1]:80".parse().unwrap());
        assert_eq!(entries[0].peer, "10.0.0.1:8080".parse().unwrap());
        assert_eq!(entries[0].timer, Some((Timer::Keepalive, 2000)));
        assert_eq!(entries[0].inode, 77);
    }
}
