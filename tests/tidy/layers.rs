//! Which module of `src` may use which other ones.

/// The modules from top to bottom; modules of one layer are neighbours.
pub(crate) const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["server"],
    &["files"],
    &["load"],
    &["tuning"],
    &["runtime"],
    &[
        "config",
        "net",
        "keepalive",
        "tasks",
        "http",
        "observe",
        "buffers",
    ],
    &["sys"],
    &["limits"],
];

/// Neighbours that may be used all the same.
const BETWEEN_NEIGHBOURS: &[(&str, &str)] = &[
    ("net", "keepalive"),
    ("config", "keepalive"),
    ("tasks", "observe"),
    ("observe", "http"),
];

/// Where only a part of a lower module may be used.
const ONLY: &[(&str, &str, &str)] = &[("http", "sys", "file")];

/// The program's entry, which parses the command line and runs one command.
const ENTRY: (&str, &str) = ("main", "cli");

/// Whether `src` may hold a file or a folder of this name.
pub(crate) fn is_module(name: &str) -> bool {
    name == ENTRY.0 || layer(name).is_some()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// Why `module` must not use `path` (segments after `crate`), if so.
pub(crate) fn objection(module: &str, path: &[String]) -> Option<String> {
    let used = path.first()?.as_str();
    if used == module {
        return None;
    }
    let Some(used_layer) = layer(used) else {
        return Some(format!("`{used}` is no module of any layer"));
    };
    if module == ENTRY.0 {
        return (used != ENTRY.1).then(|| format!("main uses `{}` only, not `{used}`", ENTRY.1));
    }
    let own_layer = layer(module)?;
    if used_layer < own_layer {
        return Some(format!("`{module}` is below `{used}` and must not use it"));
    }
    if used_layer == own_layer && !BETWEEN_NEIGHBOURS.contains(&(module, used)) {
        return Some(format!(
            "`{module}` and `{used}` are neighbours and know nothing of each other"
        ));
    }
    let (.., part) = ONLY
        .iter()
        .find(|only| (only.0, only.1) == (module, used))?;
    (path.get(1).map(String::as_str) != Some(part))
        .then(|| format!("`{module}` may use only `{part}` of `{used}`"))
}

/// Every path in `code` that starts at the crate's root, without that root.
///
/// `module` is the file's own module path, against which `super` is resolved.
pub(crate) fn paths(code: &str, module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (root, is_super) in [("crate", false), ("headwater", false), ("super", true)] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let Some(mut rest) = code[at + root.len()..].strip_prefix("::") else {
                continue;
            };
            let mut climbed = 1;
            if is_super {
                while let Some(further) = rest.strip_prefix("super::") {
                    rest = further;
                    climbed += 1;
                }
                if climbed < module.len() {
                    continue;
                }
            }
            let mut leaves = Vec::new();
            expand(rest, &[], &mut leaves);
            let line = before.matches('\n').count() + 1;
            found.extend(leaves.into_iter().map(|leaf| (line, leaf)));
        }
    }
    found
}

/// Unfolds `a::{b, c::d}` and returns what follows the tree.
fn expand<'a>(tree: &'a str, above: &[String], leaves: &mut Vec<Vec<String>>) -> &'a str {
    let mut rest = tree.trim_start();
    if let Some(mut group) = rest.strip_prefix('{') {
        loop {
            group = group.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = group.strip_prefix('}') {
                return after;
            }
            let after = expand(group, above, leaves);
            // What is no path (`as name` was cut already) ends the group.
            if after.len() == group.len() {
                return after;
            }
            group = after;
        }
    }
    let end = rest
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '*'))
        .unwrap_or(rest.len());
    let mut path = above.to_vec();
    path.push(rest[..end].to_owned());
    rest = &rest[end..];
    if let Some(below) = rest.strip_prefix("::") {
        return expand(below, &path, leaves);
    }
    if let Some(alias) = rest.trim_start().strip_prefix("as ") {
        let alias = alias.trim_start();
        let end = alias
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(alias.len());
        rest = &alias[end..];
    }
    leaves.push(path);
    rest
}
