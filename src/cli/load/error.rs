//! Why a load could not be run from its command line.

use crate::load::LoadError;

/// Why no plan can be made from the command line.
pub(super) enum CommandError {
    Usage(String),
    /// The command line is valid, but the load can't be run.
    Failed(String),
    Load(LoadError),
}

impl From<LoadError> for CommandError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

pub(super) fn usage(error: impl ToString) -> CommandError {
    CommandError::Usage(error.to_string())
}

pub(super) fn failed(error: impl ToString) -> CommandError {
    CommandError::Failed(error.to_string())
}
