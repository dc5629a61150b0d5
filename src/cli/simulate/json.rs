//! A report as one JSON document, in lines that people can read too.

use serde_json::{Value, json};

use crate::simulator::report::{Line, Report};

/// Everything in the report, by the names it has there; `reasons` as an object, and `trace` when one was asked for.
///
/// # Errors
/// When the report can't be put in words, which would be a defect.
pub fn text(report: &Report, trace: Option<&[Line]>) -> Result<String, serde_json::Error> {
    let mut document = serde_json::to_value(report)?;
    document["reasons"] = report.reasons.iter().map(|(reason, n)| ((*reason).to_owned(), json!(n))).collect();
    if let Some(trace) = trace {
        document["trace"] = serde_json::to_value(trace)?;
    }
    let keys = document.as_object().into_iter().flatten();
    let lines: Vec<String> =
        keys.map(|(key, value)| format!("  {}: {}", json!(key), indented(value))).collect();
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// A list has an element in each line, since there may be one for each second of a day; all else is one line.
fn indented(value: &Value) -> String {
    match value.as_array() {
        Some(list) if !list.is_empty() => {
            let lines: Vec<String> = list.iter().map(|element| format!("    {element}")).collect();
            format!("[\n{}\n  ]", lines.join(",\n"))
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::report::Second;

    #[test]
    fn nothing_of_the_report_is_lost() {
        let report = Report {
            scenario: "a \"name\"".to_owned(),
            reasons: vec![("start-up", 3), ("critical", 0)],
            series: vec![Second { viewers: 7, ..Second::default() }; 2],
            spread: vec![(0.5, 1.0)],
            ..Report::default()
        };
        let trace = [Line { at_ms: 1, sequence: None, what: "joins".to_owned() }];
        let document: Value = serde_json::from_str(&text(&report, Some(&trace)).unwrap()).unwrap();
        let mut expected = serde_json::to_value(&report).unwrap();
        expected["reasons"] = json!({"critical": 0, "start-up": 3});
        expected["trace"] = json!([{"at_ms": 1, "sequence": null, "what": "joins"}]);
        assert_eq!(document, expected);
        let plain: Value = serde_json::from_str(&text(&Report::default(), None).unwrap()).unwrap();
        assert!(plain.get("trace").is_none() && plain["series"] == json!([]));
    }
}
