//! What `docs/tls.md` tells, line by line: a thousand requests inside TLS, by each way to come by it.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use remora_tests::bridge::Bridge;
use remora_tests::certificates::Certificates;
use remora_tests::remora::{self, Remora};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{
    FerretDb, Flavour, Kafka, Mysql, Nats, Postgres, Rabbitmq, Redis, TlsService, TlsStack as Stack, rustls,
};
use remora_tests::span::Span;
use remora_tests::tls_client::{Load, TlsClient, Way, linked_with};
use remora_tests::tls_table::{Library, Row};
use remora_tests::{locate, tools, wait};

/// Requests, how many of them are under way at once, and of how many thousand of them all must be found.
const REQUESTS: usize = 1000;
const IN_FLIGHT: usize = 32;
const PER_MILLE: usize = 999;
/// How many of a thousand must be joined where the records are those of Java's own TLS, of which a few find no place.
const JSSE_PER_MILLE: usize = 995;
/// How many of those that are missing are named.
const MAX_NAMED: usize = 20;
/// How long it may take until a large executable is searched, on a busy machine.
const WITHIN: Duration = Duration::from_secs(60);

/// A program of a line: its name, its runtime, and a part of the name of the file that holds its library.
#[derive(Clone, Copy)]
struct Program(&'static str, &'static str, &'static str);

/// In place of a file: Java's own TLS, which a part inside tells.
const JSSE: &str = "JSSE";
/// The program over rustls, which is server and client.
const RUSTLS: &str = "rustls-service";
/// What has the agent put parts into JVMs.
const WITH_PARTS: [&str; 2] = ["--attach", "jvm"];

/// Which server is asked.
#[derive(Clone, Copy, Debug)]
enum Service {
    Https(Stack),
    Postgres,
    PostgresEmbedded,
    Mysql(Flavour),
    Redis,
    FerretDb,
    Rabbitmq,
    Nats,
    Kafka,
    /// The same, when there is a part in its JVM.
    KafkaAttached,
}

/// A server that runs as long as this is kept.
struct Served {
    url: String,
    address: SocketAddr,
    id: Option<u32>,
    _server: Box<dyn Any>,
}

impl Service {
    fn start(self, certificates: &Certificates) -> anyhow::Result<Served> {
        let served = |scheme: &str, rest: &str, address: SocketAddr, id, server| {
            let url = format!("{scheme}localhost:{}{rest}", address.port());
            Served { url, address, id, _server: server }
        };
        Ok(match self {
            Service::Https(stack) => {
                let service = TlsService::start(stack, certificates)?;
                served("https://", "", service.address(), Some(service.id()), Box::new(service))
            }
            Service::Postgres | Service::PostgresEmbedded => {
                let is_embedded = matches!(self, Service::PostgresEmbedded);
                let mut postgres = if is_embedded { Postgres::start_embedded() } else { Postgres::start() }?;
                postgres.encrypt(certificates)?;
                let (address, id) = (postgres.address(), postgres.id());
                served(
                    "postgresql://postgres@",
                    "/postgres?sslmode=require",
                    address,
                    Some(id),
                    Box::new(postgres),
                )
            }
            Service::Mysql(flavour) => {
                let mysql = Mysql::start_encrypting(flavour, certificates)?;
                served("mysql://", "", mysql.address(), Some(mysql.id()), Box::new(mysql))
            }
            Service::Redis => {
                let redis = Redis::start_encrypted(certificates)?;
                served("rediss://", "", redis.address(), Some(redis.id()), Box::new(redis))
            }
            Service::FerretDb => {
                let server = FerretDb::start_encrypted(certificates)?;
                served("mongodb://", "/?tls=true", server.address(), Some(server.id()), Box::new(server))
            }
            Service::Rabbitmq => {
                let server = Rabbitmq::start_encrypted(certificates)?;
                served("amqps://", "", server.address(), None, Box::new(server))
            }
            Service::Nats => {
                let server = Nats::start_encrypted(certificates)?;
                served("tls://", "", server.address(), Some(server.id()), Box::new(server))
            }
            Service::Kafka | Service::KafkaAttached => {
                let server = Kafka::start_encrypted(certificates)?;
                served("", "", server.address(), Some(server.id()), Box::new(server))
            }
        })
    }

    /// Returns the program, its runtime and its library, where no function shows what it encrypts.
    fn hidden(self) -> Option<(&'static str, &'static str, Library)> {
        match self {
            Service::Rabbitmq => Some((
                "RabbitMQ",
                "Erlang",
                Library::named("Erlang's ssl", "none: its records are made in Erlang"),
            )),
            Service::Kafka => Some((
                "Kafka, the broker",
                "Java",
                Library::named("JSSE", "none: its records are made in Java"),
            )),
            _ => None,
        }
    }
}

/// Who is asked by whom, and which of them are told of.
struct Pair {
    service: Service,
    way: Way,
    server: Option<Program>,
    client: Option<Program>,
}

const fn client(way: Way, client: Program) -> Pair {
    Pair { service: Service::Https(Stack::Nginx), way, server: None, client: Some(client) }
}

const fn server(stack: Stack, server: Program) -> Pair {
    Pair { service: Service::Https(stack), way: Way::Node, server: Some(server), client: None }
}

const fn both(stack: Stack, server: Program, way: Way, client: Program) -> Pair {
    Pair { service: Service::Https(stack), way, server: Some(server), client: Some(client) }
}

/// What is to be looked up when all is sent.
struct Asked {
    what: String,
    address: SocketAddr,
    /// The server, where it is not seen.
    hidden: Option<(&'static str, &'static str, Library)>,
    server: Option<(Program, Library)>,
    client: Option<(Program, Library)>,
}

/// Has each client ask its server, and checks that all requests are found at both ends, and each with its own caller.
fn check(pairs: &[Pair]) {
    check_with(&[], pairs);
}

/// Does so with flags of the agent.
fn check_with(flags: &[&str], pairs: &[Pair]) {
    let certificates = Certificates::make().unwrap();
    let mut remora = Remora::with_flags(flags).unwrap();
    let asked: Vec<Asked> = pairs.iter().map(|pair| ask(pair, &certificates, &remora)).collect();
    let bridge = remora.finish().unwrap().clone();
    let wrong: Vec<String> = asked.iter().filter_map(|asked| compare(asked, &bridge).err()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", remora.agent_log());
}

fn ask(pair: &Pair, certificates: &Certificates, remora: &Remora) -> Asked {
    let service = pair.service.start(certificates).unwrap();
    let load = Load { first: 1, count: REQUESTS, in_flight: IN_FLIGHT };
    let mut client = TlsClient::start(pair.way, &service.url, certificates, load).unwrap();
    let what = format!("{:?} of {:?}", pair.way, pair.service);
    let address = service.address;
    wait_until_seen(&what, pair.service.hidden().is_none(), address, remora, &client);
    let of_server = pair.server.map(|program| (program, library(&program, service.id.unwrap())));
    let of_client = pair.client.map(|program| (program, library(&program, client.id())));
    client.ask().unwrap();
    Asked { what, address, hidden: pair.service.hidden(), server: of_server, client: of_client }
}

fn library(program: &Program, id: u32) -> Library {
    let Program(name, _, part) = program;
    let words: Vec<&str> = part.split(' ').collect();
    let is_running = || std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe.ends_with(RUSTLS));
    match words[..] {
        [JSSE] => Library::named(JSSE, "none: its records are made in Java"),
        // These live for a moment only.
        [RUSTLS] if !is_running() => Library::of_program(&rustls().unwrap()).unwrap(),
        [linked, part] => Library::of_file(&linked_with(linked, part).unwrap().expect(name)).unwrap(),
        _ => Library::of_process(id, part).unwrap(),
    }
}

/// Where the functions of both programs are has to be found once.
fn wait_until_seen(what: &str, is_joined: bool, address: SocketAddr, remora: &Remora, client: &TlsClient) {
    let waited = wait::until("a request is seen", WITHIN, || {
        let spans = remora.bridge().spans_of_server(address)?;
        // Who looks whether a server is there is another client.
        let is_asking =
            |span: &Span| user(span).is_some() || span.text("messaging.destination.name").is_some();
        let is_client_seen = spans.iter().any(|span| is_call(span) && is_whole(span) && is_asking(span));
        let is_server_seen = spans.iter().any(|span| span.kind == "server" && is_whole(span));
        Ok((is_client_seen && (is_server_seen || !is_joined)).then_some(()))
    });
    if let Err(error) = waited {
        let spans = remora.bridge().spans_of_server(address);
        panic!("{what}: {error:#}\n{}\n{spans:#?}\n{}", client.printed(), remora.agent_log());
    }
}

fn is_call(span: &Span) -> bool {
    ["client", "producer"].contains(&span.kind.as_str())
}

/// Returns whom a request was for.
fn user(span: &Span) -> Option<usize> {
    let number = |text: &str| {
        let at = text.rfind("users/").or_else(|| text.rfind("user_"))?;
        let digits = text.get(at..)?.trim_start_matches(|letter: char| !letter.is_ascii_digit());
        digits.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    };
    let keys = [
        "url.path",
        "url.full",
        "rpc.method",
        "db.query.text",
        "db.collection.name",
        "messaging.rabbitmq.destination.routing_key",
        "messaging.destination.name",
    ];
    keys.iter().filter_map(|key| span.text(key)).find_map(number)
}

fn is_whole(span: &Span) -> bool {
    let is_answered = match span.text("http.request.method") {
        Some(method) => method == "GET" && span.number("http.response.status_code") == Some(200),
        None => span.status != "error",
    };
    // No other request has a choice that shows in TLS 1.3.
    let is_http2 = span.text("network.protocol.version") == Some("2");
    let is_chosen = !is_http2 || span.text("tls.next_protocol") == Some("h2");
    is_answered && is_chosen && span.text("tls.protocol.version").is_some()
}

/// Compares what was found with what was asked, and has the lines recorded.
fn compare(asked: &Asked, bridge: &Bridge) -> Result<(), String> {
    let what = &asked.what;
    let spans = bridge.spans_of_server(asked.address).map_err(|error| format!("{what}: {error:#}"))?;
    // Records have no numbers that are told; each is sent by itself.
    let is_record = |span: &Span| {
        let is_sent = is_call(span) || asked.hidden.is_none() && span.kind == "server";
        span.text("messaging.destination.name") == Some("users") && is_sent
    };
    let is_counted = |span: &&Span| is_record(span) || user(span).is_some_and(|user| user != 0);
    let counted: Vec<&Span> = spans.iter().filter(is_counted).collect();
    let (clients, servers): (Vec<&Span>, Vec<&Span>) = counted.into_iter().partition(|span| is_call(span));
    let repeated = |spans: &[&Span]| {
        let numbered: Vec<_> =
            spans.iter().filter(|span| !is_record(span)).filter_map(|span| user(span)).collect();
        numbered.len() - numbered.iter().collect::<HashSet<_>>().len()
    };
    let repeated = repeated(&clients) + repeated(&servers);
    let found = |spans: &[&Span]| {
        let whole = spans.iter().filter(|span| is_whole(span));
        let (records, numbered): (Vec<&Span>, Vec<&Span>) = whole.partition(|span| is_record(span));
        records.len() + numbered.into_iter().filter_map(user).collect::<HashSet<_>>().len()
    };
    let callers: HashMap<&str, Option<usize>> =
        clients.iter().map(|span| (span.span_id.as_str(), user(span))).collect();
    let (mut joined, mut wrong) = (0, 0);
    for server in &servers {
        match server.parent_id.as_ref().map(|parent| callers.get(parent.as_str())) {
            None => {}
            Some(Some(caller)) if *caller == user(server) => joined += 1,
            Some(_) => wrong += 1,
        }
    }
    let told = [found(&clients), found(&servers), joined];
    let counts = if asked.hidden.is_none() { &told[..] } else { &told[..1] };
    println!(
        "{what}: {told:?} clients, servers and joined of {REQUESTS}, {wrong} wrong, {repeated} told twice"
    );
    let is_jsse = [&asked.server, &asked.client].into_iter().flatten().any(|(program, _)| program.2 == JSSE);
    let least = [PER_MILLE, PER_MILLE, if is_jsse { JSSE_PER_MILLE } else { PER_MILLE }];
    if wrong != 0
        || repeated != 0
        || counts.iter().zip(least).any(|(count, least)| *count < REQUESTS * least / 1000)
    {
        let missing = |spans: &[&Span]| {
            let found: HashSet<_> = spans.iter().filter_map(|span| user(span)).collect();
            (1..=REQUESTS).filter(|user| !found.contains(user)).take(MAX_NAMED).collect::<Vec<_>>()
        };
        let missing = [missing(&clients), missing(&servers)];
        let alone: Vec<_> = servers
            .iter()
            .filter(|span| span.parent_id.is_none())
            .map(|span| {
                let port = span.number("network.peer.port");
                let before = servers.iter().filter(|other| {
                    other.number("network.peer.port") == port && other.start_ns < span.start_ns
                });
                format!(
                    "user {:?}, {} requests behind the first of port {port:?}",
                    user(span),
                    before.count()
                )
            })
            .take(MAX_NAMED)
            .collect();
        return Err(format!("{what}: {told:?}, {wrong} wrong, without {missing:?}, alone {alone:#?}"));
    }
    for (program, library) in [&asked.server, &asked.client].into_iter().flatten() {
        let Program(name, runtime, _) = *program;
        let (program, runtime, library) = (name.to_owned(), runtime.to_owned(), library.clone());
        let row = Row {
            program,
            runtime,
            library,
            is_visible: true,
            joined: asked.hidden.is_none().then_some((joined, REQUESTS)),
        };
        row.record().map_err(|error| format!("{error:#}"))?;
    }
    let Some((program, runtime, library)) = asked.hidden.clone() else { return Ok(()) };
    let (program, runtime) = (program.to_owned(), runtime.to_owned());
    let row = Row { program, runtime, library, is_visible: told[1] > 0, joined: None };
    row.record().map_err(|error| format!("{error:#}"))
}

#[test]
#[ignore = "needs root"]
fn python() {
    check(&[
        client(Way::Python("requests"), Program("requests", "Python, ssl on sockets", "libssl.so")),
        client(Way::Python("httpx"), Program("httpx", "Python, ssl on sockets", "libssl.so")),
        client(Way::Python("httpx-async"), Program("httpx, async", "Python, asyncio", "libssl.so")),
        client(Way::Python("aiohttp"), Program("aiohttp", "Python, asyncio", "libssl.so")),
        client(Way::Python("uvloop"), Program("aiohttp on uvloop", "Python, uvloop", "libssl.so")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn python_with_libraries_of_its_packages() {
    check(&[
        client(Way::Python("pyopenssl"), Program("urllib3 on pyOpenSSL", "Python", "_rust.abi3")),
        client(Way::Python("pycurl"), Program("pycurl", "Python", "libssl-")),
        client(Way::Python("curl_cffi"), Program("curl_cffi", "Python", "_wrapper.abi3")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn python_services() {
    check(&[
        server(Stack::PythonThreads, Program("gunicorn, threads", "Python, ssl on sockets", "libssl.so")),
        server(Stack::PythonAsyncio, Program("asyncio streams", "Python, asyncio", "libssl.so")),
        server(Stack::Uvicorn, Program("uvicorn", "Python, uvloop", "libssl.so")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn go() {
    let current = Program("net/http server", "Go", "users");
    let stripped = |name, build| Program(name, "Go", build);
    check(&[
        both(Stack::GoBuild("users"), current, Way::Go("users"), Program("net/http", "Go", "users")),
        both(
            Stack::GoBuild("users-stripped"),
            stripped("net/http server, stripped", "users-stripped"),
            Way::Go("users-stripped"),
            stripped("net/http, stripped", "users-stripped"),
        ),
        both(
            Stack::GoBuild("users-pie"),
            stripped("net/http server, stripped PIE", "users-pie"),
            Way::Go("users-pie"),
            stripped("net/http, stripped PIE", "users-pie"),
        ),
        both(
            Stack::GoBuild("users-oldest"),
            stripped("net/http server of Go 1.22, stripped", "users-oldest"),
            Way::Go("users-oldest"),
            stripped("net/http of Go 1.22, stripped", "users-oldest"),
        ),
        both(
            Stack::GoBuild("users-newest"),
            stripped("net/http server of Go 1.27, stripped", "users-newest"),
            Way::Go("users-newest"),
            stripped("net/http of Go 1.27, stripped", "users-newest"),
        ),
    ]);
}

#[test]
#[ignore = "needs root"]
fn others() {
    check(&[
        both(
            Stack::Node,
            Program("Node https server", "Node", "node"),
            Way::Node,
            Program("Node https", "Node", "node"),
        ),
        both(
            Stack::Puma,
            Program("Puma", "Ruby", "libssl.so"),
            Way::Ruby,
            Program("net/http of Ruby", "Ruby", "libssl.so"),
        ),
        server(Stack::Nginx, Program("nginx", "C", "libssl.so")),
        client(Way::Curl, Program("curl", "C", "curl libssl.so")),
        client(Way::Wget, Program("wget", "C", "wget libgnutls")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn php_dotnet_and_haproxy() {
    check(&[
        client(Way::Php, Program("PHP, streams", "PHP", "php libssl.so")),
        client(Way::DotNet, Program("HttpClient of .NET Core 3.1", ".NET", "libssl.so.1.1")),
        server(Stack::Haproxy, Program("HAProxy", "C", "libssl.so")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn rust() {
    let rust = |name| Program(name, "Rust, tokio", RUSTLS);
    check(&[
        both(Stack::Rustls, rust("axum"), Way::Reqwest("http1"), rust("reqwest")),
        both(Stack::Rustls, rust("axum, HTTP/2"), Way::Reqwest("http2"), rust("reqwest, HTTP/2")),
    ]);
}

#[test]
#[ignore = "needs root"]
fn native_tls() {
    let reqwest = Program("reqwest, native-tls", "Rust, tokio", "libssl.so");
    check(&[Pair {
        service: Service::Https(Stack::Rustls),
        way: Way::NativeTls,
        server: None,
        client: Some(reqwest),
    }]);
}

#[test]
#[ignore = "needs root"]
fn undici_and_hypercorn() {
    let hypercorn = Program("hypercorn, HTTP/2", "Python, asyncio", "libssl.so");
    check(&[
        client(Way::NodePackage("undici"), Program("undici", "Node", "node")),
        Pair {
            service: Service::Https(Stack::Hypercorn),
            way: Way::NodeHttp2,
            server: Some(hypercorn),
            client: None,
        },
    ]);
}

#[test]
#[ignore = "needs root"]
fn http2() {
    check(&[
        both(
            Stack::NginxHttp2,
            Program("nginx, HTTP/2", "C", "libssl.so"),
            Way::CurlHttp2,
            Program("curl, HTTP/2", "C", "curl libssl.so"),
        ),
        Pair {
            service: Service::Https(Stack::GoBuild("users")),
            way: Way::NodeHttp2,
            server: Some(Program("net/http server, HTTP/2", "Go", "users")),
            client: Some(Program("Node http2", "Node", "node")),
        },
        Pair {
            service: Service::Https(Stack::NodeHttp2),
            way: Way::GoHttp2("users"),
            server: Some(Program("Node http2 server", "Node", "node")),
            client: Some(Program("net/http, HTTP/2", "Go", "users")),
        },
        both(
            Stack::GoBuild("users-newest"),
            Program("net/http server of Go 1.27, HTTP/2", "Go", "users-newest"),
            Way::GoHttp2("users-newest"),
            Program("net/http of Go 1.27, HTTP/2", "Go", "users-newest"),
        ),
    ]);
}

#[test]
#[ignore = "needs root"]
fn mutual() {
    check(&[
        both(
            Stack::GoMutual,
            Program("net/http server, mutual", "Go", "users"),
            Way::GoMutual,
            Program("net/http, mutual", "Go", "users"),
        ),
        Pair {
            service: Service::Https(Stack::NginxMutual),
            way: Way::GoMutual,
            server: Some(Program("nginx, mutual", "C", "libssl.so")),
            client: None,
        },
    ]);
}

#[test]
#[ignore = "needs root"]
fn grpc_go() {
    check(&[both(
        Stack::GrpcGo,
        Program("grpc-go server", "Go", "users-grpc"),
        Way::GrpcGo,
        Program("grpc-go", "Go", "users-grpc"),
    )]);
}

#[test]
#[ignore = "needs root"]
fn grpc_js() {
    check(&[both(
        Stack::GrpcJs,
        Program("grpc-js server", "Node", "node"),
        Way::NodePackage("grpc"),
        Program("grpc-js", "Node", "node"),
    )]);
}

#[test]
#[ignore = "needs root"]
fn grpc_java() {
    check(&[both(
        Stack::GrpcJava,
        Program("grpc-java server", "Java, Netty", "netty_tcnative"),
        Way::GrpcJava,
        Program("grpc-java", "Java, Netty", "netty_tcnative"),
    )]);
}

/// Both ends in one version of Java, each on either of JSSE's interfaces.
fn java(version: u32, names: [&'static str; 4], runtime: &'static str) {
    let [engine_server, socket_client, socket_server, engine_client] =
        names.map(|name| Program(name, runtime, JSSE));
    check_with(
        &WITH_PARTS,
        &[
            both(
                Stack::AnyJava(version, "engine"),
                engine_server,
                Way::AnyJava(version, "socket"),
                socket_client,
            ),
            both(
                Stack::AnyJava(version, "socket"),
                socket_server,
                Way::AnyJava(version, "engine"),
                engine_client,
            ),
        ],
    );
}

macro_rules! java {
    ($test:ident, $version:literal) => {
        #[test]
        #[ignore = "needs root"]
        fn $test() {
            let names = [
                concat!("SSLEngine, server, Java ", $version),
                concat!("HttpsURLConnection (SSLSocket), Java ", $version),
                concat!("SSLSocket, server, Java ", $version),
                concat!("SSLEngine, client, Java ", $version),
            ];
            java($version, names, "Java, with --attach jvm");
        }
    };
}

java!(java_8, 8);
java!(java_11, 11);
java!(java_17, 17);
java!(java_21, 21);
java!(java_25, 25);

#[test]
#[ignore = "needs root"]
fn java_programs() {
    let attached = "Java, with --attach jvm";
    let pgjdbc = Program("pgjdbc, sslmode=verify-full", attached, JSSE);
    check_with(
        &WITH_PARTS,
        &[
            both(
                Stack::JavaEngine,
                Program("HttpsServer of the JDK", attached, JSSE),
                Way::HttpClient,
                Program("HttpClient of the JDK", attached, JSSE),
            ),
            Pair { service: Service::Postgres, way: Way::Pgjdbc, server: None, client: Some(pgjdbc) },
        ],
    );
}

/// A client in Python, of which only the server is of interest where there is no line for it.
const fn database(
    service: Service,
    server: Option<Program>,
    library: &'static str,
    client: Option<Program>,
) -> Pair {
    Pair { service, way: Way::Python(library), server, client }
}

#[test]
#[ignore = "needs root"]
fn databases() {
    let ssl = "Python, ssl on sockets";
    check(&[
        database(
            Service::Postgres,
            Some(Program("PostgreSQL 15", "C", "libssl.so.3")),
            "psycopg",
            Some(Program("psycopg[binary]", "Python", "libssl-")),
        ),
        database(
            Service::PostgresEmbedded,
            Some(Program("PostgreSQL 17, embedded", "C", "libssl.so.1.1")),
            "psycopg",
            None,
        ),
        database(
            Service::Mysql(Flavour::Mysql),
            Some(Program("MySQL 8.0.15", "C++", "libssl.so.1.0.0")),
            "pymysql",
            Some(Program("PyMySQL", ssl, "libssl.so")),
        ),
        database(
            Service::Mysql(Flavour::Mariadb),
            Some(Program("MariaDB", "C++", "libssl.so.3")),
            "pymysql",
            None,
        ),
        database(
            Service::Redis,
            Some(Program("Redis", "C", "libssl.so.3")),
            "redis",
            Some(Program("redis-py", ssl, "libssl.so.3")),
        ),
        database(
            Service::FerretDb,
            Some(Program("FerretDB (MongoDB's protocol)", "Go", "ferretdb")),
            "pymongo",
            Some(Program("PyMongo", ssl, "libssl.so.3")),
        ),
    ]);
}

/// More clients of theirs.
#[test]
#[ignore = "needs root"]
fn drivers() {
    let ioredis = Program("ioredis", "Node", "node");
    check(&[
        database(
            Service::Mysql(Flavour::Mariadb),
            None,
            "mysql-connector",
            Some(Program("mysql-connector-python, in C", "Python", "libssl.so")),
        ),
        database(Service::Postgres, None, "psycopg2", Some(Program("psycopg2-binary", "Python", "libssl-"))),
        database(
            Service::Postgres,
            None,
            "asyncpg",
            Some(Program("asyncpg", "Python, asyncio", "libssl.so")),
        ),
        Pair {
            service: Service::Redis,
            way: Way::NodePackage("ioredis"),
            server: None,
            client: Some(ioredis),
        },
    ]);
}

#[test]
#[ignore = "needs root"]
fn nats() {
    let server = Program("nats-server", "Go", "nats-server");
    let client = Program("nats-py (JetStream)", "Python, asyncio", "libssl.so");
    check(&[database(Service::Nats, Some(server), "nats", Some(client))]);
}

#[test]
#[ignore = "needs root"]
fn amqp() {
    let client = Program("pika (AMQP)", "Python, ssl on sockets", "libssl.so.3");
    check(&[database(Service::Rabbitmq, None, "pika", Some(client))]);
}

#[test]
#[ignore = "needs root"]
fn kafka() {
    let client = Program("confluent-kafka (librdkafka)", "Python, C", "librdkafka");
    check(&[Pair { service: Service::Kafka, way: Way::Librdkafka, server: None, client: Some(client) }]);
}

#[test]
#[ignore = "needs root"]
fn kafka_attached() {
    let broker = Program("Kafka, the broker, with the part", "Java, with --attach jvm", JSSE);
    check_with(
        &WITH_PARTS,
        &[Pair { service: Service::KafkaAttached, way: Way::Librdkafka, server: Some(broker), client: None }],
    );
}

/// What has no symbols is not seen, and `remora explain` says so.
#[test]
#[ignore = "needs root"]
fn without_symbols() {
    let scratch = Scratch::new("grpcio").unwrap();
    let mut python = Command::new(locate::tls("python/bin/python").unwrap());
    python.args(["-c", "import grpc, threading; print('ready', flush=True); threading.Event().wait()"]);
    let mut running = Running::start("grpcio", &scratch, &mut python).unwrap();
    let id = running.id();
    wait::until("grpcio is loaded", WITHIN, || Ok(running.printed().contains("ready").then_some(())))
        .unwrap();
    let mut explain = Command::new(remora::binary("remora").unwrap());
    let told = tools::printed(explain.args(["explain", &id.to_string()])).unwrap();
    let (seen, not_seen) = told.split_once("not seen:").unwrap();
    assert!(not_seen.contains("cygrpc"), "{told}");
    let library = Library::of_process(id, "cygrpc").unwrap();
    let (program, runtime) = ("grpcio".to_owned(), "Python".to_owned());
    let row = Row { program, runtime, library, is_visible: seen.contains("cygrpc"), joined: None };
    row.record().unwrap();
    running.stop().unwrap();
}
