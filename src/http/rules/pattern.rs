//! Patterns of paths: `*.m3u8`, `/assets/**`, `*.{js,css}`.

use std::fmt;

use crate::limits;

/// A compiled pattern of paths.
///
/// `*` stands for any run of bytes without a slash, `?` for one such byte, `**` for any run with
/// slashes, and `{a,b}` for either of its alternatives. A pattern without a slash is compared with
/// the last segment of a path, any other with the whole path from the root. `**/` also stands for
/// no folder at all, so that `/a/**/b` matches `/a/b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    whole_path: bool,
    alternatives: Vec<Vec<Token>>,
}

/// One state of the automaton that a pattern is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// One byte that is no slash.
    AnyByte,
    /// Any run of bytes that are no slash.
    Star,
    /// Any run of bytes.
    DoubleStar,
    /// Skips this many further states, or none.
    MaySkip(usize),
    /// A whole name that carries a hash of the content.
    HashedName,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It has no characters.
    Empty,
    /// It is longer than [`limits::PATTERN_BYTES_MAX`].
    TooLong,
    /// A brace has no counterpart, or stands inside other braces.
    Braces,
    /// Its braces stand for more than [`limits::PATTERN_ALTERNATIVES_MAX`] patterns.
    TooManyAlternatives,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("an empty pattern matches nothing; write /** for every path")
            }
            Self::TooLong => write!(
                f,
                "a pattern has at most {} bytes",
                limits::PATTERN_BYTES_MAX
            ),
            Self::Braces => f.write_str("a brace is not closed or nested; write *.{js,css}"),
            Self::TooManyAlternatives => write!(
                f,
                "the braces stand for more than {} patterns; write several rules",
                limits::PATTERN_ALTERNATIVES_MAX
            ),
        }
    }
}

impl std::error::Error for PatternError {}

impl std::str::FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<PathPattern, PatternError> {
        match text.len() {
            0 => return Err(PatternError::Empty),
            len if len > limits::PATTERN_BYTES_MAX => return Err(PatternError::TooLong),
            _ => {}
        }
        let whole_path = text.contains('/') || text.contains("**");
        let alternatives = expand_braces(text)?;
        let alternatives = alternatives.iter().map(|text| {
            let rooted = match whole_path && !text.starts_with('/') && !text.starts_with("**") {
                true => format!("/{text}"),
                false => text.clone(),
            };
            compile(rooted.as_bytes())
        });
        Ok(PathPattern {
            whole_path,
            alternatives: alternatives.collect(),
        })
    }
}

impl PathPattern {
    /// Matches names with a hash of the content in them, as build tools write them; see
    /// [`is_hashed_name`].
    pub fn hashed_names() -> PathPattern {
        PathPattern {
            whole_path: false,
            alternatives: vec![vec![Token::HashedName]],
        }
    }

    /// Whether it is one of `/**`, `**`, `/**/*`, `**/*` and `*`, which match every path.
    pub fn matches_every(&self) -> bool {
        use Token::{Byte, DoubleStar, MaySkip, Star};
        self.alternatives.iter().any(|tokens| {
            let tokens = tokens.strip_prefix(&[Byte(b'/')]).unwrap_or(tokens);
            match tokens {
                [DoubleStar] | [MaySkip(_), DoubleStar, Byte(b'/'), Star] => true,
                [Star] => !self.whole_path,
                _ => false,
            }
        })
    }

    /// Whether `path`, percent-decoded and beginning with a slash, fits the pattern. Takes time
    /// in proportion to the product of both lengths.
    pub fn matches(&self, path: &[u8]) -> bool {
        let subject = match self.whole_path {
            true => path,
            false => last_segment(path),
        };
        let mut tokens = self.alternatives.iter();
        tokens.any(|tokens| match tokens[..] {
            [Token::HashedName] => is_hashed_name(subject),
            _ => run(tokens, subject),
        })
    }
}

fn last_segment(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    &path[slash.map_or(0, |slash| slash + 1)..]
}

/// All texts that a text with `{a,b}` stands for.
fn expand_braces(text: &str) -> Result<Vec<String>, PatternError> {
    let mut texts = vec![String::new()];
    let mut rest = text;
    while let Some(open) = rest.find(['{', '}']) {
        let (before, braced) = rest.split_at(open);
        let close = braced[1..].find(['{', '}']).map(|at| at + 1);
        let Some(close) =
            close.filter(|&at| braced.starts_with('{') && braced[at..].starts_with('}'))
        else {
            return Err(PatternError::Braces);
        };
        let choices = braced[1..close].split(',');
        let count = texts.len().saturating_mul(choices.clone().count());
        if count > limits::PATTERN_ALTERNATIVES_MAX {
            return Err(PatternError::TooManyAlternatives);
        }
        texts = choices
            .flat_map(|choice| {
                texts
                    .iter()
                    .map(move |text| format!("{text}{before}{choice}"))
            })
            .collect();
        rest = &braced[close + 1..];
    }
    texts.iter_mut().for_each(|text| text.push_str(rest));
    Ok(texts)
}

fn compile(pattern: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some((&first, after)) = rest.split_first() {
        let is_double = rest.starts_with(b"**");
        if is_double {
            let after_stars = rest
                .iter()
                .position(|&byte| byte != b'*')
                .unwrap_or(rest.len());
            rest = &rest[after_stars..];
            // A whole segment `**` also stands for no segment.
            let whole_segment = matches!(tokens.last(), None | Some(Token::Byte(b'/')));
            if whole_segment && rest.first() == Some(&b'/') {
                tokens.push(Token::MaySkip(2));
            }
            tokens.push(Token::DoubleStar);
            continue;
        }
        tokens.push(match first {
            b'*' => Token::Star,
            b'?' => Token::AnyByte,
            byte => Token::Byte(byte),
        });
        rest = after;
    }
    tokens
}

/// Runs the automaton: all states that the bytes so far lead to, side by side.
fn run(tokens: &[Token], subject: &[u8]) -> bool {
    let end = tokens.len();
    let (mut states, mut next) = (vec![false; end + 1], vec![false; end + 1]);
    enter(tokens, &mut states, 0);
    for &byte in subject {
        // No state is left: nothing that follows can match.
        if !states.contains(&true) {
            return false;
        }
        next.fill(false);
        for at in (0..end).filter(|&at| states[at]) {
            match tokens[at] {
                Token::Byte(wanted) if wanted == byte => enter(tokens, &mut next, at + 1),
                Token::AnyByte if byte != b'/' => enter(tokens, &mut next, at + 1),
                Token::Star if byte != b'/' => enter(tokens, &mut next, at),
                Token::DoubleStar => enter(tokens, &mut next, at),
                _ => {}
            }
        }
        std::mem::swap(&mut states, &mut next);
    }
    states[end]
}

/// Marks a state and those that are reached from it without a byte.
fn enter(tokens: &[Token], states: &mut [bool], at: usize) {
    if states[at] {
        return;
    }
    states[at] = true;
    match tokens.get(at) {
        Some(Token::Star | Token::DoubleStar) => enter(tokens, states, at + 1),
        Some(Token::MaySkip(count)) => {
            enter(tokens, states, at + 1);
            enter(tokens, states, at + 1 + count);
        }
        _ => {}
    }
}

/// Fewest characters of a hash in a name: what Vite, esbuild, Parcel and webpack write at least.
const HASH_CHARS_MIN: usize = 8;

/// Whether a file name carries a hash of its content: `app.3f2a9c1b.js`, `index-BX2k9Qaz.css`.
///
/// A part of the name between dots, dashes or underscores, neither the first nor the extension,
/// is taken for a hash when it has at least eight characters and is hexadecimal with digits and
/// letters, or has capitals and a digit with a letter after it. Words, dates and version numbers
/// are not, and neither is one hash in a few: a name that is taken for a plain one costs a
/// revalidation, the opposite error would pin a stale file for a year.
pub fn is_hashed_name(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else {
        return false;
    };
    let parts = name[..dot].split(|byte| matches!(byte, b'.' | b'-' | b'_'));
    parts.skip(1).any(is_hash)
}

fn is_hash(part: &[u8]) -> bool {
    let has = |test: fn(&u8) -> bool| part.iter().any(test);
    if part.len() < HASH_CHARS_MIN || !part.iter().all(u8::is_ascii_alphanumeric) {
        return false;
    }
    let is_hexadecimal = part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let digit_then_letter = part
        .windows(2)
        .any(|two| two[0].is_ascii_digit() && two[1].is_ascii_alphabetic());
    match is_hexadecimal {
        true => has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic),
        false => has(u8::is_ascii_uppercase) && digit_then_letter,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let pattern: PathPattern = pattern.parse().expect(pattern);
        pattern.matches(path.as_bytes())
    }

    #[test]
    fn some_patterns_match_every_path() {
        for pattern in [
            "/**", "**", "/**/*", "**/*", "*", "/a/{b,c}", "***", "{/x,/**}",
        ] {
            let every = pattern != "/a/{b,c}";
            let compiled: PathPattern = pattern.parse().unwrap();
            assert_eq!(compiled.matches_every(), every, "{pattern}");
            for path in [&b"/"[..], b"/a", b"/a/", b"/a/b.c/\xff"] {
                assert!(!every || compiled.matches(path), "{pattern}");
            }
        }
        for pattern in ["/*", "/a/**", "*.*", "?*", "/**/a", "/**/"] {
            let compiled: PathPattern = pattern.parse().unwrap();
            assert!(!compiled.matches_every(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_names_and_others_are_for_paths() {
        for (pattern, yes, no) in [
            (
                "*.m3u8",
                &["/a.m3u8", "/x/y/a.m3u8", "/.m3u8"][..],
                &["/a.m3u8/x", "/a.m3u"][..],
            ),
            (
                "index.html",
                &["/index.html", "/a/index.html"],
                &["/xindex.html"],
            ),
            ("/index.html", &["/index.html"], &["/a/index.html"]),
            ("assets/*", &["/assets/a"], &["/assets/a/b", "/x/assets/a"]),
            (
                "/assets/**",
                &["/assets/", "/assets/a", "/assets/a/b"],
                &["/assets", "/assetsx/a"],
            ),
            ("/**", &["/", "/a", "/a/b/"], &[]),
            ("**", &["/", "/a/b"], &[]),
            (
                "/a/**/b",
                &["/a/b", "/a/x/b", "/a/x/y/b"],
                &["/a/xb", "/ab"],
            ),
            ("**/b", &["/b", "/x/b"], &["/xb"]),
            (
                "*.{js,css}",
                &["/a.js", "/x/a.css"],
                &["/a.j", "/a.{js,css}"],
            ),
            ("/{a,b}/*.{x,}", &["/a/1.x", "/b/1."], &["/c/1.x"]),
            ("a?c", &["/abc"], &["/ac", "/a/c"]),
            ("*", &["/a", "/a/b", "/a/"], &[]),
            ("/*", &["/a", "/"], &["/a/b"]),
            ("/[a]", &["/[a]"], &["/a"]),
        ] {
            for path in yes {
                assert!(matches(pattern, path), "{pattern} {path}");
            }
            for path in no {
                assert!(!matches(pattern, path), "{pattern} {path}");
            }
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for (text, error) in [
            ("", PatternError::Empty),
            ("{a", PatternError::Braces),
            ("a}", PatternError::Braces),
            ("{a,{b}}", PatternError::Braces),
            (
                "{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}{a,b,c,d,e,f,g,h}",
                PatternError::TooManyAlternatives,
            ),
        ] {
            assert_eq!(text.parse::<PathPattern>(), Err(error), "{text}");
        }
        let long = "a".repeat(limits::PATTERN_BYTES_MAX + 1);
        assert_eq!(long.parse::<PathPattern>(), Err(PatternError::TooLong));
    }

    #[test]
    fn hashes_are_told_from_words_dates_and_versions() {
        for name in [
            "app.3f2a9c1b.js",
            "index-BX2k9Qaz.css",
            "chunk-IXG3J4KP.js",
            "main.8d1f0a6be9c0d1e2f3a4.chunk.js",
            "logo_0a1b2c3d.svg",
        ] {
            assert!(is_hashed_name(name.as_bytes()), "{name}");
        }
        for name in [
            "index.html",
            "jquery-3.7.1.min.js",
            "report-20240131.pdf",
            "my-DataTable.js",
            "app-version2.js",
            "photo-DSC00012.jpg",
            "IMG_20240131.jpg",
            "deadbeef0.js",
            "a-background.js",
            "noextension-3f2a9c1b",
            "a-3f2a9c1.js",
        ] {
            assert!(!is_hashed_name(name.as_bytes()), "{name}");
        }
    }

    /// The meaning of a pattern of literals, `?`, `*` and `**` without a special `**/`.
    fn naive(pattern: &[u8], subject: &[u8]) -> bool {
        match (pattern, subject) {
            ([], _) => subject.is_empty(),
            ([b'*', b'*', rest @ ..], _) => {
                (0..=subject.len()).any(|skipped| naive(rest, &subject[skipped..]))
            }
            ([b'*', rest @ ..], _) => (0..=subject.len())
                .take_while(|&skipped| !subject[..skipped].contains(&b'/'))
                .any(|skipped| naive(rest, &subject[skipped..])),
            ([b'?', rest @ ..], [byte, after @ ..]) => *byte != b'/' && naive(rest, after),
            ([wanted, rest @ ..], [byte, after @ ..]) => wanted == byte && naive(rest, after),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_the_meaning(pattern in "/[ab*?]{0,8}", path in "/[ab/]{0,8}") {
            prop_assert_eq!(matches(&pattern, &path), naive(pattern.as_bytes(), path.as_bytes()));
        }

        #[test]
        fn anything_is_a_pattern_or_an_error(text in ".{0,40}", path in "/.{0,20}") {
            if let Ok(pattern) = text.parse::<PathPattern>() {
                pattern.matches(path.as_bytes());
            }
        }
    }
}
