use super::*;
use crate::session::Place;

const REQUEST: ExchangeId = ExchangeId(1);
const OTHER: ExchangeId = ExchangeId(2);
const CALL: ExchangeId = ExchangeId(3);

fn connection(sock: u64) -> ConnectionId {
    ConnectionId { sock, inode: 0 }
}

fn thread(tid: u32, turn: u32, at_ns: u64) -> Stamp {
    Stamp { at_ns, executor: Executor { tgid: 1, tid, task: None, token: None, turn } }
}

fn goroutine(id: u64, parent: u64, at_ns: u64) -> Stamp {
    let task = Some(Task::Goroutine { id, parent });
    Stamp { at_ns, executor: Executor { tgid: 1, tid: at_ns as u32, task, token: None, turn: 0 } }
}

fn of_scheduling(scheduling: Scheduling) -> Parents {
    let mut parents = Parents::default();
    parents.set_scheduling(1, scheduling);
    parents
}

fn started(id: ExchangeId, stamp: &Stamp, content: Option<u64>) -> Started {
    Started {
        id,
        first: *stamp,
        last: *stamp,
        place: Place::default(),
        content,
        number: None,
        is_relayed: false,
    }
}

fn call(parents: &mut Parents, id: ExchangeId, connection: ConnectionId, stamp: &Stamp) -> Option<Found> {
    let found = parents.of_call(&started(id, stamp, None), connection, &peer())?;
    let is_admitted = parents.admits(found.server, stamp.at_ns);
    is_admitted.then(|| parents.adopt(id, found.server))?;
    Some(found)
}

fn begin(parents: &mut Parents, id: ExchangeId, connection: ConnectionId, stamp: Stamp) {
    parents.begin_server(&started(id, &stamp, None), connection);
}

fn peer() -> Endpoint {
    Endpoint::Unix(String::new())
}

fn evidence(parents: &mut Parents, stamp: &Stamp) -> Option<(u64, Evidence)> {
    call(parents, CALL, connection(99), stamp).map(|found| (found.server.0, found.evidence))
}

#[test]
fn call_on_the_thread_of_its_only_request_belongs_to_it() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 5, 20)), Some((1, Evidence::Thread)));
    assert_eq!(evidence(&mut parents, &thread(8, 0, 20)), None);
    parents.end(REQUEST);
    assert_eq!(evidence(&mut parents, &thread(7, 5, 30)), None);
}

#[test]
fn threads_of_an_unknown_or_migrating_process_prove_nothing() {
    for scheduling in [Scheduling::Unknown, Scheduling::Migrating] {
        let mut parents = of_scheduling(scheduling);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None, "{scheduling:?}");
    }
}

#[test]
fn a_process_that_interleaved_is_never_believed_again() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    begin(&mut parents, OTHER, connection(2), thread(7, 0, 11));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None);
    parents.end(OTHER);
    assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None);
}

#[test]
fn a_thread_that_waits_for_events_between_requests_is_an_event_loop() {
    let mut parents = of_scheduling(Scheduling::Threads);
    const MAIN: u32 = 1;
    begin(&mut parents, REQUEST, connection(1), thread(MAIN, 1, 10));
    assert_eq!(evidence(&mut parents, &thread(MAIN, 1, 11)), None);
    parents.answering(REQUEST, &thread(MAIN, 3, 20));
    parents.end(REQUEST);
    // The waits were during the request: a driver's, not a loop's.
    begin(&mut parents, OTHER, connection(1), thread(MAIN, 3, 30));
    assert_eq!(evidence(&mut parents, &thread(MAIN, 4, 31)), Some((2, Evidence::Thread)));
    parents.end(OTHER);
    begin(&mut parents, REQUEST, connection(1), thread(7, 1, 40));
    assert_eq!(evidence(&mut parents, &thread(7, 1, 41)), None, "a loop in another thread");
}

#[test]
fn a_loop_that_waited_when_the_agent_began_is_known_at_its_first_request() {
    let mut parents = of_scheduling(Scheduling::Threads);
    parents.note_waiting(7);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 11)), None);
    begin(&mut parents, OTHER, connection(2), thread(8, 0, 12));
    assert_eq!(evidence(&mut parents, &thread(8, 0, 13)), Some((2, Evidence::Thread)));
}

#[test]
fn tasks_that_move_between_threads_are_noticed() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    begin(&mut parents, OTHER, connection(2), thread(8, 0, 11));
    parents.answering(REQUEST, &thread(8, 0, 12));
    assert_eq!(evidence(&mut parents, &thread(8, 0, 20)), None);
}

#[test]
fn an_unproven_process_is_believed_while_a_request_is_alone_since_it_began() {
    let mut parents = of_scheduling(Scheduling::Unproven);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 11)), Some((1, Evidence::Thread)));
    begin(&mut parents, OTHER, connection(2), thread(8, 0, 12));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 13)), None);
    parents.end(REQUEST);
    assert_eq!(evidence(&mut parents, &thread(8, 0, 14)), None, "what the other left behind may be at work");
    parents.end(OTHER);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 20));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 21)), Some((1, Evidence::Thread)));
    parents.disturb(1);
    assert_eq!(evidence(&mut parents, &thread(7, 0, 22)), None, "something else has arrived");
    parents.end(REQUEST);
    parents.note_blind(connection(5), 1);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 30));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 31)), None, "requests may come unseen");
    let executor = thread(7, 0, 0).executor;
    let unix = || Endpoint::Unix(String::new());
    let opened = Opened {
        executor,
        local: unix(),
        peer: unix(),
        role: crate::event::Role::Accepted,
        is_datagram: false,
        peer_sock: None,
        first: None,
    };
    parents.forget_connection(connection(5), &opened);
    assert_eq!(evidence(&mut parents, &thread(7, 0, 32)), Some((1, Evidence::Thread)));
}

#[test]
fn an_unproven_process_is_believed_after_many_requests_that_overlapped_and_stayed() {
    let mut parents = of_scheduling(Scheduling::Unproven);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    parents.disturb(1);
    for id in 10..40 {
        assert_eq!(evidence(&mut parents, &thread(7, 0, 19)).is_some(), id > 21, "{id}");
        let stamp = thread(8 + (id as u32) % 2, 0, 20);
        begin(&mut parents, ExchangeId(id), connection(id), stamp);
        call(&mut parents, CALL, connection(99), &stamp);
        parents.answering(ExchangeId(id), &stamp);
        parents.end(ExchangeId(id));
    }
    begin(&mut parents, OTHER, connection(2), thread(8, 0, 50));
    parents.answering(OTHER, &thread(9, 0, 51));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 52)), None, "one has moved");
}

fn begin_numbered(parents: &mut Parents, id: ExchangeId, stamp: Stamp) {
    let started = Started { number: Some(id.0), ..started(id, &stamp, None) };
    parents.begin_server(&started, connection(1));
}

#[test]
fn of_several_numbered_requests_none_is_the_one_that_a_goroutine_works_for() {
    let mut parents = Parents::default();
    begin_numbered(&mut parents, REQUEST, goroutine(5, 1, 10));
    begin_numbered(&mut parents, OTHER, goroutine(5, 1, 11));
    assert_eq!(evidence(&mut parents, &goroutine(6, 5, 12)), None);
    parents.end(REQUEST);
    assert_eq!(evidence(&mut parents, &goroutine(7, 5, 13)), Some((2, Evidence::Goroutine)));
}

#[test]
fn numbered_requests_of_one_thread_are_served_at_the_same_time() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin_numbered(&mut parents, REQUEST, thread(7, 0, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 11)), Some((1, Evidence::Thread)));
    begin_numbered(&mut parents, OTHER, thread(7, 0, 12));
    assert_eq!(evidence(&mut parents, &thread(7, 0, 13)), None);
}

#[test]
fn a_turn_is_that_of_the_only_numbered_request_that_was_read_in_it() {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    let read = |parents: &mut Parents, turn| parents.touch(&thread(7, turn, 0).executor, None, false);
    read(&mut parents, 1);
    begin_numbered(&mut parents, REQUEST, thread(7, 1, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 1, 11)), Some((1, Evidence::Turn)));
    parents.touch_any(&thread(7, 2, 20).executor, false, None);
    begin_numbered(&mut parents, OTHER, thread(7, 2, 20));
    assert_eq!(evidence(&mut parents, &thread(7, 2, 21)), Some((2, Evidence::Turn)));
    parents.take_turn(REQUEST, &thread(7, 2, 22).executor);
    assert_eq!(evidence(&mut parents, &thread(7, 2, 23)), None, "the end of another came with it");
    parents.touch_any(&thread(7, 3, 30).executor, true, None);
    parents.take_turn(REQUEST, &thread(7, 3, 30).executor);
    assert_eq!(evidence(&mut parents, &thread(7, 3, 31)), None, "more of another may have come with it");
}

#[test]
fn a_connection_that_becomes_free_may_be_given_to_another_whenever_the_call_is_told() {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    let foreseen = |parents: &mut Parents, turn, at_ns| {
        parents.foresee(connection(50), Some(0), &thread(7, turn, at_ns)).map(|found| found.server)
    };
    begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
    begin(&mut parents, OTHER, connection(2), thread(7, 2, 20));
    parents.take_turn(REQUEST, &thread(7, 3, 30).executor);
    parents.note_free(connection(50), &peer(), &thread(7, 3, 30).executor);
    assert_eq!(foreseen(&mut parents, 3, 31), None, "the other may have waited for it");
    parents.touch(&thread(7, 4, 40).executor, Some(REQUEST), false);
    assert_eq!(foreseen(&mut parents, 4, 41), Some(REQUEST), "nobody has waited since");
    parents.end(OTHER);
    parents.note_free(connection(50), &peer(), &thread(7, 4, 42).executor);
    assert_eq!(foreseen(&mut parents, 4, 43), Some(REQUEST), "there is no other");
    parents.note_connect(connection(50), &peer(), &thread(7, 4, 44).executor);
    assert_eq!(foreseen(&mut parents, 4, 45), None, "who gets it is seen when it is used");
}

#[test]
fn who_writes_for_all_says_nothing_of_who_asks() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    let relayed = Started { is_relayed: true, ..started(CALL, &goroutine(5, 1, 11), None) };
    assert_eq!(parents.of_call(&relayed, connection(99), &peer()), None);
    assert_eq!(evidence(&mut parents, &goroutine(5, 1, 12)), Some((1, Evidence::Goroutine)));
}

/// Two requests of an event loop, and a call of the first that is answered in turn 3.
fn two_requests_and_an_answer() -> Parents {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
    begin(&mut parents, OTHER, connection(2), thread(7, 2, 20));
    parents.adopt(CALL, REQUEST);
    parents.touch(&thread(7, 3, 30).executor, Some(REQUEST), true);
    parents.answered(CALL, &thread(7, 3, 30).executor);
    parents.end(CALL);
    parents
}

#[test]
fn an_answer_for_which_another_request_may_wait_too_is_nobodys_turn() {
    let mut parents = two_requests_and_an_answer();
    assert_eq!(evidence(&mut parents, &thread(7, 3, 31)), None, "both may await one promise");
    parents.note_connect(connection(50), &peer(), &thread(7, 3, 32).executor);
    assert_eq!(call(&mut parents, ExchangeId(60), connection(50), &thread(7, 4, 33)), None);
    parents.take_turn(REQUEST, &thread(7, 5, 40).executor);
    assert_eq!(evidence(&mut parents, &thread(7, 5, 41)), Some((1, Evidence::Turn)), "more of its own body");
}

#[test]
fn an_answer_is_its_callers_where_all_others_wait_for_answers_of_their_own() {
    let mut parents = two_requests_and_an_answer();
    parents.adopt(ExchangeId(60), OTHER);
    assert_eq!(evidence(&mut parents, &thread(7, 3, 31)), Some((1, Evidence::Turn)));
    parents.end(ExchangeId(60));
    assert_eq!(
        evidence(&mut parents, &thread(7, 3, 32)),
        Some((1, Evidence::Turn)),
        "it was so when it came"
    );
    parents.touch(&thread(7, 4, 40).executor, Some(REQUEST), true);
    assert_eq!(evidence(&mut parents, &thread(7, 4, 41)), None);
    parents.answering(OTHER, &thread(7, 4, 42));
    parents.touch(&thread(7, 5, 50).executor, Some(REQUEST), true);
    assert_eq!(evidence(&mut parents, &thread(7, 5, 51)), Some((1, Evidence::Turn)), "the other answers");
}

#[test]
fn calls_of_nobody_knows_whom_are_those_of_requests_that_seem_to_wait() {
    let mut parents = two_requests_and_an_answer();
    assert_eq!(evidence(&mut parents, &thread(7, 3, 31)), None);
    parents.touch(&thread(7, 4, 40).executor, Some(REQUEST), true);
    assert_eq!(
        evidence(&mut parents, &thread(7, 4, 41)),
        Some((1, Evidence::Turn)),
        "the call is the other's"
    );
    begin(&mut parents, ExchangeId(61), connection(3), thread(7, 5, 50));
    parents.touch(&thread(7, 6, 60).executor, Some(REQUEST), true);
    assert_eq!(evidence(&mut parents, &thread(7, 6, 61)), None, "one of them waits for something else");
    parents.answered(CALL, &thread(7, 8, 80).executor);
    parents.end(CALL);
    assert!(parents.is_unsure(&thread(7, 8, 81).executor), "what follows is as unsure");
}

#[test]
fn others_may_wait_for_a_pool_that_has_no_more_connections() {
    let mut parents = two_requests_and_an_answer();
    let pool = Endpoint::Unix("pool".to_owned());
    for sock in 70..73 {
        parents.take_connection(connection(sock), &pool, &thread(7, 3, 31).executor);
    }
    parents.touch(&thread(7, 4, 40).executor, Some(REQUEST), true);
    assert_eq!(evidence(&mut parents, &thread(7, 4, 41)), None, "three may be all that were needed yet");
    parents.end(CALL);
    parents.take_connection(connection(73), &pool, &thread(7, 4, 42).executor);
    parents.touch(&thread(7, 5, 50).executor, Some(REQUEST), true);
    parents.note_free(connection(73), &pool, &thread(7, 5, 50).executor);
    assert_eq!(evidence(&mut parents, &thread(7, 5, 51)), Some((1, Evidence::Turn)));
    parents.touch(&thread(7, 6, 60).executor, Some(REQUEST), true);
    assert_eq!(evidence(&mut parents, &thread(7, 6, 61)), None, "one is free now");
}

#[test]
fn a_proxy_that_touches_another_connection_works_for_that() {
    let mut parents = of_scheduling(Scheduling::Turns);
    begin(&mut parents, OTHER, connection(3), thread(7, 1, 9));
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    // An upstream of the other request fails in the same turn: the next connection is the other's.
    parents.touch(&thread(7, 2, 11).executor, Some(OTHER), false);
    parents.note_connect(connection(50), &peer(), &thread(7, 2, 12).executor);
    let found = call(&mut parents, CALL, connection(50), &thread(7, 2, 13));
    assert_eq!(found.map(|found| found.server), Some(OTHER));
    parents.touch(&thread(7, 2, 14).executor, None, false);
    parents.note_connect(connection(51), &peer(), &thread(7, 2, 15).executor);
    assert_eq!(call(&mut parents, ExchangeId(4), connection(51), &thread(7, 2, 16)), None);
}

#[test]
fn a_proxy_is_followed_by_turns_and_by_the_connections_it_opens() {
    let mut parents = Parents::default();
    parents.set_scheduling(1, Scheduling::Turns);
    begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
    parents.note_connect(connection(50), &peer(), &thread(7, 1, 11).executor);
    parents.touch(&thread(7, 1, 12).executor, None, false);
    begin(&mut parents, OTHER, connection(2), thread(7, 1, 12));
    parents.note_connect(connection(51), &peer(), &thread(7, 1, 13).executor);
    let of = |parents: &mut Parents, sock, stamp: Stamp| call(parents, CALL, connection(sock), &stamp);
    assert_eq!(of(&mut parents, 51, thread(7, 2, 20)).map(|found| found.server), Some(OTHER));
    assert_eq!(of(&mut parents, 50, thread(7, 2, 21)).map(|found| found.server), Some(REQUEST));
    assert_eq!(of(&mut parents, 50, thread(7, 2, 22)), None, "only the first call of a connection");
    parents.note_connect(connection(52), &peer(), &thread(7, 1, 22).executor);
    parents.take_turn(REQUEST, &thread(7, 4, 23).executor);
    let written_in_anothers_turn = of(&mut parents, 52, thread(7, 4, 24));
    assert_eq!(written_in_anothers_turn.map(|found| found.server), Some(OTHER));
    assert!(of(&mut parents, 50, thread(7, 2, 25)).is_none());
    let found = of(&mut parents, 61, thread(7, 4, 26));
    assert_eq!(found.map(|found| found.server), Some(REQUEST), "an idle connection is used at once");
    parents.answered(CALL, &thread(7, 3, 30).executor);
    assert_eq!(of(&mut parents, 60, thread(7, 3, 31)).map(|found| found.server), Some(REQUEST));
}

#[test]
fn what_a_proxy_does_for_requests_of_one_read_is_nobodys() {
    let mut parents = of_scheduling(Scheduling::Turns);
    parents.touch(&thread(7, 2, 10).executor, None, false);
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    begin(&mut parents, ExchangeId(4), connection(1), thread(7, 2, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 2, 11)), None);
    parents.touch(&thread(7, 3, 20).executor, None, false);
    begin(&mut parents, OTHER, connection(2), thread(7, 3, 20));
    // The next is begun at the end of the turn in which the one before was answered, whatever else it is about.
    parents.touch_by_answer(&thread(7, 4, 30).executor, Some(REQUEST));
    parents.end(REQUEST);
    assert_eq!(evidence(&mut parents, &thread(7, 4, 31)), None);
    parents.touch(&thread(7, 4, 31).executor, Some(OTHER), true);
    assert_eq!(evidence(&mut parents, &thread(7, 4, 32)), None, "OTHER, or what was put off");
    parents.touch(&thread(7, 5, 40).executor, Some(OTHER), true);
    assert_eq!(evidence(&mut parents, &thread(7, 5, 41)), Some((2, Evidence::Turn)));
}

#[test]
fn a_proxy_of_streams_passes_on_what_it_reads_while_others_wait() {
    let mut parents = of_scheduling(Scheduling::Turns);
    parents.touch(&thread(7, 2, 10).executor, None, false);
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    parents.touch(&thread(7, 3, 20).executor, Some(REQUEST), false);
    begin(&mut parents, OTHER, connection(1), thread(7, 3, 20));
    assert_eq!(evidence(&mut parents, &thread(7, 3, 21)), Some((2, Evidence::Turn)));
}

#[test]
fn an_event_loop_may_serve_what_one_read_has_brought_at_once() {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    assert_eq!(evidence(&mut parents, &thread(7, 2, 10)), Some((1, Evidence::Turn)));
    for others in 4..6 {
        begin(&mut parents, ExchangeId(others), connection(1), thread(7, 2, 10));
        assert_eq!(evidence(&mut parents, &thread(7, 2, 11)), None);
    }
}

#[test]
fn a_goroutine_started_during_the_request_belongs_to_it() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    assert_eq!(evidence(&mut parents, &goroutine(5, 1, 20)), Some((1, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(6, 5, 20)), Some((1, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(7, 6, 20)), Some((1, Evidence::Goroutine)), "a grandchild");
    assert_eq!(evidence(&mut parents, &goroutine(9, 8, 20)), None, "nobody knows who started its parent");
}

#[test]
fn a_worker_of_an_earlier_request_belongs_to_none() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    assert!(evidence(&mut parents, &goroutine(6, 5, 20)).is_some());
    parents.end(REQUEST);
    begin(&mut parents, OTHER, connection(1), goroutine(5, 1, 30));
    assert_eq!(evidence(&mut parents, &goroutine(6, 5, 40)), None);
}

#[test]
fn a_late_first_call_for_an_earlier_request_belongs_to_none() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    parents.end(REQUEST);
    // It reads something on another connection, and makes its first call during the second request.
    parents.see(&goroutine(38, 5, 20));
    begin(&mut parents, OTHER, connection(1), goroutine(5, 1, 30));
    assert_eq!(evidence(&mut parents, &goroutine(38, 5, 40)), None);
    assert_eq!(evidence(&mut parents, &goroutine(40, 5, 41)), Some((2, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(50, 38, 42)), None, "started by a worker");
}

#[test]
fn fan_out_and_age_are_capped() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 0));
    assert_eq!(evidence(&mut parents, &thread(7, 0, MAX_AGE_NS + 1)), None);
    for _ in 1..MAX_CALLS {
        assert!(evidence(&mut parents, &thread(7, 0, 1)).is_some());
    }
    assert_eq!(evidence(&mut parents, &thread(7, 0, 1)), None);
    assert_eq!((parents.too_many_calls(), parents.too_old()), (1, 1));
}

#[test]
fn a_unit_of_work_belongs_to_the_request_that_it_was_given_for() {
    let mut parents = of_scheduling(Scheduling::Threads);
    let with = |token, stamp: Stamp| Stamp { executor: Executor { token, ..stamp.executor }, ..stamp };
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    parents.note_gift(&thread(7, 0, 11).executor, 50, 11);
    let worker = with(Some(50), thread(8, 0, 12));
    assert_eq!(evidence(&mut parents, &worker), Some((1, Evidence::Task)));
    // What it gives in turn is for the same request.
    parents.note_gift(&worker.executor, 51, 13);
    assert_eq!(evidence(&mut parents, &with(Some(51), thread(9, 0, 14))), Some((1, Evidence::Task)));
    assert_eq!(evidence(&mut parents, &with(Some(52), thread(9, 0, 14))), None, "nobody gave it");
    // A request that is read under a token is the token's.
    begin(&mut parents, OTHER, connection(2), with(Some(52), thread(9, 0, 15)));
    assert_eq!(evidence(&mut parents, &with(Some(52), thread(10, 0, 16))), Some((2, Evidence::Task)));
    // The number is used again, for nobody.
    parents.note_gift(&thread(11, 0, 17).executor, 50, 17);
    assert_eq!(evidence(&mut parents, &worker), None);
    parents.note_gift(&thread(11, 0, 17).executor, 52, 17);
    assert_eq!(
        evidence(&mut parents, &with(Some(52), thread(10, 0, 18))),
        None,
        "another one goes on with it"
    );
    parents.end(REQUEST);
    assert_eq!(evidence(&mut parents, &with(Some(51), thread(9, 0, 18))), None);
}

#[test]
fn a_thread_that_a_request_started_belongs_to_it_where_such_threads_end_with_their_requests() {
    let mut parents = of_scheduling(Scheduling::Threads);
    begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
    for tid in 20..23 {
        parents.note_thread(&thread(7, 0, 11).executor, tid, 11);
        assert_eq!(evidence(&mut parents, &thread(tid, 0, 12)), None, "not seen yet");
        parents.note_thread_end(1, tid, 13);
    }
    parents.note_thread(&thread(7, 0, 14).executor, 30, 14);
    assert_eq!(evidence(&mut parents, &thread(30, 0, 15)), Some((1, Evidence::Thread)));
    // One that serves by itself was not started for the request.
    begin(&mut parents, OTHER, connection(2), thread(30, 0, 16));
    assert_eq!(evidence(&mut parents, &thread(30, 0, 17)), Some((2, Evidence::Thread)));
    parents.note_thread(&thread(7, 0, 18).executor, 31, 18);
    assert_eq!(evidence(&mut parents, &thread(31, 0, 19)), None);
}

#[test]
fn what_served_several_connections_at_once_was_no_unit_of_work() {
    let mut parents = of_scheduling(Scheduling::Threads);
    let under = |stamp: Stamp| Stamp { executor: Executor { token: Some(5), ..stamp.executor }, ..stamp };
    begin(&mut parents, REQUEST, connection(1), under(thread(7, 0, 10)));
    assert_eq!(evidence(&mut parents, &under(thread(7, 0, 11))), Some((1, Evidence::Task)));
    begin(&mut parents, OTHER, connection(2), under(thread(7, 0, 12)));
    assert_eq!(evidence(&mut parents, &under(thread(7, 0, 13))), None);
}

#[test]
fn a_claim_is_for_the_context_that_made_it_and_for_no_later_one() {
    let mut parents = of_scheduling(Scheduling::Threads);
    let of = |context, at_ns| {
        let stamp = thread(7, 1, at_ns);
        Stamp { executor: Executor { task: Some(Task::Context(context)), ..stamp.executor }, ..stamp }
    };
    begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
    begin(&mut parents, OTHER, connection(2), thread(7, 1, 11));
    parents.contexts.make(1, 50, 0, Owner::Request(REQUEST), 12);
    parents.claim(connection(99), of(50, 13).executor);
    // The task ends before the loop writes, and another gets its context's address.
    parents.forget_context(1, 50);
    parents.contexts.make(1, 50, 0, Owner::Request(OTHER), 14);
    parents.write(connection(99), 15);
    assert_eq!(evidence(&mut parents, &of(60, 15)), Some((1, Evidence::Task)));
    parents.claim(connection(99), of(50, 16).executor);
    parents.write(connection(99), 17);
    parents.forget_handovers();
    assert_eq!(evidence(&mut parents, &of(50, 17)), None, "what was told may be out of date");
}

#[test]
fn a_loop_with_tokens_gives_each_request_once_in_the_turn_that_read_it() {
    let mut parents = of_scheduling(Scheduling::TokenLoop);
    let with = |token, stamp: Stamp| Stamp { executor: Executor { token, ..stamp.executor }, ..stamp };
    let read = |parents: &mut Parents, id, sock, at_ns| {
        let stamp = thread(7, 1, at_ns);
        parents.touch(&stamp.executor, None, false);
        begin(parents, id, connection(sock), stamp);
    };
    read(&mut parents, REQUEST, 1, 10);
    parents.note_gift(&thread(7, 1, 11).executor, 50, 11);
    parents.note_gift(&thread(7, 1, 12).executor, 51, 12);
    read(&mut parents, OTHER, 2, 13);
    parents.note_gift(&thread(7, 2, 14).executor, 52, 14);
    let of = |parents: &mut Parents, token| evidence(parents, &with(token, thread(7, 9, 20)));
    assert_eq!(of(&mut parents, Some(50)), Some((1, Evidence::Task)));
    assert_eq!(of(&mut parents, Some(51)), None, "it is somebody's already");
    assert_eq!(of(&mut parents, Some(52)), None, "the loop has gone on");
    assert_eq!(of(&mut parents, None), None, "turns do not tell whose calls are made");
    // Two requests in one read.
    let stamp = thread(7, 3, 30);
    parents.touch(&stamp.executor, None, false);
    begin(&mut parents, ExchangeId(8), connection(3), stamp);
    begin(&mut parents, ExchangeId(9), connection(3), stamp);
    parents.note_gift(&thread(7, 3, 31).executor, 53, 31);
    assert_eq!(of(&mut parents, Some(53)), None, "either may be meant");
}

#[test]
fn a_proxy_passes_on_what_one_request_asks_for() {
    let mut parents = of_scheduling(Scheduling::Proxy);
    let stamp = thread(7, 0, 10);
    parents.begin_server(&started(REQUEST, &stamp, Some(1)), connection(1));
    parents.begin_server(&started(OTHER, &stamp, Some(2)), connection(2));
    let ask = |parents: &mut Parents, content| {
        let found = parents.of_call(&started(CALL, &thread(8, 9, 20), content), connection(9), &peer());
        found.map(|found| (found.server, found.evidence))
    };
    assert_eq!(ask(&mut parents, Some(2)), Some((OTHER, Evidence::Content)));
    assert_eq!(ask(&mut parents, Some(3)), None);
    assert_eq!(ask(&mut parents, None), None);
    parents.begin_server(&started(ExchangeId(9), &stamp, Some(2)), connection(3));
    assert_eq!(ask(&mut parents, Some(2)), None, "either may be meant");
    parents.end(OTHER);
    assert_eq!(ask(&mut parents, Some(2)), Some((ExchangeId(9), Evidence::Content)));
}
#[test]
fn a_proxy_asks_once_for_a_request_and_again_when_that_failed() {
    let mut parents = of_scheduling(Scheduling::Proxy);
    parents.begin_server(&started(REQUEST, &thread(7, 0, 10), Some(1)), connection(1));
    let ask = |parents: &mut Parents, id| {
        let started = started(ExchangeId(id), &thread(8, 9, 20), Some(1));
        let found = parents.of_call(&started, connection(id), &peer())?;
        parents.adopt(started.id, found.server);
        Some(found.server)
    };
    assert_eq!(ask(&mut parents, 3), Some(REQUEST));
    assert_eq!(ask(&mut parents, 4), None, "a health check");
    parents.end(ExchangeId(3));
    assert_eq!(ask(&mut parents, 5), Some(REQUEST), "a retry");
}
#[test]
fn news_for_others_do_not_make_their_requests_the_cause() {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    begin(&mut parents, OTHER, connection(2), thread(7, 1, 9));
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    parents.touch_by_answer(&thread(7, 2, 11).executor, Some(REQUEST));
    assert_eq!(evidence(&mut parents, &thread(7, 2, 12)), Some((1, Evidence::Turn)));
    parents.touch_by_answer(&thread(7, 2, 13).executor, Some(OTHER));
    assert_eq!(evidence(&mut parents, &thread(7, 2, 14)), None);
}
#[test]
fn a_call_that_was_given_up_does_not_overlap_with_the_next() {
    let mut parents = of_scheduling(Scheduling::EventLoop);
    begin(&mut parents, OTHER, connection(2), thread(7, 1, 9));
    begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
    assert!(call(&mut parents, CALL, connection(50), &thread(7, 2, 11)).is_some());
    parents.note_abandoned(connection(50), &peer(), &thread(7, 2, 12).executor);
    parents.end(CALL);
    assert!(call(&mut parents, ExchangeId(4), connection(50), &thread(7, 2, 13)).is_some());
    // Its answer makes the connection free for whoever waits for it.
    let answer = thread(7, 3, 14);
    parents.answered(ExchangeId(4), &answer.executor);
    parents.note_free(connection(50), &peer(), &answer.executor);
    parents.end(ExchangeId(4));
    assert_eq!(call(&mut parents, ExchangeId(5), connection(50), &thread(7, 3, 15)), None);
}

fn stream_call(parents: &mut Parents, number: u64, stamp: &Stamp) -> Option<ExchangeId> {
    let started = Started { number: Some(number), is_relayed: true, ..started(CALL, stamp, None) };
    parents.of_call(&started, connection(99), &peer()).map(|found| found.server)
}

/// The goroutine that writes a connection for others, and a header that it is given.
const WRITER: u64 = 90;
const HEADER: u64 = 0xc000_1000;

#[test]
fn a_stream_belongs_to_whom_gave_its_header() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    begin(&mut parents, OTHER, connection(2), goroutine(6, 1, 11));
    // It was started during one of the requests, as the first connection often is.
    let writer = goroutine(WRITER, 5, 20);
    parents.note_gift(&goroutine(6, 1, 12).executor, HEADER, 12);
    parents.note_gift(&goroutine(5, 1, 13).executor, 2 * HEADER, 13);
    parents.note_stream_written(&writer.executor, 2 * HEADER, 1);
    parents.note_stream_written(&writer.executor, HEADER, 3);
    assert_eq!(parents.foresee(connection(99), Some(0), &writer), None);
    assert_eq!(stream_call(&mut parents, 1, &writer), Some(REQUEST));
    assert_eq!(stream_call(&mut parents, 3, &writer), Some(OTHER));
    assert_eq!(stream_call(&mut parents, 5, &writer), None, "nobody is known to have asked for it");
    parents.note_stream_written(&writer.executor, HEADER, 7);
    assert_eq!(stream_call(&mut parents, 7, &writer), None, "the header was given once");
}

#[test]
fn streams_whose_headers_may_have_been_lost_are_nobodys() {
    let mut parents = Parents::default();
    begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
    let writer = goroutine(WRITER, 5, 20);
    parents.note_gift(&goroutine(5, 1, 12).executor, HEADER, 12);
    parents.note_stream_written(&writer.executor, HEADER, 1);
    parents.forget_handovers();
    assert_eq!(stream_call(&mut parents, 1, &writer), None);
}

#[test]
fn a_stream_is_served_by_the_goroutine_that_says_so() {
    let mut parents = Parents::default();
    begin_numbered(&mut parents, REQUEST, goroutine(5, 1, 10));
    begin_numbered(&mut parents, OTHER, goroutine(5, 1, 11));
    parents.note_stream_served(&goroutine(20, 5, 12).executor, OTHER.0);
    parents.note_stream_served(&goroutine(21, 5, 12).executor, REQUEST.0);
    parents.note_stream_served(&goroutine(22, 5, 12).executor, 99);
    parents.note_stream_served(&goroutine(23, 6, 12).executor, REQUEST.0);
    assert_eq!(evidence(&mut parents, &goroutine(20, 5, 13)), Some((2, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(21, 5, 13)), Some((1, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(30, 21, 14)), Some((1, Evidence::Goroutine)), "by its own");
    for other in [22, 23] {
        assert_eq!(evidence(&mut parents, &goroutine(other, 5, 15)), None);
    }
    parents.end(OTHER);
    assert_eq!(evidence(&mut parents, &goroutine(20, 5, 16)), None);
}

#[test]
fn a_stream_is_served_by_the_goroutine_whose_maker_started_its_reader() {
    let mut parents = Parents::default();
    // 4 has started 5, which reads, and those that serve; 40 has started the readers of two connections.
    begin_numbered(&mut parents, REQUEST, goroutine(5, 4, 10));
    begin_numbered(&mut parents, OTHER, goroutine(5, 4, 11));
    parents.note_stream_served(&goroutine(20, 4, 12).executor, OTHER.0);
    assert_eq!(evidence(&mut parents, &goroutine(20, 4, 13)), Some((2, Evidence::Goroutine)));
    assert_eq!(evidence(&mut parents, &goroutine(30, 20, 14)), Some((2, Evidence::Goroutine)), "by its own");
    begin_numbered(&mut parents, ExchangeId(70), goroutine(41, 40, 15));
    begin_numbered(&mut parents, ExchangeId(71), goroutine(42, 40, 16));
    parents.note_stream_served(&goroutine(43, 40, 17).executor, 70);
    assert_eq!(
        evidence(&mut parents, &goroutine(43, 40, 18)),
        None,
        "streams of two connections have one number"
    );
}

#[test]
fn a_stream_is_served_by_the_first_unit_that_says_so() {
    let mut parents = of_scheduling(Scheduling::TokenLoop);
    begin_numbered(&mut parents, REQUEST, thread(7, 1, 10));
    begin_numbered(&mut parents, OTHER, thread(7, 1, 10));
    let of_unit = |token, at_ns| {
        let executor = Executor { tgid: 1, tid: 7, task: None, token: Some(token), turn: 1 };
        Stamp { at_ns, executor }
    };
    for (token, sock, number) in
        [(50, 1, OTHER.0), (51, 1, REQUEST.0), (52, 1, 99), (53, 2, 1), (54, 1, OTHER.0)]
    {
        parents.claim_stream(connection(sock), number as u32, &of_unit(token, 11).executor, 11);
    }
    assert_eq!(evidence(&mut parents, &of_unit(50, 12)), Some((2, Evidence::Task)));
    assert_eq!(evidence(&mut parents, &of_unit(51, 12)), Some((1, Evidence::Task)));
    for token in 52..=54 {
        assert_eq!(evidence(&mut parents, &of_unit(token, 12)), None, "{token}");
    }
    parents.end(OTHER);
    assert_eq!(evidence(&mut parents, &of_unit(50, 13)), None);
}

#[test]
fn a_unit_that_asks_for_a_message_works_on_what_its_calls_bring() {
    let mut parents = of_scheduling(Scheduling::TokenLoop);
    let of_unit = |token, at_ns| {
        let executor = Executor { tgid: 1, tid: 7, task: None, token: Some(token), turn: 0 };
        Stamp { at_ns, executor }
    };
    parents.note_asking(1, 50, 10);
    let (asked, read) = (of_unit(50, 11), thread(7, 1, 12));
    assert!(parents.is_asking(&asked.executor) && !parents.is_asking(&of_unit(51, 11).executor));
    let source = crate::protocol::Source { may_wait: true, ..Default::default() };
    let receiving = parents.begin_work(REQUEST, connection(1), &source, &asked, &read);
    assert_eq!(receiving, Some(Receiving::AsTask));
    assert!(!parents.is_asking(&asked.executor), "it has got one");
    assert_eq!(evidence(&mut parents, &of_unit(50, 13)), Some((1, Evidence::Task)));
    assert_eq!(evidence(&mut parents, &of_unit(51, 13)), None);
    parents.note_asking(1, 52, 20);
    parents.sweep(20 + 60_000_000_000);
    assert!(!parents.is_asking(&of_unit(52, 21).executor), "it did not get any");
}

#[test]
fn a_goroutine_works_on_what_it_has_read_itself() {
    let mut parents = of_scheduling(Scheduling::Threads);
    let source = crate::protocol::Source { may_wait: true, ..Default::default() };
    let (writer, reader) = (goroutine(38, 1, 10), goroutine(40, 1, 12));
    assert_eq!(parents.begin_work(REQUEST, connection(1), &source, &writer, &reader), None);
    assert_eq!(evidence(&mut parents, &goroutine(38, 1, 13)), None, "it writes for all");
    let own = goroutine(38, 1, 14);
    assert_eq!(parents.begin_work(OTHER, connection(1), &source, &writer, &own), Some(Receiving::AsTask));
    assert_eq!(evidence(&mut parents, &goroutine(38, 1, 15)), Some((2, Evidence::Goroutine)));
}
