//! The trait through which the command line handles the summaries of all kinds of load.

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

    /// Whether the load was stopped early.
    fn interrupted(&self) -> bool;

    /// Whether something failed, whatever the verdict.
    fn has_errors(&self) -> bool;

    /// The report page, as HTML.
    fn page(&self) -> String;

    /// Sets the command line as the user gave it.
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

    /// Stalls count only in the verdict, since a saturated client causes stalls itself.
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
