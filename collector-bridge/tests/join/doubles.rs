use crate::world::{CLIENT, HTTP, INTERNAL, POSTGRESQL, SERVER, Sent, World, agent, sdk};

/// A request from `web` to `shop` and a query, as SDKs in both and agents on both hosts tell of it.
fn told_twice() -> [Vec<Sent>; 4] {
    [
        vec![
            sdk("web", 1, 10, 0, SERVER).with(HTTP).at(0, 100),
            sdk("web", 1, 11, 10, CLIENT).with(HTTP).at(10, 80),
        ],
        vec![agent("web", 1, 12, 11, CLIENT).with(HTTP).by_wire().at(11, 78)],
        vec![
            sdk("shop", 1, 20, 11, SERVER).with(HTTP).at(20, 60),
            sdk("shop", 1, 21, 20, INTERNAL).at(22, 50),
            sdk("shop", 1, 22, 21, CLIENT).with(("db.system", "postgresql")).at(30, 10),
        ],
        vec![
            agent("shop", 1, 23, 11, SERVER).with(HTTP).by_wire().expecting(12).at(19, 62),
            agent("shop", 1, 24, 23, CLIENT).with(POSTGRESQL).at(31, 8),
            agent("shop", 1, 25, 23, CLIENT).with(("db.system.name", "redis")).at(45, 2),
        ],
    ]
}

const SETTLED: &str = "1: 10<0 11<10 20<11 21<20 22<21 25<20";

fn assert_told_once(world: &World) {
    assert_eq!(world.drawn(1), SETTLED);
    assert_eq!(world.trace(1)["completeness"]["doubles_merged"], 3);
    assert_eq!(world.trace(1)["completeness"]["is_complete"], true);
    assert_eq!(world.all(), ["1 web 10 6"]);
}

#[test]
fn what_sdk_and_agent_tell_of_is_told_once_in_any_order() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        let world = World::start("");
        for part in order {
            world.send(&told_twice()[part]);
        }
        assert_told_once(&world);
    }
}

#[test]
fn what_is_sealed_together_is_counted_once() {
    let mut world = World::start("");
    told_twice().iter().for_each(|spans| world.send(spans));
    assert!(world.bridge.terminate());
    world.kill_and_start();
    assert_told_once(&world);
    let edges = world.edges();
    assert!(edges.contains(&"web->shop 1".to_owned()), "{edges:?}");
    assert!(edges.iter().all(|edge| edge.ends_with(" 1")), "{edges:?}");
}

#[test]
fn what_is_sealed_apart_is_told_once() {
    let world = World::start("[ingest]\nseal_age = '1s'\n");
    for spans in told_twice() {
        world.send(&spans);
        world.wait_until_sealed();
    }
    assert_told_once(&world);
}

#[test]
fn a_server_without_an_sdk_hangs_below_the_sdks_client_span() {
    let world = World::start("");
    world.send(&[
        sdk("web", 1, 11, 0, CLIENT).with(HTTP).at(10, 80),
        agent("web", 1, 12, 11, CLIENT).with(HTTP).by_wire().at(11, 78),
        agent("shop", 1, 23, 11, SERVER).with(HTTP).by_wire().expecting(12).at(19, 62),
        agent("shop", 1, 24, 23, CLIENT).with(POSTGRESQL).at(31, 8),
    ]);
    assert_eq!(world.drawn(1), "1: 11<0 23<11 24<23");
}

#[test]
fn without_a_context_on_the_wire_the_sdks_client_span_gets_the_server_by_position() {
    // The SDK sends no context; the agent's client span is covered by its span in time.
    let world = World::start("");
    world.send(&[
        sdk("web", 1, 10, 9, SERVER).with(HTTP).at(0, 100),
        sdk("web", 1, 11, 10, CLIENT).with(HTTP).at(10, 80),
        agent("web", 1, 13, 9, SERVER).with(HTTP).by_wire().at(0, 101),
        agent("web", 1, 12, 13, CLIENT).with(HTTP).at(11, 78),
    ]);
    world.send(&[agent("shop", 2, 23, 0, SERVER).with(HTTP).expecting(12).at(19, 62)]);
    assert_eq!(world.drawn(2), "1: 10<9 11<10 23<11");
}

/// A request from `web`, where no SDK is, to `shop`, whose SDK begins a trace of its own and asks a database.
fn told_in_two_traces() -> [Vec<Sent>; 3] {
    let asked = |sent: Sent| sent.with(HTTP).with(("url.path", "/items")).asked_by(50_123);
    [
        vec![agent("web", 1, 12, 0, CLIENT).with(HTTP).at(11, 78)],
        vec![
            asked(agent("shop", 2, 23, 0, SERVER)).expecting(12).at(19, 62),
            agent("shop", 2, 24, 23, CLIENT).with(POSTGRESQL).at(31, 8),
            agent("shop", 2, 25, 23, CLIENT).with(("db.system.name", "redis")).at(45, 2),
        ],
        vec![
            asked(sdk("shop", 3, 20, 0, SERVER)).at(20, 60),
            sdk("shop", 3, 22, 20, CLIENT).with(("db.system", "postgresql")).at(30, 10),
        ],
    ]
}

#[test]
fn an_sdk_whose_caller_has_none_is_part_of_the_callers_trace_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let world = World::start("");
        for part in order {
            world.send(&told_in_two_traces()[part]);
        }
        for id in [1, 2, 3] {
            assert_eq!(world.drawn(id), "1: 12<0 20<12 22<20 25<20", "{order:?}");
        }
        assert_eq!(world.trace(3)["completeness"]["doubles_merged"], 2);
        assert_eq!(world.all(), ["1 web 12 4"]);
        assert_eq!(world.bridge.metric("remora_bridge_sdk_traces_joined_total"), 1.0);
    }
}

#[test]
fn an_sdk_whose_caller_has_none_is_told_once_when_it_is_sealed_apart() {
    let world = World::start("[ingest]\nseal_age = '1s'\n");
    for spans in told_in_two_traces() {
        world.send(&spans);
        world.wait_until_sealed();
    }
    assert_eq!(world.drawn(3), "1: 12<0 20<12 22<20 25<20");
}

#[test]
fn an_sdks_trace_that_could_be_of_two_requests_stays_apart() {
    let world = World::start("");
    let asked = |sent: Sent| sent.with(HTTP).with(("url.path", "/items")).asked_by(50_123);
    world.send(&[
        asked(agent("shop", 2, 23, 0, SERVER)).at(19, 62),
        asked(agent("shop", 4, 43, 0, SERVER)).at(18, 64),
    ]);
    world.send(&[asked(sdk("shop", 3, 20, 0, SERVER)).at(20, 60)]);
    assert_eq!(world.drawn(3), "3: 20<0");
    assert_eq!(world.all().len(), 3);
    assert_eq!(world.bridge.metric("remora_bridge_sdk_traces_ambiguous_total"), 1.0);
}
