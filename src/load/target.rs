//! Whom a load goes to.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

const DEFAULT_PORT: u16 = 80;

/// A host and port, and what their name stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// As written, with brackets around an IPv6 address.
    pub host: String,
    pub port: u16,
}

impl Origin {
    /// The Host field's value.
    pub fn authority(&self) -> String {
        match self.port {
            DEFAULT_PORT => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The addresses of the host, in the resolver's order. Blocks.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses: Vec<_> = (host, self.port).to_socket_addrs()?.collect();
        match addresses.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(addresses),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A URL: an origin, and a request target in origin form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub origin: Origin,
    /// Begins with a slash; with the query.
    pub path: String,
}

impl Target {
    /// Reads `http://host[:port][/path][?query]`; the scheme may be left out, as with curl.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let fail = |problem| TargetError {
            url: url.to_owned(),
            problem,
        };
        let rest = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => return Err(fail(Problem::Scheme(scheme.to_owned()))),
            None => url,
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err(fail(Problem::User));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => match port {
                "" => (host, DEFAULT_PORT),
                _ => (host, port.parse().map_err(|_| fail(Problem::Port))?),
            },
            _ => (authority, DEFAULT_PORT),
        };
        let good = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        let bracketed = host.starts_with('[') == host.ends_with(']');
        if host.is_empty() || !host.chars().all(good) || !bracketed {
            return Err(fail(Problem::Host));
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fail(Problem::Path));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            origin: Origin {
                host: host.to_owned(),
                port,
            },
            path: format!("{slash}{path}"),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

/// A URL that can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    url: String,
    problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Problem {
    Scheme(String),
    User,
    Host,
    Port,
    Path,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the URL \"{}\": ", self.url)?;
        match &self.problem {
            Problem::Scheme(scheme) => {
                write!(f, "only http:// is spoken, not {scheme}://")
            }
            Problem::User => write!(
                f,
                "it has a user name; send it with -H 'Authorization: ...' instead"
            ),
            Problem::Host => write!(f, "it has no host; write it like http://localhost:8080/"),
            Problem::Port => write!(f, "its port is not a number from 0 to 65535"),
            Problem::Path => write!(
                f,
                "its path has a space, a control byte or a letter beyond ASCII; percent-encode it"
            ),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        for (url, host, port, path) in [
            ("http://localhost:8080/a?b#c", "localhost", 8080, "/a?b"),
            ("HTTP://example.org", "example.org", 80, "/"),
            ("127.0.0.1:80", "127.0.0.1", 80, "/"),
            ("http://[::1]:81?x=1", "[::1]", 81, "/?x=1"),
            ("[::1]/", "[::1]", 80, "/"),
            ("host:/p", "host", 80, "/p"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(
                (target.origin.host.as_str(), target.origin.port),
                (host, port),
                "{url}"
            );
            assert_eq!(target.path, path, "{url}");
        }
        let origin = Target::parse("http://[::1]:81/").unwrap().origin;
        assert_eq!(origin.authority(), "[::1]:81");
        assert_eq!(origin.resolve().unwrap(), ["[::1]:81".parse().unwrap()]);
    }

    #[test]
    fn what_is_no_url_says_why() {
        for (url, words) in [
            ("https://x/", "not https://"),
            ("http://u:p@x/", "user name"),
            ("http:///x", "no host"),
            ("", "no host"),
            ("http://a b/", "no host"),
            ("http://x:99999/", "port"),
            ("http://x:y/", "port"),
            ("http://x/a b", "percent-encode"),
            ("http://x/é", "percent-encode"),
        ] {
            let message = Target::parse(url).unwrap_err().to_string();
            assert!(message.contains(words), "{url}: {message}");
        }
    }
}
