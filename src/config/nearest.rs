//! Suggests the key or section that an unknown one probably means.

use super::field::{FIELDS, Field};

/// Longest name that is compared; the comparison takes quadratic time.
const NAME_CHARS_MAX: usize = 64;

/// Completes "unknown key …; " for `key` found in `section`.
pub(super) fn key_advice(section: Option<&str>, key: &str) -> String {
    let found = FIELDS
        .iter()
        .filter_map(|field| {
            let elsewhere = section != Some(field.section);
            likeness(field, key).map(|distance| (distance, elsewhere, field))
        })
        .min_by_key(|(distance, elsewhere, _)| (*distance, *elsewhere));
    match (found, section) {
        (Some((_, true, field)), _) => {
            format!("did you mean \"{}\" in [{}]?", field.key, field.section)
        }
        (Some((_, false, field)), _) => format!("did you mean \"{}\"?", field.key),
        (None, Some(section)) => {
            let keys: Vec<&str> = FIELDS
                .iter()
                .filter(|field| field.section == section)
                .map(|field| field.key)
                .collect();
            format!("[{section}] has {}", keys.join(", "))
        }
        (None, None) => format!("the sections are {}", sections().join(", ")),
    }
}

/// Completes "unknown section …; " for `name`.
pub(super) fn section_advice(name: &str) -> String {
    let sections = sections();
    let found = sections
        .iter()
        .map(|section| (distance(section, name), section))
        .filter(|(distance, _)| *distance <= 2)
        .min();
    match found {
        Some((_, section)) => format!("did you mean [{section}]?"),
        None => format!("the sections are {}", sections.join(", ")),
    }
}

/// Completes "unknown key …; " for `word` where only `known` ones are allowed.
pub(super) fn word_advice(known: &[&str], word: &str) -> String {
    let closest = known.iter().min_by_key(|known| distance(known, word));
    match closest {
        Some(known) if distance(known, word) <= 2 => format!("did you mean \"{known}\"?"),
        _ => format!("there are {}", known.join(", ")),
    }
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = FIELDS.iter().map(|field| field.section).collect();
    sections.dedup();
    sections
}

/// The distance of `key` to the nearest name of `field`, if it may mean that field.
fn likeness(field: &Field, key: &str) -> Option<usize> {
    let key = key.to_lowercase().replace('-', "_");
    let flag = field.flag.replace('-', "_");
    let closest = match field.key {
        "*" => distance(&flag, &key),
        name => distance(name, &key).min(distance(&flag, &key)),
    };
    if closest <= key.chars().count().div_ceil(4) {
        return Some(closest);
    }
    // "idle" for "idle_ms": a worse match than a typing error.
    let beginning = key.len() >= 3 && field.key.starts_with(&key);
    beginning.then_some(NAME_CHARS_MAX)
}

/// Levenshtein's distance in characters; `usize::MAX` for names too long to be compared.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    if b.len() > NAME_CHARS_MAX {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_levenshteins() {
        for (a, b, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("idle_ms", "idel_ms", 2),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn advice_names_the_key_that_was_meant() {
        for (section, key, advice) in [
            ("timeouts", "idle_timeout", "did you mean \"idle_ms\"?"),
            ("timeouts", "ilde_ms", "did you mean \"idle_ms\"?"),
            ("timeouts", "idle", "did you mean \"idle_ms\"?"),
            ("server", "lisen", "did you mean \"listen\"?"),
            ("server", "steer-by-cpu", "did you mean \"steer_by_cpu\"?"),
            (
                "server",
                "idle_ms",
                "did you mean \"idle_ms\" in [timeouts]?",
            ),
            ("cache", "body_bytes_max", "did you mean \"body_bytes\"?"),
            ("limits", "max_connections", "did you mean \"connections\"?"),
        ] {
            assert_eq!(key_advice(Some(section), key), advice, "{section}.{key}");
        }
        assert_eq!(
            key_advice(None, "listen"),
            "did you mean \"listen\" in [server]?"
        );
        assert_eq!(
            key_advice(Some("socket"), "zzz"),
            "[socket] has congestion, defer_accept, send_buffer_bytes, unix_mode"
        );
        assert_eq!(section_advice("timeout"), "did you mean [timeouts]?");
        assert!(
            section_advice("tls")
                .contains("server, headers, error-pages, limits, keepalive, timeouts")
        );
        assert!(key_advice(Some("server"), &"x".repeat(1 << 16)).starts_with("[server] has"));
    }
}
