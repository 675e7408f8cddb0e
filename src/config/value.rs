//! A field's value in a common form.

use super::field::{Field, FieldKind, FieldMut};
use super::model::Config;
use super::responses::HeaderRule;

/// The value of a field, for code that treats all fields alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A number in the unit of its field.
    Number(u64),
    /// A text; an absent one is the field's word for none.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// The keys of a section with their texts.
    Map(Vec<(String, String)>),
    /// Changes to header lines.
    HeaderRules(Vec<HeaderRule>),
}

impl Field {
    /// The value of this field in `config`.
    pub fn value(&self, config: &Config) -> Value {
        match (self.get_mut)(&mut config.clone()) {
            FieldMut::Switch(value) => Value::Switch(*value),
            FieldMut::Size(value) => Value::Number(*value as u64),
            FieldMut::Long(value) => Value::Number(*value),
            FieldMut::Optional(value) => Value::Text(match (value, self.kind) {
                (Some(text), _) => text.clone(),
                (None, FieldKind::Optional(_, none)) => none.to_owned(),
                (None, _) => String::new(),
            }),
            FieldMut::List(value) => Value::List(value.clone()),
            FieldMut::Map(value) => Value::Map(value.clone().into_iter().collect()),
            FieldMut::HeaderRules(value) => Value::HeaderRules(value.clone()),
            FieldMut::Path(value) => Value::Text(value.to_string_lossy().into_owned()),
            FieldMut::Mode(value) => Value::Text(format!("{value:04o}")),
            FieldMut::Preset(value) => Value::Text(value.name().to_owned()),
        }
    }

    /// The value of this field in `config` as a flag would take it.
    pub fn shown(&self, config: &Config) -> String {
        match (self.value(config), self.kind) {
            (Value::Switch(on), _) => on.to_string(),
            (Value::Number(number), FieldKind::Number { unit, .. }) => unit.show(number),
            (Value::Number(number), _) => number.to_string(),
            (Value::Text(text), _) => text,
            (Value::List(items), FieldKind::Words(_, none)) if items.is_empty() => none.to_owned(),
            (Value::List(items), _) => items.join(","),
            (Value::Map(pairs), _) if pairs.is_empty() => "none".to_owned(),
            (Value::Map(pairs), _) => {
                let pairs = pairs.iter().map(|(key, text)| format!("{key}={text}"));
                pairs.collect::<Vec<_>>().join(",")
            }
            (Value::HeaderRules(rules), _) if rules.is_empty() => "none".to_owned(),
            (Value::HeaderRules(rules), _) => format!("{} rules", rules.len()),
        }
    }
}
