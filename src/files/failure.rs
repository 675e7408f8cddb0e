//! Why a path is not answered with a file, and what the client is told.

use std::io;

use nix::errno::Errno;

use super::offload::OffloadError;
use crate::http::{Response, Status};
use crate::tasks::TaskError;

/// Seconds after which a client may hope for more luck.
const RETRY_AFTER_S: &str = "1";

/// Why a path is not answered with a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// There is nothing, or nothing that is ever shown.
    NotFound,
    /// It exists and may not be shown.
    Forbidden,
    /// It is a folder.
    Folder,
    /// Descriptors, memory or room in the pool of tasks ran out; this passes.
    Exhausted,
    /// The file system failed.
    Broken,
    /// The client takes none of the content codings that it can be had in.
    NotAcceptable,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ELOOP => {
                Failure::NotFound
            }
            // EXDEV: the path leads out of the root.
            Errno::EXDEV | Errno::EACCES | Errno::EPERM => Failure::Forbidden,
            // EAGAIN: renames kept racing the lookup.
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => Failure::Exhausted,
            _ => Failure::Broken,
        }
    }
}

impl From<OffloadError> for Failure {
    fn from(error: OffloadError) -> Failure {
        match error {
            OffloadError::Busy(_) | OffloadError::Lost(TaskError::Stopped) => Failure::Exhausted,
            OffloadError::Lost(TaskError::Panicked(_)) => Failure::Broken,
        }
    }
}

impl Failure {
    /// What the client is told. Paths on the server stay the server's.
    pub fn response(self) -> Response {
        match self {
            Failure::NotFound => Response::error(
                Status::NOT_FOUND,
                "There is nothing at this path; check how it is written.",
            ),
            Failure::Forbidden | Failure::Folder => Response::error(
                Status::FORBIDDEN,
                "This path may not be shown; ask the operator of this server for access.",
            ),
            Failure::NotAcceptable => Response::error(
                Status::NOT_ACCEPTABLE,
                "This can't be sent in a content coding that accept-encoding allows; allow identity.",
            )
            .with("vary", "accept-encoding"),
            Failure::Exhausted => Response::error(
                Status::SERVICE_UNAVAILABLE,
                "The server is short of resources; ask again in a second.",
            )
            .with("retry-after", RETRY_AFTER_S),
            Failure::Broken => Response::error(
                Status::INTERNAL_SERVER_ERROR,
                "The server could not read what is at this path; tell its operator.",
            ),
        }
    }
}
