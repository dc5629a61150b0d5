//! What `check` says: lines for people, one document for programs.

use serde_json::{Value, json};
use url::Url;

use crate::manifest::fitness::{Facts, Names, Rendition, Report, Sample, Severity};
use crate::manifest::identity::Options;
use crate::model::timeline::Kind;
use crate::viewer::player::told;

/// One line for each finding, a rule to paste where there is one, and the verdict as the last line.
pub fn text(facts: &Facts, report: &Report) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        let advice = finding.advice.as_ref().map(|advice| format!(": {advice}")).unwrap_or_default();
        // What has a colon already goes on with a semicolon.
        let advice = if finding.what.contains(": ") { advice.replacen(": ", "; ", 1) } else { advice };
        lines.push(format!("{:<8}{}{advice}", word(finding.severity), finding.what));
    }
    if let Some((rule, _)) = &facts.proposed {
        lines.push(format!("\n{}", block(rule)));
    }
    lines.push(verdict(report));
    lines.join("\n")
}

/// The sentence that it all comes down to, without a subject.
pub fn verdict(report: &Report) -> String {
    let count = |severity| report.findings.iter().filter(|finding| finding.severity == severity).count();
    match (report.fit, count(Severity::Advice), count(Severity::Blocker)) {
        (true, 0, _) => "fit for P2P".to_owned(),
        (true, 1, _) => "fit for P2P, with one thing to improve".to_owned(),
        (true, advice, _) => format!("fit for P2P, with {advice} things to improve"),
        (false, _, 0) => "not known to be fit for P2P: too little of it could be looked at".to_owned(),
        (false, _, 1) => "not fit for P2P: one thing stands in the way".to_owned(),
        (false, _, blockers) => format!("not fit for P2P: {blockers} things stand in the way"),
    }
}

/// The contract's JSON document. URLs come without user and query, which may be secret.
pub fn document(url: &Url, facts: &Facts, report: &Report) -> Value {
    let findings = report.findings.iter().map(|finding| {
        json!({ "severity": word(finding.severity), "what": finding.what, "advice": finding.advice })
    });
    let rule = facts.proposed.as_ref().map(|(rule, shown)| {
        json!({
            "pattern": rule.pattern, "replace": rule.replace, "hosts": rule.hosts, "alias": rule.alias,
            "example": shown, "toml": block(rule),
        })
    });
    json!({
        "url": told(url),
        "kind": facts.renditions.first().map(|rendition| kind(rendition.kind)),
        "fit": report.fit,
        "renditions": facts.renditions.iter().map(rendition).collect::<Vec<_>>(),
        "findings": findings.collect::<Vec<_>>(),
        "proposed_rule": rule,
    })
}

fn rendition(of: &Rendition) -> Value {
    let seconds = |duration: std::time::Duration| (duration.as_secs_f64() * 1e3).round() / 1e3;
    let any = |of_sample: fn(&Sample) -> Option<bool>, is: bool| {
        let known: Vec<bool> = of.samples.iter().filter_map(of_sample).collect();
        (!known.is_empty()).then(|| known.contains(&is))
    };
    let encryption = of.encryption.iter().map(|kind| json!({ "method": kind.method, "keys": kind.keys }));
    json!({
        "name": of.name,
        "kind": kind(of.kind),
        "bit_rate": of.bit_rate.map(|rate| rate.0),
        "segments": of.durations.len(),
        "window_s": seconds(of.window()),
        "segment_s": seconds(of.segment()),
        "largest_bytes": of.samples.iter().filter_map(|sample| sample.bytes).max(),
        "same_urls": of.names.map(|names| names == Names::Same),
        "same_bytes": any(|sample| sample.same, false).map(|differ| !differ),
        "ranges": any(|sample| sample.ranges, false).map(|refused| !refused),
        "private": any(|sample| sample.private, true),
        "encryption": encryption.collect::<Vec<_>>(),
        "low_latency": of.low_latency,
    })
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Good => "ok",
        Severity::Advice => "advice",
        Severity::Blocker => "blocker",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Live => "live",
        Kind::Event => "event",
        Kind::Vod => "vod",
    }
}

/// The rule as it stands in a configuration file.
fn block(rule: &Options) -> String {
    let string = |text: &str| toml::Value::from(text).to_string();
    if rule.hosts.is_empty() {
        let (pattern, replace) = (string(&rule.pattern), string(&rule.replace));
        return format!("[[identity]]\npattern = {pattern}\nreplace = {replace}\n");
    }
    let hosts: Vec<String> = rule.hosts.iter().map(|host| string(host)).collect();
    format!("[[identity]]\nhosts = [{}]\nalias = {}\n", hosts.join(", "), string(&rule.alias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_block_is_read_back() {
        let pattern = Options {
            pattern: r#"^(h\.x/'"\-)[0-9a-f]{4}(/)"#.into(),
            replace: "${1}*${2}".into(),
            ..Options::default()
        };
        let alias =
            Options { hosts: vec!["a".into(), "b:80".into()], alias: "a".into(), ..Options::default() };
        for rule in [pattern, alias] {
            let config: Config = toml::from_str(&block(&rule)).unwrap();
            assert_eq!(config.identity, [rule]);
        }
    }
}
