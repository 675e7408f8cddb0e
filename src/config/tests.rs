use std::collections::HashSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::*;
use crate::keepalive::Preset;
use crate::limits;

const EXAMPLE: &str = include_str!("../../examples/headwater.toml");
const GUIDE: &str = include_str!("../../docs/configuration.md");
const UNIT_FILE: &str = include_str!("../../contrib/systemd/headwater.service");

fn field(path: &str) -> &'static Field {
    FIELDS.iter().find(|f| f.path() == path).expect(path)
}

fn flag(path: &str, values: &[&str]) -> FlagValue {
    FlagValue::new(field(path), values.iter().map(OsString::from).collect())
}

/// Reads with `toml` as the file `conf/site.toml`'s contents.
fn read_all(
    flags: &[FlagValue],
    env: &[(&str, &str)],
    toml: Option<&str>,
) -> Result<Effective, String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("site.toml");
    let file = toml.map(|text| {
        std::fs::write(&path, text).expect("written");
        path.as_path()
    });
    let answer = |name: &str| {
        let found = env.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| OsString::from(value))
    };
    read(flags, answer, file).map_err(|error| {
        let folder = format!("{}/", folder.path().display());
        error.to_string().replace(&folder, "")
    })
}

fn file_error(toml: &str) -> String {
    read_all(&[], &[], Some(toml)).expect_err(toml)
}

fn env_error(name: &str, value: &str) -> String {
    read_all(&[], &[(name, value)], None).expect_err(name)
}

#[test]
fn nothing_given_is_the_default_and_valid() {
    let effective = read_all(&[], &[], None).expect("valid");
    assert_eq!(effective.config, Config::default());
    assert!(effective.sources.is_empty());
}

#[test]
fn each_layer_wins_over_those_below() {
    let toml = "[timeouts]\nidle_ms = 1000\nbody_ms = \"2s\"\nheader_ms = 3_000\n";
    let env = [
        ("HEADWATER_IDLE_TIMEOUT", "4s"),
        ("HEADWATER_BODY_TIMEOUT", "5s"),
    ];
    let flags = [flag("timeouts.idle_ms", &["6s"])];
    let timeouts = read_all(&flags, &env, Some(toml))
        .expect("valid")
        .config
        .timeouts;
    let defaults = Timeouts::default();
    assert_eq!(timeouts.idle_ms, 6_000);
    assert_eq!(timeouts.body_ms, 5_000);
    assert_eq!(timeouts.header_ms, 3_000);
    assert_eq!(timeouts.drain_ms, defaults.drain_ms);
}

#[test]
fn single_values_win_over_a_preset_of_the_same_or_a_weaker_source() {
    let toml = "[timeouts]\nidle_ms = \"7s\"\n[keepalive]\nprobes = 9\npreset = \"mobile\"\n";
    let read = |flags: &[FlagValue], env: &[(&str, &str)]| {
        read_all(flags, env, Some(toml)).expect("valid")
    };
    // Within one source, single values win over a preset, in any order.
    let policy = read(&[], &[]).config.keepalive_policy();
    let mobile = Preset::Mobile.policy();
    assert_eq!(policy.http_idle_ms, 7_000);
    assert_eq!(policy.user_timeout_ms, mobile.user_timeout_ms);
    assert_eq!(policy.probes.map(|p| (p.idle_s, p.count)), Some((180, 9)));
    // A preset from a stronger source wins over single values from a weaker one.
    let flags = [flag("keepalive.preset", &["lan"])];
    let effective = read(&flags, &[("HEADWATER_KEEPALIVE_IDLE", "5m")]);
    assert_eq!(effective.config.keepalive_policy(), Preset::Lan.policy());
    let at = &effective.sources["timeouts.idle_ms"];
    assert_eq!(at.to_string(), "--keepalive");
    // Single values from the same or a stronger source win over a preset, in any order.
    let flags = [
        flag("timeouts.idle_ms", &["1s"]),
        flag("keepalive.preset", &["lan"]),
        flag("keepalive.interval_s", &["2s"]),
    ];
    let policy = read(&flags, &[]).config.keepalive_policy();
    assert_eq!(policy.http_idle_ms, 1_000);
    assert_eq!(policy.probes.map(|p| (p.interval_s, p.count)), Some((2, 3)));
    let off = read(&[flag("keepalive.preset", &["off"])], &[]);
    assert_eq!(off.config.keepalive_policy(), Preset::Off.policy());
}

#[test]
fn keepalive_values_are_those_that_the_kernel_takes() {
    for (name, value, words) in [
        (
            "HEADWATER_KEEPALIVE",
            "lann",
            "write default, mobile, lan, live or off",
        ),
        (
            "HEADWATER_KEEPALIVE_IDLE",
            "10h",
            "choose from 1s to 32767s",
        ),
        ("HEADWATER_KEEPALIVE_IDLE", "0s", "choose from 1s to 32767s"),
        (
            "HEADWATER_KEEPALIVE_IDLE",
            "500ms",
            "a time in whole seconds such as 75s or 10m",
        ),
        (
            "HEADWATER_KEEPALIVE_IDLE",
            "1.5s",
            "not a whole number of seconds",
        ),
        (
            "HEADWATER_KEEPALIVE_INTERVAL",
            "60",
            "write 60s for seconds or 60m",
        ),
        ("HEADWATER_KEEPALIVE_PROBES", "128", "choose from 1 to 127"),
        ("HEADWATER_USER_TIMEOUT", "25h", "choose from 0 to 24h"),
    ] {
        let error = env_error(name, value);
        assert!(error.starts_with(name) && error.contains(words), "{error}");
    }
}

#[test]
fn port_stands_between_the_listen_variable_and_the_file() {
    let toml = Some("[server]\nlisten = \":1\"\n");
    let listen = |flags: &[FlagValue], env: &[(&str, &str)], toml| {
        read_all(flags, env, toml)
            .expect("valid")
            .config
            .server
            .listen
    };
    let port = ("PORT", "2");
    let variable = ("HEADWATER_LISTEN", ":3, [::1]:4");
    let flags = [flag("server.listen", &[":5", ":6"])];
    assert_eq!(listen(&[], &[], toml), [":1"]);
    assert_eq!(listen(&[], &[port], toml), [":2"]);
    assert_eq!(listen(&[], &[port], None), [":2"]);
    assert_eq!(listen(&[], &[variable, port], toml), [":3", "[::1]:4"]);
    assert_eq!(listen(&flags, &[variable, port], toml), [":5", ":6"]);
    assert_eq!(listen(&[], &[("PORT", "")], toml), [":1"]);
    assert_eq!(
        env_error("PORT", "70000"),
        "PORT: \"70000\" cannot be used; write a port from 0 to 65535"
    );
}

#[test]
fn every_field_is_set_by_flag_variable_and_key() {
    for field in FIELDS {
        let (text, toml) = match field.kind {
            // The opposite of the default.
            FieldKind::Switch => match field.shown(&Config::default()).as_str() {
                "true" => ("false".to_owned(), "false".to_owned()),
                _ => ("true".to_owned(), "true".to_owned()),
            },
            // A number in the range of every field.
            FieldKind::Number { min, .. } => ((min + 1).to_string(), (min + 1).to_string()),
            FieldKind::Mode => ("0600".to_owned(), "0o600".to_owned()),
            FieldKind::Preset => ("lan".to_owned(), "\"lan\"".to_owned()),
            FieldKind::Path => ("/x1".to_owned(), "\"/x1\"".to_owned()),
            FieldKind::Map(_) => ("k1=x1".to_owned(), "\"x1\"".to_owned()),
            FieldKind::HeaderRules => ("/x1: X-A: b".to_owned(), "{ X-A = \"b\" }".to_owned()),
            // One of the allowed words.
            _ if field.flag == "driver" => ("epoll".to_owned(), "\"epoll\"".to_owned()),
            _ if field.flag == "etag" => ("mtime".to_owned(), "\"mtime\"".to_owned()),
            _ if field.flag == "task-scheduling" => ("batch".to_owned(), "\"batch\"".to_owned()),
            _ if field.flag == "access-log-query" => ("drop".to_owned(), "\"drop\"".to_owned()),
            _ => ("x1".to_owned(), "\"x1\"".to_owned()),
        };
        let text = match field.kind {
            FieldKind::Number {
                unit: Unit::Millis, ..
            } => format!("{text}ms"),
            FieldKind::Number {
                unit: Unit::Seconds,
                ..
            } => format!("{text}s"),
            _ => text,
        };
        let keys = match field.kind {
            FieldKind::Map(_) => format!("[{}]\nk1 = {toml}\n", field.section),
            FieldKind::HeaderRules => format!("[[headers]]\npath = \"/x1\"\nset = {toml}\n"),
            _ => format!("[{}]\n{} = {toml}\n", field.section, field.key),
        };
        let flags = [flag(&field.path(), &[&text])];
        let by_flag = read_all(&flags, &[], None).expect(field.flag).config;
        let by_env = read_all(&[], &[(&field.env(), &text)], None)
            .expect(field.flag)
            .config;
        let by_file = read_all(&[], &[], Some(&keys)).expect(&keys).config;
        assert_ne!(by_flag, Config::default(), "{}", field.flag);
        assert_eq!(by_flag, by_env, "{}", field.flag);
        assert_eq!(by_flag, by_file, "{}", field.flag);
    }
}

#[test]
fn header_rules_of_a_stronger_source_replace_all_and_pages_are_merged() {
    let toml = "[error-pages]\n404 = \"/file\"\n500 = \"/file\"\n[[headers]]\nset.X-File = \"1\"\n\
                [[headers]]\npath = \"*.a\"\nset.X-File = \"2\"\n";
    let of_file = read_all(&[], &[], Some(toml)).expect("valid");
    let rules = &of_file.config.responses.headers;
    assert_eq!((rules.len(), &*rules[0].paths[0]), (2, "/**"));
    let at = of_file
        .error("headers[1]", Problem::Conflict(String::new()))
        .at;
    assert!(at.to_string().contains("site.toml:6:"), "{at}");

    let flags = [
        flag("headers.*", &["X-Flag: 1", "*.b: X-Flag:"]),
        flag("error-pages.*", &["500=/flag"]),
    ];
    let of_flags =
        read_all(&flags, &[("HEADWATER_HEADER", "X-Env: 1")], Some(toml)).expect("valid");
    let responses = &of_flags.config.responses;
    assert_eq!(responses.headers.len(), 2);
    assert_eq!(responses.headers[1].remove, ["X-Flag"]);
    let pages = [("404", "/file"), ("500", "/flag")];
    let pages = pages.map(|(status, path)| (status.to_owned(), path.to_owned()));
    assert_eq!(responses.error_pages, pages.into());
    let at = of_flags
        .error("headers[1]", Problem::Conflict(String::new()))
        .at;
    assert_eq!(at, ValueSource::Flag("--header".to_owned()));

    let of_env = read_all(
        &[],
        &[("HEADWATER_HEADER", "X-A: 1, 2\n/b: X-B: 3\n")],
        None,
    );
    let rules = of_env.expect("valid").config.responses.headers;
    assert_eq!((&*rules[0].set[0].1, &*rules[1].paths[0]), ("1, 2", "/b"));
}

#[test]
fn mistakes_in_header_rules_are_named_with_their_position() {
    for (toml, words) in [
        (
            "[headers]\nX = \"y\"\n",
            "a table for each rule: [[headers]]",
        ),
        ("headers = 1\n", "a table for each rule: [[headers]]"),
        (
            "[[headers]]\npth = \"/\"\n",
            "site.toml:2:1: unknown key \"pth\" in [[headers]]; did you mean \"path\"?",
        ),
        (
            "[[headers]]\npath = 1\n",
            "site.toml:2:8: \"1\" cannot be used; write a pattern",
        ),
        ("[[headers]]\npath = []\n", "write a pattern"),
        (
            "[[headers]]\nset = \"X: y\"\n",
            "write names with values, such as { Cache-Control",
        ),
        (
            "[[headers]]\nset.X = [\"a\", \"b\"]\n",
            "one value; use add for several",
        ),
        ("[[headers]]\nset.X = 1\n", "a value in quotes"),
        ("[[headers]]\nstatus = 4.5\n", "statuses, such as 404"),
        ("[[headers]]\nalways = \"yes\"\n", "write true or false"),
        ("[error-pages]\n404 = 1\n", "site.toml:2:7"),
    ] {
        let error = file_error(toml);
        assert!(error.contains(words), "{toml}: {error}");
    }
    for (variable, value) in [
        ("HEADWATER_HEADER", "no colon"),
        ("HEADWATER_ERROR_PAGE", "404"),
    ] {
        let error = env_error(variable, value);
        assert!(
            error.starts_with(&format!("{variable}: {value:?} cannot be used")),
            "{error}"
        );
    }
}

#[test]
fn types_of_several_places_are_merged() {
    let types = |flags: &[FlagValue], env: &[(&str, &str)], toml| {
        read_all(flags, env, toml).expect("valid").config.types
    };
    let toml = Some("[types]\na = \"x/file\"\nb = \"x/file\"\nc = \"x/file\"\n");
    let merged = types(
        &[flag("types.*", &["c=x/flag", "d=x/flag"])],
        &[("HEADWATER_TYPE", "b=x/env, c=x/env")],
        toml,
    );
    let wanted = [("a", "file"), ("b", "env"), ("c", "flag"), ("d", "flag")];
    let wanted = wanted.map(|(name, value)| (name.to_owned(), format!("x/{value}")));
    assert_eq!(merged, wanted.into());
    for bad in ["m3u8", "=a/b", "a.b=c/d"] {
        let error = read_all(&[flag("types.*", &[bad])], &[], None).expect_err(bad);
        assert!(error.to_string().starts_with("--type: "), "{error}");
    }
    assert!(read_all(&[], &[], Some("[types]\na = 1\n")).is_err());
}

#[test]
fn names_are_unique() {
    let paths: HashSet<String> = FIELDS.iter().map(Field::path).collect();
    let flags: HashSet<&str> = FIELDS.iter().map(|f| f.flag).collect();
    assert_eq!(paths.len(), FIELDS.len());
    assert_eq!(flags.len(), FIELDS.len());
}

#[test]
fn printing_is_read_back_to_the_same_configuration() {
    let toml = "[server]\nroot = \"/a \\\"b\\\"\\n\"\nlisten = [\"unix:/run/a,b\", \":1\"]\ncores = \"0-3\"\n\
                admin = \"off\"\nindex = \"off\"\nbrowse = true\ncors = [\"https://a\", \"https://b\"]\n\
                [[headers]]\npath = [\"*.js\", \"/a/**\"]\nstatus = [404, \"5xx\"]\nremove = \"ETag\"\n\
                set = { Cache-Control = \"a \\\"b\\\"\" }\nadd = { Link = [\"b\", \"a\"], X = \"y\" }\n\
                [[headers]]\nalways = true\nset.X-A = \"1\"\n[error-pages]\n404 = \"/404.html\"\n[socket]\ncongestion = \"bbr\"\nunix_mode = 0o600\n\
                [cache]\nbodies_bytes = \"1KiB\"\n";
    let first = read_all(&[], &[("HEADWATER_HIDDEN", "yes")], Some(toml)).expect("valid");
    assert_eq!(first.config.server.listen, ["unix:/run/a,b", ":1"]);
    assert_eq!(first.config.server.admin, None);
    assert_eq!(first.config.responses.headers.len(), 2);
    let printed = first.to_toml();
    let second = read_all(&[], &[], Some(&printed)).expect(&printed);
    assert_eq!(second.config, first.config);
    assert!(
        printed.contains("hidden = true  # HEADWATER_HIDDEN\n"),
        "{printed}"
    );
    assert!(printed.contains("site.toml:4:9\n"), "{printed}");
}

#[test]
fn a_relative_root_is_meant_from_where_it_is_written() {
    let read = |text: &str| {
        let mut effective = Effective {
            config: Config::default(),
            sources: std::collections::BTreeMap::new(),
        };
        file::apply(text, Path::new("/etc/hw/site.toml"), &mut effective).expect(text);
        effective.config.server.root
    };
    assert_eq!(
        read("[server]\nroot = \"videos\"\n"),
        Path::new("/etc/hw/videos")
    );
    assert_eq!(read("[server]\nroot = \"/srv\"\n"), Path::new("/srv"));
    let by_flag = read_all(&[flag("server.root", &["videos"])], &[], None).expect("valid");
    assert_eq!(by_flag.config.server.root, Path::new("videos"));
}

#[test]
fn bytes_that_are_no_text_may_be_a_root_but_no_number() {
    let bytes = OsString::from_vec(vec![b'/', 0xff]);
    let value = |path| FlagValue::new(field(path), vec![bytes.clone()]);
    let effective = read(&[value("server.root")], |_| None, None).expect("valid");
    assert_eq!(effective.config.server.root.as_os_str(), bytes);
    let error = read(&[value("limits.headers")], |_| None, None).expect_err("no number");
    assert!(
        error
            .to_string()
            .starts_with("--max-headers: \"/\u{fffd}\""),
        "{error}"
    );
}

/// Configuration files with a mistake, and the error that states where it is.
const FILE_MISTAKES: &[(&str, &str)] = &[
    (
        "[timeouts]\n  idle_timeout = 1\n",
        "site.toml:2:3: unknown key \"idle_timeout\" in [timeouts]; did you mean \"idle_ms\"?",
    ),
    (
        "[timeout]\nidle_ms = 1\n",
        "site.toml:1:2: unknown section [timeout]; did you mean [timeouts]?",
    ),
    (
        "listen = \":80\"\n",
        "site.toml:1:1: unknown key \"listen\" outside any section; did you mean \"listen\" in [server]?",
    ),
    (
        "[timeouts]\n# é\nidle_ms = \"75\"\n",
        "site.toml:3:11: \"75\" has no unit; write 75s for seconds or 75ms",
    ),
    (
        "[timeouts]\nidle_ms = -1\n",
        "site.toml:2:11: \"-1\" is not a time such as 75s, 500ms or 2m; write it like that",
    ),
    (
        "[timeouts]\nidle_ms = 1.5\n",
        "site.toml:2:11: \"1.5\" is not a time such as 75s, 500ms or 2m; write it like that",
    ),
    (
        "[timeouts]\nidle_ms = 0\n",
        "site.toml:2:11: 0 is out of range; choose from 1ms to 24h",
    ),
    (
        "[limits]\nhead_bytes = \"64K\"\n",
        "site.toml:2:14: \"64K\" is ambiguous; write 64KiB for powers of 1024 or 64KB for powers of 1000",
    ),
    (
        "[limits]\nbody_bytes = 99999999999999999999\n",
        "site.toml:2:14: \"99999999999999999999\" is too large; choose a smaller one",
    ),
    (
        "[server]\nbrowse = \"yes\"\n",
        "site.toml:2:10: \"yes\" cannot be used; write true or false",
    ),
    (
        "[server]\ncores = 2\n",
        "site.toml:2:9: \"2\" cannot be used; write a text (LIST) or \"all\"",
    ),
    (
        "[server]\nlisten = []\n",
        "site.toml:2:10: \"[]\" cannot be used; write one address or more, such as \":8080\"",
    ),
    (
        "[server]\nlisten = [\":1\", 2]\n",
        "site.toml:2:10: \"[\\\":1\\\", 2]\" cannot be used; write one address or more, such as \":8080\"",
    ),
    (
        "[server]\nroot = \"\"\n",
        "site.toml:2:8: \"\" cannot be used; write the path of a folder",
    ),
    (
        "[socket]\nunix_mode = 600\n",
        "site.toml:2:13: \"600\" cannot be used; write permission bits in octal, such as \"0660\"",
    ),
    (
        "[socket]\nunix_mode = \"1777\"\n",
        "site.toml:2:13: \"01777\" cannot be used; write permission bits from 0000 to 0777",
    ),
];

#[test]
fn mistakes_in_the_file_are_named_with_their_place() {
    for &(toml, error) in FILE_MISTAKES {
        assert_eq!(file_error(toml), error, "{toml}");
    }
    let syntax = file_error("[server]\nbrowse = = 1\n");
    assert!(
        syntax.starts_with("site.toml:2:10: not valid TOML: "),
        "{syntax}"
    );
    let twice = file_error("[server]\nbrowse = true\nbrowse = true\n");
    assert!(
        twice.starts_with("site.toml:3:1: not valid TOML: "),
        "{twice}"
    );
}

#[test]
fn mistakes_elsewhere_are_named_with_their_flag_or_variable() {
    for (name, value, error) in [
        (
            "HEADWATER_CACHE_BYTES",
            "64K",
            "HEADWATER_CACHE_BYTES: \"64K\" is ambiguous; write 64KiB for powers of 1024 or 64KB for powers of 1000",
        ),
        (
            "HEADWATER_BROWSE",
            "maybe",
            "HEADWATER_BROWSE: \"maybe\" cannot be used; write true or false",
        ),
        (
            "HEADWATER_MAX_HEADERS",
            "1001",
            "HEADWATER_MAX_HEADERS: 1001 is out of range; choose from 1 to 1000",
        ),
        (
            "HEADWATER_LISTEN",
            ":1,,:2",
            "HEADWATER_LISTEN: \":1,,:2\" cannot be used; write one address or more, such as \":8080\"",
        ),
        (
            "HEADWATER_INDEX",
            "../x",
            "HEADWATER_INDEX: \"../x\" cannot be used; write a file name without a folder, such as \"index.html\"",
        ),
        (
            "HEADWATER_CONGESTION",
            "no such",
            "HEADWATER_CONGESTION: \"no such\" cannot be used; write a name that /proc/sys/net/ipv4/tcp_available_congestion_control lists",
        ),
    ] {
        assert_eq!(env_error(name, value), error);
    }
    let many = (1..=65)
        .map(|port| format!(":{port}"))
        .collect::<Vec<_>>()
        .join(",");
    assert_eq!(
        env_error("HEADWATER_LISTEN", &many),
        "HEADWATER_LISTEN: 65 addresses is out of range; choose from 1 to 64"
    );
    let error = read_all(&[flag("timeouts.drain_ms", &["2d"])], &[], None).expect_err("no days");
    assert!(
        error.starts_with("--drain-timeout: \"2d\" is not a time"),
        "{error}"
    );
    assert!(env_error("HEADWATER_CONFIG", "/nope/x").starts_with("HEADWATER_CONFIG: cannot read"));
}

#[test]
fn a_contradiction_is_named_where_it_was_written() {
    let both = file_error("[limits]\nuri_bytes = 4096\nhead_bytes = 4096\n");
    assert!(
        both.starts_with("site.toml:2:13: a request target of 4096 bytes"),
        "{both}"
    );
    // The error is at the other value when this one is a default.
    let env = [("HEADWATER_MAX_HEAD_BYTES", "4KiB")];
    let written = read_all(&[], &env, Some("[limits]\nuri_bytes = \"8KiB\"\n"));
    let error = written.expect_err("contradiction");
    assert!(
        error.starts_with("site.toml:2:13: a request target"),
        "{error}"
    );
    let by_program = Config {
        cache: Cache {
            bodies_bytes: 1,
            ..Cache::default()
        },
        ..Config::default()
    };
    let error = by_program
        .validate()
        .expect_err("contradiction")
        .to_string();
    assert!(
        error.starts_with("cache.body_bytes: a file of 65536 bytes"),
        "{error}"
    );
}

#[test]
fn defaults_shrink_with_smaller_bounds() {
    let env = [
        ("HEADWATER_MAX_HEAD_BYTES", "4KiB"),
        ("HEADWATER_CACHE_BYTES", "0"),
    ];
    let config = read_all(&[], &env, None).expect("valid").config;
    assert_eq!(config.limits.uri_bytes, 2048);
    assert_eq!(config.cache.body_bytes, 0);
}

#[test]
fn a_file_that_is_not_a_small_text_is_refused() {
    let long = "#".repeat(limits::CONFIG_FILE_BYTES_MAX as usize + 1);
    assert!(file_error(&long).contains("is larger than 1048576 bytes"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = read(&[], |_| None, Some(folder.path()))
        .expect_err("a folder")
        .to_string();
    assert!(error.starts_with("--config: cannot read"), "{error}");
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"# \xe9\n").expect("written");
    let error = read(&[], |_| None, Some(&path))
        .expect_err("not UTF-8")
        .to_string();
    assert!(error.contains("invalid utf-8"), "{error}");
}

#[test]
fn the_root_and_the_place_for_traces_must_be_folders() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("written");
    let check = |root: &Path| {
        let root = root.to_str().expect("UTF-8");
        let effective = read_all(&[flag("server.root", &[root])], &[], None).expect("valid");
        effective
            .check_folders()
            .map_err(|error| (error.is_usage(), error.to_string()))
    };
    assert_eq!(check(folder.path()), Ok(()));
    for (root, reason) in [
        (file, "Not a directory"),
        (folder.path().join("none"), "No such file"),
    ] {
        let (usage, error) = check(&root).expect_err("no folder");
        assert!(
            !usage && error.starts_with("DIR: cannot serve") && error.contains(reason),
            "{error}"
        );
    }
    let traces = |dir: &Path| {
        let dir = dir.to_str().expect("UTF-8");
        let flags = [flag("observe.trace_dir", &[dir])];
        read_all(&flags, &[], None).expect("valid").check_folders()
    };
    assert!(traces(folder.path()).is_ok());
    let error = traces(&folder.path().join("none")).expect_err("no folder");
    assert!(!error.is_usage());
    let error = error.to_string();
    assert!(
        error.starts_with("--trace-dir: cannot write traces"),
        "{error}"
    );
}

#[test]
fn the_example_holds_every_default_and_the_guide_every_name() {
    let mut effective = Effective {
        config: Config::default(),
        sources: std::collections::BTreeMap::new(),
    };
    file::apply(EXAMPLE, Path::new("headwater.toml"), &mut effective).expect("valid");
    assert_eq!(effective.config, Config::default());
    for field in FIELDS {
        // Fields without a default are in the file as comments.
        let is_there = match field.key {
            "*" => EXAMPLE.contains(&format!("[{}]", field.section)),
            _ => effective.sources.contains_key(&field.path()),
        };
        assert!(is_there, "{} is not in the example", field.path());
        let default = field.shown(&Config::default());
        let row = format!(
            "| `{}` | `{}` | `{}` | `{default}` |",
            field.key,
            field.typed(),
            field.env()
        );
        assert!(GUIDE.contains(&row), "no such row in the guide: {row}");
    }
    assert!(GUIDE.contains(CONFIG_ENV) && GUIDE.contains(PORT_ENV));
}

#[test]
fn the_service_is_given_longer_to_stop_than_it_takes_to_drain() {
    let stop = UNIT_FILE
        .lines()
        .find_map(|line| line.strip_prefix("TimeoutStopSec="));
    let stop_ms = Unit::Millis
        .parse(stop.expect("a stop timeout"))
        .expect("a time");
    assert!(stop_ms > limits::DRAIN_TIMEOUT_MS);
}
