//! Node: one event loop for each thread.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use remora_tests::{locate, tools};

use super::{EVERY, Framework, Load};
use crate::judge::Truth;
use crate::site::{Site, app, installed};

const NEEDS: &[&str] = &["node"];

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "express",
        title: "Express; pg pool, fetch (undici), ioredis",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![node(site, "express/app.js")?])),
        truth: Truth::Server,
        versions: || versions(&["express", "pg", "ioredis"]),
    },
    Framework {
        name: "koa",
        title: "Koa; pg pool, node:http agent, ioredis",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![node(site, "koa/app.js")?])),
        truth: Truth::Server,
        versions: || versions(&["koa", "pg", "ioredis"]),
    },
    Framework {
        name: "nestjs",
        title: "NestJS on Express; pg pool, fetch (undici), ioredis",
        needs: &["node", "nestjs"],
        modes: EVERY,
        load: Load::Http(|site| {
            let mut command = site.command(locate::program("node")?);
            command.arg(installed().join("node/nestjs/app.js"));
            Ok(vec![command])
        }),
        truth: Truth::Server,
        versions: || versions(&["@nestjs/core", "pg", "ioredis"]),
    },
    Framework {
        name: "worker-threads",
        title: "node:http, calls in four worker threads; pg pool, fetch (undici), ioredis",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![node(site, "worker-threads/app.js")?])),
        truth: Truth::Server,
        versions: || versions(&["pg", "ioredis"]),
    },
    Framework {
        name: "bullmq",
        title: "Express enqueues, a BullMQ worker calls; pg pool, fetch (undici), ioredis",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Jobs(|site| Ok(vec![node(site, "bullmq/app.js")?, node(site, "bullmq/worker.js")?])),
        truth: Truth::Job,
        versions: || versions(&["bullmq", "express", "pg", "ioredis"]),
    },
    Framework {
        name: "express-services",
        title: "Express; @grpc/grpc-js, mysql2 pool, MongoDB's driver, KafkaJS",
        needs: &["services"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![node_of(site, "node-services", "express-services/app.js")?])),
        truth: Truth::Server,
        versions: || {
            versions_of("node-services", &["express", "@grpc/grpc-js", "mysql2", "mongodb", "kafkajs"])
        },
    },
];

fn node(site: &Site, script: &str) -> Result<Command> {
    node_of(site, "node", script)
}

fn node_of(site: &Site, packages: &str, script: &str) -> Result<Command> {
    let mut command = site.command(locate::program("node")?);
    command.arg(app("").join(script)).env("NODE_PATH", modules(packages));
    Ok(command)
}

fn modules(packages: &str) -> PathBuf {
    installed().join(packages).join("node_modules")
}

fn versions(packages: &[&str]) -> Result<Vec<String>> {
    versions_of("node", packages)
}

fn versions_of(folder: &str, packages: &[&str]) -> Result<Vec<String>> {
    let script = "console.log('Node', process.versions.node);
for (const name of process.argv.slice(1)) {
  const file = `${process.env.NODE_PATH}/${name}/package.json`;
  console.log(name, JSON.parse(require('fs').readFileSync(file)).version);
}";
    let mut command = Command::new(locate::program("node")?);
    command.env("NODE_PATH", modules(folder));
    let printed = tools::printed(command.args(["-e", script]).args(packages))?;
    Ok(printed.lines().map(str::to_owned).collect())
}
