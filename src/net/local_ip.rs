//! Which IP addresses this host has.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// Whether `::1` is an address of this host.
pub(super) fn has_ipv6_loopback() -> bool {
    can_bind(Ipv6Addr::LOCALHOST.into())
}

/// Whether a socket can be bound to `ip`. A kernel without IPv6 refuses to open the socket, one
/// with IPv6 switched off refuses the address.
pub(super) fn can_bind(ip: IpAddr) -> bool {
    let address = SocketAddr::from((ip, 0));
    Socket::new(Domain::for_address(address), Type::STREAM, None)
        .and_then(|socket| socket.bind(&address.into()))
        .is_ok()
}
