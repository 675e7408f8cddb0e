//! Gives the rules about responses their meaning: from the texts of the configuration to
//! [`ResponseRules`].

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

use crate::config::{HeaderRule as RuleTexts, Responses};
use crate::http::Status;
use crate::http::rules::{Cors, HeaderChange, HeaderRule, PathPattern, ResponseRules, StatusSet};
use crate::limits;

/// For playlists: a player asks for them again every few seconds, and a cache in between may
/// answer several players at once.
const PLAYLIST: &str = "public, max-age=1";
/// For what never changes under its name: a year, the longest that caches honour.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For initialisation segments and whole files: a restarted encoder writes them again.
const HOUR: &str = "public, max-age=3600";
/// Kept, but asked for again before each use: a changed page shows at once.
const REVALIDATE: &str = "no-cache";

/// The file that answers for the paths of an application that routes in the browser.
const APPLICATION: &str = "/index.html";

/// Sets of rules for a common case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preset {
    Hls,
    ImmutableAssets,
    Spa,
}

impl Preset {
    const ALL: [(&'static str, Preset); 3] = [
        ("hls", Preset::Hls),
        ("immutable-assets", Preset::ImmutableAssets),
        ("spa", Preset::Spa),
    ];

    fn of(name: &str) -> Option<Preset> {
        let mut all = Preset::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, preset)| *preset)
    }

    /// Patterns with the Cache-Control of what matches them.
    fn cache_control(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Preset::Hls => &[
                ("*.{m3u8,mpd}", PLAYLIST),
                ("*.{ts,m2ts,m4s,cmfv,cmfa,cmft,aac,vtt}", IMMUTABLE),
                ("*.{mp4,m4v,m4a}", HOUR),
            ],
            Preset::ImmutableAssets | Preset::Spa => &[("*.{html,htm}", REVALIDATE)],
        }
    }
}

/// A text among the rules that can't be used, with its key.
#[derive(Debug)]
pub struct RuleError {
    /// `server.cors`, or `headers[2]` for the third of the rules.
    pub key: String,
    /// What is wrong.
    pub problem: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

impl Error for RuleError {}

/// The rules that these texts mean.
///
/// # Errors
/// The first text that can't be used.
pub(crate) fn response_rules(texts: &Responses) -> Result<ResponseRules, RuleError> {
    let mut rules = ResponseRules::default();
    for name in &texts.presets {
        let Some(preset) = Preset::of(name) else {
            let names = Preset::ALL.map(|(name, _)| name).join(", ");
            return Err(wrong(
                "server.preset",
                format!("there is no preset {name:?}; choose from {names}"),
            ));
        };
        apply_preset(preset, &mut rules)?;
    }
    if !texts.cors.is_empty() {
        rules.cors = Some(cors(&texts.cors)?);
    }
    if let Some(path) = &texts.fallback {
        rules.fallback = Some(file_path("server.fallback", path)?);
    }
    for (at, rule) in texts.headers.iter().enumerate() {
        let rule = header_rule(rule).map_err(|problem| RuleError {
            key: format!("headers[{at}]"),
            problem,
        })?;
        rules.headers.push(rule);
    }
    if rules.headers.len() > limits::HEADER_RULES_MAX {
        let most = limits::HEADER_RULES_MAX;
        return Err(wrong(
            "headers.*",
            format!("there are more than {most} rules; name several paths in one"),
        ));
    }
    if rules.cors.is_some() && sets_allow_origin(&rules.headers) {
        let sentence = "Access-Control-Allow-Origin is changed by a rule and set by cors; choose one of the two";
        return Err(wrong("server.cors", sentence.to_owned()));
    }
    rules.error_pages = error_pages(&texts.error_pages)?;
    Ok(rules)
}

fn apply_preset(preset: Preset, rules: &mut ResponseRules) -> Result<(), RuleError> {
    let built_in = |problem: Box<dyn Error + Send + Sync>| RuleError {
        key: "server.preset".to_owned(),
        problem,
    };
    let mut rule = |pattern: PathPattern, value: &str| {
        let change = HeaderChange::set("cache-control", value)?;
        rules.headers.push(HeaderRule {
            paths: vec![pattern],
            statuses: StatusSet::usual(),
            changes: vec![change],
        });
        Ok(())
    };
    for (pattern, value) in preset.cache_control() {
        let pattern = pattern
            .parse()
            .map_err(|error| built_in(Box::<dyn Error + Send + Sync>::from(error)));
        rule(pattern?, value).map_err(built_in)?;
    }
    match preset {
        Preset::Hls => rules.cors = Some(Cors::Any),
        Preset::ImmutableAssets => {
            rule(PathPattern::hashed_names(), IMMUTABLE).map_err(built_in)?;
        }
        Preset::Spa => rules.fallback = Some(file_path("server.preset", APPLICATION)?),
    }
    Ok(())
}

fn cors(origins: &[String]) -> Result<Cors, RuleError> {
    if origins.len() > limits::CORS_ORIGINS_MAX {
        let most = limits::CORS_ORIGINS_MAX;
        return Err(wrong(
            "server.cors",
            format!("there are more than {most} origins; list fewer, or allow all with *"),
        ));
    }
    Cors::new(origins).map_err(|error| RuleError {
        key: "server.cors".to_owned(),
        problem: error.into(),
    })
}

fn header_rule(texts: &RuleTexts) -> Result<HeaderRule, Box<dyn Error + Send + Sync>> {
    let mut changes = Vec::new();
    for name in &texts.remove {
        changes.push(HeaderChange::remove(name)?);
    }
    for (name, value) in &texts.set {
        changes.push(HeaderChange::set(name, value)?);
    }
    for (name, value) in &texts.add {
        changes.push(HeaderChange::add(name, value)?);
    }
    if changes.is_empty() {
        return Err("a rule without set, add and remove does nothing; give it one of them".into());
    }
    let pattern = |text: &String| {
        text.parse::<PathPattern>()
            .map_err(|error| format!("the pattern {text:?} cannot be used: {error}"))
    };
    Ok(HeaderRule {
        paths: texts.paths.iter().map(pattern).collect::<Result<_, _>>()?,
        statuses: statuses(texts)?,
        changes,
    })
}

fn statuses(texts: &RuleTexts) -> Result<StatusSet, Box<dyn Error + Send + Sync>> {
    match (texts.always, &texts.statuses[..]) {
        (true, []) => return Ok(StatusSet::ALL),
        (true, _) => return Err("always means every status; leave out status, or always".into()),
        (false, []) => return Ok(StatusSet::usual()),
        (false, _) => {}
    }
    let mut set = StatusSet::NONE;
    for text in &texts.statuses {
        let one = text.parse::<StatusSet>().map_err(|_| {
            format!("{text:?} is no status; write one such as 404, or a class such as \"4xx\"")
        })?;
        set = set.union(one);
    }
    Ok(set)
}

fn sets_allow_origin(rules: &[HeaderRule]) -> bool {
    let mut changes = rules.iter().flat_map(|rule| &rule.changes);
    changes.any(|change| change.name() == "access-control-allow-origin")
}

fn error_pages(texts: &BTreeMap<String, String>) -> Result<BTreeMap<u16, Box<str>>, RuleError> {
    let pages = texts.iter().map(|(status, path)| {
        let code = status.parse().ok().and_then(Status::new).map(Status::code);
        let Some(code) = code.filter(|&code| code >= 400 && status.len() == 3) else {
            return Err(wrong(
                "error-pages.*",
                format!("{status:?} is no error's status; write one from 400 to 599"),
            ));
        };
        Ok((code, file_path("error-pages.*", path)?))
    });
    pages.collect()
}

/// A path below the root, as it is kept: without the slash at its beginning.
fn file_path(key: &str, text: &str) -> Result<Box<str>, RuleError> {
    let path = text.strip_prefix('/').filter(|path| {
        let is_name = |part: &str| !part.is_empty() && part != "." && part != "..";
        path.split('/').all(is_name) && !path.contains('\0')
    });
    path.map(Into::into).ok_or_else(|| {
        wrong(
            key,
            format!(
                "{text:?} is no file beneath the root; write its path from there, such as /404.html"
            ),
        )
    })
}

fn wrong(key: &str, sentence: String) -> RuleError {
    RuleError {
        key: key.to_owned(),
        problem: sentence.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(texts: Responses) -> String {
        response_rules(&texts).expect_err("an error").to_string()
    }

    fn cache_control(rules: &ResponseRules, path: &str) -> Option<String> {
        let block = rules
            .edits(path.as_bytes(), Status::OK)
            .apply(Default::default());
        let value = block.get("cache-control")?;
        Some(String::from_utf8(value.to_vec()).expect("text"))
    }

    fn preset(names: &[&str]) -> Responses {
        Responses {
            presets: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Responses::default()
        }
    }

    #[test]
    fn presets_are_rules_that_ones_own_come_after() {
        let rules = response_rules(&preset(&["hls"])).expect("rules");
        assert_eq!(rules.cors, Some(Cors::Any));
        for (path, value) in [
            ("/live/a.m3u8", Some(PLAYLIST)),
            ("/live/a1.m4s", Some(IMMUTABLE)),
            ("/live/init.mp4", Some(HOUR)),
            ("/index.html", None),
        ] {
            assert_eq!(cache_control(&rules, path).as_deref(), value, "{path}");
        }
        let own = RuleTexts {
            paths: vec!["*.m3u8".to_owned()],
            set: vec![("Cache-Control".to_owned(), "no-store".to_owned())],
            ..RuleTexts::default()
        };
        let rules = response_rules(&Responses {
            headers: vec![own],
            cors: vec!["https://a.example".to_owned()],
            ..preset(&["hls", "immutable-assets", "spa"])
        });
        let rules = rules.expect("rules");
        assert!(matches!(rules.cors, Some(Cors::Listed(_))));
        assert_eq!(rules.fallback.as_deref(), Some("index.html"));
        for (path, value) in [
            ("/a.m3u8", Some("no-store")),
            ("/app.3f2a9c1b.js", Some(IMMUTABLE)),
            ("/index.html", Some(REVALIDATE)),
            ("/app.js", None),
        ] {
            assert_eq!(cache_control(&rules, path).as_deref(), value, "{path}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        let rule = |change: fn(&mut RuleTexts)| {
            let mut rule = RuleTexts {
                paths: vec!["/**".to_owned()],
                set: vec![("X-A".to_owned(), "1".to_owned())],
                ..RuleTexts::default()
            };
            change(&mut rule);
            error(Responses {
                headers: vec![rule],
                ..Responses::default()
            })
        };
        for (got, words) in [
            (
                error(preset(&["hlss"])),
                "server.preset: there is no preset \"hlss\"; choose from hls,",
            ),
            (rule(|r| r.set.clear()), "headers[0]: a rule without set"),
            (
                rule(|r| r.paths = vec!["{".to_owned()]),
                "headers[0]: the pattern \"{\"",
            ),
            (
                rule(|r| r.statuses = vec!["7xx".to_owned()]),
                "\"7xx\" is no status",
            ),
            (
                rule(|r| r.remove = vec!["Content-Length".to_owned()]),
                "belongs to the protocol",
            ),
            (rule(|r| r.set[0].1 = "a\r\nb: c".to_owned()), "line break"),
            (
                rule(|r| {
                    r.always = true;
                    r.statuses = vec!["404".to_owned()];
                }),
                "always means every status",
            ),
            (
                error(Responses {
                    cors: vec!["example.org".to_owned()],
                    ..Responses::default()
                }),
                "server.cors: \"example.org\" is no origin",
            ),
            (
                error(Responses {
                    fallback: Some("../x".to_owned()),
                    ..Responses::default()
                }),
                "server.fallback: \"../x\" is no file beneath the root",
            ),
        ] {
            assert!(got.contains(words), "{got}");
        }
        for (status, path) in [
            ("200", "/a"),
            ("4xx", "/a"),
            ("404", "/a/../b"),
            ("404", "/"),
            ("0404", "/a"),
        ] {
            let error = error(Responses {
                error_pages: [(status.to_owned(), path.to_owned())].into(),
                ..Responses::default()
            });
            assert!(error.starts_with("error-pages.*: "), "{error}");
        }
    }

    #[test]
    fn cors_is_said_once() {
        let allow = ("Access-Control-Allow-Origin".to_owned(), "*".to_owned());
        let rule = |change: fn(&mut RuleTexts, (String, String))| {
            let mut rule = RuleTexts {
                paths: vec!["/a".to_owned()],
                ..RuleTexts::default()
            };
            change(&mut rule, allow.clone());
            rule
        };
        let rules = [
            rule(|rule, allow| rule.set.push(allow)),
            rule(|rule, allow| rule.add.push(allow)),
        ];
        let with_cors = |cors: &str| Responses {
            cors: vec![cors.to_owned()],
            ..Responses::default()
        };
        let origin = "https://player.example";
        for rule in rules {
            for texts in [preset(&["hls"]), with_cors("*"), with_cors(origin)] {
                let error = error(Responses {
                    headers: vec![rule.clone()],
                    ..texts
                });
                assert!(error.contains("choose one of the two"), "{error}");
            }
        }
        let lines_of = |rules: &ResponseRules| {
            let edits = rules.edits(b"/a", Status::OK).apply(Default::default());
            let lines = String::from_utf8(edits.as_bytes().to_vec()).expect("text");
            lines.matches("access-control-allow-origin").count()
        };
        let rules = response_rules(&with_cors("*")).expect("rules");
        assert_eq!(lines_of(&rules), 1);
        // A rule about all paths that leaves it out would undo what cors does.
        let removes = RuleTexts {
            remove: vec!["Access-Control-Allow-Origin".to_owned()],
            ..rule(|_, _| ())
        };
        let error = error(Responses {
            headers: vec![removes],
            ..with_cors("*")
        });
        assert!(error.contains("choose one of the two"), "{error}");
    }
}
