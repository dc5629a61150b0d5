//! Old and new configuration: what changes live, and what needs a restart.

use super::Config;

impl Config {
    /// What a daemon that runs with this configuration goes by once it has read `new`: all of `[p2p]` but `state`,
    /// `[memory]`, what channels that it knows are kept from, and what may be secret. The rest waits for a restart.
    ///
    /// docs/reload.md lists the keys.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        let mut reloaded = Self { p2p: new.p2p.clone(), memory: new.memory, ..self.clone() };
        reloaded.p2p.state.clone_from(&self.p2p.state);
        reloaded.tracker.token.clone_from(&new.tracker.token);
        reloaded.ice.turn.clone_from(&new.ice.turn);
        reloaded.origin.headers.clone_from(&new.origin.headers);
        for (name, channel) in &mut reloaded.channels {
            if let Some(new) = new.channels.get(name) {
                (channel.p2p, channel.upload, channel.prefetch_s) = (new.p2p, new.upload, new.prefetch_s);
            }
        }
        reloaded
    }
}
