//! Finds files of `src` that import each other in a circle, a sign that a type is in the wrong
//! file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{rules::Violation, scan::scan};

/// Modules whose files describe one mechanism from several sides and may refer to each other.
const EXEMPT: &[&str] = &["runtime", "tasks"];
type Path = Vec<String>;

/// A file's module, and what its code names.
#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    /// Names that its `use` declarations bring in, with the absolute path of each.
    uses: BTreeMap<String, Path>,
    /// Absolute paths that its own code depends on.
    needs: Vec<Path>,
}

/// Every circle of imports among these files (path below the repository, source).
pub(crate) fn circles(files: &[(String, String)]) -> Vec<Violation> {
    let modules: BTreeMap<Path, Module> = files
        .iter()
        .filter(|(file, _)| !file.ends_with("/tests.rs") && file != "src/main.rs")
        .map(|(file, source)| {
            let path = module_path(file);
            let module = read(file, &path, source);
            (path, module)
        })
        .collect();
    let edges: BTreeMap<&str, BTreeSet<&str>> = modules
        .values()
        .map(|module| {
            let targets = module.needs.iter();
            let targets = targets.filter_map(|path| resolve(&modules, path, 8));
            let file = module.file.as_str();
            (file, targets.filter(|target| *target != file).collect())
        })
        .collect();
    let mut reported = BTreeSet::new();
    let mut found = Vec::new();
    for &file in edges.keys() {
        if reported.contains(file) || exempt(file) {
            continue;
        }
        if let Some(circle) = shortest_circle(&edges, file) {
            reported.extend(circle.iter().copied());
            found.push(Violation {
                file: file.to_owned(),
                line: 1,
                what: format!("a circle of imports: {} -> {file}", circle.join(" -> ")),
            });
        }
    }
    found
}

fn exempt(file: &str) -> bool {
    EXEMPT
        .iter()
        .any(|module| file.starts_with(&format!("src/{module}/")))
}

fn module_path(file: &str) -> Path {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.trim_end_matches("/mod");
    if path == "lib" || path == "mod" {
        return Path::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// Reads the code of one file, its tests left out.
fn read(file: &str, own: &Path, source: &str) -> Module {
    let lines = scan(source);
    let code: Vec<&str> = lines
        .iter()
        .map(|line| if line.test { "" } else { line.code.as_str() })
        .collect();
    let code = code.join("\n");
    let mut module = Module {
        file: file.to_owned(),
        ..Module::default()
    };
    for (at, word) in words(&code) {
        let rest = code[at + word.len()..].trim_start();
        if word == "mod" {
            let (_, name) = words(rest).next().unwrap_or((0, ""));
            if rest[name.len()..].trim_start().starts_with(';') {
                module.children.insert(name.to_owned());
            }
        }
    }
    // `use` declarations are cut out; what is left are paths in the code itself.
    let (mut rest, mut body) = (code.as_str(), String::new());
    let mut re_exports = Vec::new();
    while let Some(at) = words(rest)
        .find(|(_, word)| *word == "use")
        .map(|(at, _)| at)
    {
        let end = rest[at..].find(';').map_or(rest.len(), |end| at + end);
        let before = rest[..at].trim_end();
        let public = before.ends_with("pub") || before.ends_with(')');
        let mut leaves = Vec::new();
        leaves_of(&rest[at + "use".len()..end], &[], &mut leaves);
        for (path, name) in leaves {
            let Some(path) = absolute(&path, own, &module.children) else {
                continue;
            };
            match public {
                true => re_exports.push((name.clone(), path.clone())),
                false => module.needs.push(path.clone()),
            }
            module.uses.insert(name, path);
        }
        body.push_str(&rest[..at]);
        rest = &rest[end..];
    }
    body.push_str(rest);
    // A name that is passed on is needed only where the file's own code says it.
    let mut before = "";
    let said: BTreeSet<&str> = words(&body)
        .filter(|(_, word)| std::mem::replace(&mut before, word) != "mod")
        .map(|(_, word)| word)
        .collect();
    let needed = re_exports.into_iter();
    let needed = needed.filter(|(name, _)| said.contains(name.as_str()));
    module.needs.extend(needed.map(|(_, path)| path));
    for path in paths_in(&body) {
        module.needs.extend(absolute(&path, own, &module.children));
    }
    module
}

/// The words of `code` with their places.
fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + code[at..].find(in_word)?;
        let end = code[start..].find(|c| !in_word(c));
        at = end.map_or(code.len(), |end| start + end);
        Some((start, &code[start..at]))
    })
}

/// Paths of two segments or more, as `a::b::c`.
fn paths_in(code: &str) -> Vec<Path> {
    let mut found: Vec<Path> = Vec::new();
    let mut end_before = usize::MAX;
    for (at, word) in words(code) {
        if end_before.checked_add(2) == Some(at) && code[..at].ends_with("::") {
            if let Some(last) = found.last_mut() {
                last.push(word.to_owned());
            }
        } else {
            found.push(vec![word.to_owned()]);
        }
        end_before = at + word.len();
    }
    found.retain(|path| path.len() > 1);
    found
}

/// Unfolds `a::{b, c::d as e}` into paths and the names that they bring in.
fn leaves_of<'a>(tree: &'a str, above: &[String], leaves: &mut Vec<(Path, String)>) -> &'a str {
    let rest = tree.trim_start().trim_start_matches("::");
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            group = group.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if group.is_empty() {
                return group;
            }
            if let Some(after) = group.strip_prefix('}') {
                return after;
            }
            group = leaves_of(group, above, leaves);
        }
    }
    if let Some(after) = rest.strip_prefix('*') {
        leaves.push((above.to_vec(), "*".to_owned()));
        return after;
    }
    let Some((at, word)) = words(rest).next().filter(|(at, _)| *at == 0) else {
        return "";
    };
    let mut path = above.to_vec();
    let rest = &rest[at + word.len()..];
    if word == "self" && !above.is_empty() {
        let name = above.last().cloned().unwrap_or_default();
        leaves.push((path, name));
        return rest;
    }
    path.push(word.to_owned());
    if let Some(below) = rest.strip_prefix("::") {
        return leaves_of(below, &path, leaves);
    }
    if let Some(alias) = rest.trim_start().strip_prefix("as ") {
        let (at, name) = words(alias).next().unwrap_or((0, ""));
        leaves.push((path, name.to_owned()));
        return &alias[at + name.len()..];
    }
    leaves.push((path, word.to_owned()));
    rest
}

/// The path from the crate's root; `None` for what another crate or the code itself defines.
fn absolute(path: &[String], own: &[String], children: &BTreeSet<String>) -> Option<Path> {
    let mut base = match path.first()?.as_str() {
        "crate" => Path::new(),
        "self" => own.to_vec(),
        "super" => own[..own.len().checked_sub(1)?].to_vec(),
        child if children.contains(child) => {
            return Some([own, path].concat());
        }
        _ => return None,
    };
    for segment in &path[1..] {
        match segment.as_str() {
            "super" => {
                base.pop();
            }
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

/// The file that defines what `path` names, through re-exports.
fn resolve<'a>(
    modules: &'a BTreeMap<Path, Module>,
    path: &[String],
    hops: usize,
) -> Option<&'a str> {
    let known = (0..=path.len())
        .rev()
        .find(|&len| modules.contains_key(&path[..len]))?;
    let module = &modules[&path[..known]];
    if let Some(target) = path.get(known).and_then(|name| module.uses.get(name))
        && hops > 0
    {
        let further = [target, &path[known + 1..]].concat();
        return resolve(modules, &further, hops - 1);
    }
    Some(&module.file)
}

/// The shortest way from `start` back to it.
fn shortest_circle<'a>(
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    start: &'a str,
) -> Option<Vec<&'a str>> {
    let mut from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &next in edges.get(file).into_iter().flatten() {
            if next == start {
                let mut circle = vec![file];
                while let Some(&before) = from.get(circle[circle.len() - 1]) {
                    circle.push(before);
                }
                circle.reverse();
                return Some(circle);
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = from.entry(next) {
                entry.insert(file);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files
            .iter()
            .map(|(file, source)| (file.to_string(), source.to_string()))
            .collect();
        circles(&files).into_iter().map(|v| v.what).collect()
    }

    const LIB: (&str, &str) = ("src/lib.rs", "pub mod a;\npub mod tasks;\n");

    #[test]
    fn a_circle_is_found_through_re_exports_groups_and_paths_in_code() {
        for (root, x, y) in [
            (
                "mod x;\nmod y;\n",
                "use super::y::Y;\n",
                "use super::x::X;\n",
            ),
            (
                "mod x;\nmod y;\npub use x::X;\n",
                "use crate::a::{z, y::{self, Y}};\n",
                "use super::X;\n",
            ),
            (
                "mod x;\nmod y;\n",
                "fn f() { super::y::g() }\n",
                "use crate::a::x as other;\n",
            ),
        ] {
            let files = [
                LIB,
                ("src/a/mod.rs", root),
                ("src/a/x.rs", x),
                ("src/a/y.rs", y),
            ];
            let circle = "a circle of imports: src/a/x.rs -> src/a/y.rs -> src/a/x.rs";
            assert_eq!(found(&files), [circle]);
        }
        let parent = "mod x;\nfn f() { x::g() }\npub struct A;\n";
        let files = [
            LIB,
            ("src/a/mod.rs", parent),
            ("src/a/x.rs", "use super::A;\n"),
        ];
        assert_eq!(found(&files).len(), 1);
        let parent = "mod x;\npub use x::X;\npub struct A(X);\n";
        let files = [
            LIB,
            ("src/a/mod.rs", parent),
            ("src/a/x.rs", "use super::A;\n"),
        ];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn what_is_no_circle_passes() {
        let parent = "mod x;\nmod y;\npub use x::X;\npub struct A;\n";
        let files = [
            LIB,
            ("src/a/mod.rs", parent),
            ("src/a/x.rs", "use super::{A, y};\nuse other::x;\n"),
            ("src/a/y.rs", "#[cfg(test)]\nuse super::x;\n// super::x\n"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
        let files = [
            LIB,
            (
                "src/a/mod.rs",
                // A module may have the name of what it exports.
                "mod x;\npub use x::x;\npub struct A;\n",
            ),
            ("src/a/x.rs", "use super::A;\npub fn x() {}\n"),
            (
                "src/tasks/mod.rs",
                "mod x;\npub struct A;\nfn f() { x::g() }\n",
            ),
            ("src/tasks/x.rs", "use super::A;\n"),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }
}
