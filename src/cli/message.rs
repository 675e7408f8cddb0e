//! Output for a person: messages on standard error, reports on standard output.
//!
//! No other module writes there. A message that can't be written (a full disk, a closed or full
//! pipe) is dropped after a bounded wait, so that it does not stop the server
//! (`docs/decisions/067-messages.md`). A report is the result of a command: one that can't be
//! written is an error.

use std::fmt::{Arguments, Display};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::limits;
use crate::sys::ready::is_writable;

/// The exit status when the reader of standard output has closed it: the one that a shell shows for
/// SIGPIPE.
const BROKEN_PIPE: u8 = 128 + 13;

/// Messages that could not be written since the last one that could.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Writes a message of one or more lines to standard error, or drops it when that takes longer
/// than [`limits::MESSAGE_WAIT_MS`] or fails. The next message reports how many were dropped.
pub(crate) fn say(message: Arguments<'_>) {
    let lost = LOST.swap(0, Ordering::Relaxed);
    let text = match lost {
        0 => format!("{message}\n"),
        _ => format!("headwater: {lost} messages could not be written\n{message}\n"),
    };
    if write_message(&text).is_err() {
        LOST.fetch_add(lost + 1, Ordering::Relaxed);
    }
}

/// Shows a line on a terminal, which the next one overwrites; does nothing if standard error is not
/// a terminal.
pub(crate) fn show_progress(line: Arguments<'_>) {
    if io::stderr().is_terminal() {
        // A failure is ignored: another line follows in a second.
        let _ = write_message(&format!("\r\x1b[K{line}"));
    }
}

/// Clears such a line.
pub(crate) fn clear_progress() {
    show_progress(format_args!(""));
}

fn write_message(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr();
    for piece in text.as_bytes().chunks(limits::MESSAGE_PIECE_BYTES) {
        if !is_writable(stderr.as_fd(), limits::MESSAGE_WAIT_MS)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        stderr.write_all(piece)?;
    }
    Ok(())
}

/// Reports in one sentence why the command failed.
pub(crate) fn fail(error: &impl Display, status: u8) -> ExitCode {
    say(format_args!("headwater: {error}"));
    ExitCode::from(status)
}

/// Writes a report to standard output.
///
/// # Errors
/// When it can't be written, up to its last byte.
pub(crate) fn write_report(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a report to standard output; the exit status shows whether that succeeded.
pub(crate) fn print(text: &str) -> ExitCode {
    match write_report(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report_failed(&error),
    }
}

/// Writes a report for programs.
pub(crate) fn print_json(value: &impl Serialize) -> ExitCode {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => fail(&format_args!("cannot write JSON: {error}"), 1),
    }
}

/// The end of a command whose report could not be written. A pipe whose reader has
/// ended (`| head`) is not reported.
pub(crate) fn report_failed(error: &io::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::BrokenPipe => ExitCode::from(BROKEN_PIPE),
        _ => fail(&format_args!("cannot write to standard output: {error}"), 1),
    }
}
