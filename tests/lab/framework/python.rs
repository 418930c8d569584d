//! Python: threads under gunicorn, event loops under uvicorn and aiohttp, jobs under Celery.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use remora_tests::tools;

use super::{EVERY, Framework, Load, SEQUENTIAL};
use crate::judge::Truth;
use crate::site::{Site, app, installed, text};

const NEEDS: &[&str] = &["python"];

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "flask",
        title: "Flask, gunicorn gthread; psycopg2, requests, redis-py",
        needs: NEEDS,
        modes: SEQUENTIAL,
        load: Load::Http(|site| Ok(vec![gunicorn(site, "flask", "app:app")])),
        truth: Truth::Server,
        versions: || versions("flask gunicorn psycopg2-binary requests redis"),
    },
    Framework {
        name: "flask-executor",
        title: "Flask, gunicorn gthread; calls in a shared ThreadPoolExecutor",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![gunicorn(site, "flask-executor", "app:app")])),
        truth: Truth::Server,
        versions: || versions("flask gunicorn psycopg2-binary requests redis"),
    },
    Framework {
        name: "django",
        title: "Django ORM and cache, gunicorn gthread; psycopg2, requests, redis-py",
        needs: NEEDS,
        modes: SEQUENTIAL,
        load: Load::Http(|site| Ok(vec![gunicorn(site, "django", "app:application")])),
        truth: Truth::Server,
        versions: || versions("django gunicorn psycopg2-binary requests redis"),
    },
    Framework {
        name: "fastapi",
        title: "FastAPI, uvicorn with uvloop; asyncpg, httpx, redis.asyncio",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![uvicorn(site, "fastapi", "uvloop")])),
        truth: Truth::Server,
        versions: || versions("fastapi uvicorn uvloop asyncpg httpx redis"),
    },
    Framework {
        name: "fastapi-asyncio",
        title: "FastAPI, uvicorn with asyncio's own loop; asyncpg, httpx, redis.asyncio",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![uvicorn(site, "fastapi", "asyncio")])),
        truth: Truth::Server,
        versions: || versions("fastapi uvicorn asyncpg httpx redis"),
    },
    Framework {
        name: "fastapi-to-thread",
        title: "FastAPI, uvicorn with uvloop; psycopg2, requests, redis-py by asyncio.to_thread",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| Ok(vec![uvicorn(site, "fastapi-to-thread", "uvloop")])),
        truth: Truth::Server,
        versions: || versions("fastapi uvicorn uvloop psycopg2-binary requests redis"),
    },
    Framework {
        name: "aiohttp",
        title: "aiohttp server and client; asyncpg, redis.asyncio",
        needs: NEEDS,
        modes: EVERY,
        load: Load::Http(|site| {
            let mut command = site.command(program("python"));
            command.arg(app("aiohttp").join("app.py"));
            Ok(vec![quiet(command)])
        }),
        truth: Truth::Server,
        versions: || versions("aiohttp asyncpg redis"),
    },
    Framework {
        name: "celery",
        title: "Flask enqueues over Redis, a Celery prefork worker calls; psycopg2, requests, redis-py",
        needs: NEEDS,
        modes: SEQUENTIAL,
        load: Load::Jobs(|site| {
            let mut worker = site.command(program("celery"));
            worker.arg("--workdir").arg(app("celery")).args(["--app", "tasks", "worker"]);
            worker.args(["--concurrency", "4", "--loglevel", "WARNING"]);
            Ok(vec![gunicorn(site, "celery", "app:app"), quiet(worker)])
        }),
        truth: Truth::Job,
        versions: || versions("celery flask gunicorn psycopg2-binary requests redis"),
    },
    Framework {
        name: "brpop",
        title: "Flask enqueues over Redis, four threads wait for jobs with BRPOP; psycopg2, requests, redis-py",
        needs: NEEDS,
        modes: SEQUENTIAL,
        load: Load::Jobs(|site| {
            let mut worker = site.command(program("python"));
            worker.arg(app("brpop").join("worker.py"));
            Ok(vec![gunicorn(site, "brpop", "app:app"), quiet(worker)])
        }),
        truth: Truth::Job,
        versions: || versions("flask gunicorn psycopg2-binary requests redis"),
    },
    Framework {
        name: "flask-services",
        title: "Flask, gunicorn gthread; grpcio, PyMySQL, PyMongo, confluent-kafka",
        needs: &["services"],
        modes: SEQUENTIAL,
        load: Load::Http(|site| {
            let program = installed().join("python-services/bin/gunicorn");
            Ok(vec![gunicorn_of(site, program, "flask-services", "app:app")])
        }),
        truth: Truth::Server,
        versions: || {
            let python = installed().join("python-services/bin/python");
            versions_of(python, "flask gunicorn grpcio PyMySQL pymongo confluent-kafka")
        },
    },
];

fn gunicorn(site: &Site, folder: &str, application: &str) -> Command {
    gunicorn_of(site, program("gunicorn"), folder, application)
}

fn gunicorn_of(site: &Site, program: PathBuf, folder: &str, application: &str) -> Command {
    let mut command = site.command(program);
    command.args(["--bind", &site.address().to_string(), "--chdir", &text(&app(folder))]);
    command.args(["--worker-class", "gthread", "--workers", "2", "--threads", "16", "--keep-alive", "30"]);
    command.args(["--no-control-socket", "--worker-tmp-dir"]).arg(site.scratch().path());
    encrypt(&mut command, site, ["--keyfile", "--certfile"]);
    command.arg(application);
    quiet(command)
}

fn uvicorn(site: &Site, folder: &str, event_loop: &str) -> Command {
    let mut command = site.command(program("uvicorn"));
    command.args(["--host", "127.0.0.1", "--port", &site.address().port().to_string()]);
    command.args(["--loop", event_loop, "--no-access-log", "--log-level", "warning", "--app-dir"]);
    command.arg(app(folder));
    encrypt(&mut command, site, ["--ssl-keyfile", "--ssl-certfile"]);
    command.arg("app:app");
    quiet(command)
}

/// Has a server encrypt, where it is to: by its flags for key and certificate.
fn encrypt(command: &mut Command, site: &Site, flags: [&str; 2]) {
    for (flag, variable) in flags.into_iter().zip(["TLS_KEY", "TLS_CERTIFICATE"]) {
        if let Some(path) = site.variable(variable) {
            command.args([flag, path]);
        }
    }
}

/// Sources stay as they are.
fn quiet(mut command: Command) -> Command {
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "ignore");
    command
}

fn program(name: &str) -> PathBuf {
    installed().join("python/bin").join(name)
}

fn versions(packages: &str) -> Result<Vec<String>> {
    versions_of(program("python"), packages)
}

fn versions_of(python: PathBuf, packages: &str) -> Result<Vec<String>> {
    let script = "import sys, platform, importlib.metadata as m
print('Python', platform.python_version())
for name in sys.argv[1:]: print(name, m.version(name))";
    let mut command = Command::new(python);
    let printed = tools::printed(command.args(["-c", script]).args(packages.split(' ')))?;
    Ok(printed.lines().map(str::to_owned).collect())
}
