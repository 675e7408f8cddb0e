//! What an operator sees when the server is up.

use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use crate::net::address::ListenAddr;
use crate::runtime::DriverUsed;

/// An address of TEST-NET-1 (RFC 5737), which no host has: a route to it is the default route.
const ELSEWHERE: &str = "192.0.2.1:9";

/// What an operator sees when the server is up.
#[derive(Debug)]
pub struct Banner {
    /// Where it listens.
    pub addresses: Vec<ListenAddr>,
    /// Where its admin pages are, if there are any.
    pub admin: Option<ListenAddr>,
    /// Where its access log goes, and in which format, if there is one.
    pub access_log: Option<String>,
    /// The folder that is served, in full.
    pub root: String,
    /// The CPUs of its shards.
    pub cpus: Vec<usize>,
    /// How its shards talk to the kernel, and why it is not by io_uring if that was tried.
    pub driver: Option<DriverUsed>,
    /// The kernel's release.
    pub kernel: String,
    /// Connections that it may have, after what descriptors allow.
    pub connections_max: usize,
    /// Descriptors that it may have.
    pub descriptors: u64,
    /// How long a connection may be idle, in milliseconds.
    pub idle_timeout_ms: u64,
    /// What the operator should look at, a sentence each.
    pub warnings: Vec<String>,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        writeln!(f, "headwater {version} serves {}", self.root)?;
        writeln!(f, "  listening  {}", joined(&self.addresses, ", "))?;
        let urls = urls(&self.addresses, host_address);
        if !urls.is_empty() {
            writeln!(f, "  open       {}", urls.join("  "))?;
        }
        match &self.admin {
            Some(admin) => writeln!(f, "  admin      {admin} (/healthz)")?,
            None => writeln!(f, "  admin      off")?,
        }
        if let Some(log) = &self.access_log {
            writeln!(f, "  access log {log}")?;
        }
        writeln!(
            f,
            "  cores      {} (CPU {}), one {} each, Linux {}",
            self.cpus.len(),
            joined(&self.cpus, ","),
            self.driver.as_ref().map_or("io_uring", |used| used.name),
            self.kernel
        )?;
        write!(
            f,
            "  limits     {} connections, {} descriptors, idle time-out {} s",
            self.connections_max,
            self.descriptors,
            self.idle_timeout_ms.div_ceil(1000)
        )?;
        if let Some(reason) = self.driver.as_ref().and_then(|used| used.fallback.as_ref()) {
            write!(
                f,
                "\nwarning: using epoll, which costs more CPU, since io_uring does not work here: {reason}"
            )?;
        }
        for warning in &self.warnings {
            write!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn joined(items: &[impl ToString], separator: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(separator)
}

/// URLs to open in a browser, each once. A wildcard address becomes localhost and the address
/// that `host` gives.
fn urls(addresses: &[ListenAddr], host: impl Fn() -> Option<IpAddr>) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    let mut add = |host: &str, port: u16| {
        let url = match port {
            80 => format!("http://{host}/"),
            _ => format!("http://{host}:{port}/"),
        };
        if !urls.contains(&url) {
            urls.push(url);
        }
    };
    let in_url = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    for address in addresses {
        match address {
            ListenAddr::Localhost(port) => add("localhost", *port),
            ListenAddr::Tcp(at) if at.ip().is_loopback() => add("localhost", at.port()),
            ListenAddr::Any(port) => {
                add("localhost", *port);
                if let Some(host) = host() {
                    add(&in_url(host), *port);
                }
            }
            ListenAddr::Tcp(at) if at.ip().is_unspecified() => {
                add("localhost", at.port());
                if let Some(host) = host().filter(|host| host.is_ipv4() == at.is_ipv4()) {
                    add(&in_url(host), at.port());
                }
            }
            ListenAddr::Tcp(at) => add(&in_url(at.ip()), at.port()),
            ListenAddr::Unix(_) => {}
        }
    }
    urls
}

/// The address that this host's packets to elsewhere come from. To connect a UDP socket sends
/// nothing: the kernel looks up the route and fills in the source (udp(7)).
fn host_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(SocketAddr::from(([0, 0, 0, 0], 0))).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_unspecified() && !address.is_loopback()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_url_can_be_opened_for_every_tcp_address() {
        let host = || "198.51.100.7".parse().ok();
        for (listen, wanted) in [
            (":8080", "http://localhost:8080/ http://198.51.100.7:8080/"),
            ("0.0.0.0:80", "http://localhost/ http://198.51.100.7/"),
            ("[::]:81", "http://localhost:81/"),
            ("localhost:3000", "http://localhost:3000/"),
            ("127.0.0.1:3000", "http://localhost:3000/"),
            ("[::1]:3000", "http://localhost:3000/"),
            ("203.0.113.5:80", "http://203.0.113.5/"),
            ("[2001:db8::1]:443", "http://[2001:db8::1]:443/"),
            ("unix:/run/x.sock", ""),
        ] {
            let address = listen.parse().expect("an address");
            assert_eq!(urls(&[address], host).join(" "), wanted, "{listen}");
        }
        let any = ListenAddr::Any(1);
        assert_eq!(urls(&[any.clone(), any], || None), ["http://localhost:1/"]);
    }
}
