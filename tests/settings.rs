//! Where settings come from and what is said of those that can't be used: every key has a variable, exit status 2 names the
//! place, and no secret is repeated.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::Command;

use paceline::config::{Config, Loaded};

/// Every key of a configuration as `section.key`, with its value; of a list of tables each with its number, from 1.
fn keys(of: &toml::Value, prefix: &str, into: &mut BTreeMap<String, toml::Value>) {
    let under = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
    match of {
        toml::Value::Table(table) => table.iter().for_each(|(name, value)| keys(value, &under(name), into)),
        toml::Value::Array(all) if all.first().is_some_and(toml::Value::is_table) => {
            all.iter().zip(1..).for_each(|(value, number)| keys(value, &under(&number.to_string()), into));
        }
        _ => drop(into.insert(prefix.to_owned(), of.clone())),
    }
}

fn keys_of(config: &Config) -> BTreeMap<String, toml::Value> {
    let mut into = BTreeMap::new();
    keys(&toml::Value::try_from(config).unwrap(), "", &mut into);
    into
}

/// What a value may be, whatever it is of.
const VALUES: [&str; 18] = [
    "false",
    "true",
    "12",
    "2000",
    "2.5",
    "never",
    "sequence",
    "1MiB",
    "1M",
    "debug",
    "127.0.0.1:9",
    "http://127.0.0.1/",
    "[\"ws://one,two/\", \"ws://three/\"]",
    "[\"10.0.0.7\"]",
    "[\"b=10.0.0.0/8\"]",
    "[\"stun:one.example\"]",
    "[\"turn:a:b,c@one.example\"]",
    "[\"X-Header: one, two\"]",
];

#[test]
fn every_key_of_the_example_is_an_environment_variable() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("paceline.toml");
    // Keys that nothing can be said of alone have one to go with.
    let text = "[channels.news]\nurl = \"http://o.example/\"\nprefetch_s = 7.0\n[[identity]]\npattern = \"a\"\n\
                [[identity]]\nhosts = [\"a.example\"]\nalias = \"b.example\"\n";
    std::fs::write(&file, text).unwrap();
    let load = |variable: Option<(&str, &str)>| {
        let variables = variable.into_iter().map(|(name, value)| (name.into(), value.into()));
        Loaded::read(Some(&file), variables, &[]).map(|loaded| keys_of(&loaded.config))
    };
    let before = load(None).unwrap();
    let example = std::fs::read_to_string("config.example.toml").unwrap();
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(key) if !key.starts_with(' ') => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    let example: Config = toml::from_str(&example.lines().map(uncommented).collect::<String>()).unwrap();
    let (mut seen, example) = (0, keys_of(&example));
    for key in example.keys() {
        let entry = if key.ends_with("hosts") || key.ends_with("alias") { ".2." } else { ".1." };
        let key = if key.starts_with("identity.") { key.replace(".1.", entry) } else { key.clone() };
        let name = format!("PACELINE_{}", key.to_ascii_uppercase().replace('.', "_"));
        let said = |value: &&str| {
            let after = load(Some((&name, value))).ok()?;
            let mut other = after.clone();
            other.insert(key.clone(), before[&key].clone());
            assert_eq!(other, before, "{name} changes another key");
            (after[&key] != before[&key]).then_some(())
        };
        // What stands alone may need its other half, which the type can't tell.
        assert!(
            VALUES.iter().find_map(said).is_some(),
            "{name} says nothing: {:?}",
            load(Some((&name, "x"))).err()
        );
        seen += 1;
    }
    assert!(seen >= 50, "only {seen} keys were found");
    for variable in
        ["PACELINE_<SECTION>_<KEY>", "PACELINE_CHANNELS_<NAME>_<KEY>", "PACELINE_IDENTITY_1_<KEY>"]
    {
        let head = std::fs::read_to_string("config.example.toml").unwrap();
        assert!(head.contains(variable), "the example does not say {variable}");
    }
}

/// Exit status, and what is said on standard output and standard error.
fn run(args: &[&str], variables: &[(&str, &OsStr)]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline"))
        .args(args)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn variables_of_others_may_hold_any_bytes() {
    let odd = OsString::from_vec(vec![b'a', 0xFF]);
    let (status, _, said) = run(&["serve", "--check"], &[("X", &odd)]);
    assert_eq!((status, said.as_str()), (Some(0), ""));
    for args in [&["tracker", "--config", "/nowhere.toml"][..], &["check", "ftp://o.example/"]] {
        let (status, _, said) = run(args, &[("X", &odd)]);
        assert_eq!(status, Some(2), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let (status, _, said) = run(&["serve", "--check"], &[("PACELINE_LOG_LEVEL", &odd)]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("PACELINE_LOG_LEVEL") && said.contains("UTF-8"), "{said}");
}

fn written(dir: &Path, text: &str) -> String {
    let file = dir.join("paceline.toml");
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn what_no_type_can_tell_is_named_with_its_place_too() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        written(dir.path(), "\n[tracker_server]\ncertificate = \"/nowhere.pem\"\nkey = \"/nowhere.key\"\n");
    for args in [&["serve", "--check", "--config", &file][..], &["tracker", "--config", &file]] {
        let (status, _, said) = run(args, &[]);
        assert_eq!(status, Some(2), "{args:?}: {said}");
        for part in [&file[..], "line 3: ", "tracker_server.certificate", "/nowhere.pem"] {
            assert!(said.contains(part), "{args:?}: {said:?} does not say {part:?}");
        }
        let (_, _, said) =
            run(args, &[("PACELINE_TRACKER_SERVER_CERTIFICATE", OsStr::new("/elsewhere.pem"))]);
        assert!(said.contains("PACELINE_TRACKER_SERVER_CERTIFICATE: ") && !said.contains(&file), "{said}");
    }
    let file = written(dir.path(), "[tracker_server]\nkey = \"/nowhere.key\"\n");
    let (status, _, said) = run(&["tracker", "--config", &file], &[]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("line 2: tracker_server.key: "), "{said}");
    let good = written(dir.path(), "[tracker]\nurls = [\"ws://t.example/\"]\n");
    for (args, start) in [
        (&["serve", "--config", &good, "--tracker", "http://x/?token=s3cret"][..], "paceline: --tracker: "),
        (&["check", "--tracker", "http://x/?token=s3cret"], "paceline: --tracker: "),
        (&["serve", "--config", &good, "--listen", "0.0.0.0:0"], "paceline: --listen: proxy.listen: "),
    ] {
        let (status, _, said) = run(args, &[]);
        assert_eq!(status, Some(2), "{args:?}: {said}");
        assert!(said.starts_with(start) && !said.contains(&good) && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn what_would_be_in_force_is_shown_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = written(
        dir.path(),
        "[channels.news]\nurl = \"https://o.example/live.m3u8?token=s3cret\"\n[tracker]\n\
         urls = [\"wss://t.example/announce?key=s3cret\"]\ntoken = \"s3cret\"\n\
         [origin]\nheaders = [\"Authorization: s3cret\"]\n",
    );
    let (status, shown, said) = run(&["serve", "--check", "--config", &file], &[]);
    assert_eq!(status, Some(0), "{said}");
    assert!(shown.contains("https://o.example/live.m3u8?***"), "{shown}");
    assert!(shown.contains("wss://t.example/announce?***"), "{shown}");
    assert!(!shown.contains("s3cret") && !said.contains("s3cret"), "{shown}{said}");
}

#[test]
fn a_file_of_the_service_manager_stands_for_its_variable() {
    let credentials = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| std::fs::write(credentials.path().join(name), text).unwrap();
    let folder = ("CREDENTIALS_DIRECTORY", credentials.path().as_os_str());
    let check = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| (*name, OsStr::new(*value)));
        run(&["serve", "--check"], &variables.chain([folder]).collect::<Vec<_>>())
    };
    put("PACELINE_TRACKER_TOKEN", b"hush\r\n");
    put("PACELINE_LOG_LEVEL", b"debug\n");
    put("PACELINE_CHANNELS_NEWS", b"https://o.example/live.m3u8?token=hush");
    put("tls.key", &[0xFF]);
    // A channel that a file brings may be spoken of by a variable.
    let (status, said, complained) = check(&[("PACELINE_CHANNELS_NEWS_P2P", "false")]);
    assert_eq!(status, Some(0), "{complained}");
    for part in ["token = \"***\"", "level = \"debug\"", "[channels.news]", "live.m3u8?***", "p2p = false"] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(!said.contains("hush"), "{said}");
    let (_, said, _) = check(&[("PACELINE_LOG_LEVEL", "warn")]);
    assert!(said.contains("level = \"warn\""), "a variable goes before the file: {said}");
    // Two names of one place, whichever of them is the variable's.
    put("PACELINE_CHANNELS_SPORT", b"https://o.example/file.m3u8");
    put("PACELINE_CHANNELS_FILMS_URL", b"https://o.example/file.m3u8");
    let (status, said, complained) = check(&[
        ("PACELINE_CHANNELS_SPORT_URL", "https://o.example/variable.m3u8"),
        ("PACELINE_CHANNELS_FILMS", "https://o.example/variable.m3u8"),
    ]);
    assert_eq!(status, Some(0), "{complained}");
    assert_eq!(said.matches("o.example/variable.m3u8").count(), 2, "{said}");
    for (name, text, part) in [
        ("PACELINE_TRACKER_TOKENS", &b"hush"[..], "did you mean PACELINE_TRACKER_TOKEN?"),
        ("PACELINE_LOG_LEVEL", b"warning", "did you mean `warn`"),
        ("PACELINE_TRACKER_TOKEN", &[0xFF], "UTF-8"),
    ] {
        put(name, text);
        let (status, _, complained) = check(&[]);
        assert_eq!(status, Some(2), "{complained}");
        let file = credentials.path().join(name).display().to_string();
        assert!(complained.contains(&file) && complained.contains(part), "{complained}");
        assert!(!complained.contains("hush"), "{complained}");
        std::fs::remove_file(file).unwrap();
    }
    let nowhere = ("CREDENTIALS_DIRECTORY", OsStr::new("/nowhere"));
    let (status, _, complained) = run(&["serve", "--check"], &[nowhere]);
    assert_eq!(status, Some(2));
    assert!(complained.contains("/nowhere"), "{complained}");
}
