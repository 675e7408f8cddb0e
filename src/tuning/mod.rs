//! Tuning of the host: the kernel's settings by profile ([`sysctl`]), and checks for what slows a
//! server down or limits it ([`doctor`]).

mod atomic_file;
pub mod doctor;
pub mod sysctl;
