//! Why a request is not answered with a file, and the response that says so.

use std::io;

use nix::errno::Errno;

use crate::http::{Response, Status};

/// Retry-After of a 503, in seconds.
const RETRY_AFTER_S: &str = "1";

/// Why a path is not answered with a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum RequestError {
    /// There is nothing at the path, or nothing that is ever shown.
    NotFound,
    /// It exists and may not be shown.
    Forbidden,
    /// It is a folder.
    Folder,
    /// Descriptors, memory or the task pool's bounds are exhausted; this passes.
    Exhausted,
    /// Listings that other clients are still reading take all memory for listings; this passes.
    ListingsRead,
    /// The file system failed, or the server did.
    Broken,
    /// It states a size that it does not have.
    Unsized,
    /// The client takes none of the content codings that there are.
    NotAcceptable,
}

impl From<io::Error> for RequestError {
    fn from(error: io::Error) -> RequestError {
        match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ELOOP => {
                RequestError::NotFound
            }
            // EXDEV: the path leads out of the root.
            Errno::EXDEV | Errno::EACCES | Errno::EPERM => RequestError::Forbidden,
            // EAGAIN: renames kept racing the lookup.
            Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::EAGAIN => {
                RequestError::Exhausted
            }
            _ => RequestError::Broken,
        }
    }
}

impl RequestError {
    /// The response. It shows no path of the server.
    pub(crate) fn response(self) -> Response {
        match self {
            RequestError::NotFound => Response::error(
                Status::NOT_FOUND,
                "There is nothing at this path; check how it is written.",
            ),
            RequestError::Forbidden | RequestError::Folder => Response::error(
                Status::FORBIDDEN,
                "This path may not be shown; ask the operator of this server for access.",
            ),
            RequestError::NotAcceptable => Response::error(
                Status::NOT_ACCEPTABLE,
                "This can't be sent in a content coding that accept-encoding allows; allow identity.",
            )
            .with("vary", "accept-encoding"),
            RequestError::Exhausted => Response::error(
                Status::SERVICE_UNAVAILABLE,
                "The server is short of resources; ask again in a second.",
            )
            .with("retry-after", RETRY_AFTER_S),
            RequestError::ListingsRead => Response::error(
                Status::SERVICE_UNAVAILABLE,
                "Too many clients are still reading listings of this size; ask again in a second, and accept compression, which makes a listing smaller.",
            )
            .with("retry-after", RETRY_AFTER_S),
            RequestError::Unsized => Response::error(
                Status::FORBIDDEN,
                "The file does not have the size that it states, as those of /proc and /sys; it can't be served.",
            ),
            RequestError::Broken => Response::error(
                Status::INTERNAL_SERVER_ERROR,
                "The server could not read what is at this path; tell its operator.",
            ),
        }
    }
}
