//! Changes to responses, as configured: plain data that a site or a route can carry, too.

use std::collections::BTreeMap;

/// Changes to responses. The server parses the texts (`server::response_rules`).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Responses {
    /// Names of presets, each a set of rules that precede `headers`.
    pub presets: Vec<String>,
    /// Origins whose scripts may read responses, or `*` alone; empty: no CORS header lines.
    pub cors: Vec<String>,
    /// Path of the file that is served for missing paths if the client accepts HTML; `None`: 404.
    pub fallback: Option<String>,
    /// Rules for header lines; a later one wins.
    pub headers: Vec<HeaderRule>,
    /// Path of the file that is the body of a response, by its status.
    pub error_pages: BTreeMap<String, String>,
}

/// Changes to the header lines of some responses: one `[[headers]]`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderRule {
    /// Patterns of paths, at least one.
    pub paths: Vec<String>,
    /// Statuses (`404`) and classes of them (`4xx`); empty: success and redirection.
    pub statuses: Vec<String>,
    /// Whether the rule applies to all statuses.
    pub always: bool,
    /// Fields to remove.
    pub remove: Vec<String>,
    /// Fields to set, each with its value.
    pub set: Vec<(String, String)>,
    /// Lines to add.
    pub add: Vec<(String, String)>,
}

/// The pattern that matches every path.
pub(super) const EVERY_PATH: &str = "/**";

impl HeaderRule {
    /// From a flag: `NAME: VALUE`, as in curl, or `PATTERN: NAME: VALUE`. Without a value the field
    /// is removed. A text that has a slash, a dot, an asterisk, a question mark or a brace before
    /// its first colon begins with a pattern.
    pub(super) fn from_flag(text: &str) -> Option<HeaderRule> {
        let (first, rest) = text.split_once(':')?;
        let (path, name, value) = match first.contains(['/', '.', '*', '?', '{']) {
            true => {
                let (name, value) = rest.split_once(':')?;
                (first.trim(), name.trim(), value.trim())
            }
            false => (EVERY_PATH, first.trim(), rest.trim()),
        };
        let mut rule = HeaderRule {
            paths: vec![path.to_owned()],
            ..HeaderRule::default()
        };
        match value {
            "" => rule.remove.push(name.to_owned()),
            _ => rule.set.push((name.to_owned(), value.to_owned())),
        }
        Some(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_is_a_header_line_with_or_without_a_pattern() {
        let parts = |text: &str| {
            let rule = HeaderRule::from_flag(text).expect(text);
            let change = match &rule.set[..] {
                [(name, value)] => format!("{name}={value}"),
                _ => format!("-{}", rule.remove[0]),
            };
            (rule.paths[0].clone(), change)
        };
        for (text, path, change) in [
            ("X-Frame-Options: DENY", "/**", "X-Frame-Options=DENY"),
            (
                "Link: <https://a.b/c>; rel=x",
                "/**",
                "Link=<https://a.b/c>; rel=x",
            ),
            (
                "/a/**: Cache-Control: no-cache",
                "/a/**",
                "Cache-Control=no-cache",
            ),
            (
                "*.{js,css}:Cache-Control:max-age=1",
                "*.{js,css}",
                "Cache-Control=max-age=1",
            ),
            ("index.html: X: y: z", "index.html", "X=y: z"),
            ("ETag:", "/**", "-ETag"),
            ("*.ts: Last-Modified:", "*.ts", "-Last-Modified"),
        ] {
            assert_eq!(parts(text), (path.to_owned(), change.to_owned()), "{text}");
        }
        for text in ["", "X-Frame-Options", "/a/**", "*.js: no-colon"] {
            assert_eq!(HeaderRule::from_flag(text), None, "{text}");
        }
    }
}
