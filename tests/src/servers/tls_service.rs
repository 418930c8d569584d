//! Services that speak HTTPS only, each by another way to TLS.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// How a service comes by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// Python's `ssl` on sockets: the system's OpenSSL, which reads and writes by itself.
    PythonThreads,
    /// Python's `asyncio`: the system's OpenSSL on memory.
    PythonAsyncio,
    /// Node: its own OpenSSL on memory.
    Node,
    /// The same, by HTTP/2.
    NodeHttp2,
    /// Go's `crypto/tls`.
    Go,
    /// nginx: the system's OpenSSL.
    Nginx,
    /// Java's own TLS on buffers (`SSLEngine`).
    JavaEngine,
    /// Java's own TLS on sockets (`SSLSocket`).
    JavaSocket,
    /// Both of them, in a JVM of this version; "engine" or "socket".
    AnyJava(u32, &'static str),
    /// axum over rustls.
    Rustls,
    /// nginx, by HTTP/2 too.
    NginxHttp2,
    /// nginx, which asks clients for their certificate.
    NginxMutual,
    /// uvicorn on uvloop: the system's OpenSSL on memory.
    Uvicorn,
    /// hypercorn on asyncio: the system's OpenSSL on memory.
    Hypercorn,
    /// Puma: the system's OpenSSL on memory.
    Puma,
    /// HAProxy: the system's OpenSSL, which reads and writes by functions of the program's own.
    Haproxy,
    /// A build of `tests/apps/tls/go`,
    GoBuild(&'static str),
    /// and one that asks clients for their certificate.
    GoMutual,
    /// grpc-go,
    GrpcGo,
    /// grpc-js,
    GrpcJs,
    /// and grpc-java with Netty inside: BoringSSL in a file that is deleted once it is loaded.
    GrpcJava,
}

impl Stack {
    /// Returns whether its plaintext is told by a part inside the JVM.
    #[must_use]
    pub fn is_java(self) -> bool {
        matches!(self, Stack::JavaEngine | Stack::JavaSocket | Stack::AnyJava(..))
    }
}

/// Returns the service in Rust, which is its own client.
pub fn rustls() -> Result<PathBuf> {
    let built = locate::testenv().join("rustls/release/rustls-service");
    built.is_file().then_some(built).context("the service is not built: `cargo xtask test` builds it")
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

    /// Starts another file of the program in Rust.
    pub fn start_rust(program: &Path, certificates: &Certificates) -> Result<Self> {
        let address = net::free_address()?;
        let command = serving(program, address, certificates);
        Self::start_by(command, address, Scratch::new("tls")?)
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

fn serving(program: &Path, address: SocketAddr, certificates: &Certificates) -> Command {
    let mut command = Command::new(program);
    command.arg("serve").arg(address.to_string()).arg(certificates.key()).arg(certificates.certificate());
    command
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
        Stack::Node | Stack::NodeHttp2 => {
            let mut command = Command::new(locate::program("node")?);
            command.arg(apps.join("tls/service.js")).arg(port).arg(key).arg(certificate);
            command.args((stack == Stack::NodeHttp2).then_some("http2"));
            command
        }
        Stack::Go => go(&super::go_service::binary()?, address, certificates),
        Stack::JavaEngine | Stack::JavaSocket => {
            let mut command = java("tls/Jsse.java")?;
            command.arg(if stack == Stack::JavaEngine { "engine" } else { "socket" });
            command.arg(port).arg(key).arg(certificate);
            command
        }
        Stack::AnyJava(version, way) => {
            let mut command = any_java(version)?;
            command.args(["serve", way, &port]).arg(key).arg(certificate);
            command
        }
        Stack::Rustls => serving(&rustls()?, address, certificates),
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
        Stack::Hypercorn => {
            let mut command = Command::new(locate::tls("python/bin/python")?);
            // Without workers, the process that is started serves.
            command.args(["-m", "hypercorn", "--workers", "0", "--bind", &address.to_string()]);
            command.arg("--keyfile").arg(key).arg("--certfile").arg(certificate).arg("asgi:app");
            command.current_dir(apps.join("tls")).env("PYTHONDONTWRITEBYTECODE", "1");
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
        Stack::Haproxy => haproxy(address, certificates, scratch)?,
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
        Stack::GrpcGo => serving(&locate::tls("users-grpc")?, address, certificates),
        Stack::GrpcJs => {
            let mut command = node_with_packages("tls/users_grpc.js")?;
            command.arg(port).arg(key).arg(certificate);
            command
        }
        Stack::GrpcJava => {
            let mut command = grpc_java()?;
            command.args(["serve", &port]).arg(key).arg(certificate);
            command
        }
    })
}

/// Returns a command that runs a program in Node with the packages that tests of TLS have.
pub fn node_with_packages(script: &str) -> Result<Command> {
    let mut command = Command::new(locate::program("node")?);
    command.arg(locate::apps().join(script)).env("NODE_PATH", locate::tls("node/node_modules")?);
    Ok(command)
}

/// Returns a command that runs a Java program from its source.
pub fn java(source: &str) -> Result<Command> {
    let mut command = jvm(17)?;
    command.arg(locate::apps().join(source));
    Ok(command)
}

/// Returns a command that runs the program that JVMs of all versions can run.
pub fn any_java(version: u32) -> Result<Command> {
    let mut command = jvm(version)?;
    command.arg("-cp").arg(locate::tls("any-java")?).arg("AnyJava");
    Ok(command)
}

/// Returns a JVM without what it is to run. It looks at every class that the part changes.
fn jvm(version: u32) -> Result<Command> {
    let mut command = Command::new(locate::java(version)?);
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-Xverify:all"]);
    Ok(command)
}

/// A Java program that asks a service over TLS when it is told to.
#[derive(Debug)]
pub struct JavaClient {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl JavaClient {
    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Starts it for a service.
    pub fn start(service: &TlsService, certificates: &Certificates) -> Result<Self> {
        let scratch = Scratch::new("java-client")?;
        let address = net::free_address()?;
        let mut command = java("tls/Jsse.java")?;
        command.arg("load").arg(address.port().to_string()).arg(service.url()).arg(certificates.authority());
        let mut running = Running::start("java-client", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || {
            // Without a request: a connection that is older than the agent would be kept, and its version is not known.
            Ok(tools::curl(&[&format!("http://{address}/socket/0/0/1")]).is_ok())
        })?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Asks for `count` users from `first` on, `in_flight` at once, by `way`: `engine` or `socket`.
    pub fn load(&self, way: &str, first: usize, count: usize, in_flight: usize) -> Result<()> {
        let url = format!("http://{}/{way}/{first}/{count}/{in_flight}", self.address);
        tools::curl(&["--fail", &url]).map(drop)
    }
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

fn haproxy(address: SocketAddr, certificates: &Certificates, scratch: &Scratch) -> Result<Command> {
    let pair = certificates.together(scratch)?;
    let settings = format!(
        "defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend users
    bind {address} ssl crt {}
    http-request return status 200 content-type text/plain string found
",
        pair.display(),
    );
    let settings = scratch.write("haproxy.cfg", settings)?;
    let mut command = Command::new(locate::program("haproxy")?);
    command.arg("-db").arg("-f").arg(settings);
    Ok(command)
}
