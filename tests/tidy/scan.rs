//! Splits a source file into its code, without literals, and its comments.

/// One line of a source file.
#[derive(Debug, Default)]
pub struct Line {
    /// What is left when comments are cut and literals are emptied.
    pub code: String,
    /// The text of the line's comments, with their `//` or `/*`.
    pub comment: String,
    /// The line belongs to an item under `#[cfg(test)]`.
    pub test: bool,
}

enum State {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Scans Rust source text.
pub fn scan(source: &str) -> Vec<Line> {
    let chars: Vec<char> = source.chars().collect();
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied().unwrap_or('\n');
        if c == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let line = lines.last_mut().expect("there is always a line");
        let mut taken = 1;
        match state {
            State::Code => match (c, next) {
                ('/', '/') => {
                    state = State::LineComment;
                    continue;
                }
                ('/', '*') => {
                    state = State::BlockComment { depth: 1 };
                    line.comment.push_str("/*");
                    taken = 2;
                }
                ('"', _) => {
                    state = match raw_hashes(&line.code) {
                        Some(hashes) => State::RawText { hashes },
                        None => State::Text,
                    };
                    line.code.push('"');
                }
                ('\'', _) if char_literal(&chars[at..]).is_some() => {
                    taken = char_literal(&chars[at..]).unwrap_or(1);
                    line.code.push_str("' '");
                }
                _ => line.code.push(c),
            },
            State::LineComment => line.comment.push(c),
            State::BlockComment { depth } => {
                line.comment.push(c);
                match (c, next) {
                    ('*', '/') if depth == 1 => {
                        state = State::Code;
                        taken = 2;
                    }
                    ('*', '/') => {
                        state = State::BlockComment { depth: depth - 1 };
                        taken = 2;
                    }
                    ('/', '*') => {
                        state = State::BlockComment { depth: depth + 1 };
                        taken = 2;
                    }
                    _ => {}
                }
            }
            // A line that ends in a backslash must still be counted.
            State::Text => match (c, next) {
                ('\\', '\n') => {}
                ('\\', _) => taken = 2,
                ('"', _) => {
                    line.code.push('"');
                    state = State::Code;
                }
                _ => {}
            },
            State::RawText { hashes } => {
                let end = chars.iter().skip(at + 1).take(hashes);
                if c == '"' && end.filter(|&&hash| hash == '#').count() == hashes {
                    line.code.push('"');
                    state = State::Code;
                    taken = 1 + hashes;
                }
            }
        }
        at += taken;
    }
    mark_tests(&mut lines);
    lines
}

/// The `#`s of a raw string whose quote comes right after `code`.
fn raw_hashes(code: &str) -> Option<usize> {
    let prefix = code.trim_end_matches('#');
    let before = ["br", "cr", "r"]
        .iter()
        .find_map(|raw| prefix.strip_suffix(raw))?;
    let starts_word = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    starts_word.then_some(code.len() - prefix.len())
}

/// The length of the character literal at the start of `chars`, unless that is a lifetime.
fn char_literal(chars: &[char]) -> Option<usize> {
    match chars {
        ['\'', '\\', _, rest @ ..] => Some(3 + rest.iter().position(|&c| c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

/// Marks each item that follows a `#[cfg(test)]`.
fn mark_tests(lines: &mut [Line]) {
    let mut at = 0;
    while at < lines.len() {
        let code = lines[at].code.trim();
        if code.starts_with("#![cfg(test)]") {
            lines.iter_mut().for_each(|line| line.test = true);
            return;
        }
        if !["#[cfg(test)]", "#[cfg(all(test,"]
            .iter()
            .any(|attribute| code.starts_with(attribute))
        {
            at += 1;
            continue;
        }
        // Brackets keep the `;` of an attribute or of an array type from ending the item.
        let (mut braces, mut brackets) = (0, 0);
        'item: while let Some(line) = lines.get_mut(at) {
            line.test = true;
            at += 1;
            for c in line.code.chars() {
                match c {
                    '[' | '(' => brackets += 1,
                    ']' | ')' => brackets -= 1,
                    '{' => braces += 1,
                    '}' => braces -= 1,
                    _ => {}
                }
                // Below zero: the item was the last field of something larger.
                let ends = matches!(c, '}' | ';') && braces <= 0;
                if ends && brackets <= 0 {
                    break 'item;
                }
            }
        }
    }
}
