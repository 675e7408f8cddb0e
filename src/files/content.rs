//! Where the bytes of a representation are.

use std::rc::Rc;

use bytes::Bytes;

use crate::http::Prepared;
use crate::sys::file::File;

/// Where a representation's bytes are.
#[derive(Debug)]
pub(crate) enum Content {
    /// All in memory; no descriptor is held. The second is there if it is cached.
    Memory(Bytes, Option<Rc<Prepared>>),
    /// Behind a descriptor.
    Open(Rc<File>),
}
