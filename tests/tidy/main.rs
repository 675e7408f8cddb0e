//! The rules that hold the source tree together, as tests.
//!
//! `source_follows_the_rules` reads the repository; every other test shows
//! that a rule flags what it is there for and lets the rest pass.

mod circles;
mod layers;
mod rules;
mod scan;
mod tree;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rules::Violation;

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    Ok(())
}

/// Every Rust file of a folder of the repository, with its source.
fn sources(root: &Path, folder: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    if root.join(folder).exists() {
        rust_files(&root.join(folder), &mut files).expect("the folder is readable");
    }
    files
        .into_iter()
        .map(|file| {
            let source = fs::read_to_string(&file).expect("the file is readable UTF-8");
            let path = file.strip_prefix(root).expect("below the root");
            (path.to_string_lossy().into_owned(), source)
        })
        .collect()
}

#[test]
fn source_follows_the_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut violations: Vec<Violation> = Vec::new();
    for (folder, check) in [
        ("src", rules::check as fn(&str, &str) -> Vec<Violation>),
        ("tests", rules::check_test_file),
        ("benches", rules::check_test_file),
        ("examples", rules::check_test_file),
    ] {
        let files = sources(root, folder);
        assert!(folder != "src" || files.len() > 2, "src was not found");
        for (path, source) in &files {
            violations.extend(check(path, source));
        }
        if folder == "src" {
            violations.extend(circles::circles(&files));
        }
    }
    let map = "ARCHITECTURE.md";
    if let Ok(text) = fs::read_to_string(root.join(map)) {
        let exists = |path: &str| root.join(path).exists();
        violations.extend(rules::dead_paths(map, &text, exists));
    }
    violations.extend(tree::check(root));
    violations.sort();
    let list: Vec<String> = violations
        .iter()
        .map(|v| format!("{}:{}: {}", v.file, v.line, v.what))
        .collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

/// What the rules and the map say of the tree is true of it.
#[test]
fn the_lists_name_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let exists = |name: &str| {
        let path = root.join("src").join(name);
        path.is_dir() || path.with_extension("rs").is_file()
    };
    for module in layers::LAYERS.iter().copied().flatten() {
        assert!(exists(module), "layers.rs names `{module}`");
    }
    let map = fs::read_to_string(root.join("ARCHITECTURE.md")).expect("the map");
    for place in rules::UNSAFE_PLACES {
        let path = place.trim_start_matches("src/");
        assert!(exists(path), "rules.rs names `{place}`");
        assert!(
            map.contains(&format!("`{place}")),
            "ARCHITECTURE.md omits that `{place}` may hold unsafe code"
        );
    }
}

fn flagged(path: &str, source: &str) -> Vec<(usize, String)> {
    let mut found: Vec<_> = rules::check(path, source)
        .into_iter()
        .map(|violation| (violation.line, violation.what))
        .collect();
    found.sort();
    found
}

#[track_caller]
fn assert_flagged(path: &str, source: &str, lines: &[usize], word: &str) {
    let found = flagged(path, source);
    let at: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert_eq!(at, lines, "{found:?}\n{source}");
    assert!(
        found.iter().all(|(_, what)| what.contains(word)),
        "{found:?}"
    );
}

#[track_caller]
fn assert_clean(path: &str, source: &str) {
    assert_eq!(flagged(path, source), [], "{source}");
}

#[test]
fn imports_that_climb_are_flagged() {
    assert_flagged(
        "src/http/h1.rs",
        "use crate::server::Route;\n",
        &[1],
        "below",
    );
    assert_flagged(
        "src/sys/file.rs",
        "\nfn f() { crate::net::listen(); }\n",
        &[2],
        "below",
    );
    assert_flagged(
        "src/runtime/mod.rs",
        "use crate::{\n    limits::A,\n    files::{listing::B, C as D},\n    cli,\n};\n",
        &[1, 1, 1],
        "below",
    );
    assert_flagged("src/limits.rs", "use crate::sys::x;\n", &[1], "below");
    assert_flagged(
        "src/net/tls/session.rs",
        "use super::super::super::server::X;\n",
        &[1],
        "below",
    );
    assert_flagged("src/sys.rs", "use super::cli;\n", &[1], "below");
}

#[test]
fn imports_between_neighbours_are_flagged() {
    assert_flagged("src/http/a.rs", "use crate::net::A;\n", &[1], "neighbours");
    assert_flagged(
        "src/keepalive/a.rs",
        "use crate::net::a;\n",
        &[1],
        "neighbours",
    );
    assert_flagged(
        "src/tasks/a.rs",
        "use crate::buffers::Pool;\n",
        &[1],
        "neighbours",
    );
    assert_flagged(
        "src/http/a.rs",
        "use crate::sys::{file::File, cpu};\n",
        &[1],
        "only `file`",
    );
    assert_flagged("src/http/a.rs", "use crate::sys;\n", &[1], "only `file`");
    assert_flagged("src/main.rs", "use headwater::server::run;\n", &[1], "main");
    assert_flagged(
        "src/net/a.rs",
        "use crate::Thing;\n",
        &[1],
        "no module of any layer",
    );
    assert_flagged("src/attic/a.rs", "", &[1], "no module of any layer");
}

#[test]
fn imports_that_descend_pass() {
    assert_clean("src/main.rs", "fn main() { headwater::cli::run() }\n");
    assert_clean(
        "src/cli/serve.rs",
        "use crate::{server::S, limits, sys::cpu};\n",
    );
    assert_clean(
        "src/files/a.rs",
        "use crate::{http::range::Range, files::b, runtime};\n",
    );
    assert_clean(
        "src/net/a.rs",
        "use crate::{keepalive::Policy, sys::{self, cpu}};\n",
    );
    assert_clean(
        "src/http/a.rs",
        "use crate::sys::file::File;\nuse super::super::http::b;\n",
    );
    assert_clean("src/net/tls/session.rs", "use super::super::server::X;\n");
    assert_clean(
        "src/sys/a.rs",
        "/// See [`crate::server`].\nconst A: &str = \"crate::server\"; // crate::cli\n",
    );
    assert_clean("src/lib.rs", "pub mod anything;\n");
    assert_clean("src/sys/tests.rs", "use crate::net::X;\n");
}

#[test]
fn unsafe_and_libc_outside_their_places_are_flagged() {
    let code = "// SAFETY: fine.\nunsafe { x() }\n";
    assert_flagged("src/http/a.rs", code, &[2], "`unsafe` belongs");
    assert_flagged("src/runtime/ringside.rs", code, &[2], "`unsafe` belongs");
    assert_flagged("src/net/tests.rs", code, &[2], "`unsafe` belongs");
    assert_flagged(
        "src/net/a.rs",
        "let a = libc::AF_INET;\n",
        &[1],
        "`libc` belongs",
    );
    for path in [
        "src/sys/a.rs",
        "src/sys.rs",
        "src/runtime/ring/a.rs",
        "src/buffers/pool.rs",
    ] {
        assert_clean(path, code);
        assert_clean(path, "let a = libc::AF_INET;\n");
    }
    assert_clean(
        "src/net/a.rs",
        "#![forbid(unsafe_code)]\nlet not_libc = 1; // unsafe libc::x\n",
    );
}

#[test]
fn unsafe_without_its_reason_is_flagged() {
    let path = "src/sys/a.rs";
    let word = "SAFETY";
    assert_flagged(path, "fn f() {\n    unsafe { g() }\n}\n", &[2], word);
    assert_flagged(path, "// SAFETY: a.\n\nunsafe { g() }\n", &[3], word);
    assert_flagged(
        path,
        "// SAFETY: a.\nlet a = 1;\nunsafe { g() }\n",
        &[3],
        word,
    );
    assert_flagged(
        path,
        "// SAFETY: a.\nunsafe { g() };\nunsafe { h() };\n",
        &[3],
        word,
    );
    assert_flagged(path, "unsafe impl Send for A {}\n", &[1], word);
    assert_flagged(
        path,
        "let a = \"// SAFETY: no\";\nunsafe { g() }\n",
        &[2],
        word,
    );
    assert_flagged(path, "unsafe\n{ g() }\n", &[1], word);
    assert_flagged(path, "unsafe extern \"C\" {}\n", &[1], word);
    assert_flagged(path, "#[unsafe(no_mangle)]\n", &[1], word);
    let word = "# Safety";
    assert_flagged(path, "/// Does it.\npub unsafe fn f() {}\n", &[2], word);
    assert_flagged(path, "unsafe extern \"C\" fn f() {}\n", &[1], word);
    assert_flagged(path, "unsafe trait T {}\n", &[1], word);
}

#[test]
fn unsafe_with_its_reason_passes() {
    let path = "src/sys/a.rs";
    assert_clean(
        path,
        "// SAFETY: long\n// reason.\nlet a =\n    unsafe { g() };\n",
    );
    assert_clean(
        path,
        "/* SAFETY: reason. */\n#[inline]\nunsafe impl Send for A {}\n",
    );
    assert_clean(
        path,
        "/// # Safety\n///\n/// Call it once.\n#[inline]\npub unsafe fn f() {}\n",
    );
    assert_clean(
        path,
        "// SAFETY: as GlobalAlloc asks.\nunsafe fn alloc() {}\n",
    );
    assert_clean(
        path,
        "type F = unsafe extern \"C\" fn(i32);\ntype G = unsafe fn();\n",
    );
}

#[test]
fn words_that_panic_or_print_are_flagged() {
    for code in [
        "a.unwrap();",
        "a\n.expect(\"b\");",
        "todo!();",
        "unimplemented!()",
        "dbg!(a);",
    ] {
        let line = code.lines().count();
        assert_flagged("src/net/a.rs", code, &[line], "does not belong");
        assert_flagged("src/cli/a.rs", code, &[line], "does not belong");
    }
    for code in [
        "println!(\"a\");",
        "eprintln!();",
        "std::print!(\"\");",
        "eprint!();",
    ] {
        assert_flagged("src/net/a.rs", code, &[1], "does not belong");
        assert_clean("src/cli/a.rs", code);
        assert_clean("src/main.rs", code);
    }
    assert_clean(
        "src/net/a.rs",
        "a.unwrap_or(b).expect_err(c); my_dbg!(); // x.unwrap()\n",
    );
    assert_clean(
        "src/net/a.rs",
        "#[expect(clippy::x)]\nlet a = \".unwrap()\";\n",
    );
}

#[test]
fn own_method_named_expect_passes() {
    assert_clean("src/http/a.rs", "self.expect(value)?;\n");
    assert_flagged(
        "src/http/a.rs",
        "self.header.expect(\"a\");\n",
        &[1],
        "does not belong",
    );
}

#[test]
fn test_code_may_panic_and_what_follows_may_not() {
    assert_clean("src/net/tests.rs", "a.unwrap();\n");
    assert_flagged(
        "src/net/a.rs",
        "#[cfg(test)]\nmod tests {\n    fn f() { a.unwrap(); }\n}\nfn g() { b.unwrap(); }\n",
        &[5],
        "does not belong",
    );
    assert_flagged(
        "src/net/a.rs",
        "#[cfg(test)]\nmod tests;\nfn g() { b.unwrap(); }\n",
        &[3],
        "does not belong",
    );
    assert_flagged(
        "src/net/a.rs",
        "#[cfg(test)]\nfn h() -> [u8; 1] { a.unwrap() }\nfn g() { b.unwrap(); }\n",
        &[3],
        "does not belong",
    );
    assert_flagged(
        "src/net/a.rs",
        "struct A {\n    #[cfg(test)]\n    seen: u8,\n}\nfn g() { b.unwrap(); }\n",
        &[5],
        "does not belong",
    );
    assert_flagged(
        "src/net/a.rs",
        "#[cfg(not(test))]\nfn g() { b.unwrap(); }\n",
        &[2],
        "does not",
    );
}

#[test]
fn leftovers_are_flagged() {
    let fixme = format!("// {}: later\n", "FIXME");
    assert_flagged("src/net/a.rs", &fixme, &[1], "finish it");
    assert_flagged("src/net/tests.rs", "/* XXX */\n", &[1], "finish it");
    assert_flagged(
        "src/net/a.rs",
        "#[allow(unused, dead_code)]\n",
        &[1],
        "dead_code",
    );
    assert_flagged("src/net/a.rs", "#![expect(dead_code)]\n", &[1], "dead_code");
    assert_flagged("src/net/tests.rs", "#[ignore = \"slow\"]\n", &[1], "ignore");
    assert_eq!(rules::check_test_file("tests/a.rs", "#[ignore]\n").len(), 1);
    assert_clean("src/net/a.rs", "const A: &str = \"XXX\"; // XXXL\n");
}

#[test]
fn files_that_outgrew_their_job_are_flagged() {
    let max = rules::LINES_MAX;
    assert_clean("src/net/a.rs", &"//\n".repeat(max));
    assert_flagged("src/net/a.rs", &"//\n".repeat(max + 1), &[max + 1], "split");
    let lines = "\n".repeat(max + 1);
    assert_eq!(rules::check_test_file("tests/a.rs", &lines).len(), 1);
}

#[test]
fn functions_that_outgrew_their_job_are_flagged() {
    let body = |lines: usize| {
        format!(
            "trait T {{\n    fn a(x: [u8; 2]);\n    fn b()\n    {{\n{}    }}\n}}\n",
            "a();\n".repeat(lines)
        )
    };
    let max = rules::FUNCTION_LINES_MAX;
    assert_clean("src/net/a.rs", &body(max - 3));
    assert_flagged("src/net/a.rs", &body(max - 2), &[3], "a function of");
    let type_only = "struct A {\n    f: fn(u8),\n}\n";
    assert_clean(
        "src/net/a.rs",
        &format!("{type_only}{}", "//\n".repeat(max)),
    );
    assert_eq!(rules::check_test_file("tests/a.rs", &body(max)).len(), 1);
}

#[test]
fn paths_that_lead_nowhere_are_flagged() {
    let exists = |path: &str| ["src/net", "src/net/mod.rs", "src/lib.rs"].contains(&path);
    let text =
        "See `src/net/mod.rs`, src/net/, [x](src/lib.rs).\nAnd src/net/*.rs, foo/src/x.rs.\n";
    assert_eq!(rules::dead_paths("A.md", text, exists), []);
    let dead = rules::dead_paths("A.md", "\n`src/gone.rs` and src/old/{a,b}.rs\n", exists);
    let what: Vec<&str> = dead
        .iter()
        .map(|violation| violation.what.as_str())
        .collect();
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|violation| violation.line == 2));
    assert!(
        what[0].contains("`src/gone.rs`") && what[1].contains("`src/old`"),
        "{what:?}"
    );
}

#[test]
fn scanner_tells_code_from_text() {
    let code = |source: &str| -> Vec<String> {
        scan::scan(source)
            .into_iter()
            .map(|line| line.code)
            .collect()
    };
    assert_eq!(code("a(\"x // \\\" y\"); // z"), ["a(\"\"); "]);
    assert_eq!(code("r#\"a\" b\"# c br\"\\\" d"), ["r#\"\" c br\"\" d"]);
    assert_eq!(
        code("'\"' x '\\'' y '\\u{22}' z 'a"),
        ["' ' x ' ' y ' ' z 'a"]
    );
    assert_eq!(code("a /* b /* c */ d\n */ e"), ["a ", " e"]);
    assert_eq!(
        code("\"a\\\n b\" c\n\"d\ne\" f"),
        ["\"", "\" c", "\"", "\" f"]
    );
    let lines = scan::scan("a // b\n/* c */ d");
    assert_eq!(lines[0].comment, "// b");
    assert_eq!(lines[1].comment.trim(), "/* c *");
}
