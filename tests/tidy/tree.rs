//! Rules for the files of the repository: no large or binary file, no unknown file, no conflict
//! marker.

use std::fs;
use std::path::Path;

use crate::rules::Violation;

/// Bytes of one file; what is larger is no source. Cargo writes its lock file as it needs it.
const FILE_BYTES_MAX: u64 = 256 * 1024;
const MAY_BE_LARGE: &[&str] = &["Cargo.lock"];

/// How source files end.
const ENDINGS: &[&str] = &[
    "conf",
    "css",
    "go",
    "html",
    "json",
    "lock",
    "md",
    "mod",
    "proptest-regressions",
    "py",
    "rs",
    "service",
    "sh",
    "socket",
    "svg",
    "toml",
    "txt",
    "yml",
];
/// Files without an ending.
const NAMES: &[&str] = &[
    ".gitignore",
    ".ci/run",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "justfile",
];
/// Folders that hold no source: what cargo and git write, and what fuzzing leaves.
const SKIPPED: &[&str] = &["target", ".git", "corpus", "artifacts"];

/// Everything that is wrong with the files below `root`.
pub(crate) fn check(root: &Path) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                if !SKIPPED.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
                continue;
            }
            // A worktree's link to its repository.
            if name == ".git" {
                continue;
            }
            let relative = path.strip_prefix(root).expect("below the root");
            let bytes = fs::read(&path).expect("the file is readable");
            let file = relative.to_string_lossy();
            found.extend(objections(&file, &bytes).map(|(line, what)| Violation {
                file: file.clone().into_owned(),
                line,
                what,
            }));
        }
    }
    found
}

/// What is wrong with one file, with the line.
pub(crate) fn objections(file: &str, bytes: &[u8]) -> impl Iterator<Item = (usize, String)> {
    let ending = file.rsplit_once('.').map(|(_, ending)| ending);
    let known = NAMES.contains(&file) || ending.is_some_and(|ending| ENDINGS.contains(&ending));
    let large = bytes.len() as u64 > FILE_BYTES_MAX && !MAY_BE_LARGE.contains(&file);
    let text = std::str::from_utf8(bytes);
    let binary = text.is_err() || bytes.contains(&0);
    let merge = text
        .ok()
        .and_then(|text| text.lines().position(merge_mark))
        .map(|line| (line + 1, "a merge is half done".to_owned()));
    let ending = (!known).then(|| (1, "a file of this kind is no source".to_owned()));
    let large = large.then(|| {
        (
            1,
            format!("{} bytes: too large for a source file", bytes.len()),
        )
    });
    let binary = binary.then(|| (1, "holds bytes that are no text".to_owned()));
    [ending, large, binary, merge].into_iter().flatten()
}

/// What a merge leaves where it needs a person.
fn merge_mark(line: &str) -> bool {
    ["<<<<<<< ", "||||||| ", ">>>>>>> "]
        .iter()
        .any(|mark| line.starts_with(mark))
}

#[test]
fn files_that_are_no_source_are_flagged() {
    let count = |file: &str, bytes: &[u8]| objections(file, bytes).count();
    assert_eq!(count("src/a.rs", b"fn a() {}\n"), 0);
    assert_eq!(count("LICENSE-MIT", b"text"), 0);
    assert_eq!(count("LICENSE", b"text"), 1);
    assert_eq!(count("tool.whl", b"PK\0"), 2);
    assert_eq!(count("a.md", b"\xff"), 1);
    assert_eq!(count("a.md", &vec![b'a'; 256 * 1024 + 1]), 1);
    assert_eq!(count("Cargo.lock", &vec![b'a'; 256 * 1024 + 1]), 0);
    let merge = objections("a.md", b"a\n>>>>>>> 0123abc\n").next();
    assert_eq!(merge.map(|(line, _)| line), Some(2));
    assert_eq!(count("a.md", b"=======\n"), 0);
}
