//! What can be measured: programs as people write them, each with its row in a table.

mod go;
mod java;
mod native;
mod node;
mod proxy;
mod python;

use std::process::Command;
use std::sync::LazyLock;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::judge::Truth;
use crate::site::Site;

/// One program that is measured.
#[derive(Clone, Copy)]
pub(crate) struct Framework {
    /// How it is named on the command line.
    pub(crate) name: &'static str,
    /// What it is, in a few words: server, how it waits, clients.
    pub(crate) title: &'static str,
    /// What `cargo xtask lab` has to install.
    pub(crate) needs: &'static [&'static str],
    pub(crate) modes: &'static [Mode],
    pub(crate) load: Load,
    pub(crate) truth: Truth,
    /// The version of each part, as `name version`.
    pub(crate) versions: fn() -> Result<Vec<String>>,
}

impl Framework {
    /// Returns whether the program asks gRPC, MySQL, MongoDB and Kafka, and not what the others ask.
    pub(crate) fn asks_services(&self) -> bool {
        self.needs.contains(&"services")
    }
}

/// How the program is set to work.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// It serves HTTP: these are its processes, the one that listens first.
    Http(fn(&Site) -> Result<Vec<Command>>),
    /// As [`Load::Http`], but the work is done later by one of the processes.
    Jobs(fn(&Site) -> Result<Vec<Command>>),
    /// It runs once for each number.
    Runs(fn(&Site, Mode, u64) -> Result<Command>),
}

/// In which order a request's calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// One after the other, with pauses.
    Work,
    /// One after the other, without pauses.
    Await,
    /// At the same time.
    Fan,
    /// One call, by a proxy.
    Proxy,
}

impl Mode {
    /// Returns the first part of the path.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Mode::Work => "paced",
            Mode::Await => "await",
            Mode::Fan => "fan",
            Mode::Proxy => "down",
        }
    }

    /// Returns how tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Mode::Proxy => "proxy",
            other => other.route(),
        }
    }
}

const SEQUENTIAL: &[Mode] = &[Mode::Work, Mode::Await];
const EVERY: &[Mode] = &[Mode::Work, Mode::Await, Mode::Fan];

/// A framework that is measured once more.
struct Variant {
    /// The name of that row.
    name: &'static str,
    /// The framework.
    framework: &'static str,
    /// The platform whose part is inside, as `remora run --attach` names it.
    platform: Option<&'static str>,
    /// Everything that is said is encrypted: by the load, the program, and whom it asks.
    is_encrypted: bool,
}

/// With a part of the agent inside.
const fn attached(name: &'static str, framework: &'static str, platform: &'static str) -> Variant {
    Variant { name, framework, platform: Some(platform), is_encrypted: false }
}

/// Over TLS.
const fn encrypted(name: &'static str, framework: &'static str) -> Variant {
    Variant { name, framework, platform: None, is_encrypted: true }
}

/// Both.
const fn attached_and_encrypted(
    name: &'static str,
    framework: &'static str,
    platform: &'static str,
) -> Variant {
    Variant { name, framework, platform: Some(platform), is_encrypted: true }
}

const VARIANTS: [Variant; 28] = [
    attached("express+attach", "express", "node"),
    attached("koa+attach", "koa", "node"),
    attached("nestjs+attach", "nestjs", "node"),
    attached("worker-threads+attach", "worker-threads", "node-workers"),
    attached("bullmq+attach", "bullmq", "node"),
    attached("express-services+attach", "express-services", "node"),
    attached("spring+attach", "spring", "jvm"),
    attached("spring-virtual+attach", "spring-virtual", "jvm"),
    attached("spring-futures+attach", "spring-futures", "jvm"),
    attached("webflux+attach", "webflux", "jvm"),
    attached("micronaut+attach", "micronaut", "jvm"),
    attached("quarkus+attach", "quarkus", "jvm"),
    encrypted("flask+tls", "flask"),
    encrypted("flask-executor+tls", "flask-executor"),
    encrypted("fastapi+tls", "fastapi"),
    encrypted("fastapi-asyncio+tls", "fastapi-asyncio"),
    encrypted("aiohttp+tls", "aiohttp"),
    encrypted("go+tls", "go"),
    encrypted("gorilla+tls", "gorilla"),
    encrypted("go-stripped+tls", "go-stripped"),
    encrypted("express+tls", "express"),
    attached_and_encrypted("express+attach+tls", "express", "node"),
    attached_and_encrypted("spring+attach+tls", "spring", "jvm"),
    encrypted("axum+tls", "axum"),
    encrypted("puma+tls", "puma"),
    encrypted("nginx+tls", "nginx"),
    encrypted("nginx-close+tls", "nginx-close"),
    encrypted("haproxy+tls", "haproxy"),
];

/// The rows that they make.
static ONCE_MORE: LazyLock<Vec<Framework>> = LazyLock::new(|| {
    let plain = || families().into_iter().flatten();
    let rows = VARIANTS.iter().filter_map(|variant| {
        let plain = plain().find(|plain| plain.name == variant.framework)?;
        Some(Framework { name: variant.name, ..*plain })
    });
    rows.collect()
});

fn families() -> [&'static [Framework]; 6] {
    [python::ALL, go::ALL, node::ALL, java::ALL, native::ALL, proxy::ALL]
}

/// Everything that can be measured, in the order in which it is.
pub(crate) fn all() -> Vec<&'static Framework> {
    families().into_iter().flatten().chain(ONCE_MORE.iter()).collect()
}

fn variant(name: &str) -> Option<&'static Variant> {
    VARIANTS.iter().find(|variant| variant.name == name)
}

/// Returns the platform whose parts the agent puts into the processes of a row, if it does.
pub(crate) fn platform(name: &str) -> Option<&'static str> {
    variant(name).and_then(|variant| variant.platform)
}

/// Returns whether everything in a row is encrypted.
pub(crate) fn is_encrypted(name: &str) -> bool {
    variant(name).is_some_and(|variant| variant.is_encrypted)
}

/// The frameworks of `--short`: quick to install, one for each kind of runtime.
pub(crate) const SHORT: [&str; 8] =
    ["flask", "fastapi", "fastapi+tls", "go", "go+tls", "express", "express+attach+tls", "nginx"];

/// The frameworks of `cargo xtask bench mechanisms`: one for each way to tell who works for whom.
pub(crate) const COSTED: [&str; 8] =
    ["flask", "flask-executor", "fastapi", "go", "express", "express+attach", "nginx", "axum"];

/// The least share of right links, in percent of all judged, for each framework: in its first cell, whose first requests
/// may come before the agent knows the program, and in all others. A framework without a row has 0.
const FLOORS: [(&str, f64, f64); 9] = [
    ("flask", 90.0, 99.0),
    ("fastapi", 85.0, 99.0),
    ("fastapi+tls", 50.0, 99.0),
    ("go", 90.0, 99.0),
    ("go+tls", 85.0, 99.0),
    // Without a part inside, what comes behind a timer has no parent.
    ("express", 20.0, 20.0),
    ("express+attach+tls", 90.0, 99.0),
    ("nginx", 90.0, 99.0),
    ("axum", 80.0, 95.0),
];

/// The largest share of wrong links, in percent of all judged, that any framework may have.
pub(crate) const WRONG_AT_MOST: f64 = 0.1;

/// The least share of requests that are to be seen, in percent.
pub(crate) const SEEN_AT_LEAST: f64 = 99.0;

/// Returns the least share of right links of a framework, in percent, in its first cell or another.
pub(crate) fn floor(name: &str, is_first: bool) -> f64 {
    let floors = FLOORS.iter().find(|(framework, ..)| *framework == name);
    floors.map_or(0.0, |&(_, first, later)| if is_first { first } else { later })
}

/// Returns whether the requests of a framework are to be seen as SERVER spans.
pub(crate) fn has_servers(name: &str) -> bool {
    all().iter().any(|framework| framework.name == name && matches!(framework.truth, Truth::Server))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tables_name_frameworks() {
        let names: Vec<_> = all().iter().map(|framework| framework.name).collect();
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{name}");
        }
        assert!(
            VARIANTS
                .iter()
                .all(|variant| names.contains(&variant.name) && names.contains(&variant.framework))
        );
        assert!(
            SHORT
                .iter()
                .chain(&COSTED)
                .chain(FLOORS.iter().map(|(name, ..)| name))
                .all(|name| names.contains(name))
        );
    }
}
