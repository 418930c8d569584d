//! Control groups: which one a process is in, and which container that is.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Control groups whose id is remembered; beyond it, a process that is gone before it was looked at takes its
/// parent's group.
const MAX_GROUPS: usize = 16_384;

/// Where a process stands in the hierarchies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Path in the v2 hierarchy or, where that says nothing, in a v1 hierarchy.
    pub cgroup: Option<String>,
    /// Identifier of the innermost container.
    pub container_id: Option<String>,
    /// Uid of the Kubernetes pod that the group is named after; of a static pod the hash of its configuration.
    pub pod_uid: Option<String>,
}

impl Membership {
    /// Returns what `/proc/PID/cgroup` says: lines of `hierarchy:controllers:path` (cgroups(7)).
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let entries: Vec<(&str, &str)> = text.lines().filter_map(entry).collect();
        let says_something = |path: &str| path != "/";
        let of = |wanted: &str| {
            entries.iter().find(|(controllers, path)| *controllers == wanted && says_something(path)).copied()
        };
        // On hybrid hosts the v2 hierarchy may be empty while systemd's own or a controller's tells the truth.
        let chosen = of("")
            .or_else(|| of("name=systemd"))
            .or_else(|| entries.iter().copied().find(|(_, path)| says_something(path)))
            .or_else(|| entries.iter().copied().find(|(controllers, _)| controllers.is_empty()));
        let by_path = chosen.and_then(|(_, path)| container_id(path));
        Self {
            cgroup: chosen.map(|(_, path)| path.to_owned()),
            container_id: by_path.or_else(|| entries.iter().find_map(|(_, path)| container_id(path))),
            pod_uid: entries.iter().find_map(|(_, path)| pod_uid(path)),
        }
    }
}

fn entry(line: &str) -> Option<(&str, &str)> {
    let (_hierarchy, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// Returns the identifier in the innermost path segment that names a container.
///
/// Docker, containerd, CRI-O and Podman name it by 64 hexadecimal digits, alone (cgroupfs driver) or between a
/// prefix and `.scope` (systemd driver); AWS Fargate by 32 digits, a dash and a number.
fn container_id(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|segment| {
        let unit =
            segment.strip_suffix(".scope").or_else(|| segment.strip_suffix(".service")).unwrap_or(segment);
        // `libpod-conmon-ID` is the container's monitor, which runs outside.
        if unit.starts_with("libpod-conmon-") || unit.starts_with("crio-conmon-") {
            return None;
        }
        // containerd writes `slice:prefix:ID` where its driver and that of systemd disagree.
        let unit = unit.rsplit(':').next().unwrap_or(unit);
        let last = unit.rsplit('-').next().unwrap_or(unit);
        if is_hex(last, 64) {
            return Some(last.to_owned());
        }
        let (task, number) = unit.split_once('-')?;
        let is_fargate =
            is_hex(task, 32) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_fargate.then(|| unit.to_owned())
    })
}

/// Returns the uid in the innermost path segment that names a pod.
///
/// The kubelet names it `podUID` (cgroupfs driver) or `kubepods-QOS-podUID.slice` with underscores for dashes (systemd
/// driver).
fn pod_uid(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|segment| {
        // containerd writes `slice:prefix:ID` where its driver and that of systemd disagree.
        let unit = segment.split(':').next().unwrap_or(segment);
        let unit = unit.strip_suffix(".slice").unwrap_or(unit);
        let (_, uid) = unit.split_once("pod").filter(|(before, _)| before.is_empty()).or_else(|| {
            // Inside kind, the slices are below one of its kubelet's.
            let inner = unit.strip_prefix("kubelet-").unwrap_or(unit);
            inner.strip_prefix("kubepods")?.rsplit_once("-pod")
        })?;
        let uid = uid.replace('_', "-");
        is_uid(&uid).then_some(uid)
    })
}

/// Whether it is a UUID with dashes, or a static pod's hash.
fn is_uid(text: &str) -> bool {
    let groups = [8, 4, 4, 4, 12];
    let is_uuid = text.split('-').count() == groups.len()
        && text.split('-').zip(groups).all(|(group, length)| is_hex(group, length));
    is_uuid || is_hex(text, 32)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns where the v2 hierarchy is mounted, from `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[must_use]
pub fn cgroup2_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (fields, tail) = line.split_once(" - ")?;
        let is_cgroup2 = tail.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| fields.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// Returns where the host's v2 hierarchy is found: also by an agent in a container without one, which sees the host's
/// mounts by way of the host's first process.
#[must_use]
pub fn host_cgroup2_mount() -> Option<PathBuf> {
    let mount = |pid: &str| {
        let mountinfo = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
        cgroup2_mount(&mountinfo)
    };
    let of_host = || Some(Path::new("/proc/1/root").join(mount("1")?.strip_prefix("/").ok()?));
    mount("self").or_else(of_host)
}

/// From the kernel's cgroup ids to memberships: learnt from the living, used for those who are gone.
#[derive(Debug, Default)]
pub(super) struct Groups {
    mount: Option<PathBuf>,
    by_id: HashMap<u64, Membership>,
}

impl Groups {
    /// Returns an empty map for this host.
    pub(super) fn of_host() -> Self {
        Self { mount: host_cgroup2_mount(), by_id: HashMap::new() }
    }

    /// Remembers the id of the group of a living process, whose `/proc/PID/cgroup` was `text`. What the kernel told when a
    /// program began is not used: a container's first program begins outside of its group.
    pub(super) fn learn(&mut self, text: &str, membership: &Membership) {
        let mut paths = text.lines().filter_map(entry).filter(|(controllers, _)| controllers.is_empty());
        // Where the v2 hierarchy is not used, everybody is at its root, whatever the others say.
        let Some((_, path)) = paths.next().filter(|(_, path)| *path != "/") else { return };
        let Some(id) = self.id(path) else { return };
        if self.by_id.len() >= MAX_GROUPS {
            self.by_id.clear();
        }
        self.by_id.insert(id, membership.clone());
    }

    /// Returns the id of a group: the inode number of its directory (kernfs, 64-bit).
    fn id(&self, path: &str) -> Option<u64> {
        // From another group's namespace the path leads out of what is mounted there.
        let path = Some(path.trim_start_matches('/')).filter(|path| !path.starts_with(".."))?;
        Some(std::fs::metadata(self.mount.as_ref()?.join(path)).ok()?.ino())
    }

    /// Returns the membership behind a cgroup id.
    pub(super) fn get(&self, id: u64) -> Option<&Membership> {
        self.by_id.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f3c4a5b6d7e8f900f3c4a5b6d7e8f900f3c4a5b6d7e8f900f3c4a5b6d7e8f90";
    const OTHER: &str = "aaaaaaaabbbbbbbbccccccccddddddddaaaaaaaabbbbbbbbccccccccdddddddd";

    #[test]
    fn container_ids_of_every_runtime_and_driver() {
        let pod = "kubepods-burstable-pod12345678_1234_1234_1234_123456789abc.slice";
        let table = [
            ("docker, cgroupfs, v1", format!("12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n")),
            ("docker, systemd, v2", format!("0::/system.slice/docker-{ID}.scope\n")),
            (
                "docker, rootless",
                format!("0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope"),
            ),
            ("containerd, cgroupfs, v1", format!("4:memory:/kubepods/burstable/pod1234-5678/{ID}\n0::/\n")),
            (
                "containerd, cgroupfs, hybrid",
                format!("4:memory:/\n0::/kubepods/besteffort/pod1234-5678/{ID}\n"),
            ),
            (
                "containerd, systemd, v2",
                format!("0::/kubepods.slice/kubepods-burstable.slice/{pod}/cri-containerd-{ID}.scope"),
            ),
            (
                "containerd, drivers disagree",
                format!("0::/system.slice/containerd.service/{pod}:cri-containerd:{ID}"),
            ),
            ("cri-o, systemd", format!("0::/kubepods.slice/{pod}/crio-{ID}.scope\n")),
            ("cri-o, nested cgroup", format!("0::/kubepods.slice/{pod}/crio-{ID}.scope/container\n")),
            ("podman, rootful", format!("0::/machine.slice/libpod-{ID}.scope/container\n")),
            ("podman, cgroupfs", format!("0::/libpod_parent/libpod-{ID}")),
            ("nerdctl", format!("0::/system.slice/nerdctl-{ID}.scope")),
            ("systemd inside docker", format!("0::/docker/{ID}/system.slice/nginx.service\n")),
            ("systemd inside docker, unit", format!("0::/system.slice/docker-{ID}.scope/init.scope\n")),
            (
                "kind: the inner container",
                format!("0::/docker/{OTHER}/kubelet.slice/{pod}/cri-containerd-{ID}.scope"),
            ),
            ("seen from another cgroup namespace", format!("0::/../../pod1234/{ID}\n")),
            ("ecs on ec2", format!("9:perf_event:/ecs/fe7e4fd6a08e4c13b2d2c1fe4e2cdd8b/{ID}\n")),
        ];
        for (case, text) in table {
            assert_eq!(Membership::parse(&text).container_id.as_deref(), Some(ID), "{case}");
        }
        let fargate = "fe7e4fd6a08e4c13b2d2c1fe4e2cdd8b-3456789012";
        let text = format!("0::/ecs/fe7e4fd6a08e4c13b2d2c1fe4e2cdd8b/{fargate}");
        assert_eq!(Membership::parse(&text).container_id.as_deref(), Some(fargate));
    }

    #[test]
    fn pods_of_every_runtime_driver_and_hierarchy() {
        let uid = "12345678-1234-1234-1234-123456789abc";
        let slice = "kubepods-burstable-pod12345678_1234_1234_1234_123456789abc.slice";
        let table = [
            ("containerd, cgroupfs, v1", format!("4:memory:/kubepods/burstable/pod{uid}/{ID}\n0::/\n")),
            ("containerd, cgroupfs, hybrid", format!("4:memory:/\n0::/kubepods/besteffort/pod{uid}/{ID}\n")),
            ("containerd, cgroupfs, v2, guaranteed", format!("0::/kubepods/pod{uid}/{ID}\n")),
            (
                "containerd, systemd, v2",
                format!("0::/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope"),
            ),
            (
                "containerd, systemd, v1",
                format!("11:cpu:/kubepods.slice/{slice}/cri-containerd-{ID}.scope\n1:name=systemd:/x\n"),
            ),
            (
                "containerd, drivers disagree",
                format!("0::/system.slice/containerd.service/{slice}:cri-containerd:{ID}"),
            ),
            (
                "cri-o, systemd, guaranteed",
                format!("0::/kubepods.slice/{}/crio-{ID}.scope", slice.replace("burstable-", "")),
            ),
            ("cri-o, cgroupfs", format!("0::/kubepods/burstable/pod{uid}/crio-{ID}/container")),
            ("docker, cgroupfs, v1", format!("12:pids:/kubepods/besteffort/pod{uid}/{ID}\n")),
            ("docker, systemd", format!("0::/kubepods.slice/{slice}/docker-{ID}.scope\n")),
            ("kind", format!("0::/docker/{OTHER}/kubelet.slice/kubelet-{slice}/cri-containerd-{ID}.scope")),
            ("seen from another cgroup namespace", format!("0::/../../pod{uid}/{ID}\n")),
        ];
        for (case, text) in table {
            let membership = Membership::parse(&text);
            assert_eq!(membership.pod_uid.as_deref(), Some(uid), "{case}");
            assert_eq!(membership.container_id.as_deref(), Some(ID), "{case}");
        }
        let hash = "0f3c4a5b6d7e8f900f3c4a5b6d7e8f90";
        let fixed = format!("0::/kubepods/burstable/pod{hash}/{ID}");
        assert_eq!(Membership::parse(&fixed).pod_uid.as_deref(), Some(hash));
    }

    #[test]
    fn what_is_no_pod_has_no_uid() {
        let uid = "12345678-1234-1234-1234-123456789abc";
        for text in [
            format!("0::/docker/{ID}"),
            format!("0::/user.slice/app-pod{uid}.slice"),
            format!("0::/kubepods/pod{}", &uid[1..]),
            format!("0::/kubepods/pod{uid}0"),
            "0::/kubepods/podman".to_owned(),
            "0::/kubepods.slice/kubepods-pod.slice".to_owned(),
        ] {
            assert_eq!(Membership::parse(&text).pod_uid, None, "{text}");
        }
    }

    #[test]
    fn what_is_no_container_has_no_id() {
        let table = [
            "0::/init.scope".to_owned(),
            "0::/user.slice/user-1000.slice/session-3.scope".to_owned(),
            "0::/system.slice/nginx.service".to_owned(),
            "4:memory:/process/d11302bef97adc9f30d4cdac5652517a\n0::/\n".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            format!("0::/system.slice/docker-{}.scope", &ID[1..]),
            String::new(),
            "garbage\n::\n0:".to_owned(),
        ];
        for text in table {
            assert_eq!(Membership::parse(&text).container_id, None, "{text}");
        }
    }

    #[test]
    fn the_path_is_the_one_that_says_something() {
        let cgroup = |text| Membership::parse(text).cgroup;
        assert_eq!(cgroup("4:memory:/m\n1:name=systemd:/s\n0::/unified\n").as_deref(), Some("/unified"));
        assert_eq!(cgroup("4:memory:/m\n1:name=systemd:/s\n0::/\n").as_deref(), Some("/s"));
        assert_eq!(cgroup("4:memory:/m\n1:name=systemd:/\n0::/\n").as_deref(), Some("/m"));
        assert_eq!(cgroup("0::/\n").as_deref(), Some("/"));
        assert_eq!(cgroup(""), None);
    }

    #[test]
    fn a_group_has_an_id_only_where_it_is_used_and_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("mount/pod1234"), folder.path().join("pod1234"));
        for pod in [&inside, &outside] {
            std::fs::create_dir_all(pod.join(ID)).unwrap();
        }
        let mut groups = Groups { mount: Some(folder.path().join("mount")), ..Groups::default() };
        let learn = |groups: &mut Groups, text: &str| groups.learn(text, &Membership::parse(text));
        // All are at the root of a hierarchy that nobody uses.
        learn(&mut groups, &format!("4:memory:/kubepods/pod1234/{ID}\n0::/\n"));
        // From another group's namespace the path leads out of the mount.
        learn(&mut groups, &format!("0::/../pod1234/{ID}\n"));
        assert!(groups.by_id.is_empty());
        learn(&mut groups, &format!("0::/pod1234/{ID}\n"));
        let id = std::fs::metadata(inside.join(ID)).unwrap().ino();
        assert_eq!(groups.get(id).unwrap().container_id.as_deref(), Some(ID));
    }

    #[test]
    fn the_v2_hierarchy_is_found_wherever_it_is_mounted() {
        let pure = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(cgroup2_mount(pure), Some("/sys/fs/cgroup".into()));
        let hybrid = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(cgroup2_mount(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup2_mount("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), None);
    }
}
