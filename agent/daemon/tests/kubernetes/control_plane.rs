//! etcd and kube-apiserver.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// How long the API server may take to be ready.
const START_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct ControlPlane {
    folder: TempDir,
    ports: [u16; 3],
    etcd: Child,
    server: Child,
    runtime: Runtime,
}

impl ControlPlane {
    pub(crate) fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let program = fs::canonicalize(root.join("target/testenv/kubernetes/kubernetes"))
            .expect("`cargo xtask test kubernetes` builds it");
        let folder = tempfile::tempdir().unwrap();
        for name in ["etcd", "kube-apiserver"] {
            symlink(&program, folder.path().join(name)).unwrap();
        }
        write_files(folder.path());
        let ports = free_ports();
        let etcd = etcd(folder.path(), ports);
        let server = server(folder.path(), ports);
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut plane = Self { folder, ports, etcd, server, runtime };
        plane.wait_ready();
        plane
    }

    /// Returns a client that may do everything, and where it runs.
    pub(crate) fn admin(&self) -> (Client, tokio::runtime::Handle) {
        (self.client("admin"), self.runtime.handle().clone())
    }

    /// Returns the agent's way to the API server.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.write_kubeconfig("remora")
    }

    /// Kills the API server, lets `meanwhile` look, and starts it again.
    pub(crate) fn restart(&mut self, meanwhile: impl FnOnce()) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        meanwhile();
        self.server = server(self.folder.path(), self.ports);
        self.wait_ready();
    }

    /// Returns how often a user has asked for what, by the API server's own audit log.
    pub(crate) fn requests_of(&self, user: &str) -> BTreeMap<String, u64> {
        let log = fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        let mut counts = BTreeMap::new();
        for line in log.lines() {
            let event: serde_json::Value = serde_json::from_str(line).unwrap();
            if event["stage"] == "RequestReceived" && event["user"]["username"] == user {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
                let what = format!("{} {}", text(&event["verb"]), text(&event["objectRef"]["resource"]));
                *counts.entry(what).or_default() += 1;
            }
        }
        counts
    }

    fn wait_ready(&mut self) {
        let deadline = Instant::now() + START_PATIENCE;
        // Its certificate is its own, which it writes when it starts for the first time.
        let certificate = self.folder.path().join("certificates/apiserver.crt");
        loop {
            if let Some(status) = self.server.try_wait().unwrap() {
                let log = fs::read_to_string(self.folder.path().join("server.log")).unwrap();
                panic!("kube-apiserver ended with {status}:\n{log}");
            }
            if certificate.exists() {
                let client = self.client("admin");
                let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
                if self.runtime.block_on(client.request_text(request)).is_ok_and(|text| text == "ok") {
                    return;
                }
            }
            assert!(Instant::now() < deadline, "kube-apiserver is not ready within {START_PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn client(&self, user: &str) -> Client {
        let path = self.write_kubeconfig(user);
        self.runtime.block_on(async {
            let file = Kubeconfig::read_from(path).unwrap();
            let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            Client::try_from(config).unwrap()
        })
    }

    fn write_kubeconfig(&self, user: &str) -> PathBuf {
        let folder = self.folder.path();
        let (certificate, port) = (folder.join("certificates/apiserver.crt"), self.ports[2]);
        let text = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "certificate-authority": certificate}}],
            "users": [{"name": user, "user": {"token": format!("{user}-token")}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        });
        let path = folder.join(format!("{user}.json"));
        fs::write(&path, text.to_string()).unwrap();
        path
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.etcd] {
            // It may have ended by itself, which the test has noticed.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

fn write_files(folder: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("sa.key"), key.serialize_pem()).unwrap();
    fs::write(folder.join("sa.pub"), key.public_key_pem()).unwrap();
    let users = "admin-token,admin,1,system:masters\nremora-token,remora,2\n";
    fs::write(folder.join("tokens.csv"), users).unwrap();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  users: [remora]\n- level: None\n";
    fs::write(folder.join("audit.yaml"), policy).unwrap();
}

fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn etcd(folder: &Path, [client, peer, _]: [u16; 3]) -> Child {
    let url = |port| format!("http://127.0.0.1:{port}");
    let mut command = Command::new(folder.join("etcd"));
    command.arg("--data-dir").arg(folder.join("etcd-data")).arg("--unsafe-no-fsync");
    command.args(["--listen-client-urls", &url(client), "--advertise-client-urls", &url(client)]);
    command.args(["--listen-peer-urls", &url(peer), "--initial-advertise-peer-urls", &url(peer)]);
    command.args(["--initial-cluster", &format!("default={}", url(peer))]);
    started(&mut command, &folder.join("etcd.log"))
}

fn server(folder: &Path, [etcd, _, port]: [u16; 3]) -> Child {
    let file = |flag: &str, name: &str| format!("--{flag}={}", folder.join(name).display());
    let mut command = Command::new(folder.join("kube-apiserver"));
    command.arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"));
    command.arg(format!("--secure-port={port}"));
    command.args([
        "--bind-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
    ]);
    command.args([
        file("cert-dir", "certificates"),
        file("token-auth-file", "tokens.csv"),
        file("service-account-key-file", "sa.pub"),
        file("service-account-signing-key-file", "sa.key"),
        file("audit-policy-file", "audit.yaml"),
        file("audit-log-path", "audit.log"),
    ]);
    started(&mut command, &folder.join("server.log"))
}

fn started(command: &mut Command, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"))
}
