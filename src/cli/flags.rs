//! The flags of the configuration's fields, built from their table.

use std::ffi::OsString;

use clap::builder::OsStringValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches, ValueHint};

use crate::config::{Config, FIELDS, Field, FieldKind, FlagValue, Unit};

/// The fields that the command line sets.
#[derive(Debug, Default)]
pub(crate) struct FieldFlags {
    /// The values that were given, in the order of the table.
    pub given: Vec<FlagValue>,
}

impl Args for FieldFlags {
    fn augment_args(command: Command) -> Command {
        command.args(arguments(|_| true))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self {
            given: given(matches, |_| true),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.given.extend(Self::from_arg_matches(matches)?.given);
        Ok(())
    }
}

/// The flags of those fields that are `wanted`.
pub(crate) fn arguments(wanted: fn(&Field) -> bool) -> impl Iterator<Item = Arg> {
    let defaults = Config::default();
    let wanted = FIELDS.iter().filter(move |field| wanted(field));
    wanted.map(move |field| argument(field, &defaults))
}

/// The values that were given for the `wanted` fields, in the order of the table.
pub(crate) fn given(matches: &ArgMatches, wanted: fn(&Field) -> bool) -> Vec<FlagValue> {
    let wanted = FIELDS.iter().filter(|field| wanted(field));
    let given = wanted.filter_map(|field| {
        let values = matches.get_many::<OsString>(field.flag)?;
        Some(FlagValue::new(field, values.cloned().collect()))
    });
    given.collect()
}

fn argument(field: &Field, defaults: &Config) -> Arg {
    let arg = Arg::new(field.flag).value_parser(OsStringValueParser::new());
    let arg = match field.kind {
        FieldKind::Path => arg.value_name("DIR").value_hint(ValueHint::DirPath),
        _ => arg
            .long(field.flag)
            .value_name(placeholder(field.kind))
            .help_heading(field.heading),
    };
    let arg = match field.kind {
        // `--browse`, and `--browse=false` over a file that says true.
        FieldKind::Switch => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        FieldKind::List | FieldKind::Words(..) | FieldKind::Map(_) | FieldKind::HeaderRules => {
            arg.action(ArgAction::Append)
        }
        _ => arg,
    };
    arg.help(format!(
        "{} [default: {}]",
        field.about,
        field.shown(defaults)
    ))
}

fn placeholder(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Switch => "BOOL",
        FieldKind::Number { unit, .. } => match unit {
            Unit::Count => "N",
            Unit::Bytes => "SIZE",
            Unit::BytesPerSecond => "RATE",
            Unit::Millis | Unit::Seconds => "TIME",
        },
        FieldKind::Optional(placeholder, _)
        | FieldKind::Words(placeholder, _)
        | FieldKind::Map(placeholder) => placeholder,
        FieldKind::HeaderRules => "LINE",
        FieldKind::List => "ADDR",
        FieldKind::Path => "DIR",
        FieldKind::Mode => "MODE",
        FieldKind::Preset => "PRESET",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_shows_every_default() {
        for arg in arguments(|_| true) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let default = help.rsplit_once(" [default: ").map(|(_, default)| default);
            assert!(
                default.is_some_and(|d| d.len() > 1 && d.ends_with(']')),
                "{arg}: {help}"
            );
        }
    }
}
