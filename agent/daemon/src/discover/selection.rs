//! Which processes are observed: rules such as `exe=/usr/bin/python*`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::glob;
use super::process::Process;
use crate::kubernetes::{LEFT_ALONE, Pod};

/// The keys of rules and what each is compared with.
pub const KEYS: &[(&str, &str)] = &[
    ("exe", "path of the executable, with * and ?"),
    ("cmd", "command line, with * and ?"),
    ("port", "local TCP port that the process listens on or is connected from"),
    ("pid", "process id, and all processes it starts"),
    ("container", "container id, with * and ?"),
    ("cgroup", "path of the control group, with * and ?"),
    ("namespace", "namespace of the pod, with * and ?"),
    ("label", "label of the pod: NAME, or NAME=VALUE with * and ? in the value"),
];

/// Why a rule cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no key.
    #[error("selection rule {rule:?} has no '=': write KEY=PATTERN with one of the keys {}", keys())]
    NoKey {
        /// The rule.
        rule: String,
    },
    /// The key does not exist.
    #[error("selection rule {rule:?} begins with the unknown key {key:?}: the keys are {}", keys())]
    UnknownKey {
        /// The rule.
        rule: String,
        /// The key.
        key: String,
    },
    /// The number is none, or too large.
    #[error("selection rule {rule:?}: {value:?} is no {what}")]
    Number {
        /// The rule.
        rule: String,
        /// What should be a number.
        value: String,
        /// What it should be.
        what: &'static str,
    },
    /// Nothing follows the key.
    #[error("selection rule {rule:?} has no pattern after '='")]
    Empty {
        /// The rule.
        rule: String,
    },
}

fn keys() -> String {
    KEYS.iter().map(|(key, _)| *key).collect::<Vec<_>>().join(", ")
}

/// One condition on a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `exe=`
    Executable(String),
    /// `cmd=`
    Command(String),
    /// `port=`
    Port(u16),
    /// `pid=`
    Pid(u32),
    /// `container=`
    Container(String),
    /// `cgroup=`
    Cgroup(String),
    /// `namespace=`
    Namespace(String),
    /// `label=`, the name and a pattern for the value.
    Label(String, Option<String>),
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(rule: &str) -> Result<Self, Error> {
        let (key, value) = rule.split_once('=').ok_or_else(|| Error::NoKey { rule: rule.to_owned() })?;
        let value = value.trim();
        if value.is_empty() {
            return Err(Error::Empty { rule: rule.to_owned() });
        }
        let no_number = |what| Error::Number { rule: rule.to_owned(), value: value.to_owned(), what };
        match key.trim() {
            "exe" => Ok(Rule::Executable(value.to_owned())),
            "cmd" => Ok(Rule::Command(value.to_owned())),
            "port" => {
                value.parse().ok().filter(|&port| port != 0).map(Rule::Port).ok_or_else(|| no_number("port"))
            }
            "pid" => value
                .parse()
                .ok()
                .filter(|&pid| pid != 0)
                .map(Rule::Pid)
                .ok_or_else(|| no_number("process id")),
            "container" => Ok(Rule::Container(value.to_owned())),
            "cgroup" => Ok(Rule::Cgroup(value.to_owned())),
            "namespace" => Ok(Rule::Namespace(value.to_owned())),
            "label" => Ok(match value.split_once('=') {
                Some((name, value)) => Rule::Label(name.to_owned(), Some(value.to_owned())),
                None => Rule::Label(value.to_owned(), None),
            }),
            key => Err(Error::UnknownKey { rule: rule.to_owned(), key: key.to_owned() }),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Executable(pattern) => write!(f, "exe={pattern}"),
            Rule::Command(pattern) => write!(f, "cmd={pattern}"),
            Rule::Port(port) => write!(f, "port={port}"),
            Rule::Pid(pid) => write!(f, "pid={pid}"),
            Rule::Container(pattern) => write!(f, "container={pattern}"),
            Rule::Cgroup(pattern) => write!(f, "cgroup={pattern}"),
            Rule::Namespace(pattern) => write!(f, "namespace={pattern}"),
            Rule::Label(name, None) => write!(f, "label={name}"),
            Rule::Label(name, Some(pattern)) => write!(f, "label={name}={pattern}"),
        }
    }
}

/// Which processes are observed: those that an include rule matches, or all if there is none, without those that an
/// exclude rule matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// `--select`.
    pub include: Vec<Rule>,
    /// `--exclude`.
    pub exclude: Vec<Rule>,
    /// Where spans are sent, if that may be on this host: the process that listens there is never observed.
    pub receiver_port: Option<u16>,
    /// Only what this process starts, directly or not, and not itself.
    pub descendants_of: Option<u32>,
}

/// What the rules say of one process, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether its sockets are observed.
    pub observe: bool,
    /// Why.
    pub reason: String,
    /// Whether it will be judged again as soon as its pod is known.
    pub awaits_pod: bool,
}

impl Decision {
    fn yes(reason: impl Into<String>) -> Self {
        Self { observe: true, reason: reason.into(), awaits_pod: false }
    }

    fn no(reason: impl Into<String>) -> Self {
        Self { observe: false, reason: reason.into(), awaits_pod: false }
    }
}

/// What a decision may have to look up.
pub(super) trait Surroundings {
    /// Returns the local TCP ports of a process, in any state.
    fn has_local_port(&self, tgid: u32, port: u16) -> bool;
    /// Returns whether a process listens on the port.
    fn listens_on(&self, tgid: u32, port: u16) -> bool;
    /// Returns whether `ancestor` is the process's parent, or its parent's, and so on.
    fn descends_from(&self, process: &Process, ancestor: u32) -> bool;
    /// Returns what is known of the pod that a process is in.
    fn pod(&self, process: &Process) -> InPod;
}

/// Whether a process is in a pod.
#[derive(Clone, Debug)]
pub(super) enum InPod {
    /// In none, or in one of which nothing will be known.
    No,
    /// In one that will be known in a moment.
    Awaited,
    /// In this one.
    Of(Arc<Pod>),
}

impl Selection {
    /// Returns whether the spans of processes that nobody has judged yet are better reported than not.
    #[must_use]
    pub fn observes_unknown(&self) -> bool {
        self.include.is_empty() && self.descendants_of.is_none()
    }

    /// Returns whether a rule is about ports, so that decisions change while a process runs.
    pub(super) fn has_port_rules(&self) -> bool {
        self.include.iter().chain(&self.exclude).any(|rule| matches!(rule, Rule::Port(_)))
    }

    /// Decides on a process by its rules and by what it listens on.
    pub(super) fn decide(&self, process: &Process, surroundings: &impl Surroundings) -> Decision {
        let decision = self.decide_at_start(process, surroundings);
        if decision.observe {
            self.excluded_by_socket(process, surroundings).unwrap_or(decision)
        } else {
            decision
        }
    }

    /// Decides on a process that begins a program, and listens on nothing yet.
    pub(super) fn decide_at_start(&self, process: &Process, surroundings: &impl Surroundings) -> Decision {
        if process.tgid == std::process::id() {
            return Decision::no("it is this agent");
        }
        if let Some(ancestor) = self.descendants_of
            && !surroundings.descends_from(process, ancestor)
        {
            return Decision::no(format!("it was not started by process {ancestor}"));
        }
        // What an agent tries, asks and sends is nobody's request.
        match executable_name(process) {
            Some("remora") => return Decision::no("it is an agent"),
            Some("remora-bridge") => return Decision::no("it is the bridge"),
            _ => {}
        }
        match surroundings.pod(process) {
            // Its owner may not want it.
            InPod::Awaited => {
                return Decision { awaits_pod: true, ..Decision::no("its pod is not known yet") };
            }
            InPod::Of(pod) if pod.is_left_alone => {
                return Decision::no(format!("its pod has the annotation {LEFT_ALONE}: \"false\""));
            }
            InPod::Of(_) | InPod::No => {}
        }
        if let Some(rule) = self.exclude.iter().find(|rule| rule.matches(process, surroundings)) {
            return Decision::no(format!("the rule --exclude {rule} matches"));
        }
        if self.include.is_empty() {
            return Decision::yes("every process is selected by default");
        }
        match self.include.iter().find(|rule| rule.matches(process, surroundings)) {
            Some(rule) => Decision::yes(format!("the rule --select {rule} matches")),
            None => Decision::no("no --select rule matches"),
        }
    }

    /// Returns why a process is not observed because of a socket that it has; none if no socket speaks against it.
    pub(super) fn excluded_by_socket(
        &self,
        process: &Process,
        surroundings: &impl Surroundings,
    ) -> Option<Decision> {
        let is_port = |rule: &&Rule| matches!(rule, Rule::Port(_)) && rule.matches(process, surroundings);
        if let Some(rule) = self.exclude.iter().find(is_port) {
            return Some(Decision::no(format!("the rule --exclude {rule} matches")));
        }
        let port = self.receiver_port.filter(|&port| surroundings.listens_on(process.tgid, port))?;
        Some(Decision::no(format!("it listens on port {port}, where spans are sent")))
    }
}

impl Rule {
    fn matches(&self, process: &Process, surroundings: &impl Surroundings) -> bool {
        match self {
            Rule::Executable(pattern) => process
                .executable
                .as_ref()
                .is_some_and(|path| glob::matches(pattern, &path.to_string_lossy())),
            Rule::Command(pattern) => glob::matches(pattern, &process.arguments.join(" ")),
            Rule::Port(port) => surroundings.has_local_port(process.tgid, *port),
            Rule::Pid(pid) => process.tgid == *pid || surroundings.descends_from(process, *pid),
            Rule::Container(pattern) => {
                process.container_id.as_ref().is_some_and(|id| glob::matches(pattern, id))
            }
            Rule::Cgroup(pattern) => process.cgroup.as_ref().is_some_and(|path| glob::matches(pattern, path)),
            Rule::Namespace(pattern) => {
                matches!(surroundings.pod(process), InPod::Of(pod) if glob::matches(pattern, &pod.namespace))
            }
            Rule::Label(name, pattern) => {
                let InPod::Of(pod) = surroundings.pod(process) else { return false };
                let pattern = pattern.as_deref().unwrap_or("*");
                pod.own_labels.get(name).is_some_and(|value| glob::matches(pattern, value))
            }
        }
    }
}

fn executable_name(process: &Process) -> Option<&str> {
    match &process.executable {
        Some(path) => path.file_name()?.to_str(),
        None => process.arguments.first()?.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl Surroundings for Fake {
        fn has_local_port(&self, tgid: u32, port: u16) -> bool {
            (tgid, port) == (10, 8080)
        }
        fn listens_on(&self, tgid: u32, port: u16) -> bool {
            (tgid, port) == (11, 4317)
        }
        fn descends_from(&self, process: &Process, ancestor: u32) -> bool {
            process.parent == ancestor
        }
        fn pod(&self, process: &Process) -> InPod {
            match process.pod_uid.as_deref() {
                Some("new") => InPod::Awaited,
                Some(uid) => {
                    let mut pod = Pod::default();
                    pod.namespace.push_str("shop-2");
                    pod.own_labels.insert("app".to_owned(), "web".to_owned());
                    pod.is_left_alone = uid == "private";
                    InPod::Of(Arc::new(pod))
                }
                None => InPod::No,
            }
        }
    }

    fn in_pod(uid: &str) -> Process {
        Process { pod_uid: Some(uid.to_owned()), ..process(10) }
    }

    fn process(tgid: u32) -> Process {
        Process {
            tgid,
            parent: 1,
            executable: Some("/usr/bin/python3.11".into()),
            arguments: vec!["python3".to_owned(), "/srv/gunicorn".to_owned(), "app:app".to_owned()],
            container_id: Some("abcdef".to_owned()),
            cgroup: Some("/kubepods/burstable/pod1/abcdef".to_owned()),
            ..Process::default()
        }
    }

    fn selection(include: &[&str], exclude: &[&str]) -> Selection {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Selection { include: rules(include), exclude: rules(exclude), ..Selection::default() }
    }

    #[test]
    fn each_key_selects() {
        let rules = [
            "exe=*/python*",
            "cmd=*gunicorn*",
            "port=8080",
            "pid=10",
            "pid=1",
            "container=abc*",
            "cgroup=/kubepods*",
        ];
        for rule in rules {
            assert!(selection(&[rule], &[]).decide(&process(10), &Fake).observe, "{rule}");
            assert!(!selection(&[], &[rule]).decide(&process(10), &Fake).observe, "{rule}");
        }
        for rule in
            ["exe=/usr/bin/node", "cmd=gunicorn", "port=80", "pid=11", "container=b*", "cgroup=/system*"]
        {
            assert!(!selection(&[rule], &[]).decide(&process(10), &Fake).observe, "{rule}");
        }
    }

    #[test]
    fn pods_are_selected_by_namespace_and_label() {
        for rule in ["namespace=shop-?", "label=app", "label=app=w*"] {
            assert!(selection(&[rule], &[]).decide(&in_pod("u"), &Fake).observe, "{rule}");
            assert!(!selection(&[], &[rule]).decide(&in_pod("u"), &Fake).observe, "{rule}");
            assert!(!selection(&[rule], &[]).decide(&process(10), &Fake).observe, "{rule}");
        }
        for rule in ["namespace=shop", "label=team", "label=app=db"] {
            assert!(!selection(&[rule], &[]).decide(&in_pod("u"), &Fake).observe, "{rule}");
        }
    }

    #[test]
    fn a_pod_may_ask_to_be_left_alone_and_is_while_it_is_not_known() {
        let everything = Selection::default();
        assert!(everything.decide(&in_pod("u"), &Fake).observe);
        let private = everything.decide(&in_pod("private"), &Fake);
        assert_eq!(private, Decision::no("its pod has the annotation remora.dev/trace: \"false\""));
        let new = everything.decide(&in_pod("new"), &Fake);
        assert!(!new.observe && new.awaits_pod);
    }

    #[test]
    fn excluding_wins_and_the_reason_names_the_rule() {
        let decision = selection(&["pid=10"], &["cmd=*gunicorn*"]).decide(&process(10), &Fake);
        assert_eq!(decision, Decision::no("the rule --exclude cmd=*gunicorn* matches"));
    }

    #[test]
    fn itself_other_agents_the_bridge_and_the_receiver_are_never_observed() {
        let everything = Selection { receiver_port: Some(4317), ..Selection::default() };
        assert!(everything.decide(&process(10), &Fake).observe);
        assert!(!everything.decide(&process(11), &Fake).observe);
        assert!(!everything.decide(&process(std::process::id()), &Fake).observe);
        for path in ["/opt/remora-bridge", "/opt/remora"] {
            let own = Process { executable: Some(path.into()), ..process(12) };
            assert!(!everything.decide(&own, &Fake).observe, "{path}");
        }
        let named_alike = Process { executable: Some("/opt/remora/shop".into()), ..process(12) };
        assert!(everything.decide(&named_alike, &Fake).observe);
    }

    #[test]
    fn errors_teach_the_keys() {
        let error = |rule: &str| rule.parse::<Rule>().unwrap_err().to_string();
        let expected = "selection rule \"executable=x\" begins with the unknown key \"executable\": \
                        the keys are exe, cmd, port, pid, container, cgroup, namespace, label";
        assert_eq!(error("executable=x"), expected);
        assert!(error("python").contains("write KEY=PATTERN"));
        assert_eq!(error("port=http"), "selection rule \"port=http\": \"http\" is no port");
        assert_eq!(error("pid=0"), "selection rule \"pid=0\": \"0\" is no process id");
        assert_eq!(error("exe="), "selection rule \"exe=\" has no pattern after '='");
    }

    #[test]
    fn rules_are_written_as_they_are_read() {
        let rules = [
            "exe=/a",
            "cmd=*b*",
            "port=80",
            "pid=3",
            "container=c",
            "cgroup=/d",
            "namespace=e",
            "label=f",
            "label=g=h*",
        ];
        for rule in rules {
            assert_eq!(rule.parse::<Rule>().unwrap().to_string(), rule);
        }
    }
}
