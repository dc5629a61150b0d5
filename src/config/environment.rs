//! Every key is also `PACELINE_<SECTION>_<KEY>`: of a channel `PACELINE_CHANNELS_<NAME>_<KEY>`, of an `[[identity]]` entry
//! `PACELINE_IDENTITY_<NUMBER>_<KEY>`, counted from 1. Lists are written with commas, or as in the file, in brackets.

use std::ffi::OsString;
use std::path::PathBuf;

use toml::{Table, Value};
use url::Url;

use super::Config;
use super::reject::{Error, nearest, with_nearest};
use crate::manifest::identity::{self, MAX_RULES, Naming};
use crate::model::shown::shown_text;
use crate::proxy::Channel;

/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "PACELINE_";

/// Who says something of a key.
#[derive(Clone, Debug)]
pub enum By {
    /// An environment variable, by its name.
    Variable(String),
    /// A file that stands for one.
    Credential(PathBuf),
    /// An argument of the command line.
    Flag(&'static str),
}

impl By {
    /// The mistake laid to it.
    pub fn wrong(&self, why: String) -> Error {
        match self {
            Self::Variable(name) => Error::Variable { name: name.clone(), why },
            Self::Credential(file) => Error::Credential { file: file.clone(), why },
            Self::Flag(flag) => Error::Flag { flag, why },
        }
    }
}

/// What is said of a key.
#[derive(Clone, Debug)]
pub struct Given {
    /// By whom.
    pub by: By,
    /// `section_key`, in lower case.
    pub key: String,
    /// The value.
    pub text: String,
}

/// A key that was set, and by whom.
#[derive(Clone, Debug)]
pub struct Set {
    /// The names that lead to it; of a list of tables the number of the entry, from 0, among them.
    pub path: Vec<String>,
    /// By whom.
    pub by: By,
}

/// Our variables.
///
/// # Errors
/// When one of them is not UTF-8. Variables of other programs may be what they like.
pub fn variables(all: Vec<(OsString, OsString)>) -> Result<Vec<Given>, Error> {
    let mut ours = Vec::new();
    for (name, text) in
        all.into_iter().filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
    {
        let by = By::Variable(name.to_string_lossy().into_owned());
        let (Ok(name), Ok(text)) = (name.into_string(), text.into_string()) else {
            return Err(by.wrong("it is not UTF-8".to_owned()));
        };
        ours.push(Given { by, key: name[PREFIX.len()..].to_ascii_lowercase(), text });
    }
    Ok(ours)
}

/// Puts what is given into the order in which it is to be [applied](apply).
pub fn arrange(given: &mut [Given]) {
    // A channel is there with its URL and an entry with its number, before anything else is said of it.
    let rank = |key: &str| {
        let number = key.strip_prefix("identity_").and_then(|rest| rest.split('_').next()?.parse().ok());
        let other = key.starts_with("channels_") && channel_key(key).is_some_and(|(_, key)| key != "url");
        (other, number.unwrap_or(0_usize))
    };
    // Of two names of one place the variable's has the last word, as it does where both have one name.
    let order = |of: &Given| (rank(&of.key), matches!(of.by, By::Variable(_)));
    given.sort_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.key.cmp(&b.key)));
}

/// The configuration with what is given over it, in this order, and where each of it went.
///
/// # Errors
/// Who named a key that is none, or gave a value that is not of its kind.
pub fn apply(config: Config, given: Vec<Given>) -> Result<(Config, Vec<Set>), Error> {
    let mut set = Vec::new();
    let Some(first) = given.first() else { return Ok((config, set)) };
    let mut table = Table::try_from(&config).map_err(|error| first.by.wrong(error.to_string()))?;
    let mut config = config;
    for Given { by, key, text } in given {
        let path = resolve(&mut table, &key).map_err(|why| by.wrong(why))?;
        let missing = || by.wrong("no such key; see config.example.toml".to_owned());
        let place = at(&mut table, &path).ok_or_else(missing)?;
        *place = read(place, &text).map_err(|why| by.wrong(why))?;
        // One at a time, so that a mistake is laid to who made it.
        config =
            table.clone().try_into::<Config>().map_err(|error| by.wrong(with_nearest(error.message())))?;
        set.push(Set { path, by });
    }
    Ok((config, set))
}

/// The names that lead to the value that `section_key` means, which is there then.
fn resolve(table: &mut Table, key: &str) -> Result<Vec<String>, String> {
    if let Some(rest) = key.strip_prefix("channels_").filter(|rest| !rest.is_empty()) {
        return channel(table, key, rest);
    }
    if let Some(rest) = key.strip_prefix("identity_") {
        return entry(table, rest);
    }
    // `tracker` and `tracker_server` are both sections: no key of the one is a key of the other.
    let found = table.iter().find_map(|(section, keys)| {
        let key = key.strip_prefix(section.as_str())?.strip_prefix('_')?;
        keys.as_table()?.contains_key(key).then(|| vec![section.clone(), key.to_owned()])
    });
    found.ok_or_else(|| unknown(key, table))
}

/// The keys of a channel, each with a value of its kind.
fn channel_keys() -> Table {
    let Ok(url) = Url::parse("http://localhost/") else { return Table::new() };
    let channel = Channel { prefetch_s: Some(0.0), ..Channel::new(url, Naming::default()) };
    Table::try_from(channel).unwrap_or_default()
}

/// `channels_name_key` as name and key.
fn channel_key(of: &str) -> Option<(String, String)> {
    let rest = of.strip_prefix("channels_")?;
    channel_keys().keys().find_map(|key| {
        let name = rest.strip_suffix(key.as_str())?.strip_suffix('_').filter(|name| !name.is_empty())?;
        Some((name.to_owned(), key.clone()))
    })
}

/// A channel's key. Its name alone stands for its URL; so it does where a channel's name ends like a key.
fn channel(table: &mut Table, of: &str, rest: &str) -> Result<Vec<String>, String> {
    let (name, key) = match (known_channel(table, rest)?, channel_key(of)) {
        (Some(name), _) => (name, "url".to_owned()),
        (None, None) => (rest.to_owned(), "url".to_owned()),
        (None, Some((name, key))) => match known_channel(table, &name)? {
            Some(name) => (name, key),
            None if key == "url" => (name, key),
            None => {
                let url = format!("{PREFIX}CHANNELS_{}_URL", name.to_ascii_uppercase());
                return Err(format!("there is no channel `{name}`; give it its URL with {url}"));
            }
        },
    };
    let mut keys = channel_keys();
    let channels = table.entry("channels").or_insert_with(|| Table::new().into()).as_table_mut();
    let channel =
        channels.map(|channels| channels.entry(name.as_str()).or_insert_with(|| Table::new().into()));
    if let (Some(channel), Some(kind)) = (channel.and_then(Value::as_table_mut), keys.remove(&key)) {
        channel.entry(key.as_str()).or_insert(kind);
    }
    Ok(vec!["channels".to_owned(), name, key])
}

/// The channel that is called so, as far as a variable can say it: in any case, with `_` for `-` and `.`.
fn known_channel(table: &Table, name: &str) -> Result<Option<String>, String> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '.'], "_");
    let all = table.get("channels").and_then(Value::as_table).into_iter().flat_map(Table::keys);
    let like: Vec<&String> = all.filter(|known| plain(known) == plain(name)).collect();
    if let Some(exact) = like.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        return Ok(Some((*exact).clone()));
    }
    match like.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        [one, other, ..] => {
            Err(format!("is `{one}` or `{other}` meant? A variable can't tell these names apart"))
        }
    }
}

/// A key of an `[[identity]]` entry, which may be a new one after the last.
fn entry(table: &mut Table, rest: &str) -> Result<Vec<String>, String> {
    let how = || format!("write {PREFIX}IDENTITY_1_PATTERN for `pattern` of the first [[identity]] entry");
    let (number, key) = rest.split_once('_').ok_or_else(how)?;
    let number: usize = number.parse().map_err(|_| how())?;
    let template = Table::try_from(identity::Options::default()).map_err(|error| error.to_string())?;
    if !template.contains_key(key) {
        let known: Vec<&str> = template.keys().map(String::as_str).collect();
        return Err(format!("`{key}` is no key of [[identity]]; known are {}", known.join(", ")));
    }
    let entries = table.entry("identity").or_insert_with(|| Value::Array(Vec::new())).as_array_mut();
    let entries = entries.ok_or_else(how)?;
    if number == 0 || number > (entries.len() + 1).min(MAX_RULES) {
        return Err(format!(
            "[[identity]] entries count from 1, without gaps, to {MAX_RULES}; there are {}",
            entries.len()
        ));
    }
    if number > entries.len() {
        entries.push(template.into());
    }
    Ok(vec!["identity".to_owned(), (number - 1).to_string(), key.to_owned()])
}

/// The value that these names lead to.
fn at<'a>(table: &'a mut Table, path: &[String]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get_mut(first)?, |value, name| match value {
        Value::Table(keys) => keys.get_mut(name),
        Value::Array(entries) => entries.get_mut(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Text as a value of the kind that is there now.
fn read(there: &Value, text: &str) -> Result<Value, String> {
    let wrong = |what: &str| format!("`{}` is not {what}", shown_text(text));
    Ok(match there {
        Value::Boolean(_) => Value::Boolean(match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => return Err(wrong("true or false")),
        }),
        Value::Integer(_) => Value::Integer(text.trim().parse().map_err(|_| wrong("a whole number"))?),
        Value::Float(_) => Value::Float(text.trim().parse().map_err(|_| wrong("a number"))?),
        Value::Array(_) => list(text)?,
        _ => Value::String(text.to_owned()),
    })
}

/// A list: `["as", "in", "the file"]`, or with commas.
fn list(text: &str) -> Result<Value, String> {
    let bracketed = text.trim().starts_with('[').then(|| toml::from_str::<Table>(&format!("list = {text}")));
    match bracketed.map(|read| read.ok().filter(|table| table.len() == 1)?.remove("list")) {
        Some(Some(list)) if list.is_array() => return Ok(list),
        // An IPv6 address begins with a bracket, too; but nothing that is listed without quotes has quotes in it.
        Some(_) if text.contains(['"', '\'']) => {
            return Err("it is no list; write it as in the file, like [\"one\", \"two\"]".to_owned());
        }
        _ => {}
    }
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let numbers: Option<Vec<i64>> = items.clone().map(|item| item.parse().ok()).collect();
    Ok(match numbers {
        Some(numbers) if !numbers.is_empty() => {
            Value::Array(numbers.into_iter().map(Value::Integer).collect())
        }
        _ => Value::Array(items.map(|item| Value::String(item.to_owned())).collect()),
    })
}

fn unknown(key: &str, table: &Table) -> String {
    let known = table.iter().flat_map(|(section, keys)| {
        keys.as_table().into_iter().flat_map(Table::keys).map(move |key| format!("{section}_{key}"))
    });
    let known: Vec<String> = known.collect();
    let names: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(key, &names) {
        Some(name) => format!("no such key; did you mean {PREFIX}{}?", name.to_ascii_uppercase()),
        None => "no such key; see config.example.toml".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(config: Config, all: &[(&str, &str)]) -> Result<Config, Error> {
        let mut given = variables(all.iter().map(|(name, value)| (name.into(), value.into())).collect())?;
        arrange(&mut given);
        apply(config, given).map(|(config, _)| config)
    }

    fn with(variables: &[(&str, &str)]) -> Result<Config, Error> {
        over(Config::default(), variables)
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
            ("PACELINE_CHANNELS_NEWS_P2P", "false", "PACELINE_CHANNELS_NEWS_URL"),
            ("PACELINE_CHANNELS_NEWS_URL", "false", "URL"),
            ("PACELINE_CHANNELS_", "x", "no such key"),
            ("PACELINE_IDENTITY_PATTERN", "x", "PACELINE_IDENTITY_1_PATTERN"),
            ("PACELINE_IDENTITY_2_PATTERN", "x", "from 1"),
            ("PACELINE_IDENTITY_0_PATTERN", "x", "from 1"),
            ("PACELINE_IDENTITY_1_PATERN", "x", "pattern"),
            ("PACELINE_ORIGIN_HEADERS", "[\"X-A: 1", "[\"one\", \"two\"]"),
            ("PACELINE_ORIGIN_HEADERS", "[]\nheaders = \"\"", "[\"one\", \"two\"]"),
        ] {
            let message = with(&[(name, value)]).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_channel_has_a_variable_for_each_key() {
        let config = with(&[
            ("PACELINE_CHANNELS_NEWS_IDENTITY", "sequence"),
            ("PACELINE_CHANNELS_NEWS_P2P", "off"),
            ("PACELINE_CHANNELS_NEWS_PREFETCH_S", "5"),
            ("PACELINE_CHANNELS_NEWS_UPLOAD", "false"),
            ("PACELINE_CHANNELS_NEWS_URL", "http://o.example/a.m3u8"),
            ("PACELINE_CHANNELS_SPORT_1", "http://o.example/b.m3u8"),
        ])
        .unwrap();
        assert_eq!(config.channels.keys().collect::<Vec<_>>(), ["news", "sport_1"]);
        let news = &config.channels["news"];
        assert_eq!(news.url.as_str(), "http://o.example/a.m3u8");
        assert_eq!((news.identity, news.p2p, news.upload), (Naming::Sequence, false, false));
        assert_eq!(news.prefetch_s, Some(5.0));
    }

    #[test]
    fn a_channel_of_the_file_is_known_by_whatever_name() {
        let file =
            "[channels.News-1]\nurl = \"http://o.example/a\"\n[channels.a_url]\nurl = \"http://o.example/b\"";
        let file: Config = toml::from_str(file).unwrap();
        let config = over(
            file.clone(),
            &[("PACELINE_CHANNELS_NEWS_1_P2P", "false"), ("PACELINE_CHANNELS_A_URL", "http://o.example/c")],
        )
        .unwrap();
        assert_eq!(config.channels.keys().collect::<Vec<_>>(), ["News-1", "a_url"]);
        assert!(!config.channels["News-1"].p2p);
        assert_eq!(config.channels["a_url"].url.path(), "/c", "a name that ends like a key");
        let mut twice = file;
        let other = twice.channels["News-1"].clone();
        twice.channels.insert("news.1".to_owned(), other);
        let why = over(twice, &[("PACELINE_CHANNELS_NEWS_1_P2P", "false")]).unwrap_err().to_string();
        assert!(why.contains("News-1") && why.contains("news.1"), "{why}");
    }

    #[test]
    fn entries_are_counted_from_one_in_the_order_of_their_numbers() {
        let all: Vec<(String, String)> =
            (1..=11).map(|n| (format!("PACELINE_IDENTITY_{n}_PATTERN"), format!("/{n}/"))).collect();
        let mut all: Vec<(&str, &str)> = all.iter().map(|(name, text)| (&name[..], &text[..])).collect();
        all.push(("PACELINE_IDENTITY_2_REPLACE", "/"));
        let config = with(&all).unwrap();
        let patterns: Vec<&str> = config.identity.iter().map(|rule| rule.pattern.as_str()).collect();
        assert_eq!(patterns[..3], ["/1/", "/2/", "/3/"]);
        assert_eq!((patterns.len(), patterns[10]), (11, "/11/"));
        assert_eq!(config.identity[1].replace, "/");
    }

    #[test]
    fn a_list_may_be_written_as_in_the_file() {
        for (text, expected) in [
            ("X-A: 1", &["X-A: 1"][..]),
            ("X-A: 1,X-B: 2", &["X-A: 1", "X-B: 2"]),
            ("[\"X-A: 1, 2\", 'X-B: \"3\"']", &["X-A: 1, 2", "X-B: \"3\""]),
            (" [ \"X-A: [\" ] ", &["X-A: ["]),
            ("[]", &[]),
            ("", &[]),
        ] {
            let config = with(&[("PACELINE_ORIGIN_HEADERS", text)]).unwrap();
            assert_eq!(config.origin.headers, expected, "{text}");
        }
        let config =
            with(&[("PACELINE_PROXY_ALLOWED_HOSTS", "[::1]"), ("PACELINE_PROXY_CONNECT_PORTS", "[1, 2]")]);
        let config = config.unwrap();
        assert_eq!(
            (config.proxy.allowed_hosts, config.proxy.connect_ports),
            (vec!["[::1]".into()], vec![1, 2])
        );
    }

    #[test]
    fn what_is_not_utf_8_is_told_where_it_is_ours() {
        use std::os::unix::ffi::OsStringExt;
        let odd = || OsString::from_vec(vec![0xFF]);
        assert!(variables(vec![("X".into(), odd()), (odd(), "1".into())]).unwrap().is_empty());
        let ours = variables(vec![("PACELINE_LOG_LEVEL".into(), odd())]).unwrap_err().to_string();
        assert!(ours.contains("PACELINE_LOG_LEVEL") && ours.contains("UTF-8"), "{ours}");
    }
}
