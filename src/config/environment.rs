//! Every key is also `PACELINE_<SECTION>_<KEY>`; lists are written with commas.

use toml::{Table, Value};

use super::Config;
use super::reject::{Error, nearest, with_nearest};

const PREFIX: &str = "PACELINE_";

/// The configuration with the environment's word over it. Variables of other programs are left alone.
pub fn apply(config: Config, variables: impl Iterator<Item = (String, String)>) -> Result<Config, Error> {
    let mut given: Vec<(String, String)> = variables.filter(|(name, _)| name.starts_with(PREFIX)).collect();
    if given.is_empty() {
        return Ok(config);
    }
    given.sort();
    let wrong = |name: &str, why: String| Error::Variable { name: name.to_owned(), why };
    let mut table = Table::try_from(&config).map_err(|error| wrong(PREFIX, error.to_string()))?;
    for (name, text) in given {
        let path = name[PREFIX.len()..].to_ascii_lowercase();
        let place = find(&mut table, &path).ok_or_else(|| wrong(&name, unknown(&path, &config)))?;
        *place = read(place, &text).map_err(|why| wrong(&name, why))?;
        // One at a time, so that a mistake is laid to the variable that made it.
        table.clone().try_into::<Config>().map_err(|error| wrong(&name, with_nearest(error.message())))?;
    }
    table.try_into().map_err(|error: toml::de::Error| wrong(PREFIX, error.message().to_owned()))
}

/// The value that a lower-case `section_key` means. A channel is `channels_name` and stands for its URL.
fn find<'a>(table: &'a mut Table, path: &str) -> Option<&'a mut Value> {
    if let Some(name) = path.strip_prefix("channels_") {
        let channels =
            table.entry("channels").or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
        let channel = channels.entry(name).or_insert_with(|| Value::Table(Table::new())).as_table_mut()?;
        return Some(channel.entry("url").or_insert_with(|| Value::String(String::new())));
    }
    // `tracker` and `tracker_server` are both sections: the longer name is tried first.
    let mut sections: Vec<String> =
        table.keys().filter(|name| path.starts_with(&format!("{name}_"))).cloned().collect();
    sections.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let section = sections.into_iter().find(|section| {
        let key = &path[section.len() + 1..];
        table.get(section).and_then(Value::as_table).is_some_and(|keys| keys.contains_key(key))
    })?;
    let key = path[section.len() + 1..].to_owned();
    table.get_mut(&section)?.as_table_mut()?.get_mut(&key)
}

/// Text as a value of the kind that is there now.
fn read(there: &Value, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("`{text}` is not {what}");
    Ok(match there {
        Value::Boolean(_) => Value::Boolean(match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(wrong("true or false")),
        }),
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| wrong("a number"))?),
        Value::Array(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            let numbers: Option<Vec<i64>> = items.clone().map(|item| item.parse().ok()).collect();
            match numbers {
                Some(numbers) if !numbers.is_empty() => {
                    Value::Array(numbers.into_iter().map(Value::Integer).collect())
                }
                _ => Value::Array(items.map(|item| Value::String(item.to_owned())).collect()),
            }
        }
        _ => Value::String(text.to_owned()),
    })
}

fn unknown(path: &str, config: &Config) -> String {
    let mut known = Vec::new();
    if let Ok(table) = Table::try_from(config) {
        for (section, keys) in &table {
            let keys =
                keys.as_table().map(|keys| keys.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
            known.extend(keys.into_iter().map(|key| format!("{section}_{key}")));
        }
    }
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(path, &names) {
        Some(name) => format!("no such key; did you mean {PREFIX}{}?", name.to_ascii_uppercase()),
        None => "no such key; see config.example.toml".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<Config, Error> {
        apply(Config::default(), variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())))
    }

    #[test]
    fn variables_say_what_keys_say() {
        let config = with(&[
            ("PACELINE_PROXY_LISTEN", "127.0.0.1:9"),
            ("PACELINE_P2P_ENABLED", "no"),
            ("PACELINE_P2P_CRITICAL_S", "2.5"),
            ("PACELINE_TRACKER_URLS", "ws://a/, wss://b/"),
            ("PACELINE_TRACKER_SERVER_LISTEN", "127.0.0.1:8"),
            ("PACELINE_PROXY_CONNECT_PORTS", "8443"),
            ("PACELINE_MEMORY_LIMIT", "64MiB"),
            ("PACELINE_P2P_UPLOAD_LIMIT", "1.5M"),
            ("PACELINE_CHANNELS_NEWS", "http://o.example/a.m3u8"),
            ("PATH", "/bin"),
        ])
        .unwrap();
        assert_eq!(config.proxy.listen.port(), 9);
        assert!(!config.p2p.enabled);
        assert_eq!(config.p2p.critical_s.to_bits(), 2.5f64.to_bits());
        assert_eq!(config.tracker.urls, ["ws://a/", "wss://b/"]);
        assert_eq!(config.tracker_server.listen.port(), 8);
        assert_eq!(config.proxy.connect_ports, [8443]);
        assert_eq!(config.memory.limit.0, 64 << 20);
        assert_eq!(config.p2p.upload_limit.0, 1_500_000);
        assert_eq!(config.channels["news"].url.as_str(), "http://o.example/a.m3u8");
    }

    #[test]
    fn mistakes_name_the_variable() {
        for (name, value, part) in [
            ("PACELINE_P2P_ENABLE", "1", "PACELINE_P2P_ENABLED"),
            ("PACELINE_P2P_ENABLED", "perhaps", "true or false"),
            ("PACELINE_PROXY_LISTEN", "here", "socket address"),
            ("PACELINE_P2P_UPLOAD_LIMIT", "fast", "2M"),
        ] {
            let message = with(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
    }
}
