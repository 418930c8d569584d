//! Reverse proxies: the exchange with the upstream belongs to the one with the client.

use anyhow::Result;
use remora_tests::{locate, tools};
use std::process::{Command, Stdio};

use super::{Framework, Load, Mode};
use crate::judge::Truth;
use crate::site::Site;

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
];

fn nginx(site: &Site, proxy: &str, upstream: &str) -> Result<Vec<Command>> {
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
        listen {address} backlog=1024;
        location = /healthz {{ return 200 ok; }}
        location / {{ proxy_pass http://down; proxy_set_header Host $http_host; {proxy} }}
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

#[expect(dead_code, reason = "for the proxies to come")]
fn first_line(command: &mut Command) -> Result<String> {
    Ok(tools::printed(command)?.lines().next().unwrap_or_default().to_owned())
}
