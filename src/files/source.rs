//! A representation's bytes as a task on another thread reads them: in bounded pieces, and with an
//! error if the file has changed meanwhile.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

use super::content::Content;
use super::offload::{block_in_place, checkpoint};
use crate::limits;
use crate::sys::file::{self, Stamp};
use crate::sys::transfer::pread_nowait;

/// Bytes that may be read from any thread.
pub(crate) enum Source {
    /// In memory.
    Memory(Bytes),
    /// Behind a descriptor of its own, with the stamp that the file must still have at the end.
    File(fs::File, Stamp),
}

impl Source {
    /// What is behind `content`, which was found with `stamp`.
    ///
    /// # Errors
    /// When no descriptor can be opened.
    pub(crate) fn of(content: &Content, stamp: &Stamp) -> io::Result<Source> {
        Ok(match content {
            Content::Memory(bytes, _) => Source::Memory(bytes.clone()),
            Content::Open(file) => Source::File(file.fd.try_clone()?.into(), *stamp),
        })
    }

    /// Calls `each` with one piece after the other. May wait for the disk.
    ///
    /// # Errors
    /// Those of `each` and of reading; also when the file has changed, and then what `each`
    /// was given is worth nothing.
    pub(crate) fn read(&self, mut each: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (open, stamp) = match self {
            Source::Memory(bytes) => {
                return bytes
                    .chunks(limits::TASK_PIECE_BYTES)
                    .try_for_each(|piece| {
                        checkpoint();
                        each(piece)
                    });
            }
            Source::File(open, stamp) => (open, stamp),
        };
        let mut piece = vec![0; limits::TASK_PIECE_BYTES];
        let mut offset = 0;
        while offset < stamp.size {
            checkpoint();
            let read = match pread_nowait(open.as_fd(), &mut piece, offset) {
                Err(error) if needs_the_disk(&error) => {
                    block_in_place(|| open.read_at(&mut piece, offset))
                }
                read => read,
            }?;
            if read == 0 {
                break;
            }
            each(&piece[..read])?;
            offset += read as u64;
        }
        match file::stamp(open.as_fd())?.1 == *stamp {
            true => Ok(()),
            false => Err(io::Error::other("the file changed while it was read")),
        }
    }
}

/// Whether a read that must not wait could not be done without.
pub(crate) fn needs_the_disk(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported
    )
}
