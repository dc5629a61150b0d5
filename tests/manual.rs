//! Man pages and completions, as man(1) and the shells take them: each command with all of its arguments.

use std::path::Path;
use std::process::Command;

fn paceline(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that the help lists.
fn commands() -> Vec<String> {
    let help = paceline(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap();
    let lines = list.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned));
    let names: Vec<String> = names.filter(|name| !name.is_empty() && name != "help").collect();
    assert!(names.len() >= 11, "{names:?}");
    names
}

/// The flags that a command's help lists.
fn flags(command: &str) -> Vec<String> {
    let help = paceline(&[command, "--help"]);
    let options = help.split("Options:\n").nth(1).unwrap();
    let words = options.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    let words = words.flat_map(|line| line.split([' ', ',', '='])).filter(|word| word.starts_with("--"));
    let flags: Vec<String> = words.map(str::to_owned).collect();
    assert!(flags.contains(&"--help".to_owned()), "{command}: {flags:?}");
    flags
}

/// A page as man(1) shows it, which has nothing to complain of.
fn shown(page: &Path) -> String {
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l"])
        .arg(page)
        .envs([("LC_ALL", "C.UTF-8"), ("MANWIDTH", "200"), ("MAN_KEEP_FORMATTING", "")])
        .output()
        .unwrap_or_else(|error| {
            panic!("man could not be started ({error}); install it: apt-get install man-db")
        });
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{}: {complaints}", page.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_command_has_a_man_page_with_all_of_its_flags() {
    let dir = tempfile::tempdir().unwrap();
    paceline(&["man", dir.path().to_str().unwrap()]);
    let of_all = shown(&dir.path().join("paceline.1"));
    for command in commands() {
        assert!(of_all.contains(&format!("paceline-{command}(1)")), "paceline.1 does not name {command}");
        let page = shown(&dir.path().join(format!("paceline-{command}.1")));
        let about = paceline(&[&command, "--help"]).lines().next().unwrap().to_owned();
        assert!(page.contains(&format!("paceline-{command} - {about}")), "{command}:\n{page}");
        for flag in flags(&command) {
            let there = page.split([' ', ',', '\n', '[', ']', '|']).any(|word| word == flag);
            assert!(there, "paceline-{command}.1 does not know {flag}:\n{page}");
        }
    }
    let pages = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(pages, commands().len() + 1, "there are pages of no command");
}

/// What bash offers for the last of these words.
fn completed(words: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("paceline"), paceline(&["completions", "bash"])).unwrap();
    let script = "source ./paceline || exit; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  _paceline paceline \"${COMP_WORDS[-1]}\" \"${COMP_WORDS[-2]}\"; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash", "paceline"])
        .args(words)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && complaints.is_empty(), "{words:?}: {complaints}");
    let offered = String::from_utf8(output.stdout).unwrap();
    offered.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_flags_and_values() {
    let offered = completed(&[""]);
    for command in commands() {
        assert!(offered.contains(&command), "{command} is not among {offered:?}");
        let offered = completed(&[&command, "--"]);
        for flag in flags(&command) {
            assert!(offered.contains(&flag), "{command}: {flag} is not among {offered:?}");
        }
        assert!(offered.iter().all(|flag| flag.starts_with("--")), "{command}: {offered:?}");
    }
    assert_eq!(completed(&["st"]), ["stats"]);
    assert_eq!(completed(&["serve", "--lis"]), ["--listen"]);
    assert_eq!(completed(&["upload", "a"]), ["auto"]);
    assert_eq!(completed(&["p2p", "o"]), ["on", "off"]);
    assert_eq!(completed(&["completions", "z"]), ["zsh"]);
    // A value of no fixed kind is a file, of which there is this one.
    assert_eq!(completed(&["serve", "--config", "pace"]), ["paceline"]);
}

#[test]
fn the_other_shells_are_told_of_every_command_and_flag() {
    for (shell, marks) in [("zsh", "--"), ("fish", "-l ")] {
        let script = paceline(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
            for flag in flags(&command) {
                let flag = flag.replace("--", marks);
                assert!(script.contains(&flag), "{shell}: {command} {flag}");
            }
        }
    }
}

#[test]
fn an_address_that_is_none_is_answered_with_what_one_looks_like() {
    for args in [
        &["upload", "--via", "wlan0"][..],
        &["p2p", "on", "--via", "7223"],
        &["stats", "--via", "box.lan:7223"],
        &["watch", "--via", "127.0.0.1", "http://o.example/a.m3u8"],
        &["serve", "--listen", "here"],
        &["tracker", "--listen", "::1"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("such as 127.0.0.1:7223, [::1]:7223"), "{args:?}: {said}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_paceline")).args(["upload", "sometimes"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("[possible values: on, off, auto]"));
}
