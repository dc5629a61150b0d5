//! `log.level`: a level, or a filter that says it module by module.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::nearest;

/// What may stand by itself.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A level or filter that is none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLevel {
    /// Nothing like it is known.
    #[error("`{0}` is neither error, warn, info, debug, trace, off nor a filter")]
    Unknown(String),
    /// A word that is nearly a level.
    #[error("`{0}` is no level; did you mean `{1}`?")]
    Nearly(String, &'static str),
}

/// Whether logging can be started like this.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub fn check(level: &str) -> Result<(), BadLevel> {
    filter(level).map(drop)
}

/// What a level or filter lets through.
///
/// # Errors
/// When `level` is neither.
pub fn filter(level: &str) -> Result<EnvFilter, BadLevel> {
    for part in level.split(',').map(str::trim) {
        // To a filter a bare word is the name of a module, so that a level with a slip would silence all others.
        let bare =
            !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if bare && !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(part)) {
            return Err(match nearest(&part.to_ascii_lowercase(), &LEVELS) {
                Some(known) => BadLevel::Nearly(part.to_owned(), known),
                None => BadLevel::Unknown(part.to_owned()),
            });
        }
    }
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(level)
        .map_err(|_| BadLevel::Unknown(level.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_a_level() {
        for fine in
            ["info", "WARN", "Off", "debug,webrtc=off", "info,paceline::engine=debug", "paceline::cli"]
        {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
        for (slip, meant) in [("warning", "warn"), ("INF0", "info"), ("debg,paceline::cli=info", "debug")] {
            let said = check(slip).unwrap_err().to_string();
            assert!(said.contains(&format!("did you mean `{meant}`?")), "{said}");
        }
        for unknown in ["verbose", "paceline=loud"] {
            let said = check(unknown).unwrap_err().to_string();
            assert!(said.contains(unknown) && said.contains("warn, info"), "{said}");
        }
    }
}
