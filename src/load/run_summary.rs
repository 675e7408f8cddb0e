//! The trait that the command line uses for the summaries of all kinds of load.

use std::fmt::Display;

use serde::Serialize;

use super::live::LiveSummary;
use super::report::{LiveReport, Report, RoomsReport};
use super::rooms::RoomsSummary;
use super::summary::Summary;
use super::verdict::Verdict;

/// A summary: a table for a terminal, JSON, and a page.
pub trait RunSummary: Display + Serialize {
    /// The verdict on the load.
    fn verdict(&self) -> Verdict;

    /// It was stopped before its time.
    fn interrupted(&self) -> bool;

    /// Whether something failed, whatever the verdict.
    fn has_errors(&self) -> bool;

    /// The page of the run.
    fn page(&self) -> String;

    /// Notes the command line as given.
    fn set_command(&mut self, command: String);
}

impl RunSummary for Summary {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn interrupted(&self) -> bool {
        self.interrupted
    }

    fn has_errors(&self) -> bool {
        self.errors_total > 0
    }

    fn page(&self) -> String {
        Report(self).to_string()
    }

    fn set_command(&mut self, command: String) {
        self.command = command;
    }
}

impl RunSummary for RoomsSummary {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn interrupted(&self) -> bool {
        self.interrupted
    }

    fn has_errors(&self) -> bool {
        self.wrong() > 0
    }

    fn page(&self) -> String {
        RoomsReport(self).to_string()
    }

    fn set_command(&mut self, command: String) {
        self.command = command;
    }
}

impl RunSummary for LiveSummary {
    fn verdict(&self) -> Verdict {
        self.verdict
    }

    fn interrupted(&self) -> bool {
        self.interrupted
    }

    /// Stalls are left to the verdict: a saturated client may take its own for the server's.
    fn has_errors(&self) -> bool {
        self.errors_total > 0
    }

    fn page(&self) -> String {
        LiveReport(self).to_string()
    }

    fn set_command(&mut self, command: String) {
        self.command = command;
    }
}
