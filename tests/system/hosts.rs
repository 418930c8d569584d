//! curl → address translation → nginx → Go service, each on a host with an agent of its own, which sees nothing of the
//! others: the bridge must make one trace of each request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remora_tests::certificates::Certificates;
use remora_tests::hosts::{Host, Hosts};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::span::Span;
use remora_tests::tools;

const READY_WITHIN: Duration = Duration::from_secs(30);
/// Requests of each client, and clients by each way.
const REQUESTS: u32 = 100;
const CLIENTS: u32 = 4;
/// Requests on the connection that is older than the agents, and how fast they come.
const OLD_REQUESTS: u32 = 600;
const OLD_RATE: &str = "40/s";

/// Requests that are asked ten at a time.
const PIPELINED_REQUESTS: u32 = 200;

/// What runs on the hosts.
struct Servers {
    _nginx: Running,
    _service: Running,
    certificates: Certificates,
    _scratch: Scratch,
}

impl Servers {
    fn start(hosts: &Hosts) -> Result<Self> {
        let scratch = Scratch::new("hosts")?;
        let certificates = Certificates::make()?;
        let mut service = hosts.command(Host::Service, "items")?;
        let mut service =
            Running::start("items", &scratch, service.args(["-listen", &Hosts::service().to_string()]))?;
        let [ipv4, ipv6] = Hosts::proxy();
        let configuration = format!(
            "daemon off; pid nginx.pid; events {{}}
             http {{ access_log off; keepalive_requests 1000000;
               upstream service {{ server {}; keepalive 16; }}
               ssl_certificate {}; ssl_certificate_key {};
               server {{ listen {ipv4}; listen {ipv6}; listen {} ssl http2;
                 location / {{ proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}",
            Hosts::service(),
            certificates.certificate().display(),
            certificates.key().display(),
            Hosts::proxy_tls(),
        );
        scratch.write("nginx.conf", configuration)?;
        let mut nginx = hosts.command(Host::Proxy, "nginx")?;
        nginx.arg("-p").arg(scratch.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        let mut nginx = Running::start("nginx", &scratch, &mut nginx)?;
        let answers = |address: SocketAddr| {
            let mut curl = hosts.command(Host::Client, "curl")?;
            let url = format!("http://{address}/plain");
            let answer = tools::printed(curl.args(["--silent", "--noproxy", "*", "--max-time", "5", &url]))?;
            Ok(answer == "Hello, world!")
        };
        service.wait_ready(READY_WITHIN, || Ok(true))?;
        nginx.wait_ready(READY_WITHIN, || answers(Hosts::translated()))?;
        nginx.wait_ready(READY_WITHIN, || answers(ipv6))?;
        Ok(Self { _nginx: nginx, _service: service, certificates, _scratch: scratch })
    }

    /// Starts a client that asks inside TLS, by this version of HTTP, behind address translation.
    fn ask_encrypted(&self, hosts: &Hosts, first: u32, count: u32, version: &str) -> Result<Child> {
        let server = Hosts::translated_tls();
        let name = format!("localhost:{}", server.port());
        let mut curl = hosts.command(Host::Client, "curl")?;
        curl.arg("--cacert").arg(self.certificates.authority());
        curl.arg("--connect-to").arg(format!("{name}:{server}")).arg(version);
        spawn(curl, "https", &name, first, count)
    }
}

/// Starts a client that asks for the numbers from `first` on, one after the other on one connection.
fn ask(hosts: &Hosts, server: SocketAddr, first: u32, count: u32, flags: &[&str]) -> Result<Child> {
    let mut curl: Command = hosts.command(Host::Client, "curl")?;
    curl.args(flags);
    spawn(curl, "http", &server.to_string(), first, count)
}

fn spawn(mut curl: Command, scheme: &str, server: &str, first: u32, count: u32) -> Result<Child> {
    let url = format!("{scheme}://{server}/plain?n=[{first}-{}]", first + count - 1);
    curl.args(["--silent", "--noproxy", "*", "--output", "/dev/null"]).arg(url);
    curl.stdin(Stdio::null()).spawn().context("start curl")
}

/// Asks for numbers from `first` on, ten requests in one write on one connection, when told to.
const PIPELINED: &str = r#"
import socket, sys
host, port, first, count = sys.argv[1], *map(int, sys.argv[2:])
sys.stdin.readline()
connection = socket.create_connection((host, port))
for start in range(first, first + count, 10):
    asked = (b"GET /plain?n=%d HTTP/1.1\r\nHost: shop\r\n\r\n" % number for number in range(start, start + 10))
    connection.sendall(b"".join(asked))
    answered = b""
    while answered.count(b"Hello, world!") < 10:
        answered += connection.recv(65536) or sys.exit("closed")
"#;

/// Starts a client that pipelines, which passes for another curl.
fn pipeline(hosts: &Hosts, server: SocketAddr, first: u32, count: u32) -> Result<Child> {
    let mut python = hosts.command(Host::Client, "python3")?;
    let numbers = [u32::from(server.port()), first, count].map(|number| number.to_string());
    python.args(["-c", PIPELINED, &server.ip().to_string()]).args(numbers);
    python.env("OTEL_SERVICE_NAME", "curl").stdin(Stdio::piped()).spawn().context("start python3")
}

/// What is known of one request: its spans by service and kind.
type Request<'a> = HashMap<(&'a str, &'a str), &'a Span>;

fn number(span: &Span) -> Option<u32> {
    let query = span.text("url.query").or_else(|| span.text("url.full"))?;
    query.rsplit_once("n=")?.1.parse().ok()
}

#[test]
#[ignore = "needs root"]
fn three_hosts_make_one_trace_behind_address_translation() {
    let hosts = Hosts::make().unwrap();
    let servers = Servers::start(&hosts).unwrap();
    let mut old = ask(&hosts, Hosts::translated(), 1_000_000, OLD_REQUESTS, &["--rate", OLD_RATE]).unwrap();
    let mut remora =
        Remora::with_flags(&["--select", "exe=*/curl", "--select", "cmd=*socket.create_connection*"])
            .unwrap();
    remora.add_agent(&["--select", "exe=*/nginx"]).unwrap();
    remora.add_agent(&["--select", "exe=*/items"]).unwrap();
    let [_, ipv6] = Hosts::proxy();
    let clients: Vec<Child> = (0..2 * CLIENTS)
        .map(|index| {
            let server = if index < CLIENTS { Hosts::translated() } else { ipv6 };
            ask(&hosts, server, index * REQUESTS, REQUESTS, &[]).unwrap()
        })
        .collect();
    let encrypted = ["--http1.1", "--http2"]
        .into_iter()
        .zip(2 * CLIENTS..)
        .map(|(version, index)| servers.ask_encrypted(&hosts, index * REQUESTS, REQUESTS, version).unwrap());
    for mut client in clients.into_iter().chain(encrypted) {
        assert!(client.wait().unwrap().success());
    }
    let mut pipelining = pipeline(&hosts, Hosts::translated(), 2_000_000, PIPELINED_REQUESTS).unwrap();
    remora.wait_observed(pipelining.id()).unwrap();
    drop(pipelining.stdin.take());
    assert!(pipelining.wait().unwrap().success());
    assert!(old.wait().unwrap().success());
    let bridge = remora.finish().unwrap();
    let spans = bridge.spans_with("url.path", &"/plain".into()).unwrap();
    drop(servers);
    let (all, older) = check_requests(&spans).unwrap();
    assert_eq!(all, (2 * CLIENTS + 2) * REQUESTS + PIPELINED_REQUESTS);
    assert!(older > OLD_REQUESTS / 4, "{older} requests of the older connection");
}

/// Checks that each request is one trace of four spans, each below the other; returns how many there were on new
/// connections, and on the older one.
fn check_requests(spans: &[Span]) -> Result<(u32, u32)> {
    let mut requests: HashMap<u32, Request<'_>> = HashMap::new();
    for span in spans {
        let number = number(span).with_context(|| format!("a span without number: {span:?}"))?;
        requests.entry(number).or_default().insert((&span.service, &span.kind), span);
    }
    let (mut new, mut older, mut unsure) = (0, 0, 0);
    for (number, request) in requests {
        let chain = [("curl", "client"), ("nginx", "server"), ("nginx", "client"), ("items", "server")];
        let found: Vec<&Span> = chain.iter().filter_map(|key| request.get(key).copied()).collect();
        if (1_000_000..2_000_000).contains(&number) {
            // The agents began one after the other, in the middle of it.
            if found.len() < chain.len() {
                continue;
            }
            older += 1;
        } else {
            ensure!(found.len() == chain.len(), "request {number} has only {found:#?}");
            new += 1;
        }
        for pair in found.windows(2) {
            let [above, below] = pair else { continue };
            // What nginx does for requests that it has read at once is nobody's, and so is what else it does in that turn.
            if number >= 1_000_000 && above.service == below.service && below.parent_id.is_none() {
                unsure += u32::from(number < 2_000_000);
                continue;
            }
            ensure!(below.parent_id.as_ref() == Some(&above.span_id), "request {number}: {found:#?}");
            ensure!(below.trace_id == above.trace_id, "request {number}: {found:#?}");
        }
    }
    ensure!(unsure <= OLD_REQUESTS / 60, "{unsure} calls have no parent");
    Ok((new, older))
}
