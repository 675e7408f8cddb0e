//! The server and path of a request: URLs, Unix sockets, and `--connect-to`.

use std::fmt;
use std::io;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::str::FromStr;

use super::address::Address;

const DEFAULT_PORT: u16 = 80;

/// A server: a host and port, or a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The host as written, with brackets around an IPv6 address; `localhost` for a Unix socket.
    pub host: String,
    /// TCP port: 80 if none is written, and for a Unix socket.
    pub port: u16,
    /// The Unix socket to connect to instead of host and port.
    pub socket: Option<PathBuf>,
}

impl Origin {
    /// A host, with brackets around an IPv6 address, and a port.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            socket: None,
        }
    }

    /// The Host field's value.
    pub fn authority(&self) -> String {
        match self.port {
            DEFAULT_PORT => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// The addresses of the server, in the resolver's order. Blocks.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub fn resolve(&self) -> io::Result<Vec<Address>> {
        if let Some(socket) = &self.socket {
            return Ok(vec![Address::Unix(socket.clone())]);
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let addresses = (host, self.port).to_socket_addrs()?;
        let addresses: Vec<Address> = addresses.map(Address::from).collect();
        match addresses.is_empty() {
            true => Err(io::Error::other("the name has no address")),
            false => Ok(addresses),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "unix:{}", socket.display()),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Which server to connect to for the URLs of a host and port, as curl's `--connect-to`:
/// `HOST1:PORT1:HOST2:PORT2`, each of which may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTo {
    /// `None`: any.
    from_host: Option<String>,
    from_port: Option<u16>,
    /// `None`: the URL's own.
    to_host: Option<String>,
    to_port: Option<u16>,
}

impl ConnectTo {
    /// The server to connect to for `origin`: by the first of `all` that names it, or itself.
    pub fn apply(all: &[Self], origin: &Origin) -> Origin {
        let names = |to: &&Self| {
            let host = to.from_host.as_ref();
            origin.socket.is_none()
                && host.is_none_or(|host| host.eq_ignore_ascii_case(&origin.host))
                && to.from_port.is_none_or(|port| port == origin.port)
        };
        match all.iter().find(names) {
            None => origin.clone(),
            Some(to) => Origin::tcp(
                to.to_host.clone().unwrap_or_else(|| origin.host.clone()),
                to.to_port.unwrap_or(origin.port),
            ),
        }
    }
}

/// Why a text is not a `--connect-to` rule; the message continues after the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectToError;

impl fmt::Display for ConnectToError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "is not HOST1:PORT1:HOST2:PORT2, of which each may be empty, such as \
             example.org:80:127.0.0.1:8080 or ::[::1]:8080",
        )
    }
}

impl std::error::Error for ConnectToError {}

impl FromStr for ConnectTo {
    type Err = ConnectToError;

    fn from_str(text: &str) -> Result<Self, ConnectToError> {
        let (from_host, rest) = host_before_colon(text)?;
        let (from_port, rest) = rest.split_once(':').ok_or(ConnectToError)?;
        let (to_host, to_port) = host_before_colon(rest)?;
        let host = |host: &str| match host {
            "" => Ok(None),
            host if host.chars().all(is_in_host) => Ok(Some(host.to_owned())),
            _ => Err(ConnectToError),
        };
        let port = |port: &str| match port {
            "" => Ok(None),
            port => port.parse().map(Some).map_err(|_| ConnectToError),
        };
        Ok(Self {
            from_host: host(from_host)?,
            from_port: port(from_port)?,
            to_host: host(to_host)?,
            to_port: port(to_port)?,
        })
    }
}

/// A host, which has colons only within brackets, and what follows the colon behind it.
fn host_before_colon(text: &str) -> Result<(&str, &str), ConnectToError> {
    let from = match text.starts_with('[') {
        true => text.find(']').ok_or(ConnectToError)?,
        false => 0,
    };
    let colon = text[from..].find(':').ok_or(ConnectToError)? + from;
    Ok((&text[..colon], &text[colon + 1..]))
}

fn is_in_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._:[]%".contains(c)
}

/// A URL: an origin, and a request target in origin form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The server that the URL names.
    pub origin: Origin,
    /// Begins with a slash; with the query.
    pub path: String,
}

impl Target {
    /// Reads `http://host[:port][/path][?query]`, whose scheme may be left out, as with curl; or
    /// `unix:SOCKET[:/path[?query]]`, as in nginx.
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
            Some((scheme, _)) if !scheme.starts_with("unix:") => {
                return Err(fail(Problem::Scheme(scheme.to_owned())));
            }
            _ => url,
        };
        // With a scheme before it, a relative path would be parsed as a host and port.
        let socket = match url.strip_prefix("unix:") {
            None => rest
                .strip_prefix("unix:")
                .filter(|path| path.starts_with('/')),
            path => path,
        };
        if let Some(socket) = socket {
            return Self::of_socket(socket).map_err(fail);
        }
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
        let bracketed = host.starts_with('[') == host.ends_with(']');
        if host.is_empty() || !host.chars().all(is_in_host) || !bracketed {
            return Err(fail(Problem::Host));
        }
        Self::new(Origin::tcp(host, port), path).map_err(fail)
    }

    /// Reads what follows `unix:`.
    fn of_socket(rest: &str) -> Result<Self, Problem> {
        let (socket, path) = rest.split_once(":/").unwrap_or((rest, ""));
        if socket.is_empty() || socket.contains('\0') {
            return Err(Problem::Socket);
        }
        let origin = Origin {
            host: "localhost".to_owned(),
            port: DEFAULT_PORT,
            socket: Some(PathBuf::from(socket)),
        };
        let path = path.split('#').next().unwrap_or(path);
        Self::new(origin, &format!("/{path}"))
    }

    fn new(origin: Origin, path: &str) -> Result<Self, Problem> {
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::Path);
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            origin,
            path: format!("{slash}{path}"),
        })
    }

    /// The URL by which a report names it.
    pub fn url(&self) -> String {
        match &self.origin.socket {
            Some(_) => format!("{}:{}", self.origin, self.path),
            None => format!("http://{}{}", self.origin.authority(), self.path),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.origin.socket.is_some() {
            ":"
        } else {
            ""
        };
        write!(f, "{}{colon}{}", self.origin, self.path)
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
    Socket,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the URL \"{}\": ", self.url)?;
        match &self.problem {
            Problem::Scheme(scheme) => {
                write!(f, "only http:// is supported, not {scheme}://")
            }
            Problem::User => write!(
                f,
                "it has a user name; send it with -H 'Authorization: ...' instead"
            ),
            Problem::Host => write!(f, "it has no host; write it like http://localhost:8080/"),
            Problem::Port => write!(f, "its port is not a number from 0 to 65535"),
            Problem::Socket => write!(
                f,
                "it names no socket; write it like unix:/run/headwater.sock:/path"
            ),
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
            ("http://unix:81/p", "unix", 81, "/p"),
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
        assert_eq!(
            origin.resolve().unwrap(),
            [Address::Tcp("[::1]:81".parse().unwrap())]
        );
    }

    #[test]
    fn unix_sockets_are_targets() {
        for (url, socket, path, shown) in [
            ("unix:/run/a.sock", "/run/a.sock", "/", "unix:/run/a.sock:/"),
            ("unix:a.sock:/b?c#d", "a.sock", "/b?c", "unix:a.sock:/b?c"),
            ("http://unix:/a:/b", "/a", "/b", "unix:/a:/b"),
            ("unix:/a:/http://x", "/a", "/http://x", "unix:/a:/http://x"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.path.as_str(), target.url().as_str()), (path, shown));
            assert_eq!(target.origin.authority(), "localhost");
            let wanted = [Address::Unix(PathBuf::from(socket))];
            assert_eq!(target.origin.resolve().unwrap(), wanted);
            assert_eq!(Target::parse(&target.to_string()), Ok(target), "{url}");
        }
        for url in ["unix:", "unix::/a"] {
            let said = Target::parse(url).unwrap_err().to_string();
            assert!(said.contains("names no socket"), "{said}");
        }
    }

    #[test]
    fn connections_are_led_elsewhere_as_curl_does() {
        let origin = |url: &str| Target::parse(url).unwrap().origin;
        let to = |rules: &[&str], url: &str| {
            let rules: Vec<ConnectTo> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            ConnectTo::apply(&rules, &origin(url)).to_string()
        };
        let rule = "example.org:80:127.0.0.1:8080";
        assert_eq!(to(&[rule], "http://EXAMPLE.org/"), "127.0.0.1:8080");
        assert_eq!(to(&[rule], "http://example.org:81/"), "example.org:81");
        assert_eq!(to(&["::[::1]:9"], "http://a/"), "[::1]:9");
        assert_eq!(to(&["::b:"], "http://a:7/"), "b:7");
        assert_eq!(to(&["a:::7"], "http://a/"), "a:7");
        assert_eq!(to(&["[::2]:80::7"], "http://[::2]/"), "[::2]:7");
        assert_eq!(
            to(&["x:1:y:2", rule], "http://example.org/"),
            "127.0.0.1:8080"
        );
        assert_eq!(to(&["::b:1"], "unix:/a"), "unix:/a");
        for bad in [
            "",
            "a",
            "a:1",
            "a:1:b",
            "a:x:b:1",
            "a:1:b:2:3",
            "a b:1:c:2",
            "[::1:1:b:2",
        ] {
            assert_eq!(bad.parse::<ConnectTo>(), Err(ConnectToError), "{bad}");
        }
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
