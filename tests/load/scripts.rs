//! The scripts that load a server: their help, the hosts that they refuse to load, and their reports.

use std::process::{Command, Output};

use crate::room_server::RoomServer;
use crate::server::{OK, Server};

const SCRIPTS: [&str; 7] = [
    "smoke", "million", "churn", "soak", "idle", "video", "mixed",
];

fn script(name: &str, args: &[&str]) -> Output {
    Command::new("bash")
        .arg(format!(
            "{}/scripts/load-{name}.sh",
            env!("CARGO_MANIFEST_DIR")
        ))
        .args(args)
        .env("HEADWATER", "/does/not/exist")
        .output()
        .expect("bash runs")
}

#[test]
fn every_script_has_help() {
    for name in SCRIPTS {
        let output = script(name, &["--help"]);
        let help = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{name}");
        assert!(
            help.contains(&format!("scripts/load-{name}.sh [URL]")),
            "{help}"
        );
    }
}

#[test]
fn strangers_are_not_loaded() {
    for url in [
        "http://example.org/",
        "http://8.8.8.8/",
        "http://[2001:db8::1]:80/",
        "http://127.0.0.1.example.org/",
        "http://10.example.org/",
        "http://172.32.0.1/",
    ] {
        for name in SCRIPTS {
            let output = script(name, &[url]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name} {url}: {said}");
            assert!(said.contains("--i-own-this-host"), "{name} {url}: {said}");
        }
    }
}

#[test]
fn loopback_private_networks_and_ones_own_hosts_are() {
    for args in [
        &["http://localhost:8080/"][..],
        &["http://127.0.0.1/"],
        &["http://[::1]:8080/"],
        &["http://10.1.2.3/"],
        &["http://172.31.0.1/"],
        &["http://[fd00::1]/"],
        &["http://example.org/", "--i-own-this-host"],
    ] {
        // As far as the program, which is not there.
        let output = script("smoke", args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("is not there; build it"), "{args:?}: {said}");
    }
}

#[test]
fn a_script_leaves_a_report() {
    let server = Server::answering(OK);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let output = Command::new("bash")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scripts/load-million.sh"
        ))
        .args([&server.url(), "--out", out.to_str().expect("UTF-8")])
        .env("HEADWATER", env!("CARGO_BIN_EXE_headwater"))
        // A moment says as much as ten seconds.
        .env("HEADWATER_LOAD_ARGUMENTS", "--warmup 1ms --duration 100ms")
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("requests"), "{said}");
    for file in [
        "million.txt",
        "million.json",
        "million.hlog",
        "million.html",
        "index.html",
    ] {
        assert!(out.join(file).metadata().expect(file).len() > 0, "{file}");
    }
}

#[test]
fn the_transfer_script_has_help() {
    let output = Command::new("bash")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/transfer.sh"))
        .arg("--help")
        .output()
        .expect("bash runs");
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    assert!(help.contains("scripts/transfer.sh [--quick]"), "{help}");
}

#[test]
fn loads_of_all_kinds_run_together() {
    let server = Server::answering(OK);
    let rooms = RoomServer::new(|text| vec![text]);
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let output = Command::new("bash")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scripts/load-mixed.sh"
        ))
        .args([&server.url(), "--out", out.to_str().expect("UTF-8")])
        .args(["--sub-url", &rooms.sub()])
        .args(["--pub-url", &rooms.publish("http")])
        .env("HEADWATER", env!("CARGO_BIN_EXE_headwater"))
        .env("HEADWATER_LOAD_ARGUMENTS", "--duration 100ms")
        .env(
            "HEADWATER_ROOMS_ARGUMENTS",
            "--subscribers 3 --warmup 1ms --duration 100ms",
        )
        .output()
        .expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout);
    for (name, words) in [
        ("small", "requests"),
        ("downloads", "requests"),
        ("rooms", "delivered"),
    ] {
        let table = std::fs::read_to_string(out.join(format!("{name}.txt"))).expect(name);
        assert!(table.contains(words) && said.contains(&table), "{said}");
        for kind in ["json", "hlog"] {
            let file = out.join(format!("{name}.{kind}"));
            assert!(file.metadata().expect(name).len() > 0, "{name}.{kind}");
        }
    }
}

#[test]
fn rooms_of_strangers_are_not_loaded_either() {
    let foreign = "ws://example.org/";
    let args = ["--sub-url", foreign, "--pub-url", "http://localhost/"];
    let said = script("mixed", &args);
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("example.org is neither"));
}
