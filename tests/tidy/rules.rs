//! The rules for source files; each checks one scanned file.

use crate::{
    layers,
    scan::{Line, scan},
};

/// Lines of one file, tests included.
pub(crate) const LINES_MAX: usize = 900;
/// Lines of one function, from its `fn` to its closing brace.
pub(crate) const FUNCTION_LINES_MAX: usize = 70;

/// Folders, and one file, that may hold `unsafe` and `libc`.
pub(crate) const UNSAFE_PLACES: &[&str] = &[
    "src/sys",
    "src/runtime/ring",
    "src/buffers",
    "src/tasks/cell",
    "src/tasks/join",
];

/// Words that must not be in the program, tests aside.
const PANICKING: &[&str] = &[".unwrap()", ".expect(", "todo!", "unimplemented!", "dbg!"];
/// Words for which a command is the only place.
const PRINTING: &[&str] = &["println!", "eprintln!", "print!", "eprint!"];

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    pub file: String,
    pub line: usize,
    pub what: String,
}

struct File<'a> {
    /// Path from the repository's root, with slashes.
    path: &'a str,
    lines: Vec<Line>,
    /// All of it is test code.
    test: bool,
}

/// All that is wrong with one file of `src`.
pub(crate) fn check(path: &str, source: &str) -> Vec<Violation> {
    let file = File {
        path,
        lines: scan(source),
        test: path.ends_with("/tests.rs")
            || path.ends_with("/models.rs")
            || path.contains("/tests/"),
    };
    report(
        file,
        &[
            imports,
            unsafe_places,
            safety_comments,
            words,
            leftovers,
            length,
            functions,
        ],
    )
}

/// What also holds for the files of `tests` and `benches`.
pub(crate) fn check_test_file(path: &str, source: &str) -> Vec<Violation> {
    let file = File {
        path,
        lines: scan(source),
        test: true,
    };
    report(file, &[leftovers, length, functions])
}

fn report(file: File<'_>, rules: &[fn(&File<'_>, &mut Found)]) -> Vec<Violation> {
    let mut found = Vec::new();
    for rule in rules {
        rule(&file, &mut found);
    }
    found
        .into_iter()
        .map(|(line, what)| Violation {
            file: file.path.to_owned(),
            line,
            what,
        })
        .collect()
}

/// The paths below `src/` that a document names and that `exists` denies.
pub(crate) fn dead_paths(
    document: &str,
    text: &str,
    exists: impl Fn(&str) -> bool,
) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices("src/") {
            if line[..at].ends_with(|c: char| c.is_alphanumeric() || "_-/.".contains(c)) {
                continue;
            }
            let rest = &line[at..];
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || "_-/.".contains(c)))
                .unwrap_or(rest.len());
            // A pattern such as `src/*/tests.rs` stands for its folder.
            let path = match rest[end..].chars().next() {
                Some('*' | '{' | '<') => rest[..end].rsplit_once('/').map_or("src", |(dir, _)| dir),
                _ => rest[..end].trim_end_matches(['.', '/']),
            };
            if !exists(path) {
                found.push(Violation {
                    file: document.to_owned(),
                    line: index + 1,
                    what: format!("names `{path}`, which does not exist"),
                });
            }
        }
    }
    found
}

type Found = Vec<(usize, String)>;

fn imports(file: &File<'_>, found: &mut Found) {
    let module: Vec<String> = file
        .path
        .trim_start_matches("src/")
        .trim_end_matches(".rs")
        .trim_end_matches("/mod")
        .split('/')
        .map(str::to_owned)
        .collect();
    let own = module[0].as_str();
    if own == "lib" || own == "bin" {
        return;
    }
    if !layers::is_module(own) {
        found.push((1, format!("`{own}` is no module of any layer")));
        return;
    }
    if file.test {
        return;
    }
    let code: Vec<&str> = file
        .lines
        .iter()
        .map(|line| if line.test { "" } else { &line.code })
        .collect();
    for (line, path) in layers::paths(&code.join("\n"), &module) {
        if let Some(objection) = layers::objection(own, &path) {
            found.push((line, objection));
        }
    }
}

fn unsafe_places(file: &File<'_>, found: &mut Found) {
    let allowed = UNSAFE_PLACES.iter().any(|folder| {
        file.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    });
    if allowed {
        return;
    }
    for (line, text) in numbered(file) {
        if has_word(&text.code, "unsafe") {
            found.push((
                line,
                "`unsafe` belongs in sys, runtime/ring, buffers or tasks/{cell,join}".to_owned(),
            ));
        }
        if has_word(&text.code, "libc") {
            found.push((
                line,
                "`libc` belongs in sys, runtime/ring, buffers or tasks/{cell,join}".to_owned(),
            ));
        }
    }
}

fn safety_comments(file: &File<'_>, found: &mut Found) {
    for (line, text) in numbered(file) {
        for (at, _) in words_at(&text.code, "unsafe") {
            let mut after = text.code[at + "unsafe".len()..].trim_start().to_owned();
            if after.is_empty()
                && let Some(next) = file.lines.get(line)
            {
                after = next.code.trim_start().to_owned();
            }
            let after_abi = match after.strip_prefix("extern") {
                Some(abi) => abi.trim_start_matches([' ', '"']),
                None => &after,
            };
            // `unsafe fn(...)` is a type: the comment belongs to the call through it.
            if after_abi
                .strip_prefix("fn")
                .is_some_and(|rest| rest.trim_start().starts_with('('))
            {
                continue;
            }
            let declares = after_abi.starts_with("fn ") || after.starts_with("trait ");
            let above = comment_above(&file.lines, line - 1);
            if above.contains("SAFETY:") || (declares && above.contains("# Safety")) {
                continue;
            }
            found.push((
                line,
                if declares {
                    "this declaration lacks its `# Safety` section".to_owned()
                } else {
                    "this `unsafe` lacks a `// SAFETY:` comment right above".to_owned()
                },
            ));
        }
    }
}

/// The comment right above the statement of which `lines[at]` is a part.
fn comment_above(lines: &[Line], mut at: usize) -> String {
    let mut comment = String::new();
    while at > 0 {
        at -= 1;
        let Line {
            code,
            comment: text,
            ..
        } = &lines[at];
        let code = code.trim();
        if code.is_empty() && text.is_empty() {
            break;
        }
        if code.is_empty() {
            comment.insert_str(0, &format!("{text}\n"));
            continue;
        }
        let attribute = code.starts_with("#[");
        let continues = !code.ends_with([';', '{', '}', ',']);
        if !comment.is_empty() || !(attribute || continues) {
            break;
        }
    }
    comment
}

fn words(file: &File<'_>, found: &mut Found) {
    if file.test {
        return;
    }
    let may_print = file.path.starts_with("src/cli") || file.path == "src/main.rs";
    for (line, text) in numbered(file) {
        if text.test {
            continue;
        }
        let printing = PRINTING.iter().filter(|_| !may_print);
        // A type may have an `expect` of its own, as a parser of the Expect field has.
        let code = text.code.replace("self.expect(", "self.own(");
        for word in PANICKING.iter().chain(printing) {
            if has_word(&code, word) {
                found.push((line, format!("`{word}` does not belong here")));
            }
        }
    }
}

fn leftovers(file: &File<'_>, found: &mut Found) {
    for (line, text) in numbered(file) {
        for mark in ["FIXME", "XXX"] {
            if has_word(&text.code, mark) || has_word(&text.comment, mark) {
                found.push((line, format!("`{mark}`: finish it or leave it out")));
            }
        }
        if text.code.contains("#[ignore") {
            found.push((line, "`#[ignore`: a test runs or is not there".to_owned()));
        }
        let silenced = ["allow(", "expect("]
            .iter()
            .any(|word| text.code.contains(word));
        if silenced && has_word(&text.code, "dead_code") {
            found.push((
                line,
                "`allow(dead_code)`: remove what nobody uses".to_owned(),
            ));
        }
    }
}

fn length(file: &File<'_>, found: &mut Found) {
    // The scanner gives one line more than there are line ends.
    let lines = file.lines.len() - 1;
    if lines > LINES_MAX {
        found.push((
            lines,
            format!("{lines} lines, more than {LINES_MAX}: split the file"),
        ));
    }
}

fn functions(file: &File<'_>, found: &mut Found) {
    for (first, lines) in function_lines(&file.lines) {
        if lines > FUNCTION_LINES_MAX {
            found.push((
                first,
                format!("a function of {lines} lines, more than {FUNCTION_LINES_MAX}: split it"),
            ));
        }
    }
}

/// First line and number of lines of each function with a body.
fn function_lines(lines: &[Line]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    // Functions that are open: their line, the depth of braces outside, and whether the body has begun.
    let mut open: Vec<(usize, usize, bool)> = Vec::new();
    let (mut depth, mut brackets) = (0_usize, 0_usize);
    for (index, line) in lines.iter().enumerate() {
        let starts: Vec<usize> = words_at(&line.code, "fn")
            .filter(|(at, _)| {
                let name = line.code[at + 2..].trim_start();
                name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            })
            .map(|(at, _)| at)
            .collect();
        for (at, c) in line.code.char_indices() {
            if starts.contains(&at) {
                open.push((index, depth, false));
            }
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                '{' => {
                    if let Some(last) = open.last_mut().filter(|last| last.1 == depth) {
                        last.2 = true;
                    }
                    depth += 1;
                }
                // A declaration without a body, as in a trait.
                ';' if brackets == 0 => {
                    open.pop_if(|last| last.1 == depth && !last.2);
                }
                '}' => {
                    depth = depth.saturating_sub(1);
                    if let Some((first, ..)) = open.pop_if(|last| last.1 == depth && last.2) {
                        found.push((first + 1, index - first + 1));
                    }
                }
                _ => {}
            }
        }
    }
    found
}

fn numbered<'a>(file: &'a File<'_>) -> impl Iterator<Item = (usize, &'a Line)> {
    file.lines
        .iter()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

fn has_word(text: &str, word: &str) -> bool {
    words_at(text, word).next().is_some()
}

/// Where `word` stands in `text` as a word of its own.
fn words_at<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).filter(move |(at, _)| {
        let joined_before = word.starts_with(in_word) && text[..*at].ends_with(in_word);
        let joined_after = word.ends_with(in_word) && text[at + word.len()..].starts_with(in_word);
        !joined_before && !joined_after
    })
}
