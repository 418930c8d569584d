//! What the components read: keys, certificates and configurations.

use std::fs;
use std::process::Command;

use anyhow::Result;
use remora_tests::{locate, tools};
use serde_json::{Value, json};

use super::{ADDRESS, Node};

/// The name of the node.
pub(crate) const NAME: &str = "node-1";
const PODS: &str = "10.244.0.0/24";
const ELLIPTIC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

impl Node {
    pub(super) fn write_files(&self) -> Result<()> {
        self.write_keys()?;
        self.write_client("admin", "admin")?;
        self.write_client("kubelet-client", "kubelet")?;
        self.scratch.write("containerd.toml", self.containerd())?;
        let network = self.volume("networks")?;
        fs::write(network.join("pods.conflist"), network_of_pods().to_string())?;
        self.scratch.write("kubelet.json", self.kubelet().to_string())?;
        self.scratch.write("proxy.json", self.proxy().to_string())?;
        let kubeconfig = self.path("admin.json");
        let corefile = format!(
            ".:53 {{\n bind {ADDRESS}\n errors\n kubernetes cluster.local {{\n  kubeconfig {}\n }}\n}}\n",
            kubeconfig.display()
        );
        self.scratch.write("Corefile", corefile).map(drop)
    }

    /// An authority, what it certifies, and the key that signs the tokens of service accounts.
    fn write_keys(&self) -> Result<()> {
        let mut authority = vec!["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-nodes"];
        authority.extend(ELLIPTIC);
        self.openssl(&authority, &[("-keyout", "ca.key"), ("-out", "ca.pem")])?;
        self.certify("server", "/CN=kube-apiserver")?;
        self.certify("admin", "/O=system:masters/CN=admin")?;
        self.certify("kubelet", &format!("/O=system:nodes/CN=system:node:{NAME}"))?;
        let key = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
        self.openssl(&key, &[("-out", "accounts.key")])?;
        self.openssl(&["pkey", "-pubout"], &[("-in", "accounts.key"), ("-out", "accounts.pem")])
    }

    /// The same names stand in all certificates: only those of servers are compared.
    fn certify(&self, name: &str, subject: &str) -> Result<()> {
        let names = format!(
            "subjectAltName=DNS:kubernetes.default.svc,DNS:{NAME},IP:{ADDRESS},IP:10.96.0.1,IP:127.0.0.1"
        );
        self.scratch.write("names", names)?;
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let mut request = vec!["req", "-subj", subject, "-nodes"];
        request.extend(ELLIPTIC);
        self.openssl(&request, &[("-keyout", &key), ("-out", "request")])?;
        self.openssl(
            &["x509", "-req", "-days", "2", "-CAcreateserial"],
            &[
                ("-in", "request"),
                ("-CA", "ca.pem"),
                ("-CAkey", "ca.key"),
                ("-extfile", "names"),
                ("-out", &certificate),
            ],
        )
    }

    fn openssl(&self, arguments: &[&str], files: &[(&str, &str)]) -> Result<()> {
        let mut command = Command::new(locate::program("openssl")?);
        command.args(arguments).args(files.iter().flat_map(|file| [file.0, file.1]));
        tools::printed(command.current_dir(self.scratch.path())).map(drop)
    }

    /// A client's way to the API server.
    fn write_client(&self, name: &str, certificate: &str) -> Result<()> {
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "node",
            "clusters": [{ "name": "node", "cluster": {
                "server": format!("https://{ADDRESS}:6443"), "certificate-authority": self.path("ca.pem"),
            }}],
            "users": [{ "name": "user", "user": {
                "client-certificate": self.path(&format!("{certificate}.pem")),
                "client-key": self.path(&format!("{certificate}.key")),
            }}],
            "contexts": [{ "name": "node", "context": { "cluster": "node", "user": "user" } }],
        });
        self.scratch.write(&format!("{name}.json"), text.to_string()).map(drop)
    }

    fn containerd(&self) -> String {
        let path = |name: &str| json!(self.path(name));
        format!(
            r#"version = 2
root = {root}
state = {state}
[grpc]
address = {socket}
[plugins."io.containerd.internal.v1.opt"]
path = {opt}
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:1"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = {networks}
"#,
            root = path("images"),
            state = path("containerd"),
            socket = path("containerd.sock"),
            opt = path("opt"),
            networks = path("networks"),
        )
    }

    fn kubelet(&self) -> Value {
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": format!("unix://{}", self.path("containerd.sock").display()),
            "authentication": { "anonymous": { "enabled": false }, "x509": { "clientCAFile": self.path("ca.pem") } },
            "tlsCertFile": self.path("server.pem"), "tlsPrivateKeyFile": self.path("server.key"),
            "cgroupDriver": "cgroupfs", "failCgroupV1": false, "failSwapOn": false, "enforceNodeAllocatable": [],
            "clusterDNS": [ADDRESS], "clusterDomain": "cluster.local", "resolvConf": "",
            "makeIPTablesUtilChains": false, "localStorageCapacityIsolation": false,
            "imageGCHighThresholdPercent": 100, "evictionHard": { "memory.available": "64Mi" },
            "volumePluginDir": self.path("plugins"), "podLogsDir": self.path("logs"),
        })
    }

    fn proxy(&self) -> Value {
        json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
            "clientConnection": { "kubeconfig": self.path("admin.json") },
            "mode": "iptables", "hostnameOverride": NAME, "clusterCIDR": PODS,
            "conntrack": { "maxPerCore": 0, "min": 0 },
        })
    }
}

fn network_of_pods() -> Value {
    json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "pods0", "isDefaultGateway": true, "hairpinMode": true,
                "ipam": { "type": "host-local", "ranges": [[{ "subnet": PODS }]] },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}
