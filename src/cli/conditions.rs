//! `p2p.upload = "auto"`: is this a moment to give others something? Not on a battery that runs low, and not over a
//! metered connection, a cellular line or a VPN, where it costs money or leads a detour.
//!
//! Asked of the kernel itself (its choice of a route, sysfs, procfs), so that it works on a set-top box as on a laptop; what is
//! metered [NetworkManager](super::metered) says, where there is one.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use super::metered::{self, Metered};
use crate::delivery::policy::Upload;
use crate::engine::Handle;

/// Below this charge a battery that is being used up is left alone, in percent.
const LOW: u8 = 20;

/// What the names of interfaces over a cellular line begin with.
pub const CELLULAR: [&str; 3] = ["wwan", "wwp", "rmnet"];
/// What those of PPP begin with, which is spoken to modems of both kinds.
pub const PPP: &str = "ppp";
/// What those begin with that are named for a DSL line, and not for what goes over it.
const DSL: [&str; 2] = ["pppoe", "pppoa"];
/// What those of a VPN begin with.
pub const VPN: [&str; 3] = ["tun", "tap", "wg"];

/// Looked at this often while something is watched: nobody notices half a minute, and the look costs next to nothing.
const EVERY: Duration = Duration::from_secs(30);
/// While nothing is, nothing is uploaded either, and what statistics say may be a little old. The look wakes two threads.
const RARELY: Duration = Duration::from_secs(600);

/// Well-known addresses of the Internet, by both protocols, whose route is asked for; nothing is ever sent there.
const ABROAD: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)), 9),
];

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
    let (tell, mut metered) = watch::channel(metered::at_first().await);
    let network = metered::follow(tell);
    tokio::pin!(network);
    let mut watched = handle.watched();
    // What held before this mode, or when it was left, holds until the first look is over.
    let (mut held, mut told) = (None, None);
    loop {
        let known = *metered.borrow_and_update();
        let why = tokio::task::spawn_blocking(move || why_not(Path::new("/"), &lines(), known))
            .await
            .unwrap_or_default();
        if held.as_ref() != Some(&why) {
            handle.withhold_uploads(why.clone()).await;
            held = Some(why.clone());
        }
        // That it was asked is over in a moment.
        if why != told && (why.is_none() || known != Some(Metered::Asked)) {
            match &why {
                Some(why) => tracing::info!(why, "nothing is uploaded for now: {why}"),
                None => tracing::info!("uploads go on"),
            }
            told = why;
        }
        let busy = *watched.borrow_and_update();
        tokio::select! {
            () = &mut network => {}
            _ = metered.changed() => {}
            Ok(()) = watched.changed() => {}
            () = tokio::time::sleep(if busy { EVERY } else { RARELY }) => {}
        }
    }
}

/// Why nothing is to be uploaded now, in a few words; `root` is `/`, and `lines` are the interfaces that are known to lead to
/// the Internet.
fn why_not(root: &Path, lines: &[String], metered: Option<Metered>) -> Option<String> {
    battery(root).or_else(|| metered.map(said)).or_else(|| {
        let read = || default_line(root).into_iter().collect();
        let lines: Vec<String> = if lines.is_empty() { read() } else { lines.to_vec() };
        lines.iter().find_map(|name| line(root, name))
    })
}

fn said(metered: Metered) -> String {
    let said = match metered {
        Metered::Asked => "until NetworkManager has said whether the connection is metered",
        Metered::Yes => "on a metered connection (NetworkManager)",
        Metered::Guessed => "on a connection that NetworkManager guesses to be metered",
    };
    said.to_owned()
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

fn line(root: &Path, name: &str) -> Option<String> {
    let device = root.join("sys/class/net").join(name);
    let of_kind = |kind: &str| {
        fs::read_to_string(device.join("uevent")).is_ok_and(|text| text.lines().any(|line| line == kind))
    };
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    if of_kind("DEVTYPE=wwan") || begins(&CELLULAR) {
        return Some(format!("over a cellular line ({name})"));
    }
    if name.starts_with(PPP) && !begins(&DSL) && !over_ethernet(root) {
        return Some(format!("over PPP, which may be cellular ({name})"));
    }
    if device.join("tun_flags").exists() || of_kind("DEVTYPE=wireguard") || begins(&VPN) {
        return Some(format!("over a VPN ({name})"));
    }
    None
}

/// Whether all of PPP on this machine goes over Ethernet, as over a DSL modem, and none of it over a serial line, as to a
/// cellular one: the kernel lists its PPPoE sessions, though not which interface is whose.
fn over_ethernet(root: &Path) -> bool {
    // By way of `self`, see below.
    let sessions = fs::read_to_string(root.join("proc/self/net/pppoe"))
        .map_or(0, |text| text.lines().skip(1).filter(|row| !row.trim().is_empty()).count());
    let ppp = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("uevent"))
            .is_ok_and(|text| text.lines().any(|line| line == "DEVTYPE=ppp"))
    };
    let interfaces =
        fs::read_dir(root.join("sys/class/net")).map_or(0, |all| all.flatten().filter(ppp).count());
    sessions > 0 && sessions == interfaces
}

/// The interfaces by which the Internet is reached, IPv4 before IPv6: whatever tables, rules and prefixes it takes, the kernel
/// says what it would do. Empty where it can't be asked, or nothing leads there.
fn lines() -> Vec<String> {
    let mut found: Vec<String> = ABROAD.into_iter().filter_map(source).filter_map(owner).collect();
    found.dedup();
    found
}

/// The interface that has this address.
fn owner(own: IpAddr) -> Option<String> {
    let mut all = nix::ifaddrs::getifaddrs().ok()?;
    let its = all.find(|interface| interface.address.as_ref().and_then(address) == Some(own));
    its.map(|interface| interface.interface_name)
}

/// The address that this machine would speak to `there` from. Connecting a socket for datagrams chooses the route and sends
/// nothing.
fn source(there: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr =
        if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

fn address(of: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = of.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| of.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// The interface that the route to everywhere leads to, by the table of IPv4: the most exact one, then that with the least
/// metric. A VPN often halves the world (`/1`) rather than touch the default route.
fn default_line(root: &Path) -> Option<String> {
    // Not by way of /proc/net: a service whose view of /proc is that of processes alone (ProcSubset=pid) has none.
    let table = fs::read_to_string(root.join("proc/self/net/route")).ok()?;
    let routes = table.lines().skip(1).filter_map(|row| {
        let fields: Vec<&str> = row.split_whitespace().collect();
        let (name, to, metric, mask) = (fields.first()?, fields.get(1)?, fields.get(6)?, fields.get(7)?);
        // In the order of the network, read as a number of this machine: /1 is 128.0.0.0.
        let exact = match (*to, *mask) {
            ("00000000", "00000080") => 1,
            ("00000000", "80000000") if cfg!(target_endian = "big") => 1,
            ("00000000", "00000000") => 0,
            _ => return None,
        };
        Some((std::cmp::Reverse(exact), metric.parse::<u32>().ok()?, (*name).to_owned()))
    });
    routes.min().map(|(_, _, name)| name)
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
        assert_eq!(why_not(root.path(), &[], None), None);
        route(root.path(), &[("eth0", 100)]);
        write(root.path(), "sys/class/net/eth0/uevent", "INTERFACE=eth0\nIFINDEX=2\n");
        assert_eq!(why_not(root.path(), &[], None), None);
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
            assert_eq!(why_not(root.path(), &[], None).as_deref(), reason, "{status} {scope} {capacity}");
        }
    }

    #[test]
    fn a_metered_connection_is_a_reason() {
        let root = tempfile::tempdir().unwrap();
        route(root.path(), &[("wwan0", 700)]);
        for (metered, reason) in [
            (Some(Metered::Asked), "until NetworkManager has said whether the connection is metered"),
            (Some(Metered::Yes), "on a metered connection (NetworkManager)"),
            (Some(Metered::Guessed), "on a connection that NetworkManager guesses to be metered"),
            (None, "over a cellular line (wwan0)"),
        ] {
            assert_eq!(why_not(root.path(), &[], metered).as_deref(), Some(reason));
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
            assert_eq!(why_not(root.path(), &[], None).as_deref(), reason, "{routes:?}");
        }
    }

    #[test]
    fn a_dsl_line_is_no_cellular_one() {
        let head = "Id       Address              Device\n";
        let session = "0000002A 02:00:00:00:00:01     eth0\n";
        let cellular = Some("over PPP, which may be cellular (ppp0)");
        for (sessions, ppp, reason) in [
            (None, &["ppp0"][..], cellular),
            (Some(0), &["ppp0"][..], cellular),
            (Some(1), &["ppp0"][..], None),
            // One of the two is something else, and which can't be told.
            (Some(1), &["ppp0", "ppp1"][..], cellular),
            (Some(2), &["ppp0", "ppp1"][..], None),
            // One that has no interface here, as in another namespace, says nothing of this one.
            (Some(2), &["ppp0"][..], cellular),
        ] {
            let root = tempfile::tempdir().unwrap();
            for name in ppp {
                write(
                    root.path(),
                    &format!("sys/class/net/{name}/uevent"),
                    &format!("DEVTYPE=ppp\nINTERFACE={name}\n"),
                );
            }
            write(root.path(), "sys/class/net/eth0/uevent", "INTERFACE=eth0\n");
            if let Some(sessions) = sessions {
                write(root.path(), "proc/self/net/pppoe", &(head.to_owned() + &session.repeat(sessions)));
            }
            let why = why_not(root.path(), &["ppp0".to_owned()], None);
            assert_eq!(why.as_deref(), reason, "{sessions:?} {ppp:?}");
        }
        let root = tempfile::tempdir().unwrap();
        assert_eq!(why_not(root.path(), &["pppoe-wan".to_owned()], None), None);
    }

    /// As OpenVPN's `redirect-gateway def1` and wg-quick leave the tables.
    #[test]
    fn a_vpn_that_leaves_the_default_route_alone_is_seen() {
        let root = tempfile::tempdir().unwrap();
        let rows = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    eth0\t00000000\t0101A8C0\t3\t0\t0\t100\t00000000\t0\t0\t0\n\
                    tun0\t00000000\t0100080A\t3\t0\t0\t0\t00000080\t0\t0\t0\n\
                    tun0\t00000080\t0100080A\t3\t0\t0\t0\t00000080\t0\t0\t0\n";
        write(root.path(), "proc/self/net/route", rows);
        assert_eq!(why_not(root.path(), &[], None).as_deref(), Some("over a VPN (tun0)"));

        // The kernel's own word goes before the table, and either protocol is a reason.
        route(root.path(), &[("eth0", 100)]);
        for (lines, reason) in [
            (&["eth0"][..], None),
            (&["wg0"][..], Some("over a VPN (wg0)")),
            (&["eth0", "wwan0"][..], Some("over a cellular line (wwan0)")),
        ] {
            let lines: Vec<String> = lines.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(why_not(root.path(), &lines, None).as_deref(), reason, "{lines:?}");
        }
        route(root.path(), &[("wg0", 50)]);
        assert_eq!(why_not(root.path(), &["eth0".to_owned()], None), None);
    }

    /// What is asked for any address is asked here for our own: the kernel's choice, and whose it is.
    #[test]
    fn an_address_is_found_at_the_interface_that_has_it() {
        let own = source(SocketAddr::from((Ipv4Addr::LOCALHOST, 9))).unwrap();
        assert_eq!(own, IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert_eq!(owner(own).as_deref(), Some("lo"));
        assert_eq!(owner(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), None, "set apart for documents");
    }
}
