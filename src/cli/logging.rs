//! What a user sees: at the default level where to point a player, streams joined and left, and warnings that say what
//! to do.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Other people's crates are heard when something breaks, not otherwise.
const QUIET: [&str; 7] = ["webrtc", "rtc", "hyper", "hyper_util", "rustls", "tungstenite", "mio"];

/// A level or filter that is none.
#[derive(Debug, thiserror::Error)]
#[error("log.level: `{0}` is neither error, warn, info, debug, trace nor a filter")]
pub struct BadLevel(String);

/// Starts logging to standard error. A second call changes nothing.
///
/// # Errors
/// When `level` is neither a level nor a filter.
pub fn start(level: &str) -> Result<(), BadLevel> {
    let mut filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(level)
        .map_err(|_| BadLevel(level.to_owned()))?;
    for name in QUIET {
        if !level.contains(name)
            && let Ok(directive) = format!("{name}=error").parse()
        {
            filter = filter.add_directive(directive);
        }
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(level.contains("debug") || level.contains("trace"));
    // The journal stamps each line itself.
    let _ = if std::env::var_os("JOURNAL_STREAM").is_some() {
        builder.without_time().try_init()
    } else {
        builder.try_init()
    };
    Ok(())
}
