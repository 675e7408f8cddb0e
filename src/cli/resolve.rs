//! Resolves a configuration's texts on this host: addresses and lists of CPUs.

use std::fmt;
use std::str::FromStr;

use super::listen::listen;
use crate::config::{ConfigError, Effective, Problem};
use crate::http::mime::is_media_type;
use crate::limits;
use crate::net::address::ListenAddr;
use crate::server::file_service::{Listen, access_log_format, check_rules};
use crate::sys::cpu;

/// The configuration's texts, resolved on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Addresses to listen on, each once, with their keepalive policies.
    pub listen: Vec<Listen>,
    /// Address of the admin pages, if there are any.
    pub admin: Option<ListenAddr>,
    /// CPUs of the shards, ascending, each once.
    pub cpus: Vec<usize>,
    /// CPUs of the threads for tasks.
    pub task_cpus: Vec<usize>,
}

/// Reads the addresses and the CPU list of `effective`; opens nothing.
///
/// # Errors
/// A text that can't be parsed, an address given twice, or a CPU that this process may not use,
/// with the place where it was written.
pub fn resolve(effective: &Effective) -> Result<Resolved, ConfigError> {
    let server = &effective.config.server;
    let refused = |key: &str, error: ResolveError| refuse(effective, key, error);
    let mut listeners: Vec<Listen> = Vec::with_capacity(server.listen.len());
    for text in &server.listen {
        let Listen { address, keepalive } = listen(text, effective.config.keepalive_policy())
            .map_err(|error| effective.error("server.listen", Problem::Refused(error.into())))?;
        for address in address.expand() {
            let taken = listeners.iter().any(|other| other.address == address);
            if taken && address.port() != Some(0) {
                return Err(refused("server.listen", ResolveError::Twice(address)));
            }
            listeners.push(Listen { address, keepalive });
        }
    }
    let admin = server
        .admin
        .as_deref()
        .map(|text| parse::<ListenAddr>(effective, "server.admin", text))
        .transpose()?;
    if let Some(admin) = &admin
        && admin
            .expand()
            .iter()
            .filter(|address| address.port() != Some(0))
            .any(|address| {
                listeners
                    .iter()
                    .any(|listener| listener.address == *address)
            })
    {
        let written = effective.sources.contains_key("server.admin");
        let key = if written {
            "server.admin"
        } else {
            "server.listen"
        };
        return Err(refused(key, ResolveError::AdminIsPublic(admin.clone())));
    }
    let config = &effective.config;
    check_rules(config)
        .map_err(|error| effective.error(&error.key, Problem::Refused(error.problem)))?;
    if let Some(value) = config.types.values().find(|value| !is_media_type(value)) {
        return Err(refused(
            "types.*",
            ResolveError::NotAMediaType(value.clone()),
        ));
    }
    const CORES: &str = "server.cores";
    let cpus = cpus(effective, CORES, config.server.cores.as_deref())?;
    if cpus.len() > limits::SHARDS_MAX {
        return Err(refused(CORES, ResolveError::TooManyCpus(cpus.len())));
    }
    let task_cpus = match config.tasks.cores.as_deref() {
        None => cpus.clone(),
        cores => self::cpus(effective, "tasks.cores", cores)?,
    };
    if let Err(error) = access_log_format(config) {
        return Err(effective.error("access_log.format", Problem::Refused(error.into())));
    }
    Ok(Resolved {
        listen: listeners,
        admin,
        cpus,
        task_cpus,
    })
}

/// The CPUs of a list, or all that this process may use.
fn cpus(effective: &Effective, key: &str, list: Option<&str>) -> Result<Vec<usize>, ConfigError> {
    let allowed =
        cpu::allowed().map_err(|error| effective.error(key, Problem::Refused(error.into())))?;
    let Some(list) = list else {
        return Ok(allowed);
    };
    let cpus = cpu::parse_list(list)
        .map_err(|error| effective.error(key, Problem::Refused(error.into())))?;
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        Some(&cpu) => Err(refuse(
            effective,
            key,
            ResolveError::NoSuchCpu { cpu, allowed },
        )),
        None => Ok(cpus),
    }
}

fn parse<T: FromStr>(effective: &Effective, key: &str, text: &str) -> Result<T, ConfigError>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse()
        .map_err(|error: T::Err| effective.error(key, Problem::Refused(error.into())))
}

fn refuse(effective: &Effective, key: &str, error: ResolveError) -> ConfigError {
    effective.error(key, Problem::Refused(error.into()))
}

/// Why well-formed addresses and CPUs can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ResolveError {
    Twice(ListenAddr),
    AdminIsPublic(ListenAddr),
    NoSuchCpu { cpu: usize, allowed: Vec<usize> },
    TooManyCpus(usize),
    NotAMediaType(String),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice(address) => write!(f, "{address} is given twice; name each address once"),
            Self::AdminIsPublic(address) => write!(
                f,
                "{address} would serve both files and the admin pages; give the admin pages their own address"
            ),
            Self::NoSuchCpu { cpu, allowed } => write!(
                f,
                "this process may not run on CPU {cpu}; choose from {}",
                ranges(allowed)
            ),
            Self::TooManyCpus(count) => write!(
                f,
                "{count} CPUs are more than the {} shards there may be; name fewer with --cores",
                limits::SHARDS_MAX
            ),
            Self::NotAMediaType(value) => write!(
                f,
                "\"{value}\" is not a media type; write one such as video/mp4 or text/plain; charset=utf-8"
            ),
        }
    }
}

impl std::error::Error for ResolveError {}

/// Ascending CPUs as a taskset list: `0-3,8`.
pub(super) fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b).filter_map(|run| {
        let (first, last) = (run.first()?, run.last()?);
        Some(if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        })
    });
    runs.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::config;
    use crate::keepalive::Preset;

    fn with(env: &[(&str, &str)]) -> Result<Resolved, String> {
        let answer = |name: &str| {
            let found = env.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let effective = config::read(&[], answer, None).expect("valid");
        resolve(&effective).map_err(|error| error.to_string())
    }

    fn addresses(resolved: &Resolved) -> Vec<ListenAddr> {
        let listeners = resolved.listen.iter();
        listeners.map(|listener| listener.address.clone()).collect()
    }

    #[test]
    fn each_listener_may_have_a_policy_of_its_own() {
        let resolved = with(&[
            (
                "HEADWATER_LISTEN",
                ":1, localhost:2 keepalive=lan, :3 idle-timeout=7s",
            ),
            ("HEADWATER_KEEPALIVE", "live"),
            ("HEADWATER_KEEPALIVE_PROBES", "5"),
        ]);
        let listen = resolved.expect("resolved").listen;
        let [of_1, .., of_3] = &listen[..] else {
            panic!("{listen:?}");
        };
        assert_eq!(
            of_1.keepalive.probes.map(|p| (p.idle_s, p.count)),
            Some((30, 5))
        );
        assert_eq!(listen[1].keepalive, Preset::Lan.policy());
        assert_eq!(
            (of_3.keepalive.http_idle_ms, of_3.keepalive.probes),
            (7000, of_1.keepalive.probes)
        );
        let error = with(&[("HEADWATER_LISTEN", ":1 keepalive=x")]).expect_err("no such preset");
        assert!(
            error.starts_with("HEADWATER_LISTEN: keepalive=x cannot be used"),
            "{error}"
        );
    }

    #[test]
    fn defaults_are_every_interface_and_every_cpu_allowed() {
        let resolved = with(&[]).expect("resolved");
        assert_eq!(addresses(&resolved), [ListenAddr::Any(8080)]);
        assert_eq!(resolved.admin, "127.0.0.1:9180".parse().ok());
        assert_eq!(resolved.cpus, cpu::allowed().expect("affinity"));
    }

    #[test]
    fn a_cpu_list_is_a_tasksets() {
        let first = cpu::allowed().expect("affinity")[0];
        let resolved = with(&[("HEADWATER_CORES", &first.to_string())]);
        assert_eq!(resolved.expect("resolved").cpus, [first]);
        let error = with(&[("HEADWATER_CORES", "1023")]).expect_err("no such CPU");
        assert!(
            error
                .starts_with("HEADWATER_CORES: this process may not run on CPU 1023; choose from "),
            "{error}"
        );
        let error = with(&[("HEADWATER_CORES", "3-0")]).expect_err("backwards");
        assert!(
            error.starts_with("HEADWATER_CORES: cannot read the CPU list \"3-0\""),
            "{error}"
        );
    }

    #[test]
    fn an_address_is_taken_once() {
        let error = with(&[("HEADWATER_LISTEN", ":80,80")]).expect_err("twice");
        assert_eq!(
            error,
            "HEADWATER_LISTEN: *:80 is given twice; name each address once"
        );
        // Port 0 is a different port each time.
        let resolved = with(&[("HEADWATER_LISTEN", ":0,:0"), ("HEADWATER_ADMIN", ":0")]);
        assert_eq!(
            addresses(&resolved.expect("resolved")),
            [ListenAddr::Any(0), ListenAddr::Any(0)]
        );
        for (variable, value) in [
            ("HEADWATER_ADMIN", "8080"),
            ("HEADWATER_LISTEN", "localhost:9180"),
        ] {
            let error = with(&[(variable, value)]).expect_err(value);
            assert!(
                error.starts_with(variable) && error.contains("would serve both"),
                "{error}"
            );
        }
        assert_eq!(
            with(&[("HEADWATER_ADMIN", "off")]).expect("resolved").admin,
            None
        );
        let error = with(&[("HEADWATER_ADMIN", "example.org:1")]).expect_err("unknown host");
        assert!(
            error.starts_with("HEADWATER_ADMIN: cannot listen on \"example.org:1\""),
            "{error}"
        );
    }

    #[test]
    fn cpus_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 3, 8, 10, 11]), "0-3,8,10-11");
        assert_eq!(ranges(&[]), "");
    }
}
