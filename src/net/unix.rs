//! Unix listening sockets and the file that each leaves in the file system.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

use super::address::ListenAddr;
use super::error::{ListenError, ListenErrorKind};
use super::holder::Holder;
use super::options::ListenOptions;
use crate::sys;

/// The file of a bound Unix socket, removed on drop unless another file has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    dev: u64,
    ino: u64,
}

impl SocketFile {
    fn claim(path: &Path) -> io::Result<SocketFile> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(SocketFile {
            path: std::path::absolute(path)?,
            dev: metadata.dev(),
            ino: metadata.ino(),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (self.dev, self.ino));
        if ours {
            // A failure, as in a folder that has become read-only, can't be reported from a
            // destructor; the next start detects the stale file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens one listening socket at `path`. A socket file on which no process listens is that of a
/// crashed server, and is replaced.
pub(super) fn bind(
    path: &Path,
    options: &ListenOptions,
) -> Result<(Socket, SocketFile), ListenError> {
    let address = ListenAddr::Unix(path.to_owned());
    let fail = |operation| {
        let address = &address;
        move |source| ListenError::new(address, operation, source)
    };
    let name = SockAddr::unix(path).map_err(fail("name"))?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fail("open"))?;
    match socket.bind(&name) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path, &name, &address)?;
            socket.bind(&name).map_err(fail("bind"))?;
        }
        Err(error) => return Err(fail("bind")(error)),
    }
    let file = SocketFile::claim(path).map_err(fail("find the file of"))?;
    // Until listen(2) no client can connect, so no window with the wrong mode.
    if let Some(mode) = options.unix_mode {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(fail("set the mode of"))?;
    }
    if let Some(bytes) = options.send_buffer_bytes {
        socket
            .set_send_buffer_size(bytes)
            .map_err(fail("set SO_SNDBUF on"))?;
    }
    socket.listen(options.backlog).map_err(fail("listen on"))?;
    Ok((socket, file))
}

fn remove_stale(path: &Path, name: &SockAddr, address: &ListenAddr) -> Result<(), ListenError> {
    let fail = |operation| move |source| ListenError::new(address, operation, source);
    let metadata = fs::symlink_metadata(path).map_err(fail("look at the file of"))?;
    if !metadata.file_type().is_socket() {
        let kind = ListenErrorKind::NotASocket(path.to_owned());
        let source = io::ErrorKind::AddrInUse.into();
        return Err(ListenError::with_kind(address, "bind", kind, source));
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(fail("open"))?;
    // A blocking connect would wait for a listener whose backlog is full.
    caller.set_nonblocking(true).map_err(fail("open"))?;
    match caller.connect(name) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(fail("remove the stale file of"))
        }
        _ => {
            let error = fail("bind")(io::ErrorKind::AddrInUse.into());
            // This is the process that called listen(2), even if only its ring is left of it.
            let pid = sys::socket::peer_pid(caller.as_fd()).ok();
            Err(error.held_by(|| Holder::living(pid?)))
        }
    }
}
