//! `headwater keepalive show`: the keepalive options and timers of a running process's connections.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::super::{fail, print, print_json};
use crate::keepalive::live::{self, Connection, Live, LiveError};
use crate::keepalive::options::Actual;
use crate::keepalive::shown;
use crate::net::address::ListenAddr;
use crate::sys::tcp_table::Timer;

const EXAMPLES: &str = "\
EXAMPLES:
  headwater keepalive show 1234                the connections of process 1234
  headwater keepalive show --listen :8080      of the process that listens on port 8080
  headwater keepalive show --listen :8080 --limit 0 --json

Works on any program's TCP connections. Timers are read from /proc; the options themselves \
need permission to trace the process: run this as its user, or as root (CAP_SYS_PTRACE).
Exit status: 0, also without that permission; 1 when there is nothing to show; 2 when \
the command line is mistyped.";

const NO_RIGHT: &str = "no permission to read the options of this process, only timers are shown: \
run this as its user (with kernel.yama.ptrace_scope at 0) or as root (with CAP_SYS_PTRACE)";

/// Show the keepalive options and timers of live connections
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ShowArgs {
    /// Process whose connections to show
    #[arg(
        value_name = "PID",
        required_unless_present = "listen",
        conflicts_with = "listen"
    )]
    pid: Option<u32>,

    /// Show the connections of the process that listens here: :8080, 127.0.0.1:80, [::1]:80
    #[arg(long, value_name = "ADDR")]
    listen: Option<ListenAddr>,

    /// Connections to list, those whose timer is due first; 0: all
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &ShowArgs) -> ExitCode {
    let found = match find(args) {
        Ok(Some(found)) => found,
        Ok(None) => {
            let sentence = "a Unix socket has no keepalive; name a TCP address with --listen";
            return fail(&sentence, 2);
        }
        Err(error) => return fail(&error, 1),
    };
    let limit = if args.limit == 0 {
        usize::MAX
    } else {
        args.limit
    };
    if args.json {
        let processes: Vec<Value> = found.iter().map(|live| as_json(live, limit)).collect();
        return print_json(&json!({ "processes": processes }));
    }
    let mut out = String::new();
    for live in &found {
        text(&mut out, live, limit);
    }
    print(&out)
}

/// The connections to show; `None` for an address that is not a TCP one.
fn find(args: &ShowArgs) -> Result<Option<Vec<Live>>, LiveError> {
    if let Some(pid) = args.pid {
        return Ok(Some(vec![live::connections(pid, None)?]));
    }
    let address = match &args.listen {
        Some(ListenAddr::Any(port)) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, *port)),
        Some(ListenAddr::Localhost(port)) => SocketAddr::from(([127, 0, 0, 1], *port)),
        Some(ListenAddr::Tcp(address)) => *address,
        Some(ListenAddr::Unix(_)) | None => return Ok(None),
    };
    let pids = live::listeners(address)?;
    let found: Result<Vec<Live>, LiveError> = pids
        .into_iter()
        .map(|pid| live::connections(pid, Some(address)))
        .collect();
    found.map(Some)
}

fn text(out: &mut String, live: &Live, limit: usize) {
    let count = live.connections.len();
    let _ = writeln!(out, "process {}: {}", live.pid, counted(count));
    let mut kinds: BTreeMap<Actual, usize> = BTreeMap::new();
    for options in live.connections.iter().filter_map(|c| c.options) {
        *kinds.entry(options).or_default() += 1;
    }
    for (options, count) in &kinds {
        let _ = writeln!(out, "  {}: {}", sentence(options), counted(*count));
    }
    if count > 0 {
        let _ = writeln!(
            out,
            "\n{:<28} {:<28} {:<12} {:<17} {:<9} TIMER",
            "LOCAL", "PEER", "STATE", "KEEPALIVE", "USER"
        );
    }
    for connection in live.connections.iter().take(limit) {
        let Connection { entry, options } = connection;
        let (keepalive, user) = match options {
            None => ("?".to_owned(), "?".to_owned()),
            Some(options) => (probes(options), user_timeout(options)),
        };
        let _ = writeln!(
            out,
            "{:<28} {:<28} {:<12} {keepalive:<17} {user:<9} {}",
            entry.local.to_string(),
            entry.peer.to_string(),
            entry.state.name(),
            timer(connection)
        );
    }
    if count > limit {
        let _ = writeln!(out, "and {} more; see all with --limit 0", count - limit);
    }
    if live.denied {
        let _ = writeln!(out, "note: {NO_RIGHT}");
    }
}

fn counted(connections: usize) -> String {
    match connections {
        1 => "1 connection".to_owned(),
        n => format!("{n} connections"),
    }
}

fn sentence(options: &Actual) -> String {
    let user = match options.user_timeout_ms {
        0 => "the kernel's user time-out".to_owned(),
        ms => format!("user time-out {}", shown(ms)),
    };
    match options.keepalive {
        true => format!(
            "keepalive idle {} s, interval {} s, {} probes; {user}",
            options.idle_s, options.interval_s, options.probes
        ),
        false => format!("keepalive off; {user}"),
    }
}

fn probes(options: &Actual) -> String {
    match options.keepalive {
        true => format!(
            "{}s:{}s:{}",
            options.idle_s, options.interval_s, options.probes
        ),
        false => "off".to_owned(),
    }
}

fn user_timeout(options: &Actual) -> String {
    match options.user_timeout_ms {
        0 => "kernel".to_owned(),
        ms => shown(ms),
    }
}

fn timer_name(timer: Timer) -> &'static str {
    match timer {
        Timer::Retransmit => "retransmit",
        Timer::Keepalive => "keepalive",
        Timer::TimeWait => "time-wait",
        Timer::ZeroWindow => "zero-window",
    }
}

fn timer(connection: &Connection) -> String {
    match connection.entry.timer {
        Some((timer, due_ms)) => format!("{} in {}", timer_name(timer), shown(due_ms)),
        None => "-".to_owned(),
    }
}

fn as_json(live: &Live, limit: usize) -> Value {
    let connections = live.connections.iter().take(limit).map(|connection| {
        let Connection { entry, options } = connection;
        json!({
            "local": entry.local.to_string(),
            "peer": entry.peer.to_string(),
            "state": entry.state.name(),
            "timer": entry.timer.map(|(timer, _)| timer_name(timer)),
            "timer_due_ms": entry.timer.map(|(_, due_ms)| due_ms),
            "options": options.map(|options| json!({
                "keepalive": options.keepalive,
                "idle_s": options.idle_s,
                "interval_s": options.interval_s,
                "probes": options.probes,
                "user_timeout_ms": options.user_timeout_ms,
            })),
        })
    });
    json!({
        "pid": live.pid,
        "connections_total": live.connections.len(),
        "missing": live.denied.then_some(NO_RIGHT),
        "connections": connections.collect::<Vec<_>>(),
    })
}
