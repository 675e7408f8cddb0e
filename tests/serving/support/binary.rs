//! The program's binary, as an operator runs it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use headwater::runtime::DriverChoice;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Client, PATIENCE};

/// The program, without the settings of the user who runs the tests but for the driver: the suite
/// runs on each.
pub(crate) fn headwater() -> Command {
    clean(Command::new(env!("CARGO_BIN_EXE_headwater")))
}

fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let is_setting = name.starts_with("HEADWATER_") && name != DriverChoice::VARIABLE;
        if is_setting || name == "PORT" {
            command.env_remove(&*name);
        }
    }
    command
}

/// A running program; it is killed if its test doesn't end it.
pub(crate) struct Binary {
    pub pid: u32,
    lines: Receiver<String>,
    seen: String,
    ended: Receiver<ExitStatus>,
    status: Option<ExitStatus>,
}

impl Binary {
    /// Runs a prepared command. What it says on standard error is kept.
    pub(crate) fn spawn(mut command: Command) -> Binary {
        let command = command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let stderr = child.stderr.take().expect("its standard error");
        let pid = child.id();
        let (say, lines) = channel();
        thread::spawn(move || {
            let read = BufReader::new(stderr).lines().map_while(Result::ok);
            read.map_while(|line| say.send(line).ok()).for_each(drop);
        });
        let (end, ended) = channel();
        thread::spawn(move || child.wait().map(|status| end.send(status)));
        Binary {
            pid,
            lines,
            seen: String::new(),
            ended,
            status: None,
        }
    }

    /// Serves a folder on a port of the kernel's choice, without admin pages.
    pub(crate) fn serve(root: &std::path::Path, args: &[&str]) -> Binary {
        let mut command = headwater();
        command
            .arg("serve")
            .arg(root)
            .args(["--listen", "127.0.0.1:0", "--admin", "off"])
            .args(args);
        Binary::spawn(command)
    }

    /// As [`serve`](Self::serve), with a limit on open descriptors.
    pub(crate) fn serve_within(descriptors: u64, root: &std::path::Path, args: &[&str]) -> Binary {
        let mut command = clean(Command::new("sh"));
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
            .arg(descriptors.to_string())
            .arg(env!("CARGO_BIN_EXE_headwater"))
            .arg("serve")
            .arg(root)
            .args(["--listen", "127.0.0.1:0", "--admin", "off"])
            .args(args);
        Binary::spawn(command)
    }

    /// What stands behind `label` at the beginning of a line, now or later.
    #[track_caller]
    pub(crate) fn line(&mut self, label: &str) -> String {
        let start = Instant::now();
        loop {
            let mut lines = self.seen.lines().map(str::trim_start);
            if let Some(text) = lines.find_map(|line| line.strip_prefix(label)) {
                return text.trim().to_owned();
            }
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen += &(line + "\n"),
                Err(_) => panic!("no line {label:?} in: {}", self.seen),
            }
        }
    }

    /// The one address that it serves on.
    #[track_caller]
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.line("listening").parse().expect("one TCP address")
    }

    #[track_caller]
    pub(crate) fn client(&mut self) -> Client {
        Client::connect(self.address())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid).expect("a pid"));
        kill(pid, signal).expect("a signal");
    }

    /// Waits for its end: the exit code, and all that it said.
    #[track_caller]
    pub(crate) fn end(&mut self) -> (Option<i32>, &str) {
        if self.status.is_none() {
            self.status = self.ended.recv_timeout(PATIENCE).ok();
        }
        let status = self.status.expect("no end");
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.seen += &(line + "\n");
        }
        (status.code(), &self.seen)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.status = self.status.or_else(|| self.ended.try_recv().ok());
        self.status.is_some()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.signal(Signal::SIGKILL);
        }
    }
}
