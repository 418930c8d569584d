//! Programs on OpenSSL: one that uses it in unusual ways, `tests/apps/c/secure.c`, and one that tells what it feels,
//! `tests/apps/c/pauses.c`.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tls_client, tools};

/// How long the server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Compiles the program of unusual ways and returns its path.
pub fn build() -> Result<PathBuf> {
    compile("secure")
}

/// Compiles the program that tells its longest pauses, and returns its path.
pub fn build_pauses() -> Result<PathBuf> {
    compile("pauses")
}

fn compile(name: &str) -> Result<PathBuf> {
    let program = locate::testenv().join("bin").join(name);
    std::fs::create_dir_all(locate::testenv().join("bin"))?;
    let source = locate::apps().join("c").join(name).with_extension("c");
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-o"]).arg(&program).arg(&source).args(["-lssl", "-lcrypto"]);
    tools::printed(&mut cc).with_context(|| format!("compile {}", source.display()))?;
    Ok(program)
}

/// Its server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl Server {
    /// Starts it.
    pub fn start(program: &Path, way: &str, certificates: &Certificates) -> Result<Self> {
        let scratch = Scratch::new("secure")?;
        let address = net::free_address()?;
        let mut command = Command::new(program);
        command.args([way, "serve", &address.port().to_string()]);
        command.arg(certificates.key()).arg(certificates.certificate());
        let mut running = Running::start("secure", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Asks a server so many times. The program compares the answers itself.
pub fn ask(program: &Path, way: &str, server: SocketAddr, rounds: usize) -> Result<()> {
    let mut command = Command::new(program);
    command.args([way, "ask", &server.port().to_string(), &rounds.to_string()]);
    tools::printed(&mut command).map(drop)
}

/// A copy of the system's OpenSSL in a folder of its own: files that nobody else has mapped.
#[derive(Debug)]
pub struct Copy(Scratch);

impl Copy {
    /// Makes it.
    pub fn make() -> Result<Self> {
        let copy = Self(Scratch::new("library")?);
        copy.renew()?;
        Ok(copy)
    }

    /// Puts new files in the place of those that are there, as packages do.
    pub fn renew(&self) -> Result<()> {
        for name in ["libssl.so", "libcrypto.so"] {
            let file = tls_client::linked_with("openssl", name)?.context("openssl has no library")?;
            let name = file.file_name().context("a library without a name")?;
            let (new, place) = (self.folder().join("new"), self.folder().join(name));
            std::fs::copy(&file, &new)?;
            std::fs::rename(new, place)?;
        }
        Ok(())
    }

    /// Deletes the files.
    pub fn delete(&self) -> Result<()> {
        for file in std::fs::read_dir(self.folder())? {
            std::fs::remove_file(file?.path())?;
        }
        Ok(())
    }

    /// Returns where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    /// Has a program use it.
    pub fn lend(&self, command: &mut Command) {
        command.env("LD_LIBRARY_PATH", self.folder());
    }
}
