//! `p2p.upload = "auto"`: is this a moment to give others something? Not on a battery that runs low, and not over a
//! metered connection, a cellular line or a VPN, where it costs money or leads a detour.
//!
//! Read from the kernel's own tables (sysfs, procfs), so that it works on a set-top box as on a laptop; what is metered
//! [NetworkManager](super::metered) says, where there is one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::metered::{self, Metered};
use crate::delivery::policy::Upload;
use crate::engine::Handle;

/// Below this charge a battery that is being used up is left alone, in percent.
const LOW: u8 = 20;

/// Looked at this often: nobody notices half a minute, and the look costs next to nothing.
const EVERY: Duration = Duration::from_secs(30);

/// While uploads are in the mode `auto`, tells the engine whenever the answer changes; never ends.
pub async fn watch(handle: &Handle) {
    let mut steered = handle.steered();
    while steered.wait_for(|steered| steered.mode == Upload::Auto).await.is_ok() {
        tokio::select! {
            () = look(handle) => {}
            _ = steered.wait_for(|steered| steered.mode != Upload::Auto) => {}
        }
    }
    // The engine has ended: there is nobody to tell.
    std::future::pending().await
}

/// Never ends.
async fn look(handle: &Handle) {
    let (tell, mut metered) = watch::channel(None);
    let network = metered::follow(tell);
    tokio::pin!(network);
    let mut told = None;
    handle.withhold_uploads(None).await;
    loop {
        let known = *metered.borrow_and_update();
        let why =
            tokio::task::spawn_blocking(move || why_not(Path::new("/"), known)).await.unwrap_or_default();
        if why != told {
            match &why {
                Some(why) => tracing::info!(why, "nothing is uploaded for now: {why}"),
                None => tracing::info!("uploads go on"),
            }
            handle.withhold_uploads(why.clone()).await;
            told = why;
        }
        tokio::select! {
            () = &mut network => {}
            _ = metered.changed() => {}
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Why nothing is to be uploaded now, in a few words; `root` is `/`.
pub fn why_not(root: &Path, metered: Option<Metered>) -> Option<String> {
    let metered = metered.map(|metered| match metered {
        Metered::Yes => "on a metered connection (NetworkManager)",
        Metered::Guessed => "on a connection that NetworkManager guesses to be metered",
    });
    battery(root).or_else(|| metered.map(str::to_owned)).or_else(|| line(root))
}

fn battery(root: &Path) -> Option<String> {
    for supply in fs::read_dir(root.join("sys/class/power_supply")).ok()?.flatten() {
        let field = |name: &str| {
            fs::read_to_string(supply.path().join(name))
                .map(|text| text.trim().to_owned())
                .unwrap_or_default()
        };
        // A mouse has a battery, too.
        if field("type") != "Battery" || field("scope") == "Device" || field("status") != "Discharging" {
            continue;
        }
        if let Some(charge) = field("capacity").parse::<u8>().ok().filter(|&charge| charge < LOW) {
            return Some(format!("on battery at {charge} %"));
        }
    }
    None
}

fn line(root: &Path) -> Option<String> {
    let name = default_line(root)?;
    let device = root.join("sys/class/net").join(&name);
    let of_kind = |kind: &str| {
        fs::read_to_string(device.join("uevent")).is_ok_and(|text| text.lines().any(|line| line == kind))
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if of_kind("DEVTYPE=wwan") || begins(&["wwan", "wwp", "ppp", "rmnet"]) {
        return Some(format!("over a cellular line ({name})"));
    }
    if device.join("tun_flags").exists() || of_kind("DEVTYPE=wireguard") || begins(&["tun", "tap", "wg"]) {
        return Some(format!("over a VPN ({name})"));
    }
    None
}

/// The interface that the default route with the least metric leads to.
fn default_line(root: &Path) -> Option<String> {
    // Not by way of /proc/net: a service whose view of /proc is that of processes alone (ProcSubset=pid) has none.
    let table = fs::read_to_string(root.join("proc/self/net/route")).ok()?;
    let routes = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (name, to, metric, mask) = (fields.first()?, fields.get(1)?, fields.get(6)?, fields.get(7)?);
        (*to == "00000000" && *mask == "00000000")
            .then_some((metric.parse::<u32>().ok()?, (*name).to_owned()))
    });
    routes.min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn route(root: &Path, rows: &[(&str, u32)]) {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let rows = rows.iter().map(|(name, metric)| {
            format!("{name}\t00000000\t0101A8C0\t3\t0\t0\t{metric}\t00000000\t0\t0\t0\n")
        });
        write(root, "proc/self/net/route", &(head.to_owned() + &rows.collect::<String>()));
    }

    #[test]
    fn nothing_known_is_no_reason() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(why_not(root.path(), None), None);
        route(root.path(), &[("eth0", 100)]);
        write(root.path(), "sys/class/net/eth0/uevent", "INTERFACE=eth0\nIFINDEX=2\n");
        assert_eq!(why_not(root.path(), None), None);
    }

    #[test]
    fn a_battery_that_runs_low_is_a_reason() {
        for (status, scope, capacity, reason) in [
            ("Discharging", "System", "19", Some("on battery at 19 %")),
            ("Discharging", "System", "20", None),
            ("Charging", "System", "5", None),
            ("Discharging", "Device", "5", None),
            ("Discharging", "System", "?", None),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (name, text) in
                [("type", "Battery"), ("status", status), ("scope", scope), ("capacity", capacity)]
            {
                write(root.path(), &format!("sys/class/power_supply/BAT0/{name}"), &format!("{text}\n"));
            }
            write(root.path(), "sys/class/power_supply/AC/type", "Mains\n");
            assert_eq!(why_not(root.path(), None).as_deref(), reason, "{status} {scope} {capacity}");
        }
    }

    #[test]
    fn a_metered_connection_is_a_reason() {
        let root = tempfile::tempdir().unwrap();
        route(root.path(), &[("wwan0", 700)]);
        for (metered, reason) in [
            (Some(Metered::Yes), "on a metered connection (NetworkManager)"),
            (Some(Metered::Guessed), "on a connection that NetworkManager guesses to be metered"),
            (None, "over a cellular line (wwan0)"),
        ] {
            assert_eq!(why_not(root.path(), metered).as_deref(), Some(reason));
        }
    }

    #[test]
    fn the_line_of_the_default_route_counts() {
        for (routes, reason) in [
            (&[("wwan0", 700)][..], Some("over a cellular line (wwan0)")),
            (&[("wwan0", 700), ("eth0", 100)][..], None),
            (&[("wg0", 50), ("eth0", 100)][..], Some("over a VPN (wg0)")),
            (&[("usb0", 10)][..], Some("over a cellular line (usb0)")),
            (&[("corp", 10)][..], Some("over a VPN (corp)")),
        ] {
            let root = tempfile::tempdir().unwrap();
            route(root.path(), routes);
            write(root.path(), "sys/class/net/usb0/uevent", "DEVTYPE=wwan\nINTERFACE=usb0\n");
            write(root.path(), "sys/class/net/corp/tun_flags", "0x1001\n");
            assert_eq!(why_not(root.path(), None).as_deref(), reason, "{routes:?}");
        }
    }
}
