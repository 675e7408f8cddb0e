//! Values as written, and their conversion to the types of the configuration's fields.

use std::ffi::OsString;
use std::path::PathBuf;

use super::error::Problem;
use super::field::{Field, FieldKind, FieldMut};
use super::model::Config;
use super::quantity::QuantityError;
use super::responses::HeaderRule;
use crate::keepalive::Preset;

/// A value as it was written.
pub(super) enum RawValue {
    /// From a flag or variable; a list is separated by commas.
    Texts(Vec<OsString>),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer { digits: String, radix: u32 },
    /// A TOML string under a key that the operator chose.
    Pair(String, String),
    /// TOML tables of header rules.
    HeaderRules(Vec<HeaderRule>),
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    Array(Vec<String>),
    /// Another TOML value, as text for messages.
    Other(String),
}

/// Writes `raw` into `field` of `config`; ranges are left to [`Config::validate`].
pub(super) fn assign(field: &Field, config: &mut Config, raw: RawValue) -> Result<(), Problem> {
    match (field.get_mut)(config) {
        FieldMut::Switch(to) => *to = switch(raw)?,
        FieldMut::Size(to) => {
            let number = number(field, &raw)?;
            *to = usize::try_from(number).map_err(|_| Problem::Quantity {
                value: raw.shown(),
                source: QuantityError::TooLarge,
            })?;
        }
        FieldMut::Long(to) => *to = number(field, &raw)?,
        FieldMut::Optional(to) => *to = optional(field, raw)?,
        FieldMut::List(to) => *to = list(field, raw)?,
        FieldMut::Map(to) => to.extend(pairs(field, &raw)?),
        FieldMut::HeaderRules(to) => *to = header_rules(raw)?,
        FieldMut::Path(to) => *to = path(raw)?,
        FieldMut::Mode(to) => *to = mode(&raw)?,
        FieldMut::Preset(to) => *to = preset(&raw)?,
    }
    Ok(())
}

impl RawValue {
    /// The value as the person wrote it.
    fn shown(&self) -> String {
        match self {
            RawValue::Texts(texts) => texts
                .iter()
                .map(|text| text.to_string_lossy())
                .collect::<Vec<_>>()
                .join(","),
            RawValue::Text(text) | RawValue::Other(text) | RawValue::Pair(_, text) => text.clone(),
            RawValue::HeaderRules(rules) => format!("{} rules", rules.len()),
            RawValue::Integer { digits, radix } => match radix {
                2 => format!("0b{digits}"),
                8 => format!("0o{digits}"),
                16 => format!("0x{digits}"),
                _ => digits.clone(),
            },
            RawValue::Bool(value) => value.to_string(),
            RawValue::Array(items) => format!("{items:?}"),
        }
    }

    /// The text, if this is a single one.
    fn text(&self) -> Option<&str> {
        match self {
            RawValue::Texts(texts) => texts.last().and_then(|text| text.to_str()),
            RawValue::Text(text) => Some(text),
            _ => None,
        }
    }

    fn invalid(&self, expected: impl Into<String>) -> Problem {
        Problem::Invalid {
            value: self.shown(),
            expected: expected.into(),
        }
    }
}

fn switch(raw: RawValue) -> Result<bool, Problem> {
    if let RawValue::Bool(value) = raw {
        return Ok(value);
    }
    let outside_toml = matches!(raw, RawValue::Texts(_));
    match raw.text() {
        Some("true" | "on" | "yes" | "1") if outside_toml => Ok(true),
        Some("false" | "off" | "no" | "0") if outside_toml => Ok(false),
        _ => Err(raw.invalid("true or false")),
    }
}

fn number(field: &Field, raw: &RawValue) -> Result<u64, Problem> {
    let FieldKind::Number { unit, .. } = field.kind else {
        return Err(raw.invalid("a value of this field's kind"));
    };
    let parsed = match raw {
        RawValue::Integer { digits, radix } => {
            u64::from_str_radix(digits, *radix).map_err(|_| match digits.strip_prefix('-') {
                Some(_) => QuantityError::NotOne(unit),
                None => QuantityError::TooLarge,
            })
        }
        _ => match raw.text() {
            Some(text) => unit.parse(text),
            None => Err(QuantityError::NotOne(unit)),
        },
    };
    parsed.map_err(|source| Problem::Quantity {
        value: raw.shown(),
        source,
    })
}

fn optional(field: &Field, raw: RawValue) -> Result<Option<String>, Problem> {
    let FieldKind::Optional(placeholder, none) = field.kind else {
        return Err(raw.invalid("a value of this field's kind"));
    };
    match raw.text().map(str::trim) {
        Some(word) if word == none => Ok(None),
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(raw.invalid(format!("a text ({placeholder}) or \"{none}\""))),
    }
}

fn list(field: &Field, raw: RawValue) -> Result<Vec<String>, Problem> {
    let items: Option<Vec<String>> = match &raw {
        RawValue::Texts(texts) => texts
            .iter()
            .map(|t| t.to_str().map(split))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat()),
        RawValue::Text(text) => Some(split(text)),
        RawValue::Array(items) => Some(items.clone()),
        _ => None,
    };
    let items = items.filter(|items| items.iter().all(|item| !item.is_empty()));
    match (items, field.kind) {
        (Some(items), FieldKind::Words(_, none)) if items == [none] => Ok(Vec::new()),
        (Some(items), FieldKind::Words(..)) => Ok(items),
        (Some(items), _) if !items.is_empty() => Ok(items),
        (_, FieldKind::Words(placeholder, none)) => {
            Err(raw.invalid(format!("one {placeholder} or more, or \"{none}\"")))
        }
        _ => Err(raw.invalid("one address or more, such as \":8080\"")),
    }
}

/// Reads keys and texts: a pair, or texts such as `404=/404.html,500=/50x.html`.
fn pairs(field: &Field, raw: &RawValue) -> Result<Vec<(String, String)>, Problem> {
    let FieldKind::Map(placeholder) = field.kind else {
        return Err(raw.invalid("a value of this field's kind"));
    };
    let texts = match raw {
        RawValue::Pair(key, text) => return Ok(vec![(key.clone(), text.clone())]),
        RawValue::Texts(texts) => texts,
        _ => return Err(raw.invalid("a text")),
    };
    let pair = |text: String| {
        let (key, text) = text.split_once('=')?;
        Some((key.trim().to_owned(), text.trim().to_owned()))
    };
    texts
        .iter()
        .map(|text| Some(split(text.to_str()?)))
        .collect::<Option<Vec<_>>>()
        .and_then(|texts| texts.concat().into_iter().map(pair).collect())
        .ok_or_else(|| raw.invalid(placeholder))
}

/// Reads rules: those of the file, or one from each flag and from each line of a variable.
fn header_rules(raw: RawValue) -> Result<Vec<HeaderRule>, Problem> {
    let texts = match &raw {
        RawValue::HeaderRules(rules) => return Ok(rules.clone()),
        RawValue::Texts(texts) => texts,
        _ => return Err(raw.invalid("a table for each rule: [[headers]]")),
    };
    let lines = texts.iter().map(|text| text.to_str());
    let lines: Option<Vec<&str>> = lines.collect();
    let lines = lines.unwrap_or_default().into_iter().flat_map(str::lines);
    let rules: Option<Vec<HeaderRule>> = lines
        .filter(|line| !line.trim().is_empty())
        .map(HeaderRule::from_flag)
        .collect();
    match rules {
        Some(rules) if !rules.is_empty() => Ok(rules),
        _ => Err(raw.invalid("'NAME: VALUE' or 'PATTERN: NAME: VALUE'")),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

fn path(raw: RawValue) -> Result<PathBuf, Problem> {
    let path = match &raw {
        RawValue::Texts(texts) => texts.last().map(PathBuf::from),
        RawValue::Text(text) => Some(PathBuf::from(text)),
        _ => None,
    };
    match path {
        Some(path) if !path.as_os_str().is_empty() => Ok(path),
        _ => Err(raw.invalid("the path of a folder")),
    }
}

/// A decimal TOML integer is refused: `600` would be taken for the bits 01130.
fn mode(raw: &RawValue) -> Result<u32, Problem> {
    let digits = match raw {
        RawValue::Integer { digits, radix: 8 } => Some(digits.as_str()),
        _ => raw.text(),
    };
    digits
        .map(|text| text.strip_prefix("0o").unwrap_or(text))
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .ok_or_else(|| raw.invalid("permission bits in octal, such as \"0660\""))
}

fn preset(raw: &RawValue) -> Result<Preset, Problem> {
    match raw.text().map(|name| name.trim().parse()) {
        Some(Ok(preset)) => Ok(preset),
        _ => Err(raw.invalid(Preset::names())),
    }
}
