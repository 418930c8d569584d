//! A client and nginx with a firewall between them, which opens connections itself (`synproxy`), so that positions are
//! other ones on either side.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use remora_tests::cgroup::Cgroup;
use remora_tests::hosts::{Host, Hosts};
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::{locate, tools};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// Ports of the server: behind the firewall, likewise with TLS, and behind one that swallows options.
pub(crate) const REWRITTEN: u16 = 18_081;
pub(crate) const ENCRYPTED: u16 = 18_443;
pub(crate) const SWALLOWED: u16 = 18_082;

/// The router counts segments with the option, those of them that open connections, and those that are too long.
const FIREWALL: &str = "table ip firewall {
    counter options { }
    counter openings { }
    counter oversized { }
    chain early { type filter hook prerouting priority -300;
        iifname net1 tcp option 253 exists counter name options
        tcp option 253 exists tcp flags & syn == syn counter name openings
        iifname net1 meta length > 1500 counter name oversized
        tcp dport { 18081, 18443 } tcp flags & (syn | ack) == syn notrack; }
    chain forward { type filter hook forward priority 0;
        tcp dport 18082 tcp option 253 exists drop
        tcp dport { 18081, 18443 } ct state { invalid, untracked } synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state invalid drop; }
}
";

/// Makes a connection for each line of its input, and says how long the first answer took.
const CLIENT: &str = r#"
import http.client, ssl, sys, time
trust = ssl._create_unverified_context()
for line in sys.stdin:
    port, first, count, body = map(int, line.split())
    if port == 18443:
        connection = http.client.HTTPSConnection('10.77.2.2', port, timeout=20, context=trust)
    else:
        connection = http.client.HTTPConnection('10.77.2.2', port, timeout=20)
    connection.connect()
    times = []
    for number in range(first, first + count):
        begun = time.monotonic()
        connection.request('POST' if body else 'GET', '/items?n=%d' % number, b'x' * body or None)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() == b'ok', answer
        times.append(time.monotonic() - begun)
    connection.close()
    print(times[0], flush=True)
"#;

/// The hosts, and what runs there, in cgroups of its own.
pub(crate) struct Site {
    client: Client,
    client_group: Cgroup,
    nginx: Running,
    server_group: Cgroup,
    hosts: Hosts,
    _scratch: Scratch,
}

impl Site {
    pub(crate) fn start() -> Self {
        let (hosts, scratch) = (Hosts::make().unwrap(), Scratch::new("firewall").unwrap());
        let (client_group, server_group) = (Cgroup::new().unwrap(), Cgroup::new().unwrap());
        make_firewall(&hosts, &scratch);
        let nginx = start_nginx(&hosts, &scratch, &server_group);
        let client = Client::start(&hosts, &client_group);
        Self { client, client_group, nginx, server_group, hosts, _scratch: scratch }
    }

    /// Starts an agent for each of both ends.
    pub(crate) fn agents(&self, what: &str) -> Remora {
        let [client, server] =
            [&self.client_group, &self.server_group].map(|group| group.path().to_str().unwrap());
        let common = ["--propagate", what, "--propagate-in"];
        let flags = |pid: u32, group: &str| {
            let rule = format!("pid={pid}");
            ["--select", &rule]
                .into_iter()
                .chain(common)
                .chain([group])
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let client = flags(self.client.process.id(), client);
        let server = flags(self.nginx.id(), server);
        let mut remora = Remora::with_flags(&client.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        remora.add_agent(&server.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        remora
    }

    /// Makes a connection with so many requests, numbered from `first` on, with bodies of `body` bytes; returns how long
    /// the first answer took.
    pub(crate) fn ask(&mut self, port: u16, first: u32, count: u32, body: usize) -> Duration {
        writeln!(self.client.asked, "{port} {first} {count} {body}").unwrap();
        let mut answer = String::new();
        self.client.told.read_line(&mut answer).unwrap();
        Duration::from_secs_f64(answer.trim().parse().unwrap())
    }

    /// Returns how many packets the router has counted.
    pub(crate) fn counted(&self, what: &str) -> u64 {
        let mut nft = self.hosts.command(Host::Router, "nft").unwrap();
        let printed = tools::printed(nft.args(["list", "counter", "ip", "firewall", what])).unwrap();
        let (_, rest) = printed.split_once("packets ").unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    }
}

fn make_firewall(hosts: &Hosts, scratch: &Scratch) {
    let rules = scratch.write("rules", FIREWALL).unwrap();
    let mut nft = hosts.command(Host::Router, "nft").unwrap();
    tools::printed(nft.arg("-f").arg(rules)).unwrap();
    let mut sysctl = hosts.command(Host::Router, "sysctl").unwrap();
    tools::printed(sysctl.args(["-qw", "net.netfilter.nf_conntrack_tcp_loose=0"])).unwrap();
    // Else what the client sends is cut into segments only behind the router.
    let mut link = hosts.command(Host::Client, "ip").unwrap();
    tools::printed(link.args(["link", "set", "net1", "gso_max_segs", "1"])).unwrap();
}

fn start_nginx(hosts: &Hosts, scratch: &Scratch, group: &Cgroup) -> Running {
    let [key, certificate] = ["key", "certificate"].map(|name| scratch.path().join(name));
    let mut openssl = Command::new(locate::program("openssl").unwrap());
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=trial"]);
    tools::printed(openssl.arg("-keyout").arg(key).arg("-out").arg(certificate)).unwrap();
    let configuration = format!(
        "daemon off; master_process off; pid nginx.pid; events {{}}
         http {{ access_log off; client_max_body_size 10m; client_body_temp_path body;
           server {{ listen {REWRITTEN}; listen {SWALLOWED}; listen {ENCRYPTED} ssl;
             ssl_certificate certificate; ssl_certificate_key key;
             location / {{ return 200 'ok'; }} }} }}"
    );
    scratch.write("nginx.conf", configuration).unwrap();
    let mut nginx = hosts.command(Host::Proxy, "nginx").unwrap();
    nginx.arg("-p").arg(scratch.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
    let mut nginx = Running::start("nginx", scratch, &mut group.enclose(&nginx)).unwrap();
    let is_ready = || {
        let mut curl = hosts.command(Host::Client, "curl").unwrap();
        curl.args(["-sS", "--noproxy", "*", &format!("http://10.77.2.2:{REWRITTEN}/")]);
        Ok(tools::printed(&mut curl)? == "ok")
    };
    nginx.wait_ready(READY_WITHIN, is_ready).unwrap();
    nginx
}

/// The process that asks.
struct Client {
    process: Child,
    asked: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Client {
    fn start(hosts: &Hosts, group: &Cgroup) -> Self {
        let mut python = hosts.command(Host::Client, "python3").unwrap();
        python.args(["-c", CLIENT]);
        let mut command = group.enclose(&python);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asked, told) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        Self { process, asked, told: BufReader::new(told) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
