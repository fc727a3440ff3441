//! SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"): what code hosts show beside a commit.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::finding::{Finding, Severity, findings};
use crate::model::{InfraReason, Outcome, RunRecord};
use crate::support::percent::{encoded, segment};

/// A run's findings. `pipeline` is the pipeline file's path in the repository: a package's files are in no repository, and
/// the pipeline is where what is found can be mended or accepted. Names in packages are logical locations (3.33).
pub fn sarif(record: &RunRecord, pipeline: &str) -> String {
    let all = findings(record);
    let (infra, found): (Vec<&Finding<'_>>, Vec<&Finding<'_>>) =
        all.iter().partition(|finding| finding.is_infrastructure());
    let mut rules: BTreeMap<&str, Value> = BTreeMap::new();
    for finding in &found {
        rules.entry(finding.rule.as_str()).or_insert_with(|| rule(finding));
    }
    let indexes: BTreeMap<&str, usize> = rules.keys().enumerate().map(|(at, rule)| (*rule, at)).collect();
    let results: Vec<Value> =
        found.iter().map(|finding| result(finding, indexes.get(finding.rule.as_str()), pipeline)).collect();
    let notifications: Vec<Value> = infra
        .iter()
        .map(|finding| json!({ "level": "error", "message": { "text": text(finding) } }))
        .collect();
    let finished = i64::try_from(record.duration_ms).ok().map(jiff::SignedDuration::from_millis);
    let finished = finished.and_then(|took| record.started.checked_add(took).ok()).unwrap_or(record.started);
    let interrupted = matches!(record.outcome, Outcome::Infra { reason: InfraReason::Interrupted, .. });
    let document = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": record.tool.name, "version": record.tool.version,
                "rules": rules.into_values().collect::<Vec<_>>(),
            }},
            "automationDetails": { "id": format!("packhold/{}/{}", segment(&record.package), record.id) },
            "invocations": [{
                "executionSuccessful": infra.is_empty() && !interrupted,
                "startTimeUtc": utc(record.started), "endTimeUtc": utc(finished),
                "toolExecutionNotifications": notifications,
            }],
            "versionControlProvenance": version_control(record),
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// Where the source is, if its repository has an address; the repository's URI is required (3.23.3).
fn version_control(record: &RunRecord) -> Vec<Value> {
    let source = &record.source;
    match source.repository.contains("://") {
        true => vec![json!({ "repositoryUri": address(&source.repository), "revisionId": source.commit })],
        false => Vec::new(),
    }
}

/// A date and time in UTC with milliseconds (3.9).
fn utc(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn rule(finding: &Finding<'_>) -> Value {
    let mut rule =
        json!({ "id": finding.rule, "defaultConfiguration": { "level": level(finding.severity) } });
    let meaning = match (finding.meaning, finding.rule.strip_prefix("lint/")) {
        (Some(meaning), _) => meaning.to_owned(),
        (None, Some(tag)) => format!("The distro's lint finds: {tag}."),
        (None, None) => return rule,
    };
    rule["shortDescription"] = json!({ "text": meaning });
    if let Some(hint) = finding.hint {
        rule["help"] = json!({ "text": hint });
    }
    rule
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Accepted => "note",
    }
}

fn result(finding: &Finding<'_>, index: Option<&usize>, pipeline: &str) -> Value {
    let mut logical = vec![json!({ "name": finding.subject, "kind": "package" })];
    if let Some(object) = finding.object {
        logical.push(json!({
            "name": object, "fullyQualifiedName": format!("{}: {object}", finding.subject), "kind": "resource",
        }));
    }
    let mut result = json!({
        "ruleId": finding.rule, "ruleIndex": index, "level": level(finding.severity),
        "message": { "text": text(finding) },
        "locations": [{
            "physicalLocation": { "artifactLocation": { "uri": uri(pipeline) }, "region": { "startLine": 1 } },
            "logicalLocations": logical,
        }],
        "partialFingerprints": { "packhold/v1": finding.identity().hex() },
        "properties": { "target": finding.subject, "place": finding.place },
    });
    if let Some(reason) = finding.accepted {
        result["suppressions"] =
            json!([{ "kind": "external", "status": "accepted", "justification": reason }]);
    }
    result
}

fn text(finding: &Finding<'_>) -> String {
    let mut text = format!("{} {}: {}", finding.subject, finding.place, finding.message);
    for line in finding.evidence.iter().filter(|line| !finding.message.contains(**line)) {
        text += &format!("\n{line}");
    }
    if let Some(hint) = finding.hint {
        text += &format!("\nHint: {hint}");
    }
    text
}

/// A path as a URI reference (RFC 3986, 2.1): what may not stand in one is a percent sign and two digits.
fn uri(path: &str) -> String {
    encoded(path, b"-._~:/@!$&'()*+,;=")
}

/// An address, in which that has been done.
fn address(address: &str) -> String {
    encoded(address, b"-._~:/@!$&'()*+,;=%?[]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_stand_in_a_uri_is_escaped() {
        assert_eq!(uri("packaging/my agent#1.toml"), "packaging/my%20agent%231.toml");
        assert_eq!(uri("100%.toml"), "100%25.toml");
        assert_eq!(address("https://example.org/a%20b.git"), "https://example.org/a%20b.git");
        assert_eq!(segment("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
