//! Programs that ask a service over TLS, each by another way to TLS.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, tools};

/// How long all requests may take.
const DONE_WITHIN: Duration = Duration::from_secs(120);

/// A program, or one library of Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A library of Python, as `tests/apps/tls/ask.py` names it.
    Python(&'static str),
    /// Node's `https`.
    Node,
    /// Node's `http2`.
    NodeHttp2,
    /// A package of Node, as `tests/apps/tls/load.js` names it.
    NodePackage(&'static str),
    /// Ruby's `net/http`.
    Ruby,
    /// A build of `tests/apps/tls/go`.
    Go(&'static str),
    /// The same by HTTP/2.
    GoHttp2(&'static str),
    /// The same with a certificate of its own.
    GoMutual,
    /// grpc-go.
    GrpcGo,
    /// `curl`, by HTTP/1.1,
    Curl,
    /// and by HTTP/2.
    CurlHttp2,
    /// `wget`, many at once.
    Wget,
    /// PHP's streams, in many processes at once.
    Php,
    /// reqwest over rustls, "http1" or "http2".
    Reqwest(&'static str),
    /// reqwest over native-tls.
    NativeTls,
    /// grpc-java with Netty inside.
    GrpcJava,
    /// Java's own TLS, "engine" or "socket" (by `HttpsURLConnection`), in a JVM of this version.
    AnyJava(u32, &'static str),
    /// `HttpClient` of .NET Core 3.1.
    DotNet,
    /// Java's `HttpClient`.
    HttpClient,
    /// pgjdbc, which checks the server's certificate and name.
    Pgjdbc,
    /// librdkafka in Python: one producer for all that is under way at once.
    Librdkafka,
}

/// What a program is to ask.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The first user.
    pub first: usize,
    /// How many.
    pub count: usize,
    /// How many at once.
    pub in_flight: usize,
}

/// A program that asks for user 0 until it is told to ask for the others.
#[derive(Debug)]
pub struct TlsClient {
    running: Running,
    begin: PathBuf,
    _scratch: Scratch,
}

impl TlsClient {
    /// Starts it. `server` is a URL as the program takes it.
    pub fn start(way: Way, server: &str, certificates: &Certificates, load: Load) -> Result<Self> {
        let scratch = Scratch::new("asking")?;
        let begin = scratch.path().join("begin");
        let mut command = command(way)?;
        command.args([server, &certificates.authority().display().to_string()]);
        command.args([load.first, load.count, load.in_flight].map(|number| number.to_string())).arg(&begin);
        match way {
            Way::NodeHttp2 => drop(command.arg("http2")),
            Way::NodePackage(name) => drop(command.arg(name)),
            Way::DotNet => drop(command.env("SSL_CERT_FILE", certificates.authority())),
            Way::GoMutual => drop(command.arg(certificates.key()).arg(certificates.certificate())),
            _ => {}
        }
        let running = Running::start("asking", &scratch, &mut command)?;
        Ok(Self { running, begin, _scratch: scratch })
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Lets it ask for all users, and returns when it has.
    pub fn ask(&mut self) -> Result<()> {
        fs::write(&self.begin, "")?;
        let status = self.running.wait(DONE_WITHIN)?;
        ensure!(status.success(), "the client ended with {status}; it printed:\n{}", self.running.printed());
        Ok(())
    }

    /// Returns what it printed.
    #[must_use]
    pub fn printed(&self) -> String {
        self.running.printed()
    }
}

/// Returns the program, without what all of them take.
fn command(way: Way) -> Result<Command> {
    let apps = locate::apps().join("tls");
    let shell = |script: &str| -> Result<Command> {
        let mut command = Command::new(locate::program("bash")?);
        command.arg(apps.join("ask.sh")).arg(script);
        Ok(command)
    };
    Ok(match way {
        Way::Python(library) => {
            let mut command = Command::new(locate::tls("python/bin/python")?);
            command.arg(apps.join("ask.py")).arg(library).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Way::Librdkafka => {
            let mut command = Command::new(locate::tls("python/bin/python")?);
            command.arg(apps.join("send.py")).env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Way::Node | Way::NodeHttp2 => {
            let mut command = Command::new(locate::program("node")?);
            command.arg(apps.join("load.js"));
            command
        }
        Way::NodePackage(_) => super::servers::node_with_packages("tls/load.js")?,
        Way::Ruby => {
            let mut command = Command::new(locate::program("ruby")?);
            command.arg(apps.join("ask.rb"));
            command
        }
        Way::Go(build) => go(build)?,
        Way::GoMutual => go("users")?,
        Way::GrpcGo => go("users-grpc")?,
        Way::GoHttp2(build) => {
            let mut command = go(build)?;
            command.env("HTTP2", "1");
            command
        }
        Way::Curl => shell("curl")?,
        Way::CurlHttp2 => shell("curl-http2")?,
        Way::Wget => shell("wget")?,
        Way::Php => {
            let mut command = shell("php")?;
            command.env("ASK", apps.join("ask.php"));
            command
        }
        Way::Reqwest(version) => {
            let mut command = shell(version)?;
            command.env("ASK", super::servers::rustls()?);
            command
        }
        Way::NativeTls => Command::new(native_tls()?),
        Way::GrpcJava => {
            let mut command = super::servers::grpc_java()?;
            command.arg("ask");
            command
        }
        Way::AnyJava(version, way) => {
            let mut command = super::servers::any_java(version)?;
            command.args(["ask", way]);
            command
        }
        Way::DotNet => Command::new(locate::tls("dotnet/ask")?),
        Way::HttpClient => {
            let mut command = super::servers::java("tls/Jsse.java")?;
            command.arg("ask");
            command
        }
        Way::Pgjdbc => {
            let mut command = Command::new(locate::java(17)?);
            command.args(["-Xmx256m", "-cp"]).arg(locate::testenv().join("jdbc/*"));
            command.arg(apps.join("Pg.java"));
            command
        }
    })
}

fn native_tls() -> Result<PathBuf> {
    let built = locate::testenv().join("native-tls/release/native-tls-client");
    built.is_file().then_some(built).context("the client is not built: `cargo xtask test` builds it")
}

fn go(build: &str) -> Result<Command> {
    let mut command = Command::new(locate::tls(build)?);
    command.arg("ask");
    Ok(command)
}

/// Returns the file of a library with which a program is linked, by a part of its name.
pub fn linked_with(program: &str, part: &str) -> Result<Option<PathBuf>> {
    let printed = tools::printed(Command::new("ldd").arg(locate::program(program)?))?;
    let line = printed.lines().find(|line| line.contains(part));
    Ok(line.and_then(|line| line.split_whitespace().find(|word| word.starts_with('/'))).map(PathBuf::from))
}
