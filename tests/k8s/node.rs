//! A cluster of one node, with everything that a cluster has: etcd, API server, controllers, scheduler, DNS, kubelet,
//! kube-proxy and containerd.
//!
//! They have a network and mounts of their own, and the host's process ids and control groups, as nodes have. What
//! they write outside of their folder (`/var/lib`, `/var/log`, `/run`, the kernel's settings) is theirs alone, and
//! gone with the last of them.

mod files;

pub(crate) use files::NAME;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::{locate, tools, wait};

/// How long a component may take on a busy machine.
const START_WITHIN: Duration = Duration::from_secs(120);
/// Folders of the host that the node has for itself.
const OWN_FOLDERS: [&str; 3] = ["/var/lib", "/var/log", "/run"];
/// Settings of the kernel that the kubelet writes, and that no namespace holds.
const SETTINGS: [&str; 6] = [
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];
/// The address of the node, and of everything that runs on it outside of pods.
pub(crate) const ADDRESS: &str = "10.250.0.1";

/// The node. Dropping it ends all its processes, those in its pods too.
pub(crate) struct Node {
    scratch: Scratch,
    /// In the order in which they were started.
    components: Vec<Running>,
}

impl Node {
    /// Starts all of it in the namespaces of this process, which must be its own (see [`super::inside`]).
    pub(crate) fn start(images: &[PathBuf]) -> Result<Self> {
        let mut node = Self { scratch: Scratch::new("node")?, components: Vec::new() };
        node.isolate()?;
        node.make_network()?;
        node.write_files()?;
        node.start_control_plane()?;
        node.start_runtime(images)?;
        node.start_agents()?;
        Ok(node)
    }

    /// Runs kubectl as administrator and returns what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        tools::printed(self.kubectl_command().args(arguments))
    }

    /// Returns a kubectl of the administrator's.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new(locate::testenv().join("manifests/kubectl/kubectl"));
        command.arg("--kubeconfig").arg(self.path("admin.json"));
        command
    }

    /// Returns the folder in which a volume of the node's may be.
    pub(crate) fn volume(&self, name: &str) -> Result<PathBuf> {
        let folder = self.path(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Gives the node folders and settings of its own.
    fn isolate(&self) -> Result<()> {
        mount(&["--make-rshared", "/"])?;
        for folder in OWN_FOLDERS {
            // In memory, where there is nothing that outlives it.
            mount(&["-t", "tmpfs", "node", folder])?;
        }
        for (number, setting) in SETTINGS.iter().enumerate() {
            let target = format!("/proc/sys/{setting}");
            let own = self.scratch.write(&format!("setting{number}"), fs::read(&target)?)?;
            mount(&["--bind", own.to_str().context("a path that is not UTF-8")?, &target])?;
        }
        Ok(())
    }

    /// The node's address is that of a bridge, from which a default route leads nowhere else.
    fn make_network(&self) -> Result<()> {
        ip("link set lo up")?;
        ip("link add node0 type bridge")?;
        ip(&format!("addr add {ADDRESS}/24 dev node0"))?;
        ip("link set node0 up")?;
        ip("route add default via 10.250.0.254 dev node0")?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forward between pods")
    }

    fn start_control_plane(&mut self) -> Result<()> {
        let etcd = "http://127.0.0.1:2379";
        let data = self.argument("data-dir", "etcd");
        self.begin(
            "etcd",
            &[
                &data,
                "--unsafe-no-fsync",
                &format!("--listen-client-urls={etcd}"),
                &format!("--advertise-client-urls={etcd}"),
            ],
        )?;
        self.begin(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={etcd}"),
                &format!("--advertise-address={ADDRESS}"),
                "--authorization-mode=Node,RBAC",
                "--allow-privileged=true",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--kubelet-preferred-address-types=InternalIP",
                &self.argument("service-account-key-file", "accounts.pem"),
                &self.argument("service-account-signing-key-file", "accounts.key"),
                &self.argument("client-ca-file", "ca.pem"),
                &self.argument("tls-cert-file", "server.pem"),
                &self.argument("tls-private-key-file", "server.key"),
                &self.argument("kubelet-client-certificate", "admin.pem"),
                &self.argument("kubelet-client-key", "admin.key"),
            ],
        )?;
        self.until("the API server answers", |node| Ok(node.kubectl(&["get", "--raw", "/readyz"])? == "ok"))?;
        let kubeconfig = self.argument("kubeconfig", "admin.json");
        self.begin(
            "kube-controller-manager",
            &[
                &kubeconfig,
                "--use-service-account-credentials",
                &self.argument("service-account-private-key-file", "accounts.key"),
                &self.argument("root-ca-file", "ca.pem"),
            ],
        )?;
        self.begin("kube-scheduler", &[&kubeconfig])?;
        let corefile = self.path("Corefile").display().to_string();
        self.begin("coredns", &["-conf", &corefile])
    }

    fn start_runtime(&mut self, images: &[PathBuf]) -> Result<()> {
        let config = self.path("containerd.toml");
        let mut command = Command::new(locate::program("containerd")?);
        command.arg("--config").arg(config);
        self.run("containerd", &mut command)?;
        self.until("containerd answers", |node| node.ctr(&["version"]).map(|()| true))?;
        for image in images {
            let image = image.to_str().context("a path that is not UTF-8")?;
            self.ctr(&["images", "import", image])?;
        }
        Ok(())
    }

    fn start_agents(&mut self) -> Result<()> {
        self.begin(
            "kubelet",
            &[
                &self.argument("config", "kubelet.json"),
                &self.argument("root-dir", "kubelet"),
                &self.argument("kubeconfig", "kubelet-client.json"),
                &format!("--hostname-override={}", files::NAME),
                &format!("--node-ip={ADDRESS}"),
            ],
        )?;
        self.begin("kube-proxy", &[&self.argument("config", "proxy.json")])?;
        self.until("the node is ready", |node| {
            let path = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
            Ok(node.kubectl(&["get", "nodes", "--output", path])? == "True")
        })
    }

    /// Starts a component of Kubernetes.
    fn begin(&mut self, name: &str, arguments: &[&str]) -> Result<()> {
        let program = fs::canonicalize(locate::testenv().join("kubernetes/kubernetes"))
            .context("`cargo xtask test k8s` builds Kubernetes")?;
        let called = self.path(name).with_extension("program");
        fs::create_dir_all(&called)?;
        symlink(&program, called.join(name)).with_context(|| format!("name {name}"))?;
        self.run(name, Command::new(called.join(name)).args(arguments))
    }

    fn run(&mut self, name: &str, command: &mut Command) -> Result<()> {
        command.current_dir(self.scratch.path());
        let running = Running::start(name, &self.scratch, command)?;
        self.components.push(running);
        Ok(())
    }

    fn ctr(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(locate::program("ctr")?);
        command.arg("--address").arg(self.path("containerd.sock")).args(["--namespace", "k8s.io"]);
        tools::printed(command.args(arguments)).map(drop)
    }

    /// Waits for a condition; if it does not come, the error shows what components said last.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        wait::until(what, START_WITHIN, || Ok(condition(self)?.then_some(())))
            .with_context(|| self.last_words())
    }

    fn last_words(&self) -> String {
        let mut text = String::new();
        for component in &self.components {
            let said = component.printed();
            let last: Vec<_> = said.lines().rev().take(8).collect();
            text += &format!("{}:\n", component.name());
            last.iter().rev().for_each(|line| text += &format!("    {line}\n"));
        }
        text
    }

    fn argument(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.path(file).display())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nothing starts containers again once the kubelet is gone, and nothing else when they are.
        let runtime = self.components.iter().position(|one| one.name() == "containerd");
        while self.components.len() > runtime.map_or(0, |place| place + 1) {
            self.components.pop();
        }
        let shims = shims(&self.path("containerd/io.containerd.runtime.v2.task/k8s.io"));
        kill(&processes_of_pods());
        kill(&shims);
        while self.components.pop().is_some() {}
        remove_groups();
        // What containers and volumes were mounted from would keep the folder.
        unmount_below(self.scratch.path());
    }
}

fn unmount_below(folder: &Path) {
    let mounts = procfs::process::Process::myself().and_then(|own| own.mountinfo());
    let below = mounts.into_iter().flatten().map(|mount| mount.mount_point);
    let mut below: Vec<_> = below.filter(|point| point.starts_with(folder)).collect();
    below.reverse();
    for point in below {
        let mut command = Command::new("umount");
        if let Err(error) = tools::printed(command.arg("--lazy").arg(&point)) {
            eprintln!("{error:#}");
        }
    }
}

/// Returns the parents of the first processes of all containers.
fn shims(tasks: &Path) -> Vec<u32> {
    let tasks = fs::read_dir(tasks).into_iter().flatten().flatten();
    let first = tasks.filter_map(|task| fs::read_to_string(task.path().join("init.pid")).ok()?.parse().ok());
    first
        .filter_map(|pid: i32| procfs::process::Process::new(pid).ok()?.stat().ok()?.ppid.try_into().ok())
        .collect()
}

/// Returns the folders of pods' control groups in every hierarchy.
fn groups() -> Vec<PathBuf> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let pods = hierarchies.map(|hierarchy| hierarchy.path().join("kubepods"));
    pods.chain(["/sys/fs/cgroup/kubepods".into()]).filter(|folder| folder.is_dir()).collect()
}

fn processes_of_pods() -> Vec<u32> {
    let mut found = Vec::new();
    for group in groups() {
        visit(&group, &mut |folder| {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|&pid| pid != 0));
        });
    }
    found.sort_unstable();
    found.dedup();
    found
}

fn remove_groups() {
    let is_empty = || {
        groups().iter().for_each(|group| visit(group, &mut |folder| drop(fs::remove_dir(folder))));
        Ok(groups().is_empty().then_some(()))
    };
    if let Err(error) = wait::until("the pods' control groups are gone", Duration::from_secs(20), is_empty) {
        eprintln!("{error:#}");
    }
}

/// Calls `look` for a folder and all below, the deepest first.
fn visit(folder: &Path, look: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            visit(&entry.path(), look);
        }
    }
    look(folder);
}

fn kill(pids: &[u32]) {
    use rustix::process::{Pid, Signal, kill_process};
    let known = pids.iter().filter_map(|&pid| Pid::from_raw(pid.try_into().ok()?));
    // One that has ended meanwhile is as good.
    for pid in known {
        let _ended = kill_process(pid, Signal::KILL);
    }
}

fn ip(arguments: &str) -> Result<()> {
    let mut command = Command::new(locate::program("ip")?);
    tools::printed(command.args(arguments.split(' '))).map(drop)
}

fn mount(arguments: &[&str]) -> Result<()> {
    tools::printed(Command::new(locate::program("mount")?).args(arguments)).map(drop)
}

/// Fails where the control groups of pods are there already: they are another cluster's.
pub(crate) fn ensure_alone() -> Result<()> {
    let groups = groups();
    ensure!(
        groups.is_empty(),
        "this host is a node of a cluster already, or of a test that was killed: {groups:?}"
    );
    Ok(())
}
