//! Rust, Ruby and shell scripts.

use std::process::Command;

use anyhow::Result;
use remora_tests::{locate, tools};

use super::{EVERY, Framework, Load, Mode};
use crate::judge::Truth;
use crate::site::{Keys, app, installed};

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "axum",
        title: "Rust axum on tokio; reqwest, deadpool-postgres, redis",
        needs: &["axum"],
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![site.command(installed().join("axum/release/lab-axum"))])),
        truth: Truth::Server,
        versions: axum_versions,
    },
    Framework {
        name: "puma",
        title: "Ruby rack under Puma, two workers of eight threads; net/http, pg, redis, pools",
        needs: &["ruby"],
        modes: EVERY,
        load: Load::Http(|site| {
            let mut command = site.command(locate::program("puma")?);
            command.args(["--quiet", "--environment", "production", "--workers", "2", "--threads", "8:8"]);
            let bind = match site.keys() {
                None => format!("tcp://{}", site.address()),
                Some(Keys { key, certificate, .. }) => {
                    format!("ssl://{}?key={key}&cert={certificate}&verify_mode=none", site.address())
                }
            };
            command.args(["--bind", &bind]).arg(app("ruby").join("config.ru"));
            Ok(vec![command])
        }),
        truth: Truth::Server,
        versions: ruby_versions,
    },
    Framework {
        name: "bash",
        title: "a Bash script, run once for each number: curl, psql, redis-cli",
        needs: &[],
        modes: &[Mode::Work, Mode::Await],
        load: Load::Runs(|site, mode, number| {
            let mut command = site.command(app("bash").join("work.sh"));
            command.arg(number.to_string());
            if mode == Mode::Work {
                command.arg("pause");
            }
            Ok(command)
        }),
        truth: Truth::Roots,
        versions: bash_versions,
    },
];

fn axum_versions() -> Result<Vec<String>> {
    let lock = std::fs::read_to_string(app("axum").join("Cargo.lock"))?;
    let mut versions = vec![first_words(&tools::printed(Command::new("rustc").arg("--version"))?, 2)];
    for package in ["tokio", "axum", "reqwest", "tokio-postgres", "redis"] {
        let entry =
            lock.split("[[package]]").find(|entry| entry.contains(&format!("\nname = \"{package}\"\n")));
        let version = entry.and_then(|entry| entry.split('"').nth(3));
        versions.push(format!("{package} {}", version.unwrap_or("?")));
    }
    Ok(versions)
}

fn ruby_versions() -> Result<Vec<String>> {
    let script = "puts \"Ruby #{RUBY_VERSION}\"
%w[puma pg redis].each { |name| puts \"#{name} #{Gem::Specification.find_by_name(name).version}\" }";
    let printed = tools::printed(Command::new(locate::program("ruby")?).args(["-e", script]))?;
    Ok(printed.lines().map(str::to_owned).collect())
}

fn bash_versions() -> Result<Vec<String>> {
    let bash = tools::printed(Command::new("bash").args(["-c", "echo Bash ${BASH_VERSION%%(*}"]))?;
    let mut versions = vec![bash.trim().to_owned()];
    for program in ["curl", "psql", "redis-cli"] {
        let printed = tools::printed(Command::new(locate::program(program)?).arg("--version"))?;
        let words = if program == "curl" { 2 } else { 3 };
        versions.push(first_words(&printed, words));
    }
    Ok(versions)
}

fn first_words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}
