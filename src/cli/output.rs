//! Standard output.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

use super::exit::Failure;

/// To standard output. Whoever stops reading there (`paceline check | grep -q ok`) has enough, which is no failure.
///
/// # Errors
/// When it can't be written for any other reason.
pub fn print(text: Arguments<'_>) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match output.write_fmt(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Running(format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}
