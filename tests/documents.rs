//! What the documents say is true: commands exist, the example configuration is the default, links lead somewhere.

#[path = "documents/figures.rs"]
mod figures;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use paceline::config::Config;
use paceline::delivery::account::Reason;
use paceline::delivery::policy::Upload;
use paceline::simulator::scenario::scenarios;

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of the README's shell blocks, and the commands in its table and text.
fn commands() -> Vec<String> {
    let readme = read("README.md");
    let blocks = readme.split("```").enumerate().filter(|(i, _)| i % 2 == 1).map(|(_, block)| block);
    let lines = blocks.flat_map(str::lines).filter(|line| !line.is_empty() && *line != "sh");
    let inline = readme.split('`').enumerate().filter(|(i, _)| i % 2 == 1).map(|(_, code)| code);
    lines.chain(inline.filter(|code| code.starts_with("paceline "))).map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_readme_is_understood() {
    let mut checked = 0;
    for line in commands() {
        let Some(args) = line.strip_prefix("paceline ") else { continue };
        let mut words: Vec<&str> = args.split_whitespace().collect();
        // With --help clap reads the whole line and runs nothing.
        words.push("--help");
        let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(&words).output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        for flag in words.iter().filter(|word| word.starts_with("--") && **word != "--help") {
            assert!(help.contains(flag), "`{line}`: the help knows no {flag}");
        }
        checked += 1;
    }
    assert!(checked >= 8, "only {checked} commands were found");
    for needed in ["cargo run --release -- demo", "tests/run"] {
        assert!(commands().iter().any(|line| line == needed), "the README lacks `{needed}`");
    }
}

#[test]
fn every_command_has_a_page_of_help() {
    for command in ["serve", "tracker", "demo", "watch", "check", "simulate", "stats", "p2p"] {
        let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args([command, "--help"]).output().unwrap();
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && help.contains("Usage: paceline"), "{command}: {help}");
    }
}

/// The example with the `#` taken off every key.
fn example(uncommented: bool) -> String {
    let key = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines = read("config.example.toml");
    let lines = lines.lines().map(|line| if uncommented && key(line) { &line[1..] } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_configuration_is_the_default_and_has_every_key() {
    let as_it_is: Config = toml::from_str(&example(false)).unwrap();
    assert_eq!(as_it_is, Config::default());
    let full: toml::Table = toml::from_str(&example(true)).unwrap();
    let mut written: Config = toml::from_str(&example(true)).unwrap();
    assert_eq!((written.channels.len(), written.identity.len()), (1, 1));
    written.channels.clear();
    written.identity.clear();
    assert_eq!(written, Config::default(), "a value in the example is not the default");
    for (section, keys) in &toml::Table::try_from(Config::default()).unwrap() {
        for key in keys.as_table().into_iter().flat_map(toml::Table::keys) {
            let there = full.get(section).and_then(|keys| keys.get(key)).is_some();
            assert!(there, "config.example.toml lacks [{section}] {key}");
        }
    }
}

#[test]
fn links_lead_somewhere_and_versions_agree() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let rust = manifest["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(
        read("README.md").contains(&format!("Rust {rust}")),
        "the README names another Rust than Cargo.toml"
    );
    for file in [
        "README.md",
        "CHANGELOG.md",
        "docs/api.md",
        "docs/faq.md",
        "docs/players.md",
        "docs/publishers.md",
        "docs/reload.md",
    ] {
        let text = read(file);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(
                link.starts_with("https://") || leads_somewhere(file, link),
                "{file}: {link} does not exist"
            );
        }
    }
}

/// Whether a link to a file, or to a heading of one, finds it.
fn leads_somewhere(from: &str, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let to = if path.is_empty() {
        Path::new(from).to_owned()
    } else {
        Path::new(from).parent().unwrap().join(path)
    };
    let anchor = |line: &str| {
        let kept =
            line.trim_start_matches('#').trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    let has = |to: &Path| {
        read(&to.to_string_lossy()).lines().any(|line| line.starts_with('#') && anchor(line) == heading)
    };
    to.exists() && (heading.is_empty() || has(&to))
}

#[test]
fn every_scenario_has_its_picture() {
    let mut pictures: Vec<String> = std::fs::read_dir("docs/scenarios")
        .unwrap_or_else(|error| panic!("docs/scenarios: {error}; draw them: cargo bench --bench pictures"))
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    pictures.sort();
    let mut expected: Vec<String> = scenarios().iter().map(|s| format!("{}.svg", s.name)).collect();
    expected.sort();
    assert_eq!(pictures, expected, "draw them: cargo bench --bench pictures");
    for scenario in scenarios() {
        let picture = read(&format!("docs/scenarios/{}.svg", scenario.name));
        let claim = scenario.claim.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let title = format!("<title>{}: {claim}</title>", scenario.name);
        assert!(
            picture.contains(&title),
            "{}: its picture claims something else; draw it again",
            scenario.name
        );
    }
}

/// Every key of a configuration as `section.key`, with its value; of a list of tables the first.
fn keys(of: &toml::Value, prefix: &str, into: &mut BTreeMap<String, toml::Value>) {
    match of {
        toml::Value::Table(table) => {
            for (name, value) in table {
                keys(value, &if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") }, into);
            }
        }
        toml::Value::Array(all) if all.first().is_some_and(toml::Value::is_table) => {
            keys(&all[0], prefix, into);
        }
        _ => drop(into.insert(prefix.to_owned(), of.clone())),
    }
}

fn keys_of(config: &Config) -> BTreeMap<String, toml::Value> {
    let mut into = BTreeMap::new();
    keys(&toml::Value::try_from(config).unwrap(), "", &mut into);
    into
}

/// The configuration with another value, whichever may stand there.
fn altered(config: &Config, key: &str) -> Config {
    let before = keys_of(config)[key].clone();
    let list = |text: &str| toml::Value::Array(vec![toml::Value::from(text)]);
    let others = match &before {
        toml::Value::Boolean(on) => vec![toml::Value::from(!on)],
        toml::Value::Integer(number) => vec![toml::Value::from(number + 1)],
        toml::Value::Float(number) => vec![toml::Value::from(number + 1.0)],
        toml::Value::Array(_) => {
            let texts = ["10.0.0.7", "10.0.0.0/8", "b=10.0.0.0/8", "x"].map(list);
            texts.into_iter().chain([toml::Value::Array(vec![7.into()])]).collect()
        }
        _ => ["never", "sequence", "1MiB", "1M", "127.0.0.1:9", "http://127.0.0.1/"]
            .map(toml::Value::from)
            .into(),
    };
    let set = |value: toml::Value| {
        let mut document = toml::Value::try_from(config).unwrap();
        let mut place = &mut document;
        for name in key.split('.') {
            place = if place.is_array() { &mut place[0][name] } else { &mut place[name] };
        }
        *place = value;
        document.try_into::<Config>().ok().filter(|altered| keys_of(altered)[key] != before)
    };
    others.into_iter().find_map(set).unwrap_or_else(|| panic!("no other value is known for {key}"))
}

#[test]
fn what_a_reload_takes_is_listed() {
    let text = "[channels.NAME]\nurl = \"http://o.example/\"\nprefetch_s = 5.0\n[[identity]]\n";
    let config: Config = toml::from_str(text).unwrap();
    let mut taken = [BTreeMap::new(), BTreeMap::new()];
    for key in keys_of(&config).keys() {
        let new = altered(&config, key);
        let mut daemon = config.reloaded(&new);
        // The tracker's own are nothing to a daemon.
        daemon.tracker_server = config.tracker_server.reloaded(&new.tracker_server);
        let after = keys_of(&daemon);
        let wanted = keys_of(&new)[key].clone();
        let taken_over = after[key] == wanted;
        let of_tracker = key.starts_with("tracker_server.");
        taken[usize::from(of_tracker)].insert(key.clone(), taken_over);
    }
    // Read by both, and by a tracker's reload not at all.
    taken[1].insert("log.level".to_owned(), false);
    let text = read("docs/reload.md");
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    assert_eq!(sections.len(), 2);
    for (section, taken) in sections.into_iter().zip(taken) {
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let rows =
            rows.map(|(key, rest)| (key.to_owned(), rest.trim_end_matches(['|', ' ']).ends_with(" reload")));
        assert_eq!(rows.collect::<BTreeMap<_, _>>(), taken, "docs/reload.md");
    }
}

#[test]
fn every_reason_is_explained() {
    let text = read("docs/faq.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows: Vec<(&str, &str)> = rows.collect();
    let codes: Vec<&str> = rows.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, Reason::ALL.map(Reason::as_str), "docs/faq.md: the reasons, in their order");
    let words = read("src/proxy/control/page/words.js").replace('’', "'");
    for (code, meaning) in rows {
        let start = format!("'{code}': ");
        let shown = words.lines().find_map(|line| line.trim().strip_prefix(&start));
        let shown = shown.unwrap_or_else(|| panic!("the dashboard has no words for {code}"));
        // Both say why in the same words; what it came to stands before that.
        let why = meaning.trim_end_matches(" |").rsplit([':', ';']).next().unwrap().trim();
        let why = if code == "prefetch" { "peers" } else { why };
        assert!(shown.contains(why), "the dashboard does not say of {code}: {why}");
        assert!(meaning.len() > 20, "{code}: {meaning}");
    }
}

#[test]
fn times_and_answers_in_the_text_are_those_of_unit_and_code() {
    let unit = read(UNITS[0]);
    let seconds = unit.lines().find_map(|line| line.strip_prefix("RestartSec=")).unwrap();
    let words = ["zero", "one", "two", "three", "four", "five"][seconds.parse::<usize>().unwrap()];
    let said = format!("started again after {words} seconds");
    assert!(read("docs/faq.md").contains(&said), "docs/faq.md does not say `{said}`");
    // tests/faults.rs holds the code to it.
    let readme = read("README.md");
    let said = "(408, 429 and any 5xx but 501, 505 and 511; a refused or broken connection)";
    assert!(readme.replace('\n', " ").replace("  ", " ").contains(said), "the README does not say `{said}`");
}

#[test]
fn the_package_has_the_licence_of_what_others_wrote() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let licence = "src/page/vendor/LICENSE";
    assert!(assets.iter().any(|asset| asset[0].as_str() == Some(licence)), "{licence} is not in the package");
}

/// What is in the package: where from, and where it comes to. What is only built is left out.
fn packaged() -> Vec<(PathBuf, PathBuf)> {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let mut all = Vec::new();
    for asset in assets.iter().filter(|asset| !asset[0].as_str().unwrap().starts_with("target/")) {
        let (from, to) = (asset[0].as_str().unwrap(), asset[1].as_str().unwrap());
        let files: Vec<PathBuf> = match from.split_once('*') {
            None => vec![from.into()],
            Some((folder, end)) => {
                let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
                files.filter(|path| path.is_file() && path.to_string_lossy().ends_with(end)).collect()
            }
        };
        for file in files {
            let name = if to.ends_with('/') { file.file_name().unwrap() } else { "".as_ref() };
            let place = Path::new("/").join(to).join(name).components().collect();
            all.push((file, place));
        }
    }
    all
}

/// Whoever has the package alone reads its documents, and follows what they name.
#[test]
fn what_the_packaged_documents_lead_to_is_packaged_too() {
    let all = packaged();
    let there = |path: &Path| all.iter().any(|(_, place)| place.starts_with(path));
    for (file, place) in all.iter().filter(|(file, _)| file.exists()) {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        let (file, is_document) = (file.display(), file.extension().is_some_and(|kind| kind == "md"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !is_document || link.is_empty() || link.starts_with("https://") {
                continue;
            }
            // Half a megabyte of pictures is nothing for a set-top box; the README says so.
            if link == "docs/scenarios" && text.contains("which the Debian package leaves out") {
                continue;
            }
            let mut to = place.parent().unwrap().to_owned();
            for step in link.split('/') {
                match step {
                    ".." => assert!(to.pop(), "{file}: {link}"),
                    step => to.push(step),
                }
            }
            assert!(there(&to), "{file}: {link} is not in the package");
        }
        for rest in text.split("/usr/share/doc/paceline/").skip(1) {
            let name = rest.split(|c: char| c.is_whitespace() || c == ')').next().unwrap();
            let named = Path::new("/usr/share/doc/paceline").join(name);
            assert!(there(&named), "{file}: {} is not in the package", named.display());
        }
    }
}

#[test]
fn whoever_says_hls_says_dash() {
    let help = Command::new(env!("CARGO_BIN_EXE_paceline")).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let package = manifest["package"]["description"].as_str().unwrap().to_owned();
    let unit = read(UNITS[0]);
    let unit = unit.lines().find(|line| line.starts_with("Description=")).unwrap().to_owned();
    for said in [help.lines().next().unwrap().to_owned(), package, unit] {
        assert!(said.contains("HLS") && said.contains("DASH"), "{said}");
    }
}

const UNITS: [&str; 2] = ["systemd/paceline.service", "systemd/paceline-tracker.service"];
/// The drop-in by which a unit is given its secrets.
const SECRETS: &str = "systemd/secrets.conf";
const SOCKETS: [&str; 2] = ["systemd/paceline.socket", "systemd/paceline-tracker.socket"];
/// What `systemd-analyze security` may find, ten times its score: 1.5 of 10 is what a network service can reach.
const EXPOSURE: &str = "--threshold=15";

#[test]
fn units_start_what_exists() {
    for unit in UNITS {
        let text = read(unit);
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/paceline ")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_paceline"))
            .args(start.split(' ').filter(|word| !word.starts_with('$')))
            .arg("--help")
            .output()
            .unwrap();
        assert!(output.status.success(), "{unit}: `{start}` is no command");
    }
}

/// Both read one file, and no flag of the one but `--config` and `--listen` is one of the other.
#[test]
fn units_have_options_of_their_own() {
    let environment = read("systemd/paceline.env");
    let mut seen = BTreeSet::new();
    for unit in UNITS {
        let text = read(unit);
        let start = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        let options = start.split(" $").nth(1).unwrap_or_else(|| panic!("{unit}: {start}"));
        assert!(seen.insert(options.to_owned()), "{unit}: ${options} is another unit's as well");
        let line = format!("#{options}=--config /etc/paceline/paceline.toml");
        assert!(environment.lines().any(|there| there == line), "no `{line}` in systemd/paceline.env");
    }
}

#[test]
fn units_try_again_for_ever_but_not_with_a_configuration_that_can_not_be_used() {
    for unit in UNITS {
        let text = read(unit);
        let (of_unit, of_service) = text.split_once("[Service]").unwrap();
        assert!(of_unit.lines().any(|line| line == "StartLimitIntervalSec=0"), "{unit}");
        for line in ["Restart=on-failure", "RestartPreventExitStatus=2", "ExecReload=/bin/kill -HUP $MAINPID"]
        {
            assert!(of_service.lines().any(|there| there == line), "{unit}: no {line}");
        }
    }
    let output = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(["serve", "--config", "/nowhere.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn units_are_valid_and_give_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |unit: &str| dir.path().join(Path::new(unit).file_name().unwrap());
    // A socket is looked at together with the service that it starts.
    for unit in UNITS.into_iter().chain(SOCKETS) {
        let text = read(unit).replace("/usr/bin/paceline", env!("CARGO_BIN_EXE_paceline"));
        std::fs::write(copy(unit), text).unwrap();
    }
    let verify: &[&str] = &["verify", "--man=no"];
    let checks = UNITS.map(|unit| (unit, &["security", "--offline=true", EXPOSURE][..]));
    // Once as they are, and once with their secrets.
    for secrets in [false, true] {
        if secrets {
            for unit in UNITS {
                let folder = copy(&format!("{unit}.d"));
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("secrets.conf"), read(SECRETS)).unwrap();
            }
        }
        let all = UNITS.into_iter().chain(SOCKETS).map(|unit| (unit, verify)).chain(checks);
        all.for_each(|(unit, check)| sound(&copy(unit), check));
    }
}

/// Holds a unit to what `systemd-analyze` has to say.
fn sound(unit: &Path, check: &[&str]) {
    let output = Command::new("systemd-analyze").args(check).arg(unit).output().unwrap_or_else(|e| {
        panic!("systemd-analyze could not be started ({e}); install it: apt-get install systemd")
    });
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let unit = unit.display();
    assert!(output.status.success(), "{unit}: {check:?}: {said}");
    // An unknown key or section is a warning to systemd, and a hole to us.
    assert!(!said.contains("Unknown"), "{unit}: {said}");
}

#[test]
fn every_secret_of_the_drop_in_reaches_the_daemon() {
    let credentials = tempfile::tempdir().unwrap();
    let text = read(SECRETS);
    let lines = text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix("LoadCredential="));
    let lines: Vec<(&str, &str)> = lines.map(|line| line.split_once(':').unwrap()).collect();
    assert_eq!(lines[0], ("PACELINE_TRACKER_TOKEN", "/etc/paceline/tracker.token"));
    assert!(read("README.md").contains(&format!("LoadCredential={}:{}", lines[0].0, lines[0].1)));
    for (name, _) in &lines {
        let value = match *name {
            "PACELINE_ICE_TURN" => "turn:ann:hush@turn.example:3478\n",
            "PACELINE_ORIGIN_HEADERS" => "[\"Authorization: hush\"]\n",
            _ => "hush\n",
        };
        std::fs::write(credentials.path().join(name), value).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["serve", "--check"]).env("CREDENTIALS_DIRECTORY", credentials.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("***").count(), lines.len(), "each is there, and hidden:\n{said}");
    assert!(!said.contains("hush"), "{said}");
}

#[test]
fn sockets_listen_where_an_address_is_not_there() {
    for socket in SOCKETS {
        let text = read(socket);
        let named = text.lines().filter_map(|line| line.strip_prefix("ListenStream=")).any(|address| {
            let address: std::net::SocketAddr = address.parse().unwrap();
            !address.ip().is_unspecified()
        });
        assert_eq!(text.lines().any(|line| line == "FreeBind=yes"), named, "{socket}");
    }
}

#[test]
fn init_scripts_try_again_for_ever_and_open_enough_files() {
    let line = |file: &str, start: &str| {
        let text = read(file);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(start)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{file}: no {start}"))
    };
    // 0 is "without end" to both (supervise-daemon(8), procd's instance.c).
    assert_eq!(line("docs/init/paceline.openrc", "respawn_max="), "0");
    assert_eq!(line("docs/init/paceline.procd", "procd_set_param respawn "), "3600 5 0");
    let files: usize =
        line("docs/init/paceline.openrc", "rc_ulimit=").trim_matches(['"', '-', 'n', ' ']).parse().unwrap();
    assert!(files > paceline::tracker::Options::default().max_connections, "{files}");
}

#[test]
fn scripts_are_sound() {
    let scripts = [
        "docs/init/paceline.openrc",
        "docs/init/paceline.procd",
        "systemd/debian/build",
        "systemd/debian/postinst",
        "systemd/debian/prerm",
        "systemd/debian/postrm",
        "tests/package/run",
        "tests/package/guest",
    ];
    let output = Command::new("shellcheck").args(scripts).output().unwrap_or_else(|e| {
        panic!("shellcheck could not be started ({e}); install it: apt-get install shellcheck")
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn scripts_take_no_variable_for_themselves_that_the_daemon_would_refuse() {
    for script in ["docs/init/paceline.openrc", "docs/init/paceline.procd"] {
        let text = read(script);
        let names = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names: Vec<&str> = names.filter(|word| word.len() > 9 && word.starts_with("PACELINE_")).collect();
        for name in names {
            let value = if name.ends_with("URLS") { "wss://tracker.example/" } else { "1" };
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            let output = command.args(["serve", "--check"]).env(name, value).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{script}: {name}: {said}");
        }
    }
}

/// Whoever has many boxes copies what stands there into each of them.
#[test]
fn what_a_fleet_copies_gives_as_well_as_takes() {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("```ini\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "the README has no lines for an environment file");
    for text in blocks.into_iter().map(str::to_owned).chain([read("systemd/paceline.env")]) {
        let set = |line: &&str| !line.starts_with('#') && !line.is_empty();
        let variables: Vec<_> = text.lines().filter(set).filter_map(|line| line.split_once('=')).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let output = command.args(["serve", "--check"]).envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let config: Config = toml::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(config.p2p.enabled && config.p2p.upload != Upload::Never, "{variables:?}");
    }
}

#[test]
fn every_variable_of_the_units_environment_is_understood() {
    let text = read("systemd/paceline.env");
    let variables = text.lines().filter_map(|line| line.strip_prefix('#')?.split_once('='));
    // What is no key of the configuration is an argument of the command in the unit.
    let known = |name: &str| name.starts_with("PACELINE_") || ["OPTIONS", "TRACKER_OPTIONS"].contains(&name);
    assert!(
        variables.clone().filter(|(name, _)| !name.starts_with(' ')).all(|(name, _)| known(name)),
        "{text}"
    );
    let variables: Vec<(&str, &str)> = variables.filter(|(name, _)| name.starts_with("PACELINE_")).collect();
    assert!(variables.len() >= 3, "{variables:?}");
    let check = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["serve", "--check"]).envs(variables.iter().copied()).output().unwrap()
    };
    let output = check(&variables);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(check(&[("PACELINE_MEMORY_LIMITS", "1MiB")]).status.code(), Some(2), "and others are not");
}
