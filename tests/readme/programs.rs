//! Programs under the names by which documents call them: players without screen and sound, and how they show that they
//! play.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::common::is_root;

/// What a program is given besides what the document says.
const GIVEN: [(&str, &str, &str); 4] = [
    (
        "ffplay",
        "ffmpeg",
        "SDL_VIDEODRIVER=dummy SDL_AUDIODRIVER=dummy exec /usr/bin/ffplay -hide_banner -stats",
    ),
    ("mpv", "mpv", "exec /usr/bin/mpv --no-config --vo=null --ao=null --length=3"),
    (
        "vlc",
        "vlc-bin vlc-plugin-base",
        "exec NOBODY /usr/bin/cvlc -vv --intf dummy --vout dummy --aout dummy --no-video-title-show \
         --sout '#duplicate{dst=display,dst=stats{prefix=packet}}'",
    ),
    (
        "curl",
        "curl",
        "exec /usr/bin/curl --fail --silent --show-error --max-time 50 --cacert \"$SSL_CERT_FILE\"",
    ),
];
/// VLC refuses to run as root.
const NOBODY: &str = "setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME=/tmp";

/// The seconds of media that count as playing.
const PLAYED_S: f64 = 2.0;
/// The packets that VLC has to hand on: two seconds of the channel's pictures.
const PACKETS: usize = 10;

/// Puts them all into a folder.
pub fn install(into: &Path) {
    std::fs::create_dir(into).unwrap();
    symlink(env!("CARGO_BIN_EXE_paceline"), into.join("paceline")).unwrap();
    for (name, package, line) in GIVEN {
        let there = Path::new("/usr/bin").join(name).exists();
        assert!(there, "{name} is missing; install it: apt-get install {package}");
        let line = line.replace("NOBODY", if is_root() { NOBODY } else { "env" });
        std::fs::write(into.join(name), format!("#!/bin/sh\n{line} \"$@\"\n")).unwrap();
        std::fs::set_permissions(into.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Whether the log of a player that has no end of its own says that it plays; `None` for every other program.
pub fn plays(program: &str, log: &str) -> Option<bool> {
    match program {
        "ffplay" => Some(advanced(log) >= PLAYED_S),
        "vlc" => Some(log.lines().filter(|line| line.contains("packet: track:")).count() >= PACKETS),
        _ => None,
    }
}

/// How far ffplay's clock has come since it began to tell.
fn advanced(log: &str) -> f64 {
    let clock = |line: &str| {
        let (before, _) = line.split_once("M-V:").or_else(|| line.split_once("A-V:"))?;
        before.trim().parse::<f64>().ok().filter(|clock| clock.is_finite())
    };
    let clocks: Vec<f64> = log.split(['\r', '\n']).filter_map(clock).collect();
    clocks.first().zip(clocks.last()).map_or(0.0, |(first, last)| last - first)
}
