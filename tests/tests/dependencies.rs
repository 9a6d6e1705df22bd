//! What is depended on has a licence that deny.toml allows, and is there in one version.
//!
//! cargo-deny itself asks more (`make deny`), but takes longer to be built than all of interlock.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What cargo builds for this kind of host.
fn packages(workspace: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(workspace)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: BTreeSet<&str> = nodes
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    let all = metadata["packages"].as_array().unwrap();
    all.iter()
        .filter(|package| built.contains(package["id"].as_str().unwrap()))
        .cloned()
        .collect()
}

#[test]
fn dependencies_are_as_deny_toml_wants_them() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let text = fs::read_to_string(workspace.join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let strings = |value: &toml::Value| -> Vec<String> {
        let all = value.as_array().unwrap().iter();
        all.map(|each| each.as_str().unwrap().to_owned()).collect()
    };
    let allowed = strings(&deny["licenses"]["allow"]);
    let skipped: Vec<&str> = deny["bans"]["skip"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["crate"].as_str().unwrap())
        .collect();

    let mut wrong = Vec::new();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let packages = packages(workspace);
    assert!(packages.len() > 100, "that isn't all: {}", packages.len());
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let version = package["version"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_default();
        let is_allowed =
            spdx::Expression::parse_mode(licence, spdx::ParseMode::LAX).is_ok_and(|it| {
                it.evaluate(|wish| {
                    let id = wish.license.id();
                    id.is_some_and(|id| allowed.iter().any(|each| each == id.name))
                })
            });
        if !is_allowed {
            wrong.push(format!("{name} {version} has the licence {licence:?}"));
        }
        let is_skipped = skipped.iter().any(|skip| {
            let (skip, wanted) = skip.split_once('@').unwrap();
            name == skip && version.starts_with(&format!("{wanted}."))
        });
        if !is_skipped {
            versions
                .entry(name.to_owned())
                .or_default()
                .push(version.to_owned());
        }
    }
    for (name, versions) in versions {
        if versions.len() > 1 {
            wrong.push(format!("{name} is there in {}", versions.join(" and ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
