//! What is seen of a process and what is not, in words: from looking at it, and from what an agent knows.

use std::collections::BTreeMap;

use super::mapped::Tls;
use super::sockets::Sockets;
use crate::attach;
use crate::discover::{Process, Runtime};
use crate::health::{Known, PartState, ProbedFile, TlsConnections};

/// All that the words are made of.
pub(super) struct View<'a> {
    pub(super) process: &'a Process,
    pub(super) tls: &'a [Tls],
    pub(super) sockets: &'a Sockets,
    /// What an agent knows, where one was asked.
    pub(super) known: Option<&'a Known>,
}

/// Corrects what looking says of TLS by what the agent does.
pub(super) fn judge(tls: &mut [Tls], known: &Known) {
    let names: Vec<_> =
        tls.iter().map(|tls| tls.path.as_deref().and_then(name_of).map(str::to_owned)).collect();
    for tls in tls {
        let own = tls.path.as_deref().and_then(name_of);
        let is_only = names.iter().filter(|name| name.as_deref() == own).count() == 1;
        if tls.library == "JSSE" {
            if has_part(known) && known.part.as_ref().is_some_and(|part| part.tells_tls) {
                tls.is_seen = true;
                "plaintext at its engines and sockets, told by the part inside, joined by their records and sockets"
                    .clone_into(&mut tls.because);
            }
        } else if tls.is_seen && known.looks_into_tls == Some(false) {
            tls.is_seen = false;
            "the agent does not look into TLS (--tls off)".clone_into(&mut tls.because);
        } else if tls.is_seen && !is_probed(tls, &known.probes, is_only) {
            tls.is_seen = false;
            "the agent has no probes in this file: it was mapped a moment ago, has changed since, or the kernel refused \
             (remora_agent_probes_refused_total, and the agent's log)"
                .clone_into(&mut tls.because);
        }
    }
}

fn name_of(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// Containers may see one file at several paths, of which the agent names one: where it is the process's only one of its
/// name, that tells which it is.
fn is_probed(tls: &Tls, probes: &[ProbedFile], is_only: bool) -> bool {
    let own = tls.path.as_deref();
    let is_own = |probed: &ProbedFile| {
        own == Some(&*probed.path) || is_only && own.and_then(name_of) == name_of(&probed.path)
    };
    probes.iter().any(|probed| probed.plaintext_places > 0 && is_own(probed))
}

fn has_part(known: &Known) -> bool {
    known.part.as_ref().is_some_and(|part| part.state == PartState::Attached)
}

impl View<'_> {
    /// Returns what is seen, a line each.
    pub(super) fn seen(&self) -> Vec<String> {
        let mut seen = vec![
            "requests in clear text on TCP and Unix sockets, at the system calls that read and write"
                .to_owned(),
            "trace contexts in requests (W3C traceparent and tracestate, B3, uber-trace-id)".to_owned(),
            self.parents(),
        ];
        if self.known.is_some_and(has_part) {
            seen.push("parents across timers, queues, pools and executors, by the part inside".to_owned());
        }
        let visible = self.tls.iter().filter(|tls| tls.is_seen);
        seen.extend(visible.map(|tls| format!("requests inside TLS: {}", tls.what())));
        let joined = self.connections().filter(|told| told.unseen_reason.is_empty());
        seen.extend(joined.map(|told| format!("TLS so far: {}", described(told))));
        seen.extend(self.known.filter(|known| !known.spans.is_empty()).map(|known| spans(&known.spans)));
        seen
    }

    fn connections(&self) -> impl Iterator<Item = &TlsConnections> {
        self.known.into_iter().flat_map(|known| &known.tls)
    }

    fn parents(&self) -> String {
        let by = match &self.process.runtime {
            Runtime::Go { offsets: Some(offsets), .. } if offsets.parent_goid != 0 => {
                "parents by goroutine, and by the goroutine that started it"
            }
            Runtime::Go { offsets: Some(_), .. } => "parents by goroutine",
            Runtime::Go { offsets: None, .. } => "requests, without parents of the calls in them",
            Runtime::Proxy => {
                "parents by what is asked for: of the request that asks for the same, if it is the only one"
            }
            Runtime::Nginx => {
                "parents by turn of the event loop, in which nginx goes on with what it has read or opened"
            }
            Runtime::Node => {
                "parents by turn of the event loop: of calls that follow what was read, on connections nobody waited for"
            }
            Runtime::Python { .. } => {
                "parents by asyncio task, or by thread as long as a thread serves one request at a time"
            }
            Runtime::Tokio { .. } => "parents by task of tokio, and by the task that made it or has it send",
            Runtime::Ruby => "parents by thread, as long as a thread serves one request at a time",
            _ => "parents by thread, once its threads have shown that they serve one request at a time",
        };
        by.to_owned()
    }

    /// Returns what is not seen, and why, a line each.
    pub(super) fn not_seen(&self) -> Vec<String> {
        let unseen = self.tls.iter().filter(|tls| !tls.is_seen);
        let mut gaps: Vec<String> =
            unseen.map(|tls| format!("requests inside TLS: {}", tls.what())).collect();
        let untold = self.connections().filter(|told| !told.unseen_reason.is_empty());
        gaps.extend(
            untold.map(|told| format!("TLS so far: {}: {}", described(told), reason(&told.unseen_reason))),
        );
        if !gaps.is_empty() {
            gaps.push(
                "of TLS that is not seen: anything but the server's name, version, protocols and bytes \
                 (remora_agent_tls_unseen_connections, and a span for each with 'remora run --unknown-connections')"
                    .to_owned(),
            );
        }
        if self.sockets.rings > 0 {
            let rings = self.sockets.rings;
            gaps.push(format!("what passes through its {rings} io_uring instances: no system call carries the bytes; they show up as gaps"));
        }
        gaps.extend(self.unseen_of_runtime());
        gaps.push("HTTP/3, and protocols that docs/protocols.md does not name".to_owned());
        gaps
    }

    fn unseen_of_runtime(&self) -> Option<String> {
        Some(match &self.process.runtime {
            Runtime::Unknown => {
                let pid = self.process.tgid;
                format!(
                    "its runtime, environment and sockets: /proc/{pid} is not readable for this user (run as root)"
                )
            }
            Runtime::Go { version, offsets: None } => format!(
                "goroutines: where {version} keeps their ids is not in this version's table, nor do the program's types tell"
            ),
            Runtime::Go { version, offsets: Some(offsets) } if offsets.is_from_types => format!(
                "what {version} may do otherwise: it is not in this version's table; by the program's types it is known where \
                 goroutines keep their ids"
            ),
            Runtime::Go { offsets: Some(offsets), version } if offsets.parent_goid == 0 => {
                format!("which goroutine started another: {version} does not keep it (Go 1.21 does)")
            }
            Runtime::Node if self.known.is_some_and(has_part) => {
                "parents of calls of worker threads: they get no part".to_owned()
            }
            Runtime::Node => format!(
                "parents across timers, queues and pools of Node: they are left out, not guessed; {}",
                self.without_part()
            ),
            Runtime::Python { .. } => {
                "parents across thread pools that do not copy the context: they are left out, not guessed"
                    .to_owned()
            }
            Runtime::Tokio { .. } => {
                "parents of calls that are sent for several requests at once and answered to nobody who waits, and of \
                 tasks of a LocalSet: they are left out, not guessed"
                    .to_owned()
            }
            Runtime::Java if self.known.is_some_and(has_part) => return None,
            Runtime::Java => format!(
                "parents across executors, event loops and virtual threads: they are left out, not guessed; {}",
                self.without_part()
            ),
            _ => return None,
        })
    }

    /// Says why no part is inside, or what one would add.
    fn without_part(&self) -> String {
        match self.known.and_then(|known| known.part.as_ref()).map(|part| &part.state) {
            Some(PartState::Refused(why)) => format!("no part is inside: {why}"),
            Some(PartState::Outside) => {
                "no part is inside yet: the process is young, or is looked at again for half a minute".to_owned()
            }
            Some(PartState::Attached) | None if matches!(self.process.runtime, Runtime::Node) => {
                with_part_in_node(self.process.tgid)
            }
            Some(PartState::Attached) | None => {
                "a part inside would tell many of them ('remora run --attach jvm': a library that is loaded as a tool, \
                 and changes methods of the JDK, Tomcat, Netty and Reactor until it leaves; JDK 21 and later print a \
                 warning)"
                    .to_owned()
            }
        }
    }
}

/// Says what a part inside Node would add, or why there can be none.
fn with_part_in_node(tgid: u32) -> String {
    match attach::obstacle_in_node(tgid) {
        None => "a part inside would tell them ('remora run --attach node': it opens the inspector by SIGUSR1, puts a \
                 few functions of net, http and database clients in place of their own, and closes it again; Node \
                 says so on its standard error); worker threads get none, and their calls have no parent"
            .to_owned(),
        Some(obstacle) => format!("no part can be put inside ('remora run --attach node'): {obstacle}"),
    }
}

fn described(told: &TlsConnections) -> String {
    let TlsConnections { server, version, protocols, connections, bytes_sent, bytes_received, .. } = told;
    let version = if version.is_empty() { String::new() } else { format!(" {version}") };
    let protocols = if protocols.is_empty() { String::new() } else { format!(", {protocols}") };
    let plural = if *connections == 1 { "" } else { "s" };
    format!(
        "{connections} connection{plural} with {server} (TLS{version}{protocols}), {bytes_sent} bytes sent, {bytes_received} received"
    )
}

/// Returns a reason in words; one that is not known here is its own.
fn reason(label: &str) -> &str {
    match label {
        "tls_off" => "the agent does not look into TLS (--tls off)",
        "nothing_asked" => "the client said nothing after its handshake",
        "relayed" => "the process passes on what others encrypt",
        "library_not_seen" => "no plaintext of the process ever was seen",
        "not_joined" => "plaintext of the process was seen, but none that belongs to them",
        other => other,
    }
}

fn spans(spans: &BTreeMap<String, u64>) -> String {
    let counts: Vec<String> =
        spans.iter().map(|(protocol, count)| format!("{count} of {protocol}")).collect();
    format!("spans so far: {}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::GoOffsets;
    use crate::health::Part;

    fn tls(library: &str, is_seen: bool) -> Tls {
        Tls {
            library: library.to_owned(),
            version: None,
            path: (library != "JSSE").then(|| "/usr/lib/libssl.so.3".to_owned()),
            found_by: "its symbols".to_owned(),
            is_seen,
            because: "x".to_owned(),
        }
    }

    fn probed() -> Known {
        let file =
            ProbedFile { path: "/other/libssl.so.3".to_owned(), plaintext_places: 4, parent_places: 0 };
        Known { looks_into_tls: Some(true), probes: vec![file], ..Known::default() }
    }

    fn part(platform: &str, state: PartState) -> Option<Part> {
        Some(Part { platform: platform.to_owned(), state, tells_tls: true })
    }

    fn not_seen(runtime: Runtime, known: Option<&Known>) -> String {
        let process = Process { runtime, ..Process::default() };
        let view = View { process: &process, tls: &[], sockets: &Sockets::default(), known };
        view.not_seen().join("\n")
    }

    #[test]
    fn tls_is_seen_where_the_agent_has_probes_and_looks() {
        let check = |known: &Known, library: &str, before, expected| {
            let mut found = [tls(library, before)];
            judge(&mut found, known);
            assert_eq!(found[0].is_seen, expected, "{found:?}");
        };
        check(&probed(), "OpenSSL", true, true);
        check(&probed(), "BoringSSL", false, false);
        check(&Known { looks_into_tls: Some(false), ..probed() }, "OpenSSL", true, false);
        check(&Known { probes: Vec::new(), ..probed() }, "OpenSSL", true, false);
        check(&probed(), "JSSE", false, false);
        check(&Known { part: part("jvm", PartState::Attached), ..probed() }, "JSSE", false, true);
        check(&Known { part: part("jvm", PartState::Outside), ..probed() }, "JSSE", false, false);
    }

    #[test]
    fn an_unknown_go_version_is_told() {
        let runtime = Runtime::Go { version: "go1.99".to_owned(), offsets: None };
        assert!(not_seen(runtime, None).contains("go1.99"));
        let offsets = Some(GoOffsets { goid: 152, parent_goid: 280, is_from_types: true });
        let told = not_seen(Runtime::Go { version: "go1.99".to_owned(), offsets }, None);
        assert!(told.contains("go1.99 may do otherwise"), "{told}");
    }

    #[test]
    fn a_part_is_wished_for_only_where_none_is_inside_and_a_refusal_is_told() {
        let with = |state| Known { part: part("jvm", state), ..Known::default() };
        assert!(not_seen(Runtime::Java, None).contains("--attach jvm"));
        assert!(!not_seen(Runtime::Java, Some(&with(PartState::Attached))).contains("a part inside would"));
        let refused = with(PartState::Refused("it was started with --inspect".to_owned()));
        let told = not_seen(Runtime::Node, Some(&refused));
        assert!(told.contains("no part is inside: it was started with --inspect"), "{told}");
        assert!(not_seen(Runtime::Node, Some(&with(PartState::Outside))).contains("no part is inside yet"));
    }

    #[test]
    fn connections_are_told_with_what_is_known_of_them() {
        let told = |unseen_reason: &str| TlsConnections {
            unseen_reason: unseen_reason.to_owned(),
            server: "api.example".to_owned(),
            version: "1.3".to_owned(),
            protocols: "h2".to_owned(),
            connections: 2,
            bytes_sent: 10,
            bytes_received: 20,
        };
        let known = Known {
            tls: vec![told(""), told("not_joined"), told("new_reason")],
            spans: BTreeMap::from([("http".to_owned(), 3)]),
            ..Known::default()
        };
        let process = Process::default();
        let view = View { process: &process, tls: &[], sockets: &Sockets::default(), known: Some(&known) };
        let (seen, gaps) = (view.seen(), view.not_seen().join("\n"));
        let line = "TLS so far: 2 connections with api.example (TLS 1.3, h2), 10 bytes sent, 20 received";
        assert!(seen.iter().any(|found| found == line), "{seen:?}");
        assert!(seen.iter().any(|found| found == "spans so far: 3 of http"), "{seen:?}");
        assert!(gaps.contains(&format!("{line}: plaintext of the process was seen, but")), "{gaps}");
        assert!(gaps.contains(&format!("{line}: new_reason")), "{gaps}");
    }
}
