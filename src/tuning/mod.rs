//! The host: the kernel's settings by profile, and what keeps a server on it from its best.

mod atomic_file;
pub mod doctor;
pub mod sysctl;
