//! Lists of URLs with weights.

use std::fmt;
use std::io::{self, Read};

use super::target::{Origin, Target, TargetError};
use crate::load::limits;

/// A line of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedUrl {
    /// `None`: the load's default method.
    pub method: Option<String>,
    /// The URL; a path alone is on the server of the command line.
    pub target: Target,
    /// How often it is requested, relative to the others.
    pub weight: f64,
}

/// Reads a list: each line is `[METHOD] URL [WEIGHT]`; the weight is 1 by default. Skips empty
/// lines and comments, which begin with a `#` at the start of a word. A URL may be a path if there
/// is a `server`; all URLs must be of one server.
///
/// # Errors
/// Says in which line what is wrong.
pub fn read_urls(input: impl Read, server: Option<&Origin>) -> Result<Vec<ListedUrl>, UrlsError> {
    let mut text = Vec::new();
    let bytes_max = limits::URLS_BYTES_MAX;
    input.take(bytes_max + 1).read_to_end(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(UrlsError::TooLarge);
    }
    let mut urls: Vec<ListedUrl> = Vec::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let fail = |problem| UrlsError::Line {
            line: at + 1,
            problem,
        };
        let line = str::from_utf8(line).map_err(|_| fail(Problem::Form))?;
        let Some(url) = read_line(line, server).map_err(fail)? else {
            continue;
        };
        let first = server.or(urls.first().map(|first| &first.target.origin));
        if let Some(first) = first
            && *first != url.target.origin
        {
            return Err(fail(Problem::Server {
                first: first.clone(),
                other: url.target.origin,
            }));
        }
        if urls.len() == limits::URLS_MAX {
            return Err(UrlsError::TooMany);
        }
        urls.push(url);
    }
    match urls.is_empty() {
        true => Err(UrlsError::None),
        false => Ok(urls),
    }
}

fn read_line(line: &str, server: Option<&Origin>) -> Result<Option<ListedUrl>, Problem> {
    let mut words = line
        .split_ascii_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .peekable();
    let Some(first) = words.next() else {
        return Ok(None);
    };
    let is_method = first.bytes().all(|byte| byte.is_ascii_uppercase()) && words.peek().is_some();
    let (method, url) = match is_method {
        true => (Some(first.to_owned()), words.next().unwrap_or_default()),
        false => (None, first),
    };
    let weight = words.next().map_or(Ok(1.0), read_weight)?;
    if words.next().is_some() {
        return Err(Problem::Form);
    }
    let target = match server {
        Some(server) if url.starts_with('/') => {
            let mut target = Target::parse(&format!("http://-{url}")).map_err(Problem::Url)?;
            target.origin = server.clone();
            target
        }
        None if url.starts_with('/') => return Err(Problem::NoServer),
        _ => Target::parse(url).map_err(Problem::Url)?,
    };
    Ok(Some(ListedUrl {
        method,
        target,
        weight,
    }))
}

/// A weight as written: a positive number.
fn read_weight(word: &str) -> Result<f64, Problem> {
    match word.parse() {
        Ok(weight) if weight > 0.0 && weight <= 1e9 => Ok(weight),
        _ => Err(Problem::Weight(word.to_owned())),
    }
}

/// Why a list of URLs can't be used; the message continues after the list's name.
#[derive(Debug)]
pub enum UrlsError {
    /// It can't be read.
    Io(io::Error),
    /// It has more than `limits::URLS_BYTES_MAX` bytes.
    TooLarge,
    /// It has more than `limits::URLS_MAX` URLs.
    TooMany,
    /// It has no URL.
    None,
    /// A line can't be used.
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a line.
#[derive(Debug)]
pub enum Problem {
    /// It is not `[METHOD] URL [WEIGHT]`, or not UTF-8.
    Form,
    /// Its URL can't be used.
    Url(TargetError),
    /// This weight is not a number above 0 and up to 1e9.
    Weight(String),
    /// It has a path alone, and the command line names no server.
    NoServer,
    /// Its URL is of another server than those before.
    Server {
        /// The command line's server, or that of the first URL.
        first: Origin,
        /// The server of this line.
        other: Origin,
    },
}

impl From<io::Error> for UrlsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for UrlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, ": {error}"),
            Self::TooLarge => write!(
                f,
                " has more than {} bytes; leave URLs out",
                limits::URLS_BYTES_MAX
            ),
            Self::TooMany => write!(
                f,
                " has more than {} URLs; leave some out",
                limits::URLS_MAX
            ),
            Self::None => write!(f, " has no URL; write one a line"),
            Self::Line { line, problem } => write!(f, " line {line}: {problem}"),
        }
    }
}

impl std::error::Error for UrlsError {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => write!(
                f,
                "write [METHOD] URL [WEIGHT], such as: GET http://localhost:8080/a 3"
            ),
            Self::Url(error) => error.fmt(f),
            Self::Weight(word) => write!(
                f,
                "the weight \"{word}\" is not a number above 0, such as 3 or 0.5"
            ),
            Self::NoServer => write!(
                f,
                "a path needs a server; name it on the command line, such as http://localhost:8080"
            ),
            Self::Server { first, other } => write!(
                f,
                "the URLs are of two servers, {first} and {other}; run one load for each"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<(Option<String>, String, f64)>, String> {
        let server = Target::parse("http://h:81").unwrap().origin;
        let urls = read_urls(text.as_bytes(), Some(&server)).map_err(|error| error.to_string())?;
        let plain = |url: ListedUrl| (url.method, url.target.path, url.weight);
        Ok(urls.into_iter().map(plain).collect())
    }

    #[test]
    fn lines_have_method_url_and_weight() {
        let text =
            "# a list\n\nhttp://h:81/a\n/b 2.5 # often\nHEAD h:81/c 3\r\n  POST /d\n/e#f\n/GET\n";
        let line = |method: &str, path: &str, weight| {
            let method = Some(method.to_owned()).filter(|method| !method.is_empty());
            (method, path.to_owned(), weight)
        };
        assert_eq!(
            read(text).unwrap(),
            [
                line("", "/a", 1.0),
                line("", "/b", 2.5),
                line("HEAD", "/c", 3.0),
                line("POST", "/d", 1.0),
                line("", "/e", 1.0),
                line("", "/GET", 1.0),
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, words) in [
            ("/a\n/b x", " line 2: the weight \"x\""),
            ("/a 0", " line 1: the weight \"0\""),
            ("/a inf", "the weight"),
            ("/a nan", "the weight"),
            ("/a 1 2", "write [METHOD] URL"),
            ("/a\n\nhttps://h:81/", " line 3: cannot use the URL"),
            ("/a\nhttp://other/", "two servers, h:81 and other:80"),
            ("# nothing\n", " has no URL"),
            ("/a\u{e9}", "percent-encode"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
        let said = read_urls(&b"/a"[..], None).unwrap_err().to_string();
        assert!(said.contains("a path needs a server"), "{said}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(urls) = read_urls(&text[..], None) {
                prop_assert!(urls.iter().all(|url| url.weight > 0.0 && url.target.path.starts_with('/')));
            }
        }
    }
}
