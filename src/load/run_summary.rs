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

/// Implements [`RunSummary`] for a type with these fields: its page, and whether it has errors.
macro_rules! run_summary {
    ($summary:ty, $page:path, $has_errors:expr) => {
        impl RunSummary for $summary {
            fn verdict(&self) -> Verdict {
                self.verdict
            }

            fn interrupted(&self) -> bool {
                self.interrupted
            }

            fn has_errors(&self) -> bool {
                let has_errors: fn(&Self) -> bool = $has_errors;
                has_errors(self)
            }

            fn page(&self) -> String {
                $page(self).to_string()
            }

            fn set_command(&mut self, command: String) {
                self.command = command;
            }
        }
    };
}

run_summary!(Summary, Report, |summary| summary.errors_total > 0);
run_summary!(RoomsSummary, RoomsReport, |summary| summary.wrong() > 0);
// Stalls count only in the verdict, since a saturated client causes stalls itself.
run_summary!(LiveSummary, LiveReport, |summary| summary.errors_total > 0);
