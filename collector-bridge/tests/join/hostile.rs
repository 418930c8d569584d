use crate::world::{CLIENT, HTTP, SERVER, Sent, World, agent};

#[test]
fn self_references_and_cycles_are_answered() {
    let world = World::start("");
    world.send(&[agent("a", 1, 10, 0, SERVER).expecting(10)]);
    assert_eq!(world.drawn(1), "1: 10<0");
    // Each of two traces claims that the other one called it, then three in a ring.
    world.send(&[
        agent("a", 2, 20, 0, SERVER).expecting(31),
        agent("a", 2, 21, 20, CLIENT),
        agent("b", 3, 30, 0, SERVER).expecting(21),
        agent("b", 3, 31, 30, CLIENT),
    ]);
    let ring = |trace: u64, next: u64| {
        [
            agent("c", trace, trace * 10, 0, SERVER).expecting(next * 10 + 1),
            agent("c", trace, trace * 10 + 1, trace * 10, CLIENT),
        ]
    };
    for (trace, next) in [(4, 5), (5, 6), (6, 4)] {
        world.send(&ring(trace, next));
    }
    assert_eq!(world.trace(2)["spans"].as_array().unwrap().len(), 4);
    assert_eq!(world.trace(5)["spans"].as_array().unwrap().len(), 6);
    assert_eq!(world.all().len(), 3);
    world.edges();
}

#[test]
fn a_trace_has_one_place() {
    let world = World::start("");
    world.send(&[
        agent("a", 1, 11, 0, CLIENT),
        agent("b", 2, 21, 0, CLIENT),
        agent("c", 3, 30, 0, SERVER).expecting(11),
        agent("c", 3, 31, 0, SERVER).expecting(21),
    ]);
    assert_eq!((world.drawn(3), world.drawn(2)), ("1: 11<0 30<11 31<0".to_owned(), "2: 21<0".to_owned()));
    assert_eq!(world.bridge.metric("remora_bridge_join_refused_total"), 1.0);
}

#[test]
fn a_client_span_of_two_traces_is_nobodys_parent() {
    let world = World::start("");
    world.send(&[agent("a", 1, 11, 0, CLIENT), agent("b", 2, 11, 0, CLIENT)]);
    world.send(&[agent("c", 3, 30, 0, SERVER).expecting(11)]);
    assert_eq!(world.drawn(3), "3: 30<0");
    assert_eq!(world.bridge.metric("remora_bridge_join_ambiguous_total"), 1.0);
}

#[test]
fn a_hundred_thousand_expectations_take_no_more_than_their_room() {
    let world = World::start("[join]\nmax_waiting = 10000\nmax_aliases = 1000\n");
    let servers = |from: u64| -> Vec<Sent> {
        (from..from + 5000)
            .map(|number| {
                agent("c", 10 + number, number + 1, 0, SERVER).with(HTTP).expecting(1 << 40 | number)
            })
            .collect()
    };
    for from in (0..100_000).step_by(5000) {
        world.send(&servers(from));
    }
    assert!(world.bridge.metric("remora_bridge_join_servers_waiting") <= 10_000.0);
    let evicted = world.bridge.metric("remora_bridge_join_evicted_total{side=\"server\"}");
    assert!(evicted >= 90_000.0, "{evicted}");
    // All their clients come, each in the trace of the server before: one chain, as far as it is known.
    let clients = |from: u64| -> Vec<Sent> {
        (from..from + 5000).map(|number| agent("c", 9 + number, 1 << 40 | number, 0, CLIENT)).collect()
    };
    for from in (0..100_000).step_by(5000) {
        world.send(&clients(from));
    }
    assert!(world.bridge.metric("remora_bridge_joined_total") >= 1000.0);
    let aliases = world.bridge.metric("remora_bridge_trace_aliases");
    let refused = world.bridge.metric("remora_bridge_join_refused_total");
    assert!(aliases <= 1000.0 && refused > 0.0, "{aliases} {refused}");
    assert!(world.trace(100_000)["span_count"].as_u64().unwrap() >= 2);
    assert_eq!(world.all().len(), 20);
}
