//! The TOML file: sections of known keys, every mistake with its line and column.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::effective::Effective;
use super::error::{ConfigError, Problem, ValueSource};
use super::field::{FIELDS, Field, FieldKind};
use super::file_headers;

use super::nearest;
use super::raw::RawValue;
use crate::limits;

/// Reads the file at `path` into `effective`; `named_by` is the source of its name.
pub(super) fn read(
    path: &Path,
    named_by: ValueSource,
    effective: &mut Effective,
) -> Result<(), ConfigError> {
    match contents(path) {
        Ok(text) => apply(&text, path, effective),
        Err(problem) => Err(ConfigError {
            at: named_by,
            problem,
        }),
    }
}

fn contents(path: &Path) -> Result<String, Problem> {
    let unreadable = |source| Problem::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let bytes_max = limits::CONFIG_FILE_BYTES_MAX;
    let mut bounded = file.take(bytes_max + 1);
    bounded.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Problem::FileTooLarge {
            path: path.to_owned(),
            bytes_max,
        });
    }
    String::from_utf8(bytes)
        .map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Applies the TOML document `text`, which was read from `path`, to `effective`.
pub(super) fn apply(text: &str, path: &Path, effective: &mut Effective) -> Result<(), ConfigError> {
    let document = Document { text, path };
    let table = DeTable::parse(text).map_err(|error| ConfigError {
        at: document.position(error.span().map_or(0, |span| span.start)),
        problem: Problem::Syntax(error.message().replace('\n', "; ")),
    })?;
    for (name, value) in table.get_ref() {
        document.section(name, value, effective)?;
    }
    Ok(())
}

struct Document<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Document<'_> {
    fn section(
        &self,
        name: &Spanned<impl AsRef<str>>,
        value: &Spanned<DeValue<'_>>,
        effective: &mut Effective,
    ) -> Result<(), ConfigError> {
        let section = name.get_ref().as_ref();
        let at_name = |problem| ConfigError {
            at: self.position(name.span().start),
            problem,
        };
        let mut whole = FIELDS.iter().filter(|field| field.section == section);
        if let Some(field) = whole.find(|field| field.kind == FieldKind::HeaderRules) {
            return self.header_rules(field, value, effective);
        }
        let DeValue::Table(keys) = value.get_ref() else {
            return Err(at_name(Problem::UnknownKey {
                section: None,
                key: section.to_owned(),
                advice: nearest::key_advice(None, section),
            }));
        };
        if !FIELDS.iter().any(|field| field.section == section) {
            return Err(at_name(Problem::UnknownSection {
                name: section.to_owned(),
                advice: nearest::section_advice(section),
            }));
        }
        for (key, value) in keys {
            let known = |field: &&Field| {
                let is_named =
                    matches!(field.kind, FieldKind::Map(_)) || field.key == key.get_ref();
                field.section == section && is_named
            };
            let Some(field) = FIELDS.iter().find(known) else {
                return Err(ConfigError {
                    at: self.position(key.span().start),
                    problem: Problem::UnknownKey {
                        section: Some(section.to_owned()),
                        key: key.get_ref().to_string(),
                        advice: nearest::key_advice(Some(section), key.get_ref()),
                    },
                });
            };
            let raw = self.raw(field, key.get_ref(), value);
            effective.set(field, raw, self.position(value.span().start))?;
        }
        Ok(())
    }

    /// The rules of `[[headers]]`, each with its position, for errors.
    fn header_rules(
        &self,
        field: &'static Field,
        value: &Spanned<DeValue<'_>>,
        effective: &mut Effective,
    ) -> Result<(), ConfigError> {
        let error = |(offset, problem)| ConfigError {
            at: self.position(offset),
            problem,
        };
        let tables = file_headers::rules(value, self.text).map_err(error)?;
        let (rules, offsets): (Vec<_>, Vec<_>) = tables.into_iter().unzip();
        let at = self.position(value.span().start);
        effective.set(field, RawValue::HeaderRules(rules), at)?;
        for (index, offset) in offsets.into_iter().enumerate() {
            let key = format!("headers[{index}]");
            effective.sources.insert(key, self.position(offset));
        }
        Ok(())
    }

    fn raw(&self, field: &Field, key: &str, value: &Spanned<DeValue<'_>>) -> RawValue {
        let as_written =
            || RawValue::Other(self.text.get(value.span()).unwrap_or_default().to_owned());
        match value.get_ref() {
            // A relative folder is relative to the configuration file's folder.
            DeValue::String(text) if field.kind == FieldKind::Path && !text.is_empty() => {
                let base = self.path.parent().unwrap_or(Path::new(""));
                RawValue::Texts(vec![base.join(&**text).into_os_string()])
            }
            DeValue::String(text) if matches!(field.kind, FieldKind::Map(_)) => {
                RawValue::Pair(key.to_owned(), text.to_string())
            }
            DeValue::String(text) => RawValue::Text(text.to_string()),
            DeValue::Integer(integer) => RawValue::Integer {
                digits: integer.as_str().to_owned(),
                radix: integer.radix(),
            },
            DeValue::Boolean(value) => RawValue::Bool(*value),
            DeValue::Array(items) => items
                .iter()
                .map(|item| item.get_ref().as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
                .map_or_else(as_written, RawValue::Array),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => as_written(),
        }
    }

    fn position(&self, offset: usize) -> ValueSource {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ValueSource::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}
