//! `paceline simulate`: the delivery core over a virtual network.
//!
//! Standard output depends on the arguments alone: the same ones give the same bytes. What the run cost depends on the
//! machine and goes to standard error.

use std::num::NonZero;

use clap::{Args as ClapArgs, ValueEnum};

mod cost;
mod csv;
mod json;
mod table;
mod turn;

use super::exit::Failure;
use super::output::print;
use crate::config;
use crate::simulator::World;
use crate::simulator::scenario::{Knobs, Scenario, scenarios};
use cost::Cost;

/// Viewers that a run can be asked for: they take some KiB of memory each.
const MOST_VIEWERS: i64 = 1_000_000;
/// Simulated seconds that a run can be asked for: a day.
const LONGEST: u64 = 86_400;
/// Threads that a run can be asked for.
const MOST_THREADS: i64 = 256;

/// What the help of `simulate` ends with.
pub const EXAMPLES: &str = "\
Nothing here touches the network: thousands of viewers, each with the delivery
core of the daemon, live in one process with a clock of their own. The same
arguments give the same output, byte for byte, on any machine.

  paceline simulate --list
  paceline simulate --viewers 10000 --seconds 120
  paceline simulate --scenario flash --json > flash.json
  paceline simulate --scenario churn --no-p2p     what the origin alone would do
  paceline simulate --scenario vod --trace 7      what happened to one viewer
  paceline simulate --csv series > seconds.csv

What the words mean:
  share from peers  bytes from peers / (bytes from peers + from the origin);
                    once settled: without the first 20 s of each viewer
  at best           what this run could have reached, and what sets that limit
  late              a segment that its player missed, and that came later than
                    the origin alone would have brought it plus 0.1 s
  wasted            bytes that were there already, or wrong

Exit status: 0 done, 1 a player was given wrong bytes or something else failed
while running, 2 the arguments can't be used.";

/// Arguments of `simulate`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Args {
    /// What to simulate; --list names all. Without it the first of that list
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Viewers, instead of the scenario's own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_VIEWERS))]
    pub viewers: Option<u32>,
    /// Simulated seconds, instead of the scenario's own
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    pub seconds: Option<u64>,
    /// Decides every chance: who joins when, with which line, and what fails
    #[arg(long, value_name = "X", default_value_t = 1)]
    pub seed: u64,
    /// The same viewers without peers, to compare
    #[arg(long)]
    pub no_p2p: bool,
    /// Print one JSON document: everything in the table, second by second too
    #[arg(long)]
    pub json: bool,
    /// Print comma-separated values instead of the table: `summary` is one line, `series` one for each second, `spread`
    /// how one segment reached the viewers
    #[arg(long, value_name = "WHAT", conflicts_with = "json")]
    pub csv: Option<Csv>,
    /// Tell what happened to one viewer; they are counted from 1 as they join
    #[arg(long, value_name = "VIEWER", conflicts_with = "csv", value_parser = clap::value_parser!(u32).range(1..=MOST_VIEWERS))]
    pub trace: Option<u32>,
    /// Work with so many threads; without it, one for each core. The result is the same
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MOST_THREADS))]
    pub threads: Option<u16>,
    /// Name the scenarios, with what each shows, and do nothing else
    #[arg(long, exclusive = true)]
    pub list: bool,
}

/// Which numbers to print as comma-separated values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Csv {
    /// The whole run: a line of names, a line of numbers.
    Summary,
    /// A line for each second.
    Series,
    /// How one segment reached the viewers.
    Spread,
}

/// Runs a scenario and prints what happened.
///
/// # Errors
/// When the arguments don't fit the scenario, or a player was given wrong bytes.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.list {
        return print(format_args!("{}", table::list(scenarios())));
    }
    let scenario = named(args.scenario.as_deref())?;
    let threads = args.threads.map_or_else(cores, usize::from);
    let knobs = Knobs {
        viewers: args.viewers,
        seconds: args.seconds,
        seed: args.seed,
        p2p: !args.no_p2p,
        trace: args.trace,
        shards: threads,
    };
    let began = Cost::now();
    let mut world = World::new(scenario, &knobs).map_err(|refused| Failure::Argument(refused.to_string()))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(Failure::running)?.install(|| turn::to_the_end(&mut world));
    let report = world.report();
    let trace = args.trace.map(|_| world.story());
    let text = if args.json {
        json::text(&report, trace).map_err(Failure::running)?
    } else if let Some(what) = args.csv {
        csv::text(&report, what).map_err(Failure::running)?
    } else {
        table::text(scenario, &report) + &table::story(args.trace.zip(trace))
    };
    print(format_args!("{text}"))?;
    eprintln!("{}", Cost::now().since(began).sentence(&report, threads));
    match report.wrong_pieces {
        0 => Ok(()),
        wrong => Err(Failure::Running(format!(
            "{wrong} pieces with wrong bytes reached a player; please report this with the arguments you gave"
        ))),
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS as usize)
}

fn named(name: Option<&str>) -> Result<&'static Scenario, Failure> {
    let all = scenarios();
    let found = match name {
        Some(name) => all.iter().find(|scenario| scenario.name == name),
        None => all.first(),
    };
    found.ok_or_else(|| {
        let name = name.unwrap_or_default();
        let names: Vec<&str> = all.iter().map(|scenario| scenario.name).collect();
        let hint = match config::nearest(name, &names) {
            Some(nearest) => format!("; did you mean `{nearest}`? All of them:"),
            None => "; there are".to_owned(),
        };
        Failure::Argument(format!("there is no scenario `{name}`{hint} {}", names.join(", ")))
    })
}
