//! Node labels and pod networks that nodes are not allowed to set themselves.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use crate::error::{Error, Kind, Result};
use crate::host;

/// Settings of one node, from the seed.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    /// Pod network of the node, if kiln assigns it.
    pods: Option<String>,
    labels: BTreeMap<String, String>,
}

/// Nodes that have registered.
#[derive(Debug, Deserialize)]
struct List {
    items: Vec<Registered>,
}

#[derive(Debug, Deserialize)]
struct Registered {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "podCIDR")]
    pods: Option<String>,
}

/// Applies the settings in `file` to the registered nodes. The file has one node per line: name, pod network
/// or `-`, and labels.
///
/// # Errors
///
/// [`Kind::Tool`] naming the nodes that have not registered or can't be changed.
pub(crate) fn describe(file: &Path, kubeconfig: &Path, journal: &dyn Fn(&str)) -> Result<()> {
    let wanted = parse(&host::fs::read_to_string(file)?);
    let kubectl = Kubectl::new(kubeconfig);
    let registered = kubectl.get::<List>(&["nodes"])?.map(|list| list.items).unwrap_or_default();
    let mut missing = Vec::new();
    for node in &wanted {
        let Some(found) = registered.iter().find(|found| found.metadata.name == node.name) else {
            missing.push(node.name.as_str());
            continue;
        };
        let Some(patch) = node.patch(found) else { continue };
        match kubectl.patch(&["node", &node.name], &patch) {
            Ok(()) => journal(&format!("{}: set {patch}", node.name)),
            Err(err) => {
                journal(&format!("{}: {err}", node.name));
                missing.push(&node.name);
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Tool, format!("nodes missing or not fully configured: {}", missing.join(" "))))
}

fn parse(text: &str) -> Vec<Wanted> {
    let node = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, pods) =
            (words.next()?.to_owned(), words.next().filter(|pods| *pods != "-").map(str::to_owned));
        let labels = words
            .filter_map(|label| label.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()));
        Some(Wanted { name, pods, labels: labels.collect() })
    };
    text.lines().filter_map(node).collect()
}

impl Wanted {
    /// Returns the difference from the registered node, as a merge patch (RFC 7386).
    fn patch(&self, found: &Registered) -> Option<Value> {
        let labels: BTreeMap<&String, &String> = self
            .labels
            .iter()
            .filter(|(key, value)| found.metadata.labels.get(*key) != Some(*value))
            .collect();
        let pods = self.pods.as_ref().filter(|pods| found.spec.pods.as_ref() != Some(*pods));
        let mut patch = serde_json::Map::new();
        if !labels.is_empty() {
            patch.insert("metadata".into(), json!({ "labels": labels }));
        }
        if let Some(pods) = pods {
            patch.insert("spec".into(), json!({ "podCIDR": pods }));
        }
        (!patch.is_empty()).then(|| patch.into())
    }
}

#[cfg(test)]
mod tests {
    use super::{List, parse};

    #[test]
    fn only_differences_are_set() {
        let wanted = parse(
            "m1 10.244.0.0/24 node-role.kubernetes.io/control-plane= rack=a\nm2 - rack=b\nw1 10.244.2.0/24\n",
        );
        let list = r#"{"items":[
            {"metadata":{"name":"m1","labels":{"rack":"a","node-role.kubernetes.io/control-plane":""}},"spec":{"podCIDR":"10.244.0.0/24"}},
            {"metadata":{"name":"m2","labels":{"rack":"a"}},"spec":{}},
            {"metadata":{"name":"w1"},"spec":{}}]}"#;
        let list: List = serde_json::from_str(list).unwrap();
        let patches: Vec<String> = wanted
            .iter()
            .zip(&list.items)
            .map(|(wanted, found)| wanted.patch(found).map_or("nothing".into(), |patch| patch.to_string()))
            .collect();
        assert_eq!(
            patches,
            ["nothing", r#"{"metadata":{"labels":{"rack":"b"}}}"#, r#"{"spec":{"podCIDR":"10.244.2.0/24"}}"#]
        );
    }
}
