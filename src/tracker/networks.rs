//! Named networks: from which part of a company a viewer comes, as far as its publisher has said which are which.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names there may be: each is a row of the page and a value of a label.
pub const MOST: usize = 64;
/// The longest name.
const NAME: usize = 32;
/// Whoever comes from nowhere that has a name.
pub const OTHER: &str = "other";

/// An address and how many of its bits count, such as `10.1.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// A name for a network, written `name=network`. A name may stand for several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Named {
    name: String,
    network: Network,
}

impl Network {
    /// Whether an address is of this network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let wide = |address: IpAddr| match address {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let address = address.to_canonical();
        let apart = wide(address) ^ wide(self.address);
        address.is_ipv4() == self.address.is_ipv4() && apart.checked_shr(128 - self.bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network; write it like 10.1.0.0/16 or 2001:db8::/32");
        let (address, bits) = text.trim().split_once('/').unwrap_or((text.trim(), ""));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = if bits.is_empty() { most } else { bits.parse().map_err(|_| wrong())? };
        if bits > most {
            return Err(wrong());
        }
        Ok(Self { address, bits })
    }
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').map(|(name, network)| (name.trim(), network));
        let Some((name, network)) = parts else {
            return Err(format!("`{text}` is no named network; write it like berlin=10.1.0.0/16"));
        };
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME || name == OTHER || !name.chars().all(fine) {
            return Err(format!(
                "`{name}` is no name for a network: 1 to {NAME} letters, digits, `-`, `_` and `.`, and not `{OTHER}`"
            ));
        }
        Ok(Self { name: name.to_owned(), network: network.parse()? })
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        format!("{}/{}", network.address, network.bits)
    }
}

impl From<Named> for String {
    fn from(named: Named) -> Self {
        format!("{}={}", named.name, Self::from(named.network))
    }
}

/// The first entry whose name is one more than can be told apart, and that name.
#[must_use]
pub fn beyond(named: &[Named]) -> Option<(usize, &str)> {
    let mut names = Vec::<&str>::new();
    for (at, Named { name, .. }) in named.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            if names.len() == MOST {
                return Some((at, name));
            }
            names.push(name);
        }
    }
    None
}

/// All named networks, and the rest of the world.
#[derive(Clone, Debug)]
pub struct Networks {
    /// The last is [`OTHER`].
    names: Vec<String>,
    networks: Vec<(Network, usize)>,
}

impl Networks {
    /// Those that are named. Where several hold an address the smallest has it. Names after the first [`MOST`] are not
    /// counted apart; [`beyond`] finds them.
    #[must_use]
    pub fn new(named: &[Named]) -> Self {
        let (mut names, mut networks) = (Vec::<String>::new(), Vec::new());
        for Named { name, network } in named {
            let at = names.iter().position(|known| known == name).unwrap_or(names.len());
            if at == names.len() {
                if at == MOST {
                    continue;
                }
                names.push(name.clone());
            }
            networks.push((*network, at));
        }
        names.push(OTHER.to_owned());
        Self { names, networks }
    }

    /// Their names; a network's number is the place of its name here.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The number of the network that an address is of.
    #[must_use]
    pub fn of(&self, address: IpAddr) -> usize {
        let holds = self.networks.iter().filter(|(network, _)| network.contains(address));
        holds.max_by_key(|(network, _)| network.bits).map_or(self.names.len() - 1, |(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_network_has_an_address() {
        let named = ["all=10.0.0.0/8", "berlin=10.1.0.0/16", "berlin=2001:db8::/32", "host=10.1.2.3"];
        let named: Vec<Named> = named.iter().map(|text| text.parse().unwrap()).collect();
        let networks = Networks::new(&named);
        assert_eq!(networks.names(), ["all", "berlin", "host", OTHER]);
        for (address, name) in [
            ("10.2.0.1", "all"),
            ("10.1.2.4", "berlin"),
            ("::ffff:10.1.2.4", "berlin"),
            ("10.1.2.3", "host"),
            ("2001:db8:1::1", "berlin"),
            ("2001:db9::1", OTHER),
            ("11.0.0.1", OTHER),
            ("::1", OTHER),
        ] {
            assert_eq!(networks.names()[networks.of(address.parse().unwrap())], name, "{address}");
        }
        assert_eq!(Networks::new(&[]).names(), [OTHER]);
    }

    #[test]
    fn the_whole_world_is_a_network_of_no_bits() {
        let world: Network = "0.0.0.0/0".parse().unwrap();
        assert!(world.contains("203.0.113.9".parse().unwrap()) && !world.contains("::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("::1".parse().unwrap()));
    }

    #[test]
    fn what_is_none_is_told() {
        for (text, part) in [
            ("10.0.0.0/33", "10.1.0.0/16"),
            ("::/129", "no network"),
            ("ten/8", "no network"),
            ("10.0.0.0/x", "no network"),
        ] {
            assert!(text.parse::<Network>().unwrap_err().contains(part), "{text}");
            assert!(format!("a={text}").parse::<Named>().is_err());
        }
        for name in ["", "other", "a b", "ä", &"a".repeat(33)] {
            assert!(format!("{name}=10.0.0.0/8").parse::<Named>().unwrap_err().contains("no name"), "{name}");
        }
        assert!("10.0.0.0/8".parse::<Named>().unwrap_err().contains("berlin="));
        let many: Vec<Named> = (0..100).map(|n| format!("n{n}=10.{n}.0.0/16").parse().unwrap()).collect();
        assert_eq!(Networks::new(&many).names().len(), MOST + 1);
    }
}
