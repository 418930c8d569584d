//! Reverse proxies: the exchange with the upstream belongs to the one with the client.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use remora_tests::{locate, tools};
use serde_json::json;

use super::java::site_packages;
use super::{Framework, Load, Mode};
use crate::judge::Truth;
use crate::site::{Keys, Site};

const MODES: &[Mode] = &[Mode::Proxy];

pub(super) const ALL: &[Framework] = &[
    Framework {
        name: "nginx",
        title: "nginx, reverse proxy with upstream keepalive, two workers",
        needs: &[],
        modes: MODES,
        load: Load::Http(|site| {
            nginx(site, "proxy_http_version 1.1; proxy_set_header Connection \"\";", "keepalive 64;")
        }),
        truth: Truth::Server,
        versions: nginx_version,
    },
    Framework {
        name: "nginx-close",
        title: "nginx, reverse proxy with a new upstream connection for each request, two workers",
        needs: &[],
        modes: MODES,
        load: Load::Http(|site| nginx(site, "", "")),
        truth: Truth::Server,
        versions: nginx_version,
    },
    Framework {
        name: "haproxy",
        title: "HAProxy, upstream connections reused, a thread for each core",
        needs: &["haproxy"],
        modes: MODES,
        load: Load::Http(haproxy),
        truth: Truth::Server,
        versions: haproxy_version,
    },
    Framework {
        name: "envoy",
        title: "Envoy, HTTP/1 on both sides, two worker threads",
        needs: &["envoy"],
        modes: MODES,
        load: Load::Http(envoy),
        truth: Truth::Server,
        versions: envoy_version,
    },
];

fn nginx(site: &Site, proxy: &str, upstream: &str) -> Result<Vec<Command>> {
    let (listen, scheme, tls) = match site.keys() {
        None => ("", "http", String::new()),
        Some(Keys { key, certificate, authority }) => {
            let tls = format!(
                "ssl_certificate {certificate}; ssl_certificate_key {key};
        proxy_ssl_verify on; proxy_ssl_trusted_certificate {authority}; proxy_ssl_name localhost;"
            );
            ("ssl", "https", tls)
        }
    };
    let configuration = format!(
        "daemon off;
worker_processes 2;
pid nginx.pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream down {{ server {downstream}; {upstream} }}
    server {{
        listen {address} {listen} backlog=1024;
        {tls}
        location = /healthz {{ return 200 ok; }}
        location / {{ proxy_pass {scheme}://down; proxy_set_header Host $http_host; {proxy} }}
    }}
}}
",
        downstream = site.downstream,
        address = site.address(),
    );
    let path = site.scratch().write("nginx.conf", configuration)?;
    let mut command = site.command(locate::program("nginx")?);
    command.arg("-p").arg(site.scratch().path()).arg("-c").arg(path).args(["-e", "error.log"]);
    Ok(vec![command])
}

fn nginx_version() -> Result<Vec<String>> {
    let output = Command::new(locate::program("nginx")?).arg("-v").stdout(Stdio::null()).output()?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = printed.trim().rsplit('/').next().unwrap_or_default().to_owned();
    Ok(vec![format!("nginx {version}")])
}

fn haproxy(site: &Site) -> Result<Vec<Command>> {
    let (bind, server) = match site.keys() {
        None => (String::new(), String::new()),
        Some(Keys { key, certificate, authority }) => {
            let [certificate, key] = [certificate, key].map(std::fs::read_to_string);
            let pair = site.scratch().write("pair.pem", certificate? + &key?)?;
            let server = format!("ssl verify required ca-file {authority} verifyhost localhost");
            (format!("ssl crt {}", pair.display()), server)
        }
    };
    let configuration = format!(
        "defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
frontend front
    bind {address} {bind}
    http-request return status 200 content-type text/plain string ok if {{ path /healthz }}
    default_backend down
backend down
    http-reuse safe
    server down {downstream} {server}
",
        address = site.address(),
        downstream = site.downstream,
    );
    let path = site.scratch().write("haproxy.cfg", configuration)?;
    let mut command = site.command(locate::program("haproxy")?);
    command.arg("-db").arg("-f").arg(path);
    Ok(vec![command])
}

fn haproxy_version() -> Result<Vec<String>> {
    let printed = tools::printed(Command::new(locate::program("haproxy")?).arg("-v"))?;
    let version = printed.split_whitespace().nth(2).unwrap_or_default();
    Ok(vec![format!("HAProxy {version}")])
}

fn envoy(site: &Site) -> Result<Vec<Command>> {
    let (address, downstream) = (site.address(), site.downstream);
    let socket = |address: std::net::SocketAddr| json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } });
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let routes = json!([
        { "match": { "path": "/healthz" }, "direct_response": { "status": 200, "body": { "inline_string": "ok" } } },
        { "match": { "prefix": "/" }, "route": { "cluster": "down" } },
    ]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "lab",
        "http_filters": [router],
        "route_config": { "virtual_hosts": [{ "name": "lab", "domains": ["*"], "routes": routes }] },
    });
    let filter = json!({ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager });
    let listener =
        json!({ "name": "lab", "address": socket(address), "filter_chains": [{ "filters": [filter] }] });
    let endpoint = json!({ "endpoint": { "address": socket(downstream) } });
    let cluster = json!({
        "name": "down",
        "type": "STATIC",
        "load_assignment": { "cluster_name": "down", "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    let configuration = json!({ "static_resources": { "listeners": [listener], "clusters": [cluster] } });
    let path = site.scratch().write("envoy.json", configuration.to_string())?;
    let mut command = site.command(envoy_program()?);
    command.arg("-c").arg(path).args(["--concurrency", "2", "--log-level", "warning", "--base-id"]);
    // The id of its shared memory, which only has to be its own.
    command.arg(address.port().to_string());
    Ok(vec![command])
}

/// Returns the program itself: the one in `bin` is a Python script that starts it.
fn envoy_program() -> Result<PathBuf> {
    site_packages("envoy")?
        .map(|packages| packages.join("envoy/_bin/envoy"))
        .find(|program| program.is_file())
        .context("Envoy is not installed")
}

fn envoy_version() -> Result<Vec<String>> {
    let printed = tools::printed(Command::new(envoy_program()?).arg("--version"))?;
    let version = printed.split('/').nth(1).unwrap_or_default();
    Ok(vec![format!("Envoy {version}")])
}
