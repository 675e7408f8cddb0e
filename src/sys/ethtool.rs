//! Queries a network card's driver as ethtool(8) does: the `SIOCETHTOOL` ioctl of
//! `linux/ethtool.h`.

use std::io;
use std::os::fd::AsRawFd;

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_CHANNELS: u32 = 0x3c;

/// An offload feature of a card, on or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// The card splits large sends into segments (TSO).
    SegmentationOffload,
    /// The kernel splits large sends into segments, as late as possible (GSO).
    GenericSegmentation,
    /// The kernel merges received segments (GRO).
    GenericReceive,
    /// The card sends packets from several pieces of memory.
    ScatterGather,
    /// The card computes the checksums of sent packets.
    Checksums,
}

impl Switch {
    fn command(self) -> u32 {
        match self {
            Self::SegmentationOffload => 0x1e,
            Self::GenericSegmentation => 0x23,
            Self::GenericReceive => 0x2b,
            Self::ScatterGather => 0x18,
            Self::Checksums => 0x16,
        }
    }
}

/// The number of a card's queues, in use and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Combined queues that are set up; receive queues where the card can't have combined ones.
    pub used: u32,
    /// The most that can be set up: the larger of `max_combined` and `max_rx`.
    pub max: u32,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_channels`: first the maxima, then the current numbers; each for receive,
/// transmit, other, combined.
#[repr(C)]
#[derive(Default)]
struct RawChannels {
    command: u32,
    max: [u32; 4],
    count: [u32; 4],
}

/// Whether the switch is on.
///
/// # Errors
/// `EOPNOTSUPP` where the driver does not support the query, `ENODEV` where there is no such
/// interface.
pub fn switch(interface: &str, switch: Switch) -> io::Result<bool> {
    let mut value = Value {
        command: switch.command(),
        data: 0,
    };
    // SAFETY: these commands take a `struct ethtool_value`.
    unsafe { query(interface, &mut value) }?;
    Ok(value.data != 0)
}

/// How many queues the card has, combined ones or, where there are none, receive queues.
///
/// # Errors
/// As [`switch`].
pub fn channels(interface: &str) -> io::Result<Channels> {
    let mut raw = RawChannels {
        command: GET_CHANNELS,
        ..RawChannels::default()
    };
    // SAFETY: the command takes a `struct ethtool_channels`.
    unsafe { query(interface, &mut raw) }?;
    let [receive, _, _, combined] = raw.max;
    let at = if combined > 0 { 3 } else { 0 };
    Ok(Channels {
        used: raw.count[at],
        max: combined.max(receive),
    })
}

/// # Safety
/// `T` must be the structure of `linux/ethtool.h` for its command, which is the first field.
unsafe fn query<T>(interface: &str, value: &mut T) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    // SAFETY: ifreq is a plain C structure for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let name = interface.as_bytes();
    // The name's terminating zero needs the last byte.
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, &from) in request.ifr_name.iter_mut().zip(name) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = std::ptr::from_mut(value).cast();
    // SAFETY: the kernel reads the request, whose pointer leads to a live `T`, and writes within
    // the command's structure, which the caller guarantees to be `T`.
    super::check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) }.into())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_and_a_stranger_does_not() {
        // Loopback joins and cuts segments unless that was switched off.
        switch("lo", Switch::GenericSegmentation).expect("lo has the switch");
        let error = switch("no-such-if0", Switch::GenericReceive).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let error = channels("a-name-longer-than-it-may-be").expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
        let error = channels("lo").expect_err("loopback has no channels");
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
    }
}
