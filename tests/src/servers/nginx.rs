//! nginx with a generated configuration.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// An nginx with one worker: static files, or a reverse proxy.
#[derive(Debug)]
pub struct Nginx {
    address: SocketAddr,
    running: Running,
    scratch: Scratch,
}

impl Nginx {
    /// Starts a reverse proxy that keeps connections to `upstream` open.
    pub fn proxy(upstream: SocketAddr) -> Result<Self> {
        let location =
            "proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\";";
        Self::start(
            &format!("upstream upstream {{ server {upstream}; keepalive 64; }}"),
            &format!("location / {{ {location} }}"),
            &[],
        )
    }

    /// Starts one that speaks HTTP/2 inside TLS to its clients.
    pub fn encrypted_proxy(upstream: SocketAddr, certificates: &Certificates) -> Result<Self> {
        let location =
            "proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\";";
        let [certificate, key] = [certificates.certificate(), certificates.key()];
        Self::listening(
            "ssl http2",
            &format!("upstream upstream {{ server {upstream}; keepalive 64; }}"),
            &format!(
                "ssl_certificate {}; ssl_certificate_key {}; location / {{ {location} }}",
                certificate.display(),
                key.display()
            ),
            &[],
        )
    }

    /// Starts a reverse proxy that asks `upstream` after it has tried `failing`, each as often as the other.
    pub fn proxy_that_retries(upstream: SocketAddr, failing: &[SocketAddr]) -> Result<Self> {
        let servers: String = failing
            .iter()
            .chain([&upstream])
            .map(|server| format!("server {server} max_fails=0; "))
            .collect();
        Self::start(
            &format!("upstream upstream {{ {servers}keepalive 64; }}"),
            "location / { proxy_pass http://upstream; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
             proxy_next_upstream error timeout; proxy_next_upstream_tries 8; }",
            &[],
        )
    }

    /// Starts a server of static files with these names and contents.
    pub fn files(files: &[(&str, &[u8])]) -> Result<Self> {
        Self::start("", "location / { root files; }", files)
    }

    fn start(http: &str, server: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        Self::listening("", http, server, files)
    }

    fn listening(how: &str, http: &str, server: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        let scratch = Scratch::new("nginx")?;
        std::fs::create_dir(scratch.path().join("files"))?;
        for (name, contents) in files {
            scratch.write(&format!("files/{name}"), contents)?;
        }
        let address = net::free_address()?;
        let configuration =
            scratch.write("nginx.conf", configuration(&format!("{address} {how}"), http, server))?;
        let mut command = Command::new(locate::program("nginx")?);
        command.arg("-p").arg(scratch.path()).arg("-c").arg(configuration).args(["-e", "error.log"]);
        let mut running = Running::start("nginx", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, running, scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the process id of its master.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Returns what it logged as errors.
    #[must_use]
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("error.log")).unwrap_or_default()
    }
}

fn configuration(listen: &str, http: &str, server: &str) -> String {
    format!(
        "daemon off;
worker_processes 1;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    keepalive_requests 1000000;
    client_max_body_size 64m;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    {http}
    server {{
        listen {listen} backlog=1024;
        {server}
    }}
}}
"
    )
}
