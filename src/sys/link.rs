//! Facts about network interfaces that no file in `/proc` or `/sys` shows: `RTM_GETLINK` of
//! rtnetlink(7).

use std::io;
use std::os::fd::AsRawFd;

/// One interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its name (`IFLA_IFNAME`), such as `eth0`.
    pub name: String,
    /// The packet scheduler at its root.
    pub qdisc: Option<String>,
    /// The largest packet that TCP over IPv6 hands down, in bytes; above 65536 it is BIG TCP.
    pub gso_max_bytes: Option<u32>,
    /// The largest packet to which received ones are merged (GRO), in bytes.
    pub gro_max_bytes: Option<u32>,
    /// The largest packet that the card itself splits (TSO), in bytes.
    pub tso_max_bytes: Option<u32>,
}

const HEADER_BYTES: usize = 16;
/// `struct ifinfomsg`.
const LINK_BYTES: usize = 16;
const RECEIVE_BYTES: usize = 64 * 1024;

/// Every interface of this network namespace.
///
/// # Errors
/// Those of the socket, and an answer that is incomplete.
pub fn all() -> io::Result<Vec<Link>> {
    let domain = socket2::Domain::from(libc::AF_NETLINK);
    let kind = socket2::Type::from(libc::SOCK_RAW);
    let socket = socket2::Socket::new(
        domain,
        kind,
        Some(socket2::Protocol::from(libc::NETLINK_ROUTE)),
    )?;
    let mut request = Vec::new();
    request.extend(((HEADER_BYTES + LINK_BYTES) as u32).to_ne_bytes());
    request.extend(libc::RTM_GETLINK.to_ne_bytes());
    request.extend(((libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16).to_ne_bytes());
    request.resize(HEADER_BYTES + LINK_BYTES, 0);
    send(&socket, &request)?;
    let mut links = Vec::new();
    let mut buffer = vec![0; RECEIVE_BYTES];
    loop {
        let length = receive(&socket, &mut buffer)?;
        if read(&buffer[..length], &mut links)? {
            return Ok(links);
        }
    }
}

fn send(socket: &socket2::Socket, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads the given length of a live slice.
    super::retry(|| unsafe {
        libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) as libc::c_long
    })?;
    Ok(())
}

fn receive(socket: &socket2::Socket, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most the given length of a live slice.
    super::retry(|| unsafe {
        libc::recv(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
        ) as libc::c_long
    })
}

/// Reads the messages of one datagram. Returns whether they were the last.
fn read(mut bytes: &[u8], links: &mut Vec<Link>) -> io::Result<bool> {
    let short = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "an answer of rtnetlink is cut short",
        )
    };
    while bytes.len() >= HEADER_BYTES {
        let length = word(bytes) as usize;
        let message = bytes.get(HEADER_BYTES..length).ok_or_else(short)?;
        match i32::from(half(&bytes[4..])) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = message.first_chunk::<4>().ok_or_else(short)?;
                return Err(io::Error::from_raw_os_error(-i32::from_ne_bytes(*code)));
            }
            _ => links.push(link(message.get(LINK_BYTES..).ok_or_else(short)?)),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    Ok(false)
}

/// Reads an interface's attributes.
fn link(mut bytes: &[u8]) -> Link {
    let mut link = Link::default();
    while bytes.len() >= 4 {
        let (length, kind) = (half(bytes) as usize, half(&bytes[2..]));
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        let text =
            || String::from_utf8_lossy(value.split(|&b| b == 0).next().unwrap_or(&[])).into_owned();
        let number = || (value.len() >= 4).then(|| word(value));
        match kind {
            libc::IFLA_IFNAME => link.name = text(),
            libc::IFLA_QDISC => link.qdisc = Some(text()),
            libc::IFLA_GSO_MAX_SIZE => link.gso_max_bytes = number(),
            libc::IFLA_GRO_MAX_SIZE => link.gro_max_bytes = number(),
            libc::IFLA_TSO_MAX_SIZE => link.tso_max_bytes = number(),
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    link
}

fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |four| u32::from_ne_bytes(*four))
}

fn half(bytes: &[u8]) -> u16 {
    bytes
        .first_chunk()
        .map_or(0, |two| u16::from_ne_bytes(*two))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_there() {
        let links = all().expect("rtnetlink answers");
        let lo = links.iter().find(|link| link.name == "lo").expect("lo");
        assert_eq!(lo.qdisc.as_deref(), Some("noqueue"));
        assert!(lo.gso_max_bytes.is_some_and(|bytes| bytes >= 65536));
    }

    #[test]
    fn what_is_cut_short_is_no_link() {
        let mut links = Vec::new();
        let mut message = vec![0; 20];
        message[..4].copy_from_slice(&64_u32.to_ne_bytes());
        assert!(read(&message, &mut links).is_err());
        assert_eq!(link(&[200, 0, 3, 0, b'l', b'o']), Link::default());
        assert!(!read(&[], &mut links).expect("nothing"));
        assert!(links.is_empty());
    }
}
