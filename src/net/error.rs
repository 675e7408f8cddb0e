//! Why a listening socket could not be opened.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::address::ListenAddr;
use super::holder::Holder;

/// A listening socket that couldn't be opened.
#[derive(Debug)]
pub struct ListenError {
    address: ListenAddr,
    operation: &'static str,
    kind: ListenErrorKind,
    /// The process that holds the address, where it is in use and that can be seen.
    holder: Option<Holder>,
    source: io::Error,
}

/// Why a listening socket couldn't be opened, where it is something that the
/// operator can act on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListenErrorKind {
    /// Another socket listens there already.
    InUse,
    /// Low ports, and folders of other users, need a privilege.
    Denied,
    /// The machine doesn't have that address.
    NoSuchAddress,
    /// A file that is not a socket has the Unix socket's path.
    NotASocket(PathBuf),
    /// The kernel doesn't have this congestion control, or doesn't let us use it.
    Congestion(String),
    /// Any other cause: the operation and the system's error.
    Failed,
}

impl ListenError {
    /// Derives the kind from the system's error.
    pub(super) fn new(address: &ListenAddr, operation: &'static str, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::AddrInUse => ListenErrorKind::InUse,
            io::ErrorKind::PermissionDenied => ListenErrorKind::Denied,
            io::ErrorKind::AddrNotAvailable => ListenErrorKind::NoSuchAddress,
            _ => ListenErrorKind::Failed,
        };
        ListenError::with_kind(address, operation, kind, source)
    }

    pub(super) fn with_kind(
        address: &ListenAddr,
        operation: &'static str,
        kind: ListenErrorKind,
        source: io::Error,
    ) -> Self {
        ListenError {
            address: address.clone(),
            operation,
            kind,
            holder: None,
            source,
        }
    }

    /// Adds the process that holds an address in use.
    pub(super) fn held_by(mut self, find: impl FnOnce() -> Option<Holder>) -> Self {
        if self.is_in_use() {
            self.holder = find();
        }
        self
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.kind == ListenErrorKind::InUse
    }

    /// The process that has the address, where it is in use and that can be seen.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// Why.
    pub fn kind(&self) -> &ListenErrorKind {
        &self.kind
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.kind {
            ListenErrorKind::InUse => {
                write!(f, "{address} is already in use")?;
                match &self.holder {
                    Some(holder) => write!(f, " by {holder}; stop it, or choose another")?,
                    None => write!(f, "; choose another")?,
                }
                write!(f, " with --listen")
            }
            ListenErrorKind::Denied if matches!(address, ListenAddr::Unix(_)) => write!(
                f,
                "no permission to make the socket {address}; let the server's user write in its folder or choose another with --listen"
            ),
            ListenErrorKind::Denied => write!(
                f,
                "no permission to listen on {address}; choose a port of 1024 or higher with --listen, pass the socket from systemd, or give the program the right with: setcap cap_net_bind_service=+ep headwater"
            ),
            ListenErrorKind::NoSuchAddress => write!(
                f,
                "this machine doesn't have the address of {address}; see them with: ip address, or listen on all with --listen :PORT"
            ),
            ListenErrorKind::NotASocket(path) => write!(
                f,
                "cannot listen on {address}: {} exists and is not a socket; remove it or choose another with --listen",
                path.display()
            ),
            ListenErrorKind::Congestion(name) => write!(
                f,
                "cannot use the congestion control \"{name}\" on {address}: {}; see what there is with: sysctl net.ipv4.tcp_available_congestion_control",
                self.source
            ),
            ListenErrorKind::Failed => write!(
                f,
                "cannot {} the listening socket {address}: {}",
                self.operation, self.source
            ),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denied_address_says_how_to_get_the_right() {
        let denied = |address: &str| {
            let source = io::ErrorKind::PermissionDenied.into();
            ListenError::new(&address.parse().unwrap(), "bind", source).to_string()
        };
        let tcp = denied("127.0.0.1:80");
        assert!(
            tcp.starts_with("no permission to listen on 127.0.0.1:80;"),
            "{tcp}"
        );
        assert!(tcp.contains("setcap cap_net_bind_service"), "{tcp}");
        let unix = denied("/run/x.sock");
        assert!(unix.contains("write in its folder"), "{unix}");
    }
}
