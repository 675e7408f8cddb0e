//! `headwater load` against small servers, as a user runs it: output and exit status.

mod bad_servers;
mod live;
mod models;
mod namespace;
mod ranges;
mod refused;
mod report;
mod room_server;
mod rooms;
mod rooms_report;
mod scripts;
mod serve;
mod server;
mod targets;
mod written;

use std::process::{Command, Output};

use headwater::load::Summary;
use serde::de::DeserializeOwned;

/// A `headwater load` with an empty environment.
fn load(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("load").args(args).env_clear();
    command
}

fn run(args: &[&str]) -> Output {
    load(args).output().expect("the binary runs")
}

/// Runs a load that reports as JSON; gives its exit status and the summary of its kind.
#[track_caller]
fn summary_of<S: DeserializeOwned>(args: &[&str]) -> (i32, S) {
    let output = run(&[args, &["--json", "-"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    let summary = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {}\n{said}",
            String::from_utf8_lossy(&output.stdout)
        )
    });
    (output.status.code().expect("it ended by itself"), summary)
}

#[track_caller]
fn summary(args: &[&str]) -> (i32, Summary) {
    summary_of(args)
}

/// The one sentence of a failure with exit status `status`.
#[track_caller]
fn sentence(output: &Output, status: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{text}");
    let sentence = text.strip_prefix("headwater: ").expect("our own sentence");
    let sentence = sentence.strip_suffix('\n').expect("a whole line");
    assert!(!sentence.contains('\n'), "{sentence}");
    sentence.to_owned()
}
