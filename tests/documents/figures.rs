//! What the README and the pictures say of simulated scenarios is what docs/scenarios.csv has: they are from the same runs.
//!
//! What is wrong here is mended by `cargo bench --bench pictures -- --up-to 100000`, and by writing into the README's table
//! what the message says.

use paceline::simulator::scenario::scenarios;

use super::read;

const CSV: &str = "docs/scenarios.csv";
const HEAD: &str = "scenario,viewers,seconds,efficiency,bound,late,stalls,waste";

/// One run, as the file has it.
#[derive(Clone, Debug)]
struct Run {
    scenario: String,
    viewers: u32,
    seconds: u64,
    efficiency: f64,
    bound: f64,
    late: u64,
    stalls: u64,
}

fn runs() -> Vec<Run> {
    let text = read(CSV);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEAD), "{CSV}");
    let run = |line: &str| {
        let values: Vec<&str> = line.split(',').collect();
        let [scenario, viewers, seconds, efficiency, bound, late, stalls, waste] = values[..] else {
            panic!("{CSV}: `{line}` is not {HEAD}")
        };
        assert!(waste.parse::<f64>().is_ok_and(|waste| waste < 0.05), "{CSV}: {line}");
        Run {
            scenario: scenario.to_owned(),
            viewers: viewers.parse().unwrap(),
            seconds: seconds.parse().unwrap(),
            efficiency: efficiency.parse().unwrap(),
            bound: bound.parse().unwrap(),
            late: late.parse().unwrap(),
            stalls: stalls.parse().unwrap(),
        }
    };
    lines.map(run).collect()
}

fn run_of<'a>(runs: &'a [Run], scenario: &str, viewers: u32) -> &'a Run {
    let found = runs.iter().find(|run| (run.scenario.as_str(), run.viewers) == (scenario, viewers));
    found.unwrap_or_else(|| panic!("{CSV} has no {scenario} with {viewers} viewers; draw it"))
}

/// A number in front of these words, commas left out.
fn number_before(text: &str, words: &str) -> Option<f64> {
    let before = text.split(words).next().filter(|before| before.len() < text.len())?;
    let number = before.rsplit(|c: char| !c.is_ascii_digit() && !",.".contains(c)).next()?;
    number.replace(',', "").parse().ok()
}

/// Whether so many percent, with as many digits as they are written with, are this share: rounded or cut off.
fn is_share(written: &str, share: f64) -> bool {
    let digits = written.split_once('.').map_or(0, |(_, digits)| digits.len());
    let unit = 10_f64.powi(-(digits as i32));
    let apart = share * 100.0 - written.parse::<f64>().unwrap();
    (-0.5 * unit - 1e-9..unit - 1e-9).contains(&apart)
}

#[test]
fn the_readmes_scenarios_come_to_what_was_simulated() {
    let (runs, readme) = (runs(), read("README.md"));
    let table = readme.split("| scenario | from peers | late, stalls |\n|---|---|---|\n").nth(1);
    let rows = table.expect("the table of scenarios").lines().take_while(|line| line.starts_with('|'));
    let (mut above, mut checked) = (String::new(), 0);
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [what, shares, suffered] = cells[..] else { panic!("README.md: {row}") };
        let mut names: Vec<&str> = what.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            // The same with another number of viewers.
            names.push(&above);
        }
        let shares: Vec<&str> = shares.trim_end_matches(" %").split(", ").collect();
        assert_eq!(names.len(), shares.len(), "README.md: {row}");
        for (name, share) in names.iter().zip(shares) {
            let scenario = scenarios().iter().find(|scenario| scenario.name == *name);
            let usual = scenario.unwrap_or_else(|| panic!("README.md: no scenario {name}")).viewers;
            let viewers = number_before(what, " viewers").map_or(usual, |viewers| viewers as u32);
            let run = run_of(&runs, name, viewers);
            assert!(is_share(share, run.efficiency), "README.md: {share} % of {name}, and {CSV}: {run:?}");
            if let Some(most) = number_before(what, " % is the most") {
                assert!(is_share(&most.to_string(), run.bound), "README.md: {row}, and {CSV}: {run:?}");
            }
            let late = number_before(suffered, " late").unwrap_or_default();
            assert_eq!(late as u64, run.late, "README.md: {row}, and {CSV}: {run:?}");
            let none = suffered == "0" || suffered.starts_with("0,");
            assert!(!none || run.stalls == 0, "README.md: {row}, and {CSV}: {run:?}");
            checked += 1;
        }
        above = names[names.len() - 1].to_owned();
    }
    assert!(checked >= 15, "only {checked} figures were found");
}

#[test]
fn captions_of_the_pictures_say_what_was_simulated() {
    let runs = runs();
    for scenario in scenarios() {
        let picture = format!("docs/scenarios/{}.svg", scenario.name);
        let run = run_of(&runs, scenario.name, scenario.viewers);
        assert_eq!(run.seconds, scenario.seconds, "{CSV}: {run:?}");
        let text = read(&picture);
        let caption = text.lines().find(|line| line.contains(" from peers once settled; "));
        let caption = caption.unwrap_or_else(|| panic!("{picture} has no caption; draw it"));
        let says = |words: &str| number_before(caption, words);
        assert_eq!(says(" viewers with "), Some(f64::from(run.viewers)), "{picture}: {caption}");
        assert_eq!(says(" s, seed "), Some(run.seconds as f64), "{picture}: {caption}");
        let share = caption.split(" % from peers").next().and_then(|before| before.rsplit(' ').next());
        assert!(share.is_some_and(|share| is_share(share, run.efficiency)), "{picture}: {caption}, {run:?}");
        let counted = |one: &str| says(&format!(" {one}s")).or_else(|| says(&format!(" {one}")));
        assert_eq!(counted("stall"), Some(run.stalls as f64), "{picture}: {caption}");
        assert_eq!(counted("late segment"), Some(run.late as f64), "{picture}: {caption}");
    }
}

#[test]
fn a_share_is_written_rounded_or_cut_off() {
    for (written, share, is) in [
        ("99.8", 0.998_45, true),
        ("99.8", 0.997_6, true),
        ("99.8", 0.998_99, true),
        ("99.8", 0.999, false),
        ("99.8", 0.997_4, false),
        ("97", 0.965, true),
    ] {
        assert_eq!(is_share(written, share), is, "{written} % of {share}");
    }
    assert_eq!(number_before("… with 100,000 viewers, 60 s", " viewers"), Some(100_000.0));
    assert_eq!(number_before("0", " late"), None);
}
