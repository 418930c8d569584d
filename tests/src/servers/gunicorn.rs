//! The Flask application of `tests/apps/python` under gunicorn.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// How gunicorn serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// This many processes, each with one request at a time.
    Sync(u32),
    /// One process with this many threads.
    Threads(u32),
    /// One process with this many greenlets of gevent, in one thread.
    Greenlets(u32),
}

/// The Flask application `tests/apps/python/shop.py` under gunicorn.
#[derive(Debug)]
pub struct Gunicorn {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl Gunicorn {
    /// Starts it. `neighbours` are the environment variables that name its database, cache and services.
    pub fn start(workers: Workers, neighbours: &[(&str, String)]) -> Result<Self> {
        let scratch = Scratch::new("gunicorn")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("gunicorn")?);
        command.args(["--bind", &address.to_string(), "--chdir"]).arg(locate::apps().join("python"));
        match workers {
            Workers::Sync(processes) => {
                command.args(["--worker-class", "sync", "--workers", &processes.to_string()])
            }
            Workers::Threads(threads) => command.args([
                "--worker-class",
                "gthread",
                "--workers",
                "1",
                "--threads",
                &threads.to_string(),
            ]),
            Workers::Greenlets(at_once) => {
                command.args(["--worker-class", "gevent", "--worker-connections", &at_once.to_string()])
            }
        };
        command.args(["--keep-alive", "30", "--no-control-socket", "--worker-tmp-dir"]).arg(scratch.path());
        command.arg("shop:app").envs(neighbours.iter().map(|(name, value)| (name, value)));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let mut running = Running::start("gunicorn", &scratch, &mut command)?;
        let health = format!("http://{address}/healthz");
        running.wait_ready(READY_WITHIN, || Ok(tools::curl(&[&health])? == "ok"))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process id of its arbiter.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}
