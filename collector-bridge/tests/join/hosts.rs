use serde_json::json;

use crate::bridge::{hex, trace_id};
use crate::world::{CLIENT, HTTP, POSTGRESQL, SERVER, Sent, World, agent, sdk};

/// What three hosts see of one request; the clock of the last one is an hour late.
fn hosts() -> [Vec<Sent>; 3] {
    const HOUR_MS: i64 = 3_600_000;
    [
        vec![
            agent("gateway", 1, 100, 0, SERVER).with(HTTP).expecting(99).at(0, 90),
            agent("gateway", 1, 101, 100, CLIENT).with(HTTP).at(5, 80),
        ],
        vec![
            agent("orders", 2, 200, 0, SERVER).with(HTTP).expecting(101).at(10, 70),
            agent("orders", 2, 201, 200, CLIENT).with(POSTGRESQL).at(15, 5),
            agent("orders", 2, 202, 200, CLIENT).with(HTTP).at(25, 40),
        ],
        vec![
            agent("stock", 3, 300, 0, SERVER).with(HTTP).expecting(202).at(30 - HOUR_MS, 30),
            agent("stock", 3, 301, 300, CLIENT).with(POSTGRESQL).at(35 - HOUR_MS, 5),
        ],
    ]
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Small segments, as soon as possible.
const SEALING: &str = "[ingest]\nseal_age = '1s'\n";

fn assert_one_trace(world: &World, about: &str) {
    for trace in 1..=3 {
        let drawn = world.drawn(trace);
        assert_eq!(
            drawn, "1: 100<0 101<100 200<101 201<200 202<200 300<202 301<300",
            "{about}, by id {trace}"
        );
    }
    assert_eq!(world.search(&json!({"since": "2h"})), ["1 gateway 100 7"], "{about}");
    let by_span = json!({"since": "2h", "service": "stock", "operation": "stock 301"});
    assert_eq!(world.search(&by_span), ["1 gateway 100 7"], "{about}");
    let edges: Vec<String> = world.edges().into_iter().filter(|edge| !edge.contains("unknown")).collect();
    let expected = ["gateway->orders 1", "orders->stock 1"];
    assert!(expected.iter().all(|edge| edges.contains(&(*edge).to_owned())), "{about}: {edges:?}");
}

/// The agent wrote a context into a request before it knew the request's trace; an SDK that has no agent went on with it.
#[test]
fn a_trace_that_the_agent_has_named_is_the_clients() {
    for order in [[0, 1], [1, 0]] {
        let world = World::start("");
        let alias = hex(&trace_id(2));
        let halves = [
            vec![
                agent("gateway", 1, 100, 0, SERVER).with(HTTP).at(0, 90),
                agent("gateway", 1, 101, 100, CLIENT)
                    .with(HTTP)
                    .with(("remora.trace.alias", &alias))
                    .at(5, 80),
            ],
            vec![sdk("orders", 2, 200, 101, SERVER).with(HTTP).at(10, 70)],
        ];
        for half in order {
            world.send(&halves[half]);
        }
        for trace in [1, 2] {
            assert_eq!(world.drawn(trace), "1: 100<0 101<100 200<101", "{order:?}, by id {trace}");
        }
    }
}

#[test]
fn hosts_make_one_trace_in_any_order_of_arrival() {
    for order in ORDERS {
        let world = World::start("");
        for host in order {
            world.send(&hosts()[host]);
        }
        assert_one_trace(&world, &format!("{order:?}"));
        let answer = world.trace(3);
        assert_eq!(answer["aliases"].as_array().unwrap().len(), 2);
        let stock =
            answer["spans"].as_array().unwrap().iter().find(|span| span["name"] == "stock 300").unwrap();
        assert_eq!(stock["attributes"]["remora.parent.evidence"], "position");
        assert!(stock["attributes"].get("remora.parent.expected").is_none());
        let skew = json!([{
            "host": "host of stock", "ahead_ns": -3_600_000_000_000i64, "uncertainty_ns": 5_000_000,
        }]);
        assert_eq!(answer["clock_skews"], skew);
        assert_eq!((&stock["offset_ns"], &answer["duration_ns"]), (&json!(30_000_000), &json!(90_000_000)));
        assert_eq!(world.bridge.metric("remora_bridge_joined_total"), 2.0);
        assert_eq!(world.bridge.metric("remora_bridge_trace_aliases"), 2.0);
        assert_eq!(world.bridge.metric("remora_bridge_join_servers_waiting"), 1.0);
    }
}

#[test]
fn every_span_is_there_before_its_other_side_comes() {
    let world = World::start("");
    world.send(&hosts()[1]);
    assert_eq!(world.all(), ["2 orders 200 3"]);
    assert_eq!(world.drawn(2), "2: 200<0 201<200 202<200");
    world.send(&hosts()[0]);
    assert_eq!(world.all(), ["1 gateway 100 5"]);
}

#[test]
fn parts_that_were_sealed_apart_make_one_trace_also_after_a_kill() {
    for order in [[2, 1, 0], [0, 1, 2]] {
        let mut world = World::start(SEALING);
        for host in order {
            world.send(&hosts()[host]);
            world.wait_until_sealed();
        }
        assert_eq!(world.bridge.metric("remora_bridge_segments"), 3.0);
        assert_one_trace(&world, "sealed apart");
        world.kill_and_start();
        assert_one_trace(&world, "after a kill");
        // A clean end moves nothing apart either.
        assert!(world.bridge.terminate());
        world.kill_and_start();
        assert_one_trace(&world, "after a restart");
    }
}

#[test]
fn parts_that_are_sealed_together_are_one_trace_on_the_disk() {
    let mut world = World::start("");
    hosts().iter().for_each(|spans| world.send(spans));
    assert!(world.bridge.terminate());
    world.kill_and_start();
    assert_eq!(world.bridge.metric("remora_bridge_segments"), 1.0);
    assert_one_trace(&world, "sealed together");
}

#[test]
fn a_kill_between_the_sides_separates_nothing() {
    for (config, is_sealed) in [("", false), (SEALING, true)] {
        for order in [[1, 0, 2], [0, 2, 1]] {
            let mut world = World::start(config);
            for host in order {
                world.send(&hosts()[host]);
                if is_sealed {
                    world.wait_until_sealed();
                }
                world.kill_and_start();
            }
            assert_one_trace(&world, &format!("killed after each of {order:?}, sealed: {is_sealed}"));
        }
    }
}

#[test]
fn late_parts_go_to_the_trace_that_theirs_became() {
    let mut world = World::start(SEALING);
    world.send(&hosts()[0]);
    world.send(&hosts()[1]);
    world.wait_until_sealed();
    world.send(&[agent("orders", 2, 203, 200, CLIENT).with(POSTGRESQL).at(70, 5)]);
    let expected = "1: 100<0 101<100 200<101 201<200 202<200 203<200";
    assert_eq!(world.drawn(2), expected);
    world.wait_until_sealed();
    world.kill_and_start();
    assert_eq!((world.drawn(1), world.drawn(2)), (expected.to_owned(), expected.to_owned()));
    assert_eq!(world.all(), ["1 gateway 100 6"]);
}

#[test]
fn an_exchange_that_begins_the_trace_on_both_hosts_alike_is_joined() {
    let client = agent("cron", 7, 10, 0, CLIENT).with(HTTP).at(0, 50);
    let server = agent("shop", 7, 20, 0, SERVER).with(HTTP).expecting(10).at(-5000, 10);
    for spans in [[client.clone(), server.clone()], [server, client]] {
        let world = World::start("");
        spans.iter().for_each(|span| world.send(std::slice::from_ref(span)));
        assert_eq!(world.drawn(7), "7: 10<0 20<10");
        assert_eq!(
            (world.all(), world.edges()),
            (vec!["7 cron 10 2".to_owned()], vec!["cron->shop 1".to_owned()])
        );
        assert_eq!(world.bridge.metric("remora_bridge_trace_aliases"), 0.0);
    }
}

#[test]
fn a_request_that_names_a_trace_is_believed_and_joined_only_within_it() {
    let world = World::start("");
    world.send(&hosts()[0]);
    // Named another trace than that of the connection's client.
    world.send(&[agent("orders", 5, 500, 77, SERVER).with(HTTP).by_wire().expecting(101)]);
    assert_eq!(world.drawn(5), "5: 500<77");
    assert_eq!(world.bridge.metric("remora_bridge_join_wire_conflicts_total"), 1.0);
    // The context of the gateway's server span, through a client that added none of its own.
    world.send(&[agent("orders", 1, 600, 100, SERVER).with(HTTP).by_wire().expecting(101)]);
    assert_eq!(world.drawn(1), "1: 100<0 101<100 600<101");
    assert_eq!(world.all(), ["1 gateway 100 3", "5 orders 500 1"]);
}

#[test]
fn a_server_span_whose_client_never_comes_stays_a_root() {
    let world = World::start("[join]\nhold = '1s'\n");
    world.send(&hosts()[1]);
    crate::bridge::wait_for("the hold to end", || {
        (world.bridge.metric("remora_bridge_join_expired_total") == 1.0).then_some(())
    });
    assert_eq!(world.bridge.metric("remora_bridge_join_servers_waiting"), 0.0);
    assert_eq!(world.drawn(2), "2: 200<0 201<200 202<200");
}

#[test]
fn the_other_side_of_what_comes_after_the_hold_is_found_among_what_is_stored() {
    for is_sealed in [false, true] {
        for order in [[0, 1], [1, 0]] {
            let hold = "[join]\nhold = '1s'\n";
            let world = World::start(&if is_sealed { format!("{SEALING}{hold}") } else { hold.to_owned() });
            world.send(&hosts()[order[0]]);
            if is_sealed {
                world.wait_until_sealed();
            }
            // Between one and two holds, whatever waited is forgotten.
            let began = std::time::Instant::now();
            crate::bridge::wait_for("the first side to be forgotten", || {
                (began.elapsed() > std::time::Duration::from_secs(3)).then_some(())
            });
            world.send(&hosts()[order[1]]);
            crate::bridge::wait_for("the late side", || (world.drawn(2).starts_with("1:")).then_some(()));
            assert_eq!(world.drawn(1), "1: 100<0 101<100 200<101 201<200 202<200");
        }
    }
}
