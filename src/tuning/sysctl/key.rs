//! Names of settings.

use std::fmt;
use std::path::PathBuf;

/// A setting's name as sysctl(8) writes it, `net.core.somaxconn`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Reads a name with dots or, as sysctl.d(5) allows too, slashes. `None` for what can't be
    /// a setting's name; `..` above all, so that a name never leads out of `/proc/sys`.
    pub fn parse(text: &str) -> Option<Self> {
        let slashes = text
            .find(['.', '/'])
            .is_some_and(|at| text[at..].starts_with('/'));
        // In either form the other separator is part of a component, as in net/ipv4/conf/eth0.1.
        let name: String = match slashes {
            true => text
                .chars()
                .map(|c| match c {
                    '/' => '.',
                    '.' => '/',
                    c => c,
                })
                .collect(),
            false => text.to_owned(),
        };
        let part = |part: &str| {
            !part.is_empty()
                && !part.starts_with('/')
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'))
                && !part.contains("//")
        };
        (name.contains('.') && name.split('.').all(part)).then_some(Self(name))
    }

    /// The path below `/proc/sys`.
    pub fn path(&self) -> PathBuf {
        let parts = self.0.split('.');
        parts.map(|part| part.replace('/', ".")).collect()
    }

    /// The name with dots between its parts; a `/` within a component replaces a dot (sysctl.d(5)).
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_file() {
        for text in ["net.core.somaxconn", "net/core/somaxconn"] {
            let key = Key::parse(text).expect(text);
            assert_eq!(key.as_str(), "net.core.somaxconn");
            assert_eq!(key.path(), PathBuf::from("net/core/somaxconn"));
        }
        let vlan = Key::parse("net/ipv4/conf/eth0.1/rp_filter").expect("a name");
        assert_eq!(vlan.as_str(), "net.ipv4.conf.eth0/1.rp_filter");
        assert_eq!(vlan.path(), PathBuf::from("net/ipv4/conf/eth0.1/rp_filter"));
    }

    #[test]
    fn a_name_never_leads_out() {
        for text in [
            "", "a", "..", "a..b", "../a", "a/../b", "/etc/x", "a.b c", "a./b", "a.b\n",
        ] {
            assert_eq!(Key::parse(text), None, "{text:?}");
        }
    }
}
