//! The `[[headers]]` tables of the configuration file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Problem;
use super::nearest;
use super::responses::{EVERY_PATH, HeaderRule};

const KEYS: [&str; 6] = ["path", "status", "always", "set", "add", "remove"];

/// A mistake and its offset in the file's text.
type Mistake = (usize, Problem);

/// The rules in `value`, each with its offset in `text`, which is the whole file.
///
/// # Errors
/// The first mistake.
pub(super) fn rules(
    value: &Spanned<DeValue<'_>>,
    text: &str,
) -> Result<Vec<(HeaderRule, usize)>, Mistake> {
    let tables = Tables { text };
    let DeValue::Array(items) = value.get_ref() else {
        return Err(tables.invalid(value, "a table for each rule: [[headers]]"));
    };
    let rules = items.iter().map(|item| match item.get_ref() {
        DeValue::Table(table) => Ok((tables.rule(table)?, item.span().start)),
        _ => Err(tables.invalid(item, "a table for each rule: [[headers]]")),
    });
    rules.collect()
}

struct Tables<'a> {
    text: &'a str,
}

impl Tables<'_> {
    fn rule(&self, table: &DeTable<'_>) -> Result<HeaderRule, Mistake> {
        let mut rule = HeaderRule::default();
        for (key, value) in table {
            match &**key.get_ref() {
                "path" => {
                    rule.paths = self.texts(value, "a pattern or several, such as \"*.js\"")?
                }
                "status" => rule.statuses = self.statuses(value)?,
                "always" => match value.get_ref() {
                    DeValue::Boolean(always) => rule.always = *always,
                    _ => return Err(self.invalid(value, "true or false")),
                },
                "set" => rule.set = self.lines(value, false)?,
                "add" => rule.add = self.lines(value, true)?,
                "remove" => rule.remove = self.texts(value, "a header name or several")?,
                other => {
                    let problem = Problem::UnknownKey {
                        section: Some("[headers]".to_owned()),
                        key: other.to_owned(),
                        advice: nearest::word_advice(&KEYS, other),
                    };
                    return Err((key.span().start, problem));
                }
            }
        }
        if rule.paths.is_empty() {
            rule.paths.push(EVERY_PATH.to_owned());
        }
        Ok(rule)
    }

    /// `"a"` or `["a", "b"]`.
    fn texts(&self, value: &Spanned<DeValue<'_>>, expected: &str) -> Result<Vec<String>, Mistake> {
        let texts = match value.get_ref() {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => {
                let texts = items
                    .iter()
                    .map(|item| item.get_ref().as_str().map(str::to_owned));
                texts
                    .collect::<Option<Vec<_>>>()
                    .filter(|texts| !texts.is_empty())
            }
            _ => None,
        };
        texts.ok_or_else(|| self.invalid(value, expected))
    }

    /// `404`, `"4xx"` or `[404, "5xx"]`.
    fn statuses(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Mistake> {
        let one = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => None,
        };
        let statuses = match value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => items.iter().map(one).collect(),
            _ => one(value).map(|status| vec![status]),
        };
        statuses.ok_or_else(|| self.invalid(value, "statuses, such as 404 or [404, \"5xx\"]"))
    }

    /// `{ Name = "value" }`, and where `several` are allowed `{ Name = ["one", "two"] }`.
    fn lines(
        &self,
        value: &Spanned<DeValue<'_>>,
        several: bool,
    ) -> Result<Vec<(String, String)>, Mistake> {
        let expected = "names with values, such as { Cache-Control = \"no-cache\" }";
        let DeValue::Table(table) = value.get_ref() else {
            return Err(self.invalid(value, expected));
        };
        let mut lines = Vec::new();
        for (name, value) in table {
            let values = self.texts(value, "a value in quotes")?;
            if values.len() > 1 && !several {
                return Err(self.invalid(value, "one value; use add for several"));
            }
            for value in values {
                lines.push((name.get_ref().to_string(), value));
            }
        }
        Ok(lines)
    }

    fn invalid(&self, value: &Spanned<DeValue<'_>>, expected: &str) -> Mistake {
        let written = self.text.get(value.span()).unwrap_or_default();
        let problem = Problem::Invalid {
            value: written.to_owned(),
            expected: expected.to_owned(),
        };
        (value.span().start, problem)
    }
}
