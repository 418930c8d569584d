//! The Go service of `tests/apps/go`, built when its source changed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// The Go service `tests/apps/go`.
#[derive(Debug)]
pub struct GoService {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl GoService {
    /// Starts it. `flags` name its database and upstream.
    pub fn start(flags: &[String]) -> Result<Self> {
        Self::start_within(flags, Ok)
    }

    /// Starts it inside TLS, where it serves HTTP/2 too.
    pub fn encrypted(flags: &[String], certificates: &Certificates) -> Result<Self> {
        let path = |path: PathBuf| path.display().to_string();
        let [key, certificate] = [path(certificates.key()), path(certificates.certificate())];
        let more = ["-key".to_owned(), key, "-certificate".to_owned(), certificate];
        Self::begin("https", &[flags, &more].concat(), Ok)
    }

    /// Starts it by what `within` makes of its command.
    pub fn start_within(flags: &[String], within: impl FnOnce(Command) -> Result<Command>) -> Result<Self> {
        Self::begin("http", flags, within)
    }

    fn begin(
        scheme: &str,
        flags: &[String],
        within: impl FnOnce(Command) -> Result<Command>,
    ) -> Result<Self> {
        let scratch = Scratch::new("go")?;
        let address = net::free_address()?;
        let mut command = Command::new(binary()?);
        command.args(["-listen", &address.to_string()]).args(flags);
        let mut running = Running::start("items", &scratch, &mut within(command)?)?;
        let health = format!("{scheme}://{address}/healthz");
        running.wait_ready(READY_WITHIN, || Ok(tools::curl(&["--insecure", &health])? == "ok"))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}

/// Builds the service, which costs little when nothing changed, and returns its path.
pub fn binary() -> Result<PathBuf> {
    let binary = locate::testenv().join("bin/items");
    let mut command = Command::new(locate::program("go")?);
    command.current_dir(locate::apps().join("go")).args(["build", "-o"]).arg(&binary).arg(".");
    tools::printed(&mut command).context("build the Go service")?;
    Ok(binary)
}
