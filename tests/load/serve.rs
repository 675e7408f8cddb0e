//! `headwater serve` as the target of a load.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// `headwater serve` on a folder.
pub(crate) struct Serve {
    process: Child,
    pub url: String,
    /// Kept open, so that the server can still speak.
    _stderr: BufReader<ChildStderr>,
}

impl Serve {
    pub(crate) fn start(folder: &Path) -> Self {
        let cpu = headwater::sys::cpu::allowed().expect("affinity")[0].to_string();
        let mut process = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(["serve", "--cores", &cpu, "--admin", "off"])
            .args(["--listen", "127.0.0.1:0"])
            .arg(folder)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stderr = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let start = said.len();
            let count = stderr.read_line(&mut said).expect("UTF-8");
            assert!(count > 0, "the server ended: {said}");
            if let Some(address) = said[start..].trim().strip_prefix("listening") {
                break address.trim().to_owned();
            }
        };
        Self {
            process,
            url: format!("http://{address}/"),
            _stderr: stderr,
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
