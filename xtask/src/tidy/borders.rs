//! Which room may know which, as tables.

use super::Finding;
use super::imports;
use super::source::Source;

/// A crate's folder and what its rooms may name of each other.
struct House {
    /// Folder of the crate's sources.
    sources: &'static str,
    /// Modules that any room may name: the vocabulary.
    vocabulary: &'static [&'static str],
    /// Rooms, and the other rooms each may name nonetheless. What is not listed here or above (the crate's root,
    /// its pipeline and its commands) calls the rooms in order, and may name all.
    rooms: &'static [(&'static str, &'static [&'static str])],
}

/// Words that only some files may use.
struct Reserved {
    /// The words, in code.
    words: &'static [&'static str],
    /// The files under this path are concerned…
    within: &'static str,
    /// …but for those under these paths.
    except: &'static [&'static str],
    /// Why.
    rule: &'static str,
}

/// A room may name the room whose output it takes, never one that comes after it, and never one beside it.
const HOUSES: [House; 3] = [
    House {
        sources: "agent/engine/src/",
        vocabulary: &["event", "span", "semconv", "command", "held"],
        rooms: &[
            ("connection", &[]),
            // Each protocol is a folder of its own; see `protocols_are_strangers`.
            ("protocol", &[]),
            // Message, and when its bytes were moved.
            ("pairing", &["connection", "protocol"]),
            // Exchange, and through it the words of requests and responses.
            ("correlation", &["connection", "pairing", "protocol"]),
        ],
    },
    House {
        sources: "agent/daemon/src/",
        // Counters and readiness are handles that every room is given.
        vocabulary: &["health"],
        rooms: &[
            // Symbols and sockets of processes.
            ("attach", &["discover"]),
            ("capture", &[]),
            // Which pod a process is of decides on it too.
            ("discover", &["kubernetes"]),
            // Process, and where it runs.
            ("enrich", &["discover", "kubernetes"]),
            // Span with its resource.
            ("export", &["enrich"]),
            ("health", &[]),
            ("kubernetes", &[]),
            // It tries the programs that capture loads, in a cgroup that discover finds.
            ("propagate", &["capture", "discover"]),
            // The settings of each room.
            ("config", &["attach", "capture", "discover", "export", "kubernetes", "propagate"]),
        ],
    },
    House {
        sources: "collector-bridge/src/",
        vocabulary: &["model"],
        rooms: &[
            ("model", &[]),
            ("receive", &[]),
            ("join", &[]),
            ("infer", &[]),
            ("assemble", &[]),
            ("analyze", &[]),
            // Rollups and lists of traces are stored beside the spans that they sum up.
            ("store", &["analyze", "assemble"]),
            ("query", &["analyze", "infer", "store"]),
            // Answers, and the handle on what is asked.
            ("api", &["analyze", "assemble", "infer", "query", "store"]),
            ("alert", &["analyze", "query"]),
            ("forward", &[]),
            // The counters of each room.
            ("health", &["infer", "join", "receive", "store"]),
            // The settings of each room.
            ("config", &["infer", "join", "receive", "store"]),
        ],
    },
];

const RESERVED: [Reserved; 6] = [
    Reserved {
        words: &[
            "std::time",
            "std::fs",
            "std::thread",
            "std::process",
            "std::env",
            "TcpStream",
            "TcpListener",
            "UdpSocket",
        ],
        within: "agent/engine/src/",
        except: &[],
        rule: "the engine has no clock, file, socket, thread or process",
    },
    Reserved {
        words: &["aya::", "aya_log", "tokio", "opentelemetry", "tonic", "remora_abi"],
        within: "agent/engine/src/",
        except: &[],
        rule: "the engine knows neither the kernel border nor a runtime nor OTLP",
    },
    Reserved {
        words: &["aya::", "aya_log::", "unsafe"],
        within: "agent/daemon/src/",
        except: &["agent/daemon/src/capture"],
        rule: "only capture/ talks to the kernel by BPF, and only there is unsafe code",
    },
    Reserved {
        words: &["opentelemetry_proto", "tonic::"],
        within: "agent/daemon/src/",
        except: &["agent/daemon/src/export"],
        rule: "only export/ knows OTLP",
    },
    Reserved {
        words: &["std::fs", "fs::File", "tokio::fs", "File::open", "File::create", "OpenOptions"],
        within: "collector-bridge/src/",
        except: &[
            "collector-bridge/src/store",
            "collector-bridge/src/config",
            // Says in the data folder which ports it took.
            "collector-bridge/src/pipeline.rs",
            "collector-bridge/src/main.rs",
        ],
        rule: "only store/ touches the disk",
    },
    Reserved {
        words: &["unsafe"],
        within: "collector-bridge/src/",
        except: &[],
        rule: "the bridge has no unsafe code",
    },
];

/// The rooms of the engine that serve every protocol alike.
const BLIND_TO_PROTOCOLS: [&str; 3] =
    ["agent/engine/src/connection", "agent/engine/src/pairing", "agent/engine/src/correlation"];

/// Returns the names of the protocols: the modules of `protocol` that implement its trait.
pub(super) fn protocols(sources: &[Source]) -> Vec<String> {
    let name = |source: &Source| {
        let name = source.path.strip_prefix("agent/engine/src/protocol/")?.strip_suffix(".rs")?;
        let is_protocol = source.product_lines().any(|(_, line)| line.contains("impl Protocol for"));
        is_protocol.then(|| name.to_owned())
    };
    sources.iter().filter_map(name).collect()
}

/// `protocols` are the names of all protocols.
pub(super) fn check(source: &Source, protocols: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !source.is_rust() || source.is_test() {
        return findings;
    }
    reserved_words(source, &mut findings);
    for house in &HOUSES {
        rooms(house, source, &mut findings);
    }
    protocols_are_strangers(source, protocols, &mut findings);
    findings
}

fn reserved_words(source: &Source, findings: &mut Vec<Finding>) {
    let concerned = |reserved: &&Reserved| {
        source.path.starts_with(reserved.within)
            && !reserved.except.iter().any(|except| source.path.starts_with(except))
    };
    for reserved in RESERVED.iter().filter(concerned) {
        for (line, code) in source.product_lines() {
            if let Some(word) = reserved.words.iter().find(|word| has_word(code, word)) {
                findings.push(Finding::new(source, line, format!("`{word}`: {}", reserved.rule)));
            }
        }
    }
}

/// Whether `word` stands in `code` and is not the end of a longer one, or its beginning (`unsafe_code`).
fn has_word(code: &str, word: &str) -> bool {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let is_prefix = word.ends_with(is_word) && code[at + word.len()..].starts_with(is_word);
        !is_prefix && !code[..at].ends_with(is_word)
    })
}

fn rooms(house: &House, source: &Source, findings: &mut Vec<Finding>) {
    let Some(module) = module(house, source) else {
        return;
    };
    let Some(&(room, allowed)) = house.rooms.iter().find(|(room, _)| module.first() == Some(room)) else {
        return;
    };
    for (line, path) in imports::paths(&product_code(source), &module) {
        let Some(first) = path.first() else { continue };
        let is_room = house.rooms.iter().any(|(other, _)| other == first);
        let may =
            first == room || house.vocabulary.contains(&first.as_str()) || allowed.contains(&first.as_str());
        if is_room && !may {
            findings.push(Finding::new(
                source,
                line,
                format!("{room}/ must not know {first}/: only the pipeline calls both"),
            ));
        }
    }
}

fn protocols_are_strangers(source: &Source, protocols: &[String], findings: &mut Vec<Finding>) {
    let house = &HOUSES[0];
    let Some(module) = module(house, source) else {
        return;
    };
    let is_name = |segment: &str| protocols.iter().any(|name| name == segment);
    let own = if module.first() == Some(&"protocol") { module.get(1).copied() } else { None };
    let is_blind = BLIND_TO_PROTOCOLS.iter().any(|room| source.path.starts_with(room));
    let is_protocol = own.is_some_and(is_name);
    if !is_blind && !is_protocol {
        return;
    }
    for (line, path) in imports::paths(&product_code(source), &module) {
        let named = path.iter().find(|segment| is_name(segment) && Some(segment.as_str()) != own);
        if let (Some(first), Some(named)) = (path.first(), named)
            && first == "protocol"
        {
            findings.push(Finding::new(
                source,
                line,
                format!("names the protocol {named}, which it must not know"),
            ));
        }
    }
}

/// Returns the path of the module that a file of this house holds.
fn module<'s>(house: &House, source: &'s Source) -> Option<Vec<&'s str>> {
    let inside = source.path.strip_prefix(house.sources)?.strip_suffix(".rs")?;
    Some(if matches!(inside, "lib" | "main") { Vec::new() } else { inside.split('/').collect() })
}

fn product_code(source: &Source) -> String {
    source.product_lines().map(|(_, line)| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, code: &str) -> Vec<String> {
        let protocols = ["http1", "redis"].map(str::to_owned);
        check(&Source::new(path, code.to_owned()), &protocols)
            .into_iter()
            .map(|finding| finding.rule)
            .collect()
    }

    #[test]
    fn rooms_may_name_themselves_and_the_vocabulary() {
        assert_eq!(
            rules("agent/engine/src/pairing/in_order.rs", "use crate::event::Event; use super::Exchange;"),
            [""; 0]
        );
        assert_eq!(
            rules("agent/engine/src/engine.rs", "use crate::pairing::Pairs; use crate::correlation;"),
            [""; 0]
        );
    }

    #[test]
    fn rooms_must_not_name_rooms() {
        assert_eq!(rules("agent/engine/src/pairing.rs", "use crate::correlation::Ids;").len(), 1);
        assert_eq!(rules("collector-bridge/src/store/live.rs", "use crate::{model::Span, query};").len(), 1);
        assert_eq!(
            rules("collector-bridge/src/api/search.rs", "use super::super::receive::Limits;").len(),
            1
        );
    }

    #[test]
    fn protocols_are_found_by_the_trait() {
        let sources = [
            Source::new("agent/engine/src/protocol/redis.rs", "impl Protocol for Redis {}".to_owned()),
            Source::new("agent/engine/src/protocol/text.rs", "fn text() {}".to_owned()),
        ];
        assert_eq!(protocols(&sources), ["redis"]);
    }

    #[test]
    fn protocols_must_not_know_each_other() {
        assert_eq!(
            rules("agent/engine/src/protocol/redis/parser.rs", "use super::super::http1::Method;").len(),
            1
        );
        assert_eq!(rules("agent/engine/src/correlation.rs", "use crate::protocol::redis;").len(), 1);
        assert_eq!(
            rules("agent/engine/src/protocol/redis/parser.rs", "use crate::protocol::Message;"),
            [""; 0]
        );
    }

    #[test]
    fn reserved_words_stay_where_they_belong() {
        assert_eq!(rules("agent/engine/src/engine.rs", "let now = std::time::Instant::now();").len(), 1);
        assert_eq!(rules("agent/daemon/src/enrich.rs", "unsafe { f() }").len(), 1);
        assert_eq!(rules("agent/daemon/src/capture/ring.rs", "unsafe { f() }"), [""; 0]);
        assert_eq!(rules("agent/daemon/src/lib.rs", "#![deny(unsafe_code)] // unsafe"), [""; 0]);
        assert_eq!(rules("agent/engine/src/engine.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), [""; 0]);
    }
}
