//! What is shown of a configuration holds no secret.

use super::Config;

/// What stands in a secret's place.
const HIDDEN: &str = "***";
/// Parts of the names of header fields whose values let somebody in.
const TELLING: [&str; 5] = ["auth", "cookie", "token", "key", "secret"];

impl Config {
    /// The same with tokens, credentials of TURN servers and values of header fields such as `Authorization` hidden.
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
        shown
    }
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
    if TELLING.iter().any(|part| lower.contains(part)) {
        format!("{name}: {HIDDEN}")
    } else {
        line.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_nothing_else_is() {
        let mut config = Config::default();
        assert_eq!(config.masked(), config);
        config.tracker.token = "s1".into();
        config.tracker_server.stats_token = "s2".into();
        config.ice.turn = vec!["turn:ann:s3:s4@s5@turn.example:3478".into()];
        config.origin.headers = ["Authorization: Bearer s6", "cookie: s7", "X-Api-Key: s8", "X-Colour: blue"]
            .map(String::from)
            .into();
        let shown = config.masked();
        let text = shown.to_toml();
        for number in 1..=8 {
            assert!(!text.contains(&format!("s{number}")), "{text}");
        }
        assert_eq!(shown.ice.turn, ["turn:ann:***@turn.example:3478"]);
        assert_eq!(shown.origin.headers[3], "X-Colour: blue");
    }
}
