//! Messages never block the server: a full, closed or stopped standard error neither ends nor
//! stalls it. A report that can't be written is an error.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Write, pipe};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Instant;

use headwater::sys::ready::is_writable;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{Client, PATIENCE, headwater};

fn full() -> File {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full")
}

/// A pipe that takes nothing more, with the end that would read it.
fn stopped_pipe() -> (Stdio, PipeReader) {
    let (reader, mut writer) = pipe().expect("a pipe");
    while is_writable(writer.as_fd(), 0).expect("a look") {
        writer.write_all(&[b'x'; 4096]).expect("room");
    }
    (writer.into(), reader)
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    listener.local_addr().expect("an address")
}

/// Starts a server whose standard error is this, and waits until it answers.
fn serve(stderr: Stdio) -> (Child, SocketAddr, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), "content").expect("a file");
    let address = free_address();
    let mut command = headwater();
    command.arg("serve").arg(folder.path()).args([
        "--listen",
        &address.to_string(),
        "--admin",
        "off",
        "--schedtrace",
        "1",
    ]);
    let child = command
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn()
        .expect("the program");
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "it does not listen");
        thread::yield_now();
    }
    (child, address, folder)
}

fn terminate(mut child: Child) -> Option<i32> {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("a signal");
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a status") {
            return status.code();
        }
        if start.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("it does not end");
        }
        thread::yield_now();
    }
}

#[test]
fn a_server_serves_and_ends_whatever_becomes_of_standard_error() {
    let closed = {
        let (_, writer) = pipe().expect("a pipe");
        Stdio::from(writer)
    };
    let (stopped, reader) = stopped_pipe();
    for stderr in [full().into(), closed, stopped] {
        let (child, address, _folder) = serve(stderr);
        for _ in 0..3 {
            assert_eq!(Client::connect(address).get("/a").text(), "content");
        }
        assert_eq!(terminate(child), Some(0));
    }
    drop(reader);
}

fn status(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .stderr(Stdio::piped())
        .output()
        .expect("the program");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    (output.status.code(), text)
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_in_one_sentence() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["serve", "--help"],
        &["serve", "--print-config"],
        &["serve", "--check"],
        &["keepalive", "explain", "--json"],
        &["keepalive", "explain"],
        &["sysctl", "list"],
    ] {
        let (code, text) = status(headwater().args(args).stdout(full()));
        assert_eq!(code, Some(1), "{args:?}: {text}");
        let sentence = "headwater: cannot write to standard output: No space left on device";
        assert!(text.starts_with(sentence), "{args:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_told_nothing() {
    for args in [
        &["--help"][..],
        &["serve", "--print-config"],
        &["keepalive", "explain"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let (code, text) = status(headwater().args(args).stdout(Stdio::from(writer)));
        assert_eq!((code, &*text), (Some(141), ""), "{args:?}");
    }
}

#[test]
fn an_error_that_cannot_be_said_keeps_its_status() {
    let (_, writer) = pipe().expect("a pipe");
    for (stderr, args, code) in [
        (Stdio::from(full()), &["serve", "/nonexistent"][..], 1),
        (Stdio::from(full()), &["serve", "--idle-timeout", "5"], 2),
        (Stdio::from(writer), &["serve", "--nonsense"], 2),
    ] {
        let ended = headwater()
            .args(args)
            .stderr(stderr)
            .status()
            .expect("the program");
        assert_eq!(ended.code(), Some(code), "{args:?}");
    }
}
