//! The Flask application of `tests/apps/sdk` under gunicorn, with OpenTelemetry's SDK around it or without.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// A service that asks the next one, if there is one, and then Redis.
#[derive(Debug)]
pub struct Hop {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl Hop {
    /// Starts it without an SDK.
    pub fn plain(name: &str, next: Option<SocketAddr>, redis: &str) -> Result<Self> {
        Self::start(name, next, redis, Command::new(program("gunicorn")?))
    }

    /// Starts it as `opentelemetry-instrument` does, with the SDK sending to `receiver` by OTLP over HTTP.
    pub fn with_sdk(name: &str, next: Option<SocketAddr>, redis: &str, receiver: SocketAddr) -> Result<Self> {
        let mut command = Command::new(program("opentelemetry-instrument")?);
        command.arg(program("gunicorn")?);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{receiver}"));
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").env("OTEL_BSP_SCHEDULE_DELAY", "300");
        command.envs([("OTEL_METRICS_EXPORTER", "none"), ("OTEL_LOGS_EXPORTER", "none")]);
        Self::start(name, next, redis, command)
    }

    fn start(name: &str, next: Option<SocketAddr>, redis: &str, mut command: Command) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let address = net::free_address()?;
        command.args(["--bind", &address.to_string(), "--chdir"]).arg(locate::apps().join("sdk"));
        command.args(["--worker-class", "gthread", "--threads", "8", "--keep-alive", "30"]);
        command.args(["--no-control-socket", "--worker-tmp-dir"]).arg(scratch.path()).arg("hop:app");
        command.env("REDIS_URL", redis);
        command.env("OTEL_SERVICE_NAME", name).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
        command.envs(next.map(|next| ("NEXT", next.to_string())));
        let mut running = Running::start(name, &scratch, &mut command)?;
        let health = format!("http://{address}/healthz");
        running.wait_ready(READY_WITHIN, || Ok(tools::curl(&[&health])? == "ok"))?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn program(name: &str) -> Result<std::path::PathBuf> {
    let path = locate::testenv().join("sdk/bin").join(name);
    path.is_file().then_some(path).with_context(|| {
        format!("`{name}` is not installed: `cargo xtask test` installs what the tests need")
    })
}
