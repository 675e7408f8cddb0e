//! The progress of a load: one line on a terminal, overwritten every second.

use crate::cli::message::show_progress;
use crate::load::Progress;

/// Shows the second, in place of the previous one.
pub(super) fn show(progress: &Progress<'_>) {
    if let Some(figures) = &progress.figures {
        show_progress(format_args!("{:>5.0} s  {figures}", progress.at_s));
    }
}
