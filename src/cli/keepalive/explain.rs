//! `headwater keepalive explain`: when a dead peer is noticed, and what the probes cost.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use serde_json::{Value, json};

use super::super::flags;
use super::super::listen::listen;
use super::super::{fail, print, print_json};
use crate::config::{self, ConfigError, Effective, Field, FlagValue, Problem};
use crate::keepalive::check::{Weight, findings};
use crate::keepalive::detect::{self, Application, Kernel, notices};
use crate::keepalive::{Policy, shown};
use crate::sys;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater keepalive explain                             the default
  headwater keepalive explain --preset mobile --connections 1000000
  headwater keepalive explain --preset lan --keepalive-probes 5 --idle-timeout 1m
  headwater keepalive explain --config /etc/headwater.toml --json

Values come from flags, variables and the file as in headwater serve.
Exit status: 0, also with warnings; 1 when the configuration can't be used; 2 when the \
command line is mistyped.";

/// Show when a dead peer is noticed in each situation, by which timer, and what the probes cost
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExplainArgs {
    /// Read this TOML file [env: HEADWATER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Connections whose probes are counted
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    connections: u64,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    fields: Fields,
}

/// The flags of the fields that affect the explanation, under the names that they have elsewhere.
#[derive(Debug)]
struct Fields(Vec<FlagValue>);

fn has_a_say(field: &Field) -> bool {
    match field.section {
        "keepalive" => field.key != "adaptive",
        "timeouts" => ["header_ms", "idle_ms", "send_period_ms"].contains(&field.key),
        _ => false,
    }
}

impl Args for Fields {
    fn augment_args(command: Command) -> Command {
        let preset = |arg: Arg| match arg.get_id() == "keepalive" {
            true => arg.visible_alias("preset"),
            false => arg,
        };
        command.args(flags::arguments(has_a_say).map(preset))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Fields {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(flags::given(matches, has_a_say)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0.extend(flags::given(matches, has_a_say));
        Ok(())
    }
}

/// A policy and the listeners that use it.
struct Explained {
    listeners: Vec<String>,
    policy: Policy,
}

/// Runs the command.
pub(crate) fn run(args: &ExplainArgs) -> ExitCode {
    let env = |name: &str| std::env::var_os(name);
    let effective = config::read(&args.fields.0, env, args.config.as_deref())
        .and_then(|effective| Ok((policies(&effective)?, effective)));
    let (policies, effective) = match effective {
        Ok(found) => found,
        Err(error) => return fail(&error, if error.is_usage() { 2 } else { 1 }),
    };
    let timeouts = &effective.config.timeouts;
    let application = Application {
        header_ms: timeouts.header_ms,
        send_period_ms: timeouts.send_period_ms,
    };
    let kernel = kernel();
    if args.json {
        let policies: Vec<Value> = policies
            .iter()
            .map(|explained| as_json(explained, &application, &kernel, args.connections))
            .collect();
        return print_json(&json!({
            "kernel": {"tcp_retries2": kernel.retries2, "tcp_rto_max_ms": kernel.rto_max_ms},
            "policies": policies,
        }));
    }
    let mut out = String::new();
    for explained in &policies {
        values(&mut out, explained, &effective);
        noticed(&mut out, &explained.policy, &application, &kernel);
        probes(&mut out, &explained.policy, args.connections);
        for finding in findings(&explained.policy) {
            let _ = writeln!(out, "\n{}: {}", weight(finding.weight), finding.sentence);
        }
    }
    print(&out)
}

/// The policies of all listeners, each once.
fn policies(effective: &Effective) -> Result<Vec<Explained>, ConfigError> {
    let mut found: Vec<Explained> = Vec::new();
    for text in &effective.config.server.listen {
        let listen = listen(text, effective.config.keepalive_policy())
            .map_err(|error| effective.error("server.listen", Problem::Refused(error.into())))?;
        let address = listen.address.to_string();
        match found
            .iter_mut()
            .find(|other| other.policy == listen.keepalive)
        {
            Some(other) => other.listeners.push(address),
            None => found.push(Explained {
                listeners: vec![address],
                policy: listen.keepalive,
            }),
        }
    }
    Ok(found)
}

/// The settings of this host's kernel, or the kernel's defaults.
fn kernel() -> Kernel {
    let usual = Kernel::default();
    let number = |name| sys::probe::net_ipv4(name).map(u64::from);
    Kernel {
        retries2: number("tcp_retries2").unwrap_or(usual.retries2),
        rto_max_ms: number("tcp_rto_max_ms").unwrap_or(usual.rto_max_ms),
    }
}

fn values(out: &mut String, explained: &Explained, effective: &Effective) {
    let Explained { listeners, policy } = explained;
    let preset = effective.config.keepalive.preset;
    let own = *policy != effective.config.keepalive_policy();
    let gap = if out.is_empty() { "" } else { "\n\n" };
    let _ = writeln!(
        out,
        "{gap}Keepalive of {}, preset {preset}: {}",
        listeners.join(", "),
        preset.about()
    );
    let usual = preset.policy();
    let probe = |value: fn(&crate::keepalive::Probes) -> u64, policy: &Policy| {
        policy.probes.as_ref().map(value)
    };
    let rows = [
        (
            "idle",
            probe(|p| p.idle_s * 1000, policy),
            probe(|p| p.idle_s * 1000, &usual),
        ),
        (
            "interval",
            probe(|p| p.interval_s * 1000, policy),
            probe(|p| p.interval_s * 1000, &usual),
        ),
        (
            "probes",
            probe(|p| p.count, policy),
            probe(|p| p.count, &usual),
        ),
        (
            "user time-out",
            Some(policy.user_timeout_ms),
            Some(usual.user_timeout_ms),
        ),
        (
            "HTTP idle",
            Some(policy.http_idle_ms),
            Some(usual.http_idle_ms),
        ),
    ];
    for ((name, value, usual), reason) in rows.into_iter().zip(preset.reasons()) {
        let text = match (name, value) {
            (_, None) => "-".to_owned(),
            ("probes", Some(count)) => count.to_string(),
            ("user time-out", Some(0)) => "kernel".to_owned(),
            (_, Some(ms)) => shown(ms),
        };
        let why = match effective.sources.get(reason.key) {
            _ if value == usual => reason.why.to_owned(),
            Some(origin) if !own => format!("set by {origin}"),
            _ => "set after the address".to_owned(),
        };
        let _ = writeln!(out, "  {name:<14} {text:>7}   {why}");
    }
}

fn noticed(out: &mut String, policy: &Policy, application: &Application, kernel: &Kernel) {
    let _ = writeln!(out, "\nA peer that vanishes is noticed");
    for notice in notices(policy, application, kernel) {
        let situation = notice.situation;
        let _ = writeln!(out, "  {} ({})", situation.name(), situation.about());
        for clock in notice.clocks {
            let after = clock
                .after_ms
                .map_or("never".to_owned(), |ms| format!("after {}", shown(ms)));
            let _ = writeln!(out, "    {after:<14} {}: {}", clock.by, clock.formula);
        }
    }
}

fn probes(out: &mut String, policy: &Policy, connections: u64) {
    let cost = detect::cost(policy, connections);
    let _ = match &policy.probes {
        Some(probes) => writeln!(
            out,
            "\nProbes of {connections} living, silent connections: {:.1} packets/s, {:.0} bytes/s \
             (a probe and its answer every {} s each)",
            cost.packets_per_s, cost.bytes_per_s, probes.idle_s
        ),
        None => writeln!(out, "\nNo probes are sent."),
    };
}

fn weight(weight: Weight) -> &'static str {
    match weight {
        Weight::Note => "note",
        Weight::Warning => "warning",
    }
}

fn as_json(
    explained: &Explained,
    application: &Application,
    kernel: &Kernel,
    connections: u64,
) -> Value {
    let policy = &explained.policy;
    let noticed = notices(policy, application, kernel).map(|notice| {
        let clocks = notice.clocks.iter().map(
            |clock| json!({"by": clock.by, "after_ms": clock.after_ms, "formula": clock.formula}),
        );
        json!({
            "situation": notice.situation.name(),
            "after_ms": notice.clocks.first().and_then(|clock| clock.after_ms),
            "clocks": clocks.collect::<Vec<_>>(),
        })
    });
    let found = findings(policy)
        .into_iter()
        .map(|finding| json!({"weight": weight(finding.weight), "sentence": finding.sentence}));
    let cost = detect::cost(policy, connections);
    json!({
        "listeners": explained.listeners,
        "idle_s": policy.probes.map(|probes| probes.idle_s),
        "interval_s": policy.probes.map(|probes| probes.interval_s),
        "probes": policy.probes.map(|probes| probes.count),
        "user_timeout_ms": policy.user_timeout_ms,
        "http_idle_ms": policy.http_idle_ms,
        "noticed": noticed,
        "cost": {
            "connections": connections,
            "packets_per_s": cost.packets_per_s,
            "bytes_per_s": cost.bytes_per_s,
        },
        "findings": found.collect::<Vec<_>>(),
    })
}
