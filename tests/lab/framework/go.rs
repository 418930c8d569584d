//! Go: one program with several routers, built in several ways.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use remora_tests::{locate, tools};

use super::{EVERY, Framework, Load};
use crate::judge::Truth;
use crate::site::{Site, installed};

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "go",
        title: "Go net/http; pgx pool, http.Client, go-redis",
        needs: &["go"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab", "net/http", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab", &["jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "gin",
        title: "Go Gin; pgx pool, http.Client, go-redis",
        needs: &["go"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab", "gin", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab", &["gin-gonic/gin", "jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "echo",
        title: "Go Echo; pgx pool, http.Client, go-redis",
        needs: &["go"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab", "echo", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab", &["labstack/echo", "jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "gorilla",
        title: "Go gorilla/mux; database/sql with lib/pq, http.Client, go-redis",
        needs: &["go"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab", "mux", "lib/pq")])),
        truth: Truth::Server,
        versions: || versions("lab", &["gorilla/mux", "lib/pq", "redis/go-redis"]),
    },
    Framework {
        name: "go-stripped",
        title: "Go net/http built with -s -w; pgx pool, http.Client, go-redis",
        needs: &["go"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab-stripped", "net/http", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab-stripped", &["jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "go-1.27",
        title: "Go net/http built with Go 1.27; pgx pool, http.Client, go-redis",
        needs: &["go-1.27"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab-1.27", "net/http", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab-1.27", &["jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "go-1.24",
        title: "Go net/http built with Go 1.24; pgx pool, http.Client, go-redis",
        needs: &["go-1.24"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab-1.24", "net/http", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab-1.24", &["jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "go-1.22",
        title: "Go net/http built with Go 1.22; pgx pool, http.Client, go-redis",
        needs: &["go-1.22"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![service(site, "lab-1.22", "net/http", "pgx")])),
        truth: Truth::Server,
        versions: || versions("lab-1.22", &["jackc/pgx", "redis/go-redis"]),
    },
    Framework {
        name: "go-services",
        title: "Go net/http; grpc-go, go-sql-driver/mysql, MongoDB's driver, segmentio/kafka-go",
        needs: &["go", "services"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![site.command(built("lab-services"))])),
        truth: Truth::Server,
        versions: || {
            versions("lab-services", &["grpc", "go-sql-driver", "mongo-driver", "segmentio/kafka-go"])
        },
    },
];

fn service(site: &Site, binary: &str, framework: &str, database: &str) -> Command {
    let mut command = site.command(built(binary));
    command.args(["-framework", framework, "-database", database]);
    command
}

fn built(binary: &str) -> PathBuf {
    installed().join("go").join(binary)
}

/// Reads what the binary was built with and from.
fn versions(binary: &str, modules: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new(locate::program("go")?);
    let printed = tools::printed(command.args(["version", "-m"]).arg(built(binary)))?;
    let mut versions = Vec::new();
    for line in printed.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [_, version] if version.starts_with("go1") => {
                versions.push(version.replacen("go", "Go ", 1));
            }
            ["dep", module, version, ..] if modules.iter().any(|wanted| module.contains(wanted)) => {
                versions.push(format!("{} {version}", module.trim_start_matches("github.com/")));
            }
            _ => {}
        }
    }
    Ok(versions)
}
