//! `headwater doctor` as a user and a monitor run it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn doctor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
        .arg("doctor")
        .args(args)
        .env_clear()
        .output()
        .expect("the binary runs")
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, format!("{text}\n")).expect("written");
}

fn json(output: &Output) -> Vec<serde_json::Value> {
    serde_json::from_slice(&output.stdout).expect("an array")
}

#[test]
fn the_exit_status_is_that_of_the_worst() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let args = [
        "--root",
        root.to_str().expect("UTF-8"),
        "--cores",
        "0-63",
        "--json",
    ];
    assert_eq!(
        doctor(&args).status.code(),
        Some(0),
        "nothing is known, nothing is bad"
    );

    write(root, "proc/self/cgroup", "0::/");
    write(root, "sys/fs/cgroup/cpu.max", "150000 100000");
    let warned = doctor(&args);
    assert_eq!(warned.status.code(), Some(1));
    let first = &json(&warned)[0];
    assert_eq!(first["severity"], "warning");
    assert_eq!(first["area"], "CPU quota");
    assert_eq!(first["finding"], "1.5 CPUs' time for 64 shards");
    assert!(
        first["fix"]
            .as_str()
            .is_some_and(|fix| fix.contains("--cores 0,"))
    );

    write(root, "proc/sys/net/ipv4/tcp_timestamps", "0");
    let critical = doctor(&args);
    assert_eq!(critical.status.code(), Some(2));
    assert_eq!(
        json(&critical)[0]["fix"],
        "sysctl -w net.ipv4.tcp_timestamps=1"
    );
}

#[test]
fn this_host_is_examined_without_colours_into_a_pipe() {
    let output = doctor(&[]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("io_uring: "), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(matches!(output.status.code(), Some(0..=2)));
}

#[test]
fn mistakes_are_told() {
    assert_eq!(doctor(&["--cores", "x"]).status.code(), Some(2));
    let unknown = doctor(&["--profile", "none"]);
    assert_eq!(unknown.status.code(), Some(2));
    let text = String::from_utf8(unknown.stdout).expect("UTF-8");
    assert!(text.contains("there is no profile \"none\""), "{text}");
}
