//! What is shown of a configuration holds no secret.

use url::Url;

use super::Config;
use crate::model::shown::{bare, shown_text};

/// What stands in a secret's place.
const HIDDEN: &str = "***";
/// Header fields whose values let nobody in; of any other that can't be told.
const HARMLESS: [&str; 7] =
    ["accept", "accept-encoding", "accept-language", "cache-control", "origin", "referer", "user-agent"];

impl Config {
    /// The same with tokens, credentials of TURN servers, values of header fields but for those such as `User-Agent`, and user and query
    /// of URLs hidden.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut shown = self.clone();
        for token in [&mut shown.tracker.token, &mut shown.tracker_server.stats_token] {
            if !token.is_empty() {
                HIDDEN.clone_into(token);
            }
        }
        shown.ice.turn.iter_mut().for_each(|server| *server = turn(server));
        shown.origin.headers.iter_mut().for_each(|line| *line = header(line));
        shown.origin.proxy = address(&shown.origin.proxy);
        shown.tracker.urls.iter_mut().for_each(|url| *url = address(url));
        for channel in shown.channels.values_mut() {
            if let Ok(url) = Url::parse(&address(channel.url.as_str())) {
                channel.url = url;
            }
        }
        shown
    }
}

/// A URL with something in the place of its user and its query; one that has neither as it is.
fn address(text: &str) -> String {
    let Ok(url) = Url::parse(text) else { return shown_text(text).to_owned() };
    let mut shown = bare(&url);
    if shown == url {
        return text.to_owned();
    }
    if !url.username().is_empty() || url.password().is_some() {
        // Fails only for a URL that can't have a user.
        let _ = shown.set_username(HIDDEN);
    }
    if url.query().is_some() {
        shown.set_query(Some(HIDDEN));
    }
    shown.into()
}

/// `turn:user:secret@host` without the secret.
fn turn(server: &str) -> String {
    let Some((who, host)) = server.rsplit_once('@') else { return server.to_owned() };
    let mut parts = who.splitn(3, ':');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(scheme), Some(user), Some(_)) => format!("{scheme}:{user}:{HIDDEN}@{host}"),
        _ => format!("{HIDDEN}@{host}"),
    }
}

fn header(line: &str) -> String {
    let Some((name, _)) = line.split_once(':') else { return line.to_owned() };
    let lower = name.to_ascii_lowercase();
    if HARMLESS.contains(&lower.trim()) { line.to_owned() } else { format!("{name}: {HIDDEN}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::identity::Naming;
    use crate::proxy::Channel;

    #[test]
    fn secrets_are_hidden_and_nothing_else_is() {
        let mut config = Config::default();
        assert_eq!(config.masked(), config);
        config.tracker.token = "s1".into();
        config.tracker_server.stats_token = "s2".into();
        config.ice.turn = vec!["turn:ann:s3:s4@s5@turn.example:3478".into()];
        config.origin.headers =
            ["Authorization: Bearer s6", "cookie: s7", "X-Api-Key: s8", "User-Agent: blue"]
                .map(String::from)
                .into();
        config.origin.proxy = "http://s9:s10@proxy.example:3128".into();
        config.tracker.urls =
            ["wss://t.example/announce?token=s11", "ws://s12@t.example/#s13", "ws://T.example"]
                .map(String::from)
                .into();
        let channel = "https://s14:s15@o.example/live.m3u8?token=s16".parse().unwrap();
        config.channels.insert("news".into(), Channel::new(channel, Naming::default()));
        let shown = config.masked();
        let text = shown.to_toml();
        for number in 1..=16 {
            assert!(!text.contains(&format!("s{number}")), "{text}");
        }
        assert_eq!(shown.origin.proxy, "http://***@proxy.example:3128/");
        assert_eq!(
            shown.tracker.urls,
            ["wss://t.example/announce?***", "ws://***@t.example/", "ws://T.example"]
        );
        assert_eq!(shown.channels["news"].url.as_str(), "https://***@o.example/live.m3u8?***");
        assert_eq!(shown.ice.turn, ["turn:ann:***@turn.example:3478"]);
        assert_eq!(shown.origin.headers[3], "User-Agent: blue");
    }
}
