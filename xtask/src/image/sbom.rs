//! Bills of materials in CycloneDX 1.6, of what `cargo metadata` knows: a program's crates with versions, licences and
//! checksums.
//!
//! Cargo names the crates that any feature in this workspace asks for, so that a bill may name one more than is linked.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Origin;
use crate::{shell, workspace};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

/// `kind` is `dev`, `build`, or nothing for what is linked.
#[derive(Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// Returns the bill of a program for a target.
pub(super) fn of(program: &str, target: &str, origin: &Origin) -> Result<Vec<u8>> {
    let printed = shell::output(shell::cargo("metadata").args([
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        target,
    ]))?;
    let metadata: Metadata = serde_json::from_str(&printed).context("read what cargo metadata printed")?;
    let lock = std::fs::read_to_string(workspace::root().join("Cargo.lock")).context("read Cargo.lock")?;
    let bill = bill(program, &metadata, &checksums(&lock), origin)?;
    Ok(serde_json::to_vec_pretty(&bill)?)
}

type Checksums<'a> = BTreeMap<(&'a str, &'a str), &'a str>;

/// Returns the SHA-256 of each package of a registry, by name and version.
fn checksums(lock: &str) -> Checksums<'_> {
    lock.split("[[package]]").filter_map(checksum).collect()
}

fn checksum(package: &str) -> Option<((&str, &str), &str)> {
    let value = |key: &str| {
        package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
    };
    Some(((value("name")?, value("version")?), value("checksum")?))
}

fn bill(program: &str, metadata: &Metadata, checksums: &Checksums<'_>, origin: &Origin) -> Result<Value> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (&*package.id, package)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (&*node.id, node)).collect();
    let root = metadata.packages.iter().find(|package| package.name == program);
    let root = root.with_context(|| format!("no package {program}"))?;
    let linked = linked(&root.id, &nodes);
    let mut components = BTreeMap::new();
    let mut dependencies = BTreeMap::new();
    for id in &linked {
        let package = packages.get(id).with_context(|| format!("no package {id}"))?;
        if *id != root.id {
            components.insert(reference(package), component(package, "library", checksums));
        }
        let below: BTreeSet<_> = nodes.get(id).into_iter().flat_map(|node| links_of(node)).collect();
        let below: BTreeSet<_> = below.iter().filter_map(|id| Some(reference(packages.get(id)?))).collect();
        dependencies.insert(reference(package), json!({ "ref": reference(package), "dependsOn": below }));
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": origin.created,
            "component": component(root, "application", checksums),
        },
        "components": components.into_values().collect::<Vec<_>>(),
        "dependencies": dependencies.into_values().collect::<Vec<_>>(),
    }))
}

/// Returns the ids of all packages that are linked into one, itself among them.
fn linked<'a>(root: &'a str, nodes: &BTreeMap<&'a str, &'a Node>) -> BTreeSet<&'a str> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![root]);
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            waiting.extend(nodes.get(id).into_iter().flat_map(|node| links_of(node)));
        }
    }
    found
}

fn links_of(node: &Node) -> impl Iterator<Item = &str> {
    let is_linked = |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
    node.deps.iter().filter(is_linked).map(|dependency| &*dependency.pkg)
}

/// The package's URL (purl-spec, type `cargo`).
fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version.replace('+', "%2B"))
}

fn component(package: &Package, kind: &str, checksums: &Checksums<'_>) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "purl": reference(package),
    });
    if let Some(license) = &package.license {
        // Cargo once allowed a slash for OR.
        component["licenses"] = json!([{ "expression": license.replace('/', " OR ") }]);
    }
    if let Some(checksum) = checksums.get(&(&*package.name, &*package.version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bridge_is_made_of_what_it_links() {
        let origin = Origin { revision: String::new(), created: "2026-01-01T00:00:00Z".to_owned() };
        let bill = of("remora-bridge", "x86_64-unknown-linux-musl", &origin).unwrap();
        let bill: Value = serde_json::from_slice(&bill).unwrap();
        let components = bill["components"].as_array().unwrap();
        let find = |name: &str| components.iter().find(|component| component["name"] == name);
        let parquet = find("parquet").unwrap();
        assert_eq!(parquet["hashes"][0]["content"].as_str().unwrap().len(), 64);
        assert_eq!(parquet["licenses"][0]["expression"], "Apache-2.0");
        assert!(find("proptest").is_none(), "what only tests need is not linked");
        assert!(find("remora").is_none(), "the agent is another program");
        let all: BTreeSet<&str> =
            components.iter().filter_map(|component| component["bom-ref"].as_str()).collect();
        assert_eq!(all.len(), components.len());
        for dependency in bill["dependencies"].as_array().unwrap() {
            for below in dependency["dependsOn"].as_array().unwrap() {
                assert!(all.contains(below.as_str().unwrap()), "{below} is no component");
            }
        }
    }
}
