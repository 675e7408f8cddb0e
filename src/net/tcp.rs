//! TCP listening sockets: `SO_REUSEPORT` groups, dual stack, and the options
//! that accepted sockets inherit.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::ListenAddr;
use super::error::{ListenError, ListenErrorKind};
use super::holder::Holder;
use super::local_ip;
use super::options::ListenOptions;
use crate::{keepalive, sys};

/// Whether a socket accepts connections by IPv6, by IPv4, or both.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Stack {
    OwnFamily,
    Dual,
}

/// Opens a group on every interface: dual stack, or IPv4 where there is no IPv6.
pub(super) fn bind_any(
    address: &ListenAddr,
    port: u16,
    shards: usize,
    options: &ListenOptions,
) -> Result<(SocketAddr, Vec<Socket>), ListenError> {
    if local_ip::can_bind(Ipv6Addr::UNSPECIFIED.into()) {
        let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Group { address, options }.bind(every, Stack::Dual, shards)
    } else {
        let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        Group { address, options }.bind(every, Stack::OwnFamily, shards)
    }
}

/// Opens a group on one IP address.
pub(super) fn bind(
    address: &ListenAddr,
    ip: SocketAddr,
    shards: usize,
    options: &ListenOptions,
) -> Result<(SocketAddr, Vec<Socket>), ListenError> {
    Group { address, options }.bind(ip, Stack::OwnFamily, shards)
}

/// The common parameters of a group's sockets.
struct Group<'a> {
    /// As the operator wrote it, for messages.
    address: &'a ListenAddr,
    options: &'a ListenOptions,
}

impl Group<'_> {
    fn bind(
        &self,
        ip: SocketAddr,
        stack: Stack,
        shards: usize,
    ) -> Result<(SocketAddr, Vec<Socket>), ListenError> {
        let fail = |operation| {
            move |source| {
                let error = ListenError::new(self.address, operation, source);
                error.held_by(|| Holder::of_tcp(ip))
            }
        };
        if !self.options.share_port && ip.port() != 0 {
            // With SO_REUSEPORT the bind would succeed beside another process of the same user, and
            // both would silently share the connections. A bind without it fails if the port is in
            // use.
            self.open(ip, stack)
                .and_then(|probe| probe.bind(&ip.into()))
                .map_err(fail("bind"))?;
        }
        let mut bound = ip;
        let mut sockets = Vec::with_capacity(shards);
        for _ in 0..shards {
            let socket = self.open(ip, stack).map_err(fail("open"))?;
            socket.set_reuse_port(true).map_err(fail("share"))?;
            self.tune(&socket)?;
            socket.bind(&bound.into()).map_err(fail("bind"))?;
            if bound.port() == 0 {
                let chosen = sys::socket::local_address(socket.as_fd()).map_err(fail("name"))?;
                bound.set_port(chosen.map_or(0, |chosen| chosen.port()));
            }
            sockets.push(socket);
        }
        // The kernel numbers the group's members in the order of listen(2).
        for socket in &sockets {
            socket
                .listen(self.options.backlog)
                .map_err(fail("listen on"))?;
        }
        if let (Some(cpus), Some(socket)) = (&self.options.steer_by_cpu, sockets.first()) {
            let cpus = &cpus[..cpus.len().min(shards)];
            sys::socket::steer_by_cpu(socket.as_fd(), cpus)
                .map_err(fail("steer connections by CPU on"))?;
        }
        Ok((bound, sockets))
    }

    fn open(&self, ip: SocketAddr, stack: Stack) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(ip), Type::STREAM, Some(Protocol::TCP))?;
        if ip.is_ipv6() {
            socket.set_only_v6(stack == Stack::OwnFamily)?;
        }
        // Connections of an earlier run, in TIME_WAIT, must not make the bind fail.
        socket.set_reuse_address(true)?;
        Ok(socket)
    }

    fn tune(&self, socket: &Socket) -> Result<(), ListenError> {
        tune(self.address, socket, self.options)
    }
}

/// Sets the options of a listening socket that the sockets accepted from it inherit.
pub(super) fn tune(
    address: &ListenAddr,
    socket: &impl AsFd,
    options: &ListenOptions,
) -> Result<(), ListenError> {
    let fd = socket.as_fd();
    let fail = |operation| move |source| ListenError::new(address, operation, source);
    sys::socket::set_nodelay(fd, true).map_err(fail("set TCP_NODELAY on"))?;
    if let Some(seconds) = options.defer_accept_s {
        sys::socket::set_defer_accept(fd, seconds).map_err(fail("set TCP_DEFER_ACCEPT on"))?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        sys::socket::set_send_buffer(fd, bytes).map_err(fail("set SO_SNDBUF on"))?;
    }
    if let Some(bytes) = options.unsent_low_water_bytes {
        sys::socket::set_unsent_low_water(fd, bytes).map_err(fail("set TCP_NOTSENT_LOWAT on"))?;
    }
    if let Some(policy) = &options.keepalive {
        keepalive::options::set(fd, policy).map_err(fail("set TCP keepalive on"))?;
    }
    if options.unpaced_loopback && options.congestion.is_none() && is_loopback(address) {
        unpace(fd);
    }
    if let Some(name) = &options.congestion {
        sys::socket::set_congestion(fd, name).map_err(|source| {
            let kind = ListenErrorKind::Congestion(name.clone());
            ListenError::with_kind(address, "set TCP_CONGESTION on", kind, source)
        })?;
    }
    Ok(())
}

fn is_loopback(address: &ListenAddr) -> bool {
    match address {
        ListenAddr::Localhost(_) => true,
        ListenAddr::Tcp(ip) => ip.ip().is_loopback(),
        ListenAddr::Any(_) | ListenAddr::Unix(_) => false,
    }
}

/// Replaces a congestion control that paces by timers with one that does not, if this process may
/// use such a one.
fn unpace(fd: BorrowedFd<'_>) {
    if sys::socket::congestion(fd).is_ok_and(|name| name.starts_with("bbr")) {
        let _ = ["cubic", "reno"]
            .iter()
            .any(|name| sys::socket::set_congestion(fd, name).is_ok());
    }
}
