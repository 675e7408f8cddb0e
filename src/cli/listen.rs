//! An address to listen on with its parameters: `:443 keepalive=mobile idle-timeout=30s`.

use std::fmt;

use crate::config::Unit;
use crate::keepalive::{OutOfRange, Policy, Preset, Probes};
use crate::limits;
use crate::net::address::{ListenAddr, ListenAddrError};
use crate::server::file_service::Listen;

const KEEPALIVE: &str = "keepalive";
const USER_TIMEOUT: &str = "user-timeout";
const IDLE_TIMEOUT: &str = "idle-timeout";

/// Parses an address and its parameters, each at most once and after a space: `keepalive=PRESET` or
/// `keepalive=IDLE:INTERVAL:PROBES` (a part left empty stays), `user-timeout=TIME`,
/// `idle-timeout=TIME`. Values that are not given come from the preset, or from `policy`.
///
/// # Errors
/// The part that can't be parsed, and the expected form.
pub(crate) fn listen(text: &str, policy: Policy) -> Result<Listen, ListenError> {
    let mut address = text.trim();
    let mut given: Vec<(&str, &str)> = Vec::new();
    // Parameters are taken from the end, since the path of a Unix socket may contain spaces.
    while let Some((before, word)) = address.rsplit_once(char::is_whitespace) {
        let known = word
            .split_once('=')
            .filter(|(name, _)| [KEEPALIVE, USER_TIMEOUT, IDLE_TIMEOUT].contains(name));
        let Some((name, value)) = known else {
            break;
        };
        if given.iter().any(|(other, _)| *other == name) {
            return Err(ListenError::Twice(name.to_owned()));
        }
        given.push((name, value));
        address = before.trim_end();
    }
    let parsed = address.parse::<ListenAddr>();
    if parsed.is_err()
        && let Some((_, word)) = address.rsplit_once(char::is_whitespace)
    {
        return Err(ListenError::Unknown(word.to_owned()));
    }
    let mut policy = policy;
    let value = |name: &str| {
        given
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, v)| *v)
    };
    if let Some(text) = value(KEEPALIVE) {
        keepalive(text, &mut policy)?;
    }
    if let Some(text) = value(USER_TIMEOUT) {
        policy.user_timeout_ms = time(USER_TIMEOUT, text, 0)?;
    }
    if let Some(text) = value(IDLE_TIMEOUT) {
        policy.http_idle_ms = time(IDLE_TIMEOUT, text, 1)?;
    }
    policy.in_range().map_err(ListenError::OutOfRange)?;
    Ok(Listen {
        address: parsed.map_err(ListenError::Address)?,
        keepalive: policy,
    })
}

fn keepalive(text: &str, policy: &mut Policy) -> Result<(), ListenError> {
    if let Ok(preset) = text.parse::<Preset>() {
        *policy = preset.policy();
        return Ok(());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let &[idle, interval, count] = &parts[..] else {
        return Err(bad(KEEPALIVE, text));
    };
    let usual = policy.probes.unwrap_or(Preset::Default.probes());
    let part = |unit: Unit, part: &str, usual| match part {
        "" => Ok(usual),
        _ => unit.parse(part).map_err(|_| bad(KEEPALIVE, text)),
    };
    policy.probes = Some(Probes {
        idle_s: part(Unit::Seconds, idle, usual.idle_s)?,
        interval_s: part(Unit::Seconds, interval, usual.interval_s)?,
        count: part(Unit::Count, count, usual.count)?,
    });
    Ok(())
}

fn time(name: &'static str, text: &str, min_ms: u64) -> Result<u64, ListenError> {
    let ms = Unit::Millis.parse(text).map_err(|_| bad(name, text))?;
    match (min_ms..=limits::TIMEOUT_MS_CEILING).contains(&ms) {
        true => Ok(ms),
        false => Err(bad(name, text)),
    }
}

fn bad(name: &'static str, text: impl Into<String>) -> ListenError {
    ListenError::Value {
        name,
        text: text.into(),
    }
}

/// Text that isn't an address with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenError {
    Address(ListenAddrError),
    Unknown(String),
    Twice(String),
    Value { name: &'static str, text: String },
    OutOfRange(OutOfRange),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(error) => error.fmt(f),
            Self::Unknown(word) => write!(
                f,
                "{word:?} behind an address is no parameter; there are {KEEPALIVE}=, {USER_TIMEOUT}= \
                 and {IDLE_TIMEOUT}="
            ),
            Self::Twice(name) => write!(f, "{name}= is given twice for one address; give it once"),
            Self::Value { name, text } if *name == KEEPALIVE => write!(
                f,
                "{name}={text} cannot be used; write {}, or idle, interval and probes such as \
                 600s:60s:3",
                Preset::names()
            ),
            Self::Value { name, text } => write!(
                f,
                "{name}={text} cannot be used; write a time of up to a day, such as 30s"
            ),
            Self::OutOfRange(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ListenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Listen, String> {
        listen(text, Policy::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_alone_keeps_the_policy() {
        let plain = read(" :80 ").unwrap();
        assert_eq!(plain.address, ListenAddr::Any(80));
        assert_eq!(plain.keepalive, Policy::default());
        let path = read("unix:/run/a b=c.sock").unwrap();
        assert_eq!(path.address, ListenAddr::Unix("/run/a b=c.sock".into()));
    }

    #[test]
    fn values_win_over_a_preset_in_any_order() {
        let lan = Preset::Lan.policy();
        for text in [
            ":80 keepalive=lan idle-timeout=5s user-timeout=0",
            ":80 user-timeout=0 idle-timeout=5s  keepalive=lan",
        ] {
            let expected = Policy {
                http_idle_ms: 5000,
                user_timeout_ms: 0,
                ..lan
            };
            assert_eq!(read(text).unwrap().keepalive, expected, "{text}");
        }
        assert_eq!(read(":80 keepalive=off").unwrap().keepalive.probes, None);
    }

    #[test]
    fn three_values_are_read_as_nginx_has_them() {
        let probes = |text: &str| read(text).unwrap().keepalive.probes.unwrap();
        assert_eq!(
            probes("[::1]:80 keepalive=30m::10"),
            Probes {
                idle_s: 1800,
                interval_s: 60,
                count: 10
            }
        );
        assert_eq!(probes(":80 keepalive=::"), Preset::Default.probes());
        let off = listen(":80 keepalive=:5s:", Preset::Off.policy()).unwrap();
        assert_eq!(off.keepalive.probes.unwrap().interval_s, 5);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, words) in [
            (
                ":80 keepalive=lann",
                "keepalive=lann cannot be used; write default, mobile",
            ),
            (":80 keepalive=1:2:3", "such as 600s:60s:3"),
            (":80 keepalive=600s:60s", "such as 600s:60s:3"),
            (
                ":80 keepalive=10h::",
                "36000 is not accepted by the kernel; choose from 1 to 32767",
            ),
            (":80 keepalive=::200", "choose from 1 to 127"),
            (":80 idle-timeout=0", "idle-timeout=0 cannot be used"),
            (":80 idle-timeout=25h", "up to a day"),
            (
                ":80 so_keepalive=on",
                "\"so_keepalive=on\" behind an address is no parameter",
            ),
            (
                ":80 keepalive=lan keepalive=off",
                "keepalive= is given twice",
            ),
            ("keepalive=lan", "no port number"),
            ("example keepalive=lan", "no port number"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
