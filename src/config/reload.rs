//! Old and new configuration: what changes live, and what needs a restart.

use super::Config;

impl Config {
    /// What a daemon that runs with this configuration goes by once it has read `new`: all of `[p2p]` but `state`,
    /// `[memory]`, and what channels that it knows are kept from. The rest waits for a restart.
    ///
    /// docs/reload.md lists the keys.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        let mut reloaded = Self { p2p: new.p2p.clone(), memory: new.memory, ..self.clone() };
        reloaded.p2p.state.clone_from(&self.p2p.state);
        for (name, channel) in &mut reloaded.channels {
            if let Some(new) = new.channels.get(name) {
                (channel.p2p, channel.upload, channel.prefetch_s) = (new.p2p, new.upload, new.prefetch_s);
            }
        }
        reloaded
    }
}
