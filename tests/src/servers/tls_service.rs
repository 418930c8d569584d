//! Services that speak HTTPS only, each by another way to TLS.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// How a service comes by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Python's `ssl` on sockets: the system's OpenSSL, which reads and writes by itself.
    PythonThreads,
    /// Python's `asyncio`: the system's OpenSSL on memory.
    PythonAsyncio,
    /// Node: its own OpenSSL on memory.
    Node,
    /// Go's `crypto/tls`.
    Go,
    /// nginx: the system's OpenSSL.
    Nginx,
    /// nginx, by HTTP/2 too.
    NginxHttp2,
    /// nginx, which asks clients for their certificate.
    NginxMutual,
    /// uvicorn on uvloop: the system's OpenSSL on memory.
    Uvicorn,
    /// Puma: the system's OpenSSL on memory.
    Puma,
    /// A build of `tests/apps/tls/go`,
    GoBuild(&'static str),
    /// and one that asks clients for their certificate.
    GoMutual,
    /// grpc-java with Netty inside: BoringSSL in a file that is deleted once it is loaded.
    GrpcJava,
}

/// A service that answers `/users/{id}`.
#[derive(Debug)]
pub struct TlsService {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl TlsService {
    /// Starts it.
    pub fn start(stack: Stack, certificates: &Certificates) -> Result<Self> {
        let scratch = Scratch::new("tls")?;
        let address = net::free_address()?;
        let command = command(stack, address, certificates, &scratch)?;
        Self::start_by(command, address, scratch)
    }

    /// Starts another file of the program in Go.
    pub fn start_go(program: &Path, certificates: &Certificates) -> Result<Self> {
        let address = net::free_address()?;
        let command = go(program, address, certificates);
        Self::start_by(command, address, Scratch::new("tls")?)
    }

    fn start_by(mut command: Command, address: SocketAddr, scratch: Scratch) -> Result<Self> {
        let mut running = Running::start("tls", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(address).is_ok()))?;
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
        format!("https://localhost:{}", self.address.port())
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}

fn go(program: &Path, address: SocketAddr, certificates: &Certificates) -> Command {
    let mut command = Command::new(program);
    command.args(["-listen", &address.to_string(), "-key"]).arg(certificates.key());
    command.arg("-certificate").arg(certificates.certificate());
    command
}

fn command(
    stack: Stack,
    address: SocketAddr,
    certificates: &Certificates,
    scratch: &Scratch,
) -> Result<Command> {
    let (key, certificate) = (certificates.key(), certificates.certificate());
    let apps = locate::apps();
    let port = address.port().to_string();
    Ok(match stack {
        Stack::PythonThreads => {
            let mut command = Command::new(locate::program("gunicorn")?);
            command.args(["--worker-class", "gthread", "--threads", "32", "--keep-alive", "30"]);
            command.args(["--no-control-socket", "--bind", &address.to_string(), "--chdir"]);
            command.arg(apps.join("python")).arg("--keyfile").arg(key).arg("--certfile").arg(certificate);
            command.arg("--worker-tmp-dir").arg(scratch.path()).arg("shop:app");
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Stack::PythonAsyncio => {
            let mut command = Command::new(locate::program("python3")?);
            command.arg(apps.join("tls/service.py")).arg(port).arg(key).arg(certificate);
            command
        }
        Stack::Node => {
            let mut command = Command::new(locate::program("node")?);
            command.arg(apps.join("tls/service.js")).arg(port).arg(key).arg(certificate);
            command
        }
        Stack::Go => go(&super::go_service::binary()?, address, certificates),
        Stack::Nginx => nginx(address, certificates, scratch, "", "")?,
        Stack::NginxHttp2 => nginx(address, certificates, scratch, "http2", "")?,
        Stack::NginxMutual => {
            let verify = format!(
                "ssl_verify_client on; ssl_client_certificate {};",
                certificates.authority().display()
            );
            nginx(address, certificates, scratch, "", &verify)?
        }
        Stack::Uvicorn => {
            let mut command = Command::new(locate::tls("python/bin/python")?);
            command.args(["-m", "uvicorn", "--loop", "uvloop", "--log-level", "warning", "--port", &port]);
            command.arg("--ssl-keyfile").arg(key).arg("--ssl-certfile").arg(certificate);
            command.arg("--app-dir").arg(apps.join("tls")).arg("asgi:app");
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Stack::Puma => {
            let mut command = Command::new(locate::program("puma")?);
            let bind = format!(
                "ssl://{address}?key={}&cert={}&verify_mode=none",
                key.display(),
                certificate.display()
            );
            command.args(["--threads", "32:32", "--bind", &bind]).arg(apps.join("tls/config.ru"));
            command.current_dir(scratch.path());
            command
        }
        Stack::GoBuild(build) => {
            let mut command = Command::new(locate::tls(build)?);
            command.arg("serve").arg(address.to_string()).arg(key).arg(certificate);
            command
        }
        Stack::GoMutual => {
            let mut command = Command::new(locate::tls("users")?);
            command.arg("serve").arg(address.to_string()).arg(key).arg(certificate);
            command.arg(certificates.authority());
            command
        }
        Stack::GrpcJava => {
            let mut command = grpc_java()?;
            command.args(["serve", &port]).arg(key).arg(certificate);
            command
        }
    })
}

/// Returns grpc-java's program, without what it is to do.
pub fn grpc_java() -> Result<Command> {
    let mut command = Command::new(locate::program("java")?);
    command.args(["-Xmx256m", "-cp"]).arg(locate::tls("grpc-java")?.join("*"));
    command.arg(locate::apps().join("tls/Users.java"));
    Ok(command)
}

fn nginx(
    address: SocketAddr,
    certificates: &Certificates,
    scratch: &Scratch,
    listen: &str,
    more: &str,
) -> Result<Command> {
    let settings = format!(
        "daemon off; pid nginx.pid; worker_processes 1; events {{ worker_connections 1024; }}
         http {{ access_log off; client_body_temp_path body; proxy_temp_path proxy;
         fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
         server {{ listen {address} ssl {listen}; ssl_certificate {}; ssl_certificate_key {}; {more}
         location /users/ {{ return 200 found; }} }} }}",
        certificates.certificate().display(),
        certificates.key().display(),
    );
    let settings = scratch.write("nginx.conf", settings)?;
    let mut command = Command::new(locate::program("nginx")?);
    command.arg("-p").arg(scratch.path()).arg("-c").arg(settings).args(["-e", "error.log"]);
    Ok(command)
}
