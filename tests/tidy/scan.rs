//! Splits a source file into its code, without literals, and its comments.

/// One line of a source file.
#[derive(Debug, Default)]
pub(crate) struct Line {
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
pub(crate) fn scan(source: &str) -> Vec<Line> {
    let chars: Vec<char> = source.chars().collect();
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut at = 0;
    while at < chars.len() {
        if chars[at] == '\n' {
            if matches!(state, State::LineComment) {
                state = State::Code;
            }
            lines.push(Line::default());
            at += 1;
            continue;
        }
        let line = lines.last_mut().expect("there is always a line");
        let taken;
        (state, taken) = step(state, &chars[at..], line);
        at += taken;
    }
    mark_tests(&mut lines);
    lines
}

/// Takes the next characters of a line; gives the state after them and how many they were.
fn step(state: State, rest: &[char], line: &mut Line) -> (State, usize) {
    let (c, next) = (rest[0], rest.get(1).copied().unwrap_or('\n'));
    match state {
        State::Code => code(rest, line),
        State::LineComment => {
            line.comment.push(c);
            (state, 1)
        }
        State::BlockComment { depth } => {
            line.comment.push(c);
            match (c, next) {
                ('*', '/') if depth == 1 => (State::Code, 2),
                ('*', '/') => (State::BlockComment { depth: depth - 1 }, 2),
                ('/', '*') => (State::BlockComment { depth: depth + 1 }, 2),
                _ => (state, 1),
            }
        }
        // A line that ends in a backslash must still be counted.
        State::Text => match (c, next) {
            ('\\', '\n') => (state, 1),
            ('\\', _) => (state, 2),
            ('"', _) => {
                line.code.push('"');
                (State::Code, 1)
            }
            _ => (state, 1),
        },
        State::RawText { hashes } => {
            let end = rest.iter().skip(1).take(hashes);
            if c == '"' && end.filter(|&&hash| hash == '#').count() == hashes {
                line.code.push('"');
                (State::Code, 1 + hashes)
            } else {
                (state, 1)
            }
        }
    }
}

/// The next characters of code.
fn code(rest: &[char], line: &mut Line) -> (State, usize) {
    match (rest[0], rest.get(1).copied().unwrap_or('\n')) {
        ('/', '/') => (State::LineComment, 0),
        ('/', '*') => {
            line.comment.push_str("/*");
            (State::BlockComment { depth: 1 }, 2)
        }
        ('"', _) => {
            let state = match raw_hashes(&line.code) {
                Some(hashes) => State::RawText { hashes },
                None => State::Text,
            };
            line.code.push('"');
            (state, 1)
        }
        (c, _) => match char_literal(rest) {
            Some(taken) => {
                line.code.push_str("' '");
                (State::Code, taken)
            }
            None => {
                line.code.push(c);
                (State::Code, 1)
            }
        },
    }
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
