//! The kernel's release, and single settings of the kernel.

use std::fmt;
use std::fs;
use std::io;

/// The leading numbers of a kernel release; ordered, so that it can be compared with a required
/// version.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KernelVersion {
    /// 6 in 6.18.
    pub major: u32,
    /// 18 in 6.18.
    pub minor: u32,
}

impl KernelVersion {
    /// Reads the start of a release such as `6.18.44-lts`; `None` without two numbers.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let (major, rest) = release.split_once('.')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        Some(KernelVersion {
            major: major.parse().ok()?,
            minor: rest[..digits].parse().ok()?,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The running kernel's release, as `uname -r` prints it.
pub fn kernel_release() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?
        .trim_end()
        .to_owned())
}

/// `kernel.io_uring_disabled` (Linux 6.6): 0 allowed, 1 only for
/// `kernel.io_uring_group` and administrators, 2 forbidden; `None` where the kernel has no such switch.
pub fn io_uring_disabled() -> Option<u32> {
    number("/proc/sys/kernel/io_uring_disabled")
}

/// `net.core.somaxconn`, to which `listen(2)` cuts every backlog; `None` where
/// `/proc` isn't readable.
pub fn somaxconn() -> Option<u32> {
    number("/proc/sys/net/core/somaxconn")
}

/// A number below `net.ipv4`, by its name; `None` where this kernel has none.
pub fn net_ipv4(name: &str) -> Option<u32> {
    number(&format!("/proc/sys/net/ipv4/{name}"))
}

fn number(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse_and_compare() {
        let version = KernelVersion::parse("6.18.44-fc").unwrap();
        assert_eq!(version.to_string(), "6.18");
        assert_eq!(
            KernelVersion::parse("5.19-rc1").unwrap().to_string(),
            "5.19"
        );
        assert!(version > KernelVersion { major: 6, minor: 1 });
        assert!(version < KernelVersion { major: 7, minor: 0 });
        assert_eq!(KernelVersion::parse("6"), None);
        assert_eq!(KernelVersion::parse("6.x"), None);
        assert_eq!(KernelVersion::parse(""), None);
    }
}
