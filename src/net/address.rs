//! Parses addresses to listen on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// Longest path that fits `sun_path` with its NUL (`unix(7)`).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// An address to listen on. Displayed in a form that can be parsed again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ListenAddr {
    /// Every interface: IPv6 and IPv4 by one dual-stack socket where the host has
    /// IPv6, else IPv4 alone. Written `8080`, `:8080` or `*:8080`.
    Any(u16),
    /// This host alone. Written `localhost:8080`; [`ListenAddr::expand`] returns its addresses, and
    /// listening on it without expanding uses the first.
    Localhost(u16),
    /// One IP address. `[::]` is every interface by IPv6 only.
    Tcp(SocketAddr),
    /// A Unix socket's file. Written `unix:/run/x.sock` or `/run/x.sock`.
    Unix(PathBuf),
}

impl ListenAddr {
    /// The addresses to listen on for this one: 127.0.0.1 and ::1 for [`ListenAddr::Localhost`],
    /// any other address itself. A port of 0 stays one address, since two would each be given a
    /// different port.
    pub fn expand(&self) -> Vec<ListenAddr> {
        match *self {
            ListenAddr::Localhost(port) => {
                let v4 = ListenAddr::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
                let v6 = ListenAddr::Tcp(SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
                if port == 0 || !super::local_ip::has_ipv6_loopback() {
                    vec![v4]
                } else {
                    vec![v4, v6]
                }
            }
            _ => vec![self.clone()],
        }
    }

    /// The port, where there is one.
    pub fn port(&self) -> Option<u16> {
        match self {
            ListenAddr::Any(port) | ListenAddr::Localhost(port) => Some(*port),
            ListenAddr::Tcp(address) => Some(address.port()),
            ListenAddr::Unix(_) => None,
        }
    }
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(text: &str) -> Result<ListenAddr, ListenAddrError> {
        let fail = |problem| ListenAddrError {
            text: text.to_owned(),
            problem,
        };
        let trimmed = text.trim();
        let path = trimmed
            .strip_prefix("unix:")
            .or_else(|| trimmed.starts_with('/').then_some(trimmed));
        if let Some(path) = path {
            return match path {
                "" => Err(fail(Problem::NoPath)),
                _ if path.contains('\0') => Err(fail(Problem::NulInPath)),
                _ if path.len() > UNIX_PATH_BYTES_MAX => Err(fail(Problem::PathTooLong)),
                _ => Ok(ListenAddr::Unix(PathBuf::from(path))),
            };
        }
        if let Ok(address) = trimmed.parse::<SocketAddr>() {
            return Ok(ListenAddr::Tcp(address));
        }
        if trimmed.parse::<IpAddr>().is_ok() {
            return Err(fail(Problem::NoPort));
        }
        let (host, port) = trimmed.rsplit_once(':').unwrap_or(("", trimmed));
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fail(Problem::NoPort));
        }
        let port = port.parse().map_err(|_| fail(Problem::PortTooLarge))?;
        match host {
            "" | "*" => Ok(ListenAddr::Any(port)),
            _ if host.eq_ignore_ascii_case("localhost") => Ok(ListenAddr::Localhost(port)),
            _ => Err(fail(Problem::UnknownHost)),
        }
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Any(port) => write!(f, "*:{port}"),
            ListenAddr::Localhost(port) => write!(f, "localhost:{port}"),
            ListenAddr::Tcp(address) => address.fmt(f),
            ListenAddr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Text that isn't an address to listen on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenAddrError {
    text: String,
    problem: Problem,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Problem {
    NoPath,
    NulInPath,
    PathTooLong,
    NoPort,
    PortTooLarge,
    UnknownHost,
}

impl fmt::Display for ListenAddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on \"{}\": ", self.text)?;
        match self.problem {
            Problem::NoPath => write!(f, "the socket's path is missing")?,
            Problem::NulInPath => write!(f, "the socket's path contains a NUL byte")?,
            Problem::PathTooLong => write!(
                f,
                "a Unix socket's path may have {UNIX_PATH_BYTES_MAX} bytes at most"
            )?,
            Problem::NoPort => write!(f, "it has no port number")?,
            Problem::PortTooLarge => write!(f, "ports go up to 65535")?,
            Problem::UnknownHost => write!(f, "its host is no IP address of this machine's own")?,
        }
        write!(
            f,
            "; write 8080, 127.0.0.1:8080, [::1]:8080, localhost:8080 or unix:/run/headwater.sock"
        )
    }
}

impl std::error::Error for ListenAddrError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ListenAddr {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        for text in ["8080", ":8080", "*:8080", " 8080 "] {
            assert_eq!(parse(text), ListenAddr::Any(8080), "{text}");
        }
        assert_eq!(
            parse("127.0.0.1:80"),
            ListenAddr::Tcp(([127, 0, 0, 1], 80).into())
        );
        assert_eq!(
            parse("[::1]:80"),
            ListenAddr::Tcp((Ipv6Addr::LOCALHOST, 80).into())
        );
        assert_eq!(parse("LocalHost:0"), ListenAddr::Localhost(0));
        for text in ["unix:/run/x.sock", "/run/x.sock"] {
            assert_eq!(parse(text), ListenAddr::Unix("/run/x.sock".into()));
        }
        assert_eq!(parse("unix:x.sock"), ListenAddr::Unix("x.sock".into()));
    }

    #[test]
    fn display_can_be_read_again() {
        for text in ["*:1", "localhost:2", "1.2.3.4:5", "[::]:6", "unix:/x"] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_fault_and_the_forms() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (text, words) in [
            ("", "no port"),
            ("localhost", "no port"),
            ("127.0.0.1", "no port"),
            ("::1", "no port"),
            ("127.0.0.1:", "no port"),
            ("127.0.0.1:http", "no port"),
            (":+80", "no port"),
            ("65536", "up to 65535"),
            ("127.0.0.1:65536", "up to 65535"),
            ("example.com:80", "no IP address"),
            ("::1:80x", "no port"),
            ("unix:", "path is missing"),
            ("unix:/a\0b", "NUL"),
            (&long, "107 bytes"),
        ] {
            let message = text.parse::<ListenAddr>().unwrap_err().to_string();
            assert!(message.contains(words), "{text:?}: {message}");
            assert!(message.contains("127.0.0.1:8080"), "{message}");
        }
    }

    #[test]
    fn localhost_is_every_loopback_address() {
        let expanded = parse("localhost:9").expand();
        assert_eq!(expanded[0], parse("127.0.0.1:9"));
        assert!(expanded[1..].iter().all(|other| *other == parse("[::1]:9")));
        assert_eq!(parse("localhost:0").expand(), [parse("127.0.0.1:0")]);
        assert_eq!(parse("*:9").expand(), [parse("*:9")]);
    }
}
