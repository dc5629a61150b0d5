//! `paceline check`: is this stream fit for peers?
//!
//! Two viewers that know nothing of each other ([`viewer`]) look at the stream side by side ([`look`]); what they saw is
//! judged by `manifest::fitness` and told ([`report`]). Nothing is decided here.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as ClapArgs;
use url::Url;

mod compare;
mod dash;
mod look;
mod report;
mod viewer;

use super::exit::Failure;
use crate::config::Config;
use crate::manifest::fitness::judge;
use crate::manifest::identity::Rules;
use crate::viewer::player::told;
use viewer::Viewer;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  paceline check https://origin.example/live/master.m3u8
  paceline check --json https://origin.example/live/stream.mpd
  paceline check --config paceline.toml https://origin.example/live/master.m3u8
Two viewers, each with cookies and connections of its own, load the playlists and a few segments
of up to three renditions; no daemon is needed, and nothing is shared. Where their URLs differ by
a token, an [[identity]] rule is proposed: paste it into the configuration of every viewer, and
check again with --config. Each finding is a line that begins with `ok`, `advice` or `blocker` and
says what to change. Exit status: 0 fit for P2P, 1 not fit or not to be looked at, 2 bad arguments.";

/// Arguments of `check`.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The stream's manifest, http or https: a playlist (.m3u8), master or media, or an MPD
    pub url: Url,
    /// Print one JSON document: url, kind, fit, renditions, findings, proposed_rule
    #[arg(long)]
    pub json: bool,
    /// Configuration whose `[[identity]]` rules and `[origin]` section apply
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Looks, judges and reports.
///
/// # Errors
/// When the stream can't be looked at, or is not fit.
pub async fn run(args: Args) -> Result<(), Failure> {
    if !matches!(args.url.scheme(), "http" | "https") {
        return Err(Failure::Argument(format!("{} is not an http:// or https:// address", args.url)));
    }
    let config = Config::load(args.config.as_deref(), std::env::vars())?;
    let rules = Rules::new(&config.identity).map_err(|error| Failure::Argument(error.to_string()))?;
    let viewer = |number| {
        Viewer::new(number, config.origin.clone()).map_err(|error| Failure::Argument(error.to_string()))
    };
    let viewers = [viewer(1)?, viewer(2)?];
    let looked = tokio::time::timeout(PATIENCE, look::look(&viewers, &args.url, &rules)).await;
    let late =
        |_| Failure::Running(format!("{}: looking took more than {} s", told(&args.url), PATIENCE.as_secs()));
    let facts = looked.map_err(late)?.map_err(Failure::Running)?;
    let report = judge(&facts);
    if args.json {
        println!("{:#}", report::document(&args.url, &facts, &report));
    } else {
        println!("{}", report::text(&facts, &report));
    }
    if report.fit {
        return Ok(());
    }
    let verdict = report::verdict(&report);
    Err(Failure::Running(format!("{} is {verdict}", told(&args.url))))
}
