//! Every failure as an exit status and one sentence: 1 failed while running, 2 bad arguments or configuration.

use std::process::ExitCode;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error("{0}")]
    Config(#[from] crate::config::Error),
    /// An argument that clap can't judge.
    #[error("{0}")]
    Argument(String),
    /// Something failed while running.
    #[error("{0}")]
    Running(String),
}

impl Failure {
    /// Something failed while running; the sentence is the error's own.
    pub fn running(error: impl std::fmt::Display) -> Self {
        Self::Running(error.to_string())
    }
}

/// The exit status; the sentence goes to standard error.
#[must_use]
pub fn status(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("paceline: {failure}");
            match failure {
                Failure::Config(_) | Failure::Argument(_) => ExitCode::from(2),
                Failure::Running(_) => ExitCode::FAILURE,
            }
        }
    }
}
