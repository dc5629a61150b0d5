//! The story of one viewer, for `--trace`.

use super::report::Line;
use crate::model::time::Time;

/// Lines that are kept; a longer story loses its end.
const LINES: usize = 20_000;

/// What happened to the viewer that is followed, if any.
#[derive(Clone, Debug, Default)]
pub struct Story {
    who: Option<u32>,
    lines: Vec<Line>,
}

impl Story {
    /// Follows this host.
    #[must_use]
    pub fn of(who: Option<u32>) -> Self {
        Self { who, lines: Vec::new() }
    }

    /// Notes a line, if it is about the host that is followed.
    pub fn tell(&mut self, host: u32, at: Time, sequence: Option<u64>, what: impl FnOnce() -> String) {
        if self.who == Some(host) && self.lines.len() < LINES {
            self.lines.push(Line { at_ms: at.as_micros() / 1000, sequence, what: what() });
        }
    }

    /// So far.
    #[must_use]
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }
}
