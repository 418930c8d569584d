use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use aya::programs::loaded_programs;
use aya::sys::{Stats, enable_stats};
use remora_tests::observer::Observer;
use remora_tests::wait;

/// The programs by the kernel's id: name (which the kernel cuts at 15 bytes) and how often each ran.
fn programs() -> BTreeMap<u32, (String, u64)> {
    let facts = |program: aya::programs::ProgramInfo| {
        (program.id(), (String::from_utf8_lossy(program.name()).into_owned(), program.run_count()))
    };
    loaded_programs().filter_map(Result::ok).map(facts).collect()
}

/// Programs on functions of runtimes and libraries, cut like the others: they run where a process has such functions, as the lab's do.
const ON_FUNCTIONS: [&str; 43] = [
    "go_http_round_t",
    "grpc_header_mad",
    "grpc_header_wri",
    "grpc_stream_ser",
    "go_http2_served",
    "python_context_",
    "python_free_con",
    "python_queue_pu",
    "python_queue_ge",
    "python_queue_go",
    "uvloop_write",
    "node_turn",
    "node_message_se",
    "node_message_re",
    "tokio_spawn",
    "tokio_wake",
    "tls_write",
    "tls_write_ex",
    "tls_write_ex2",
    "tls_read",
    "tls_read_ex",
    "tls_set_fd",
    "tls_begin",
    "tls_handshake",
    "tls_returned",
    "tls_free",
    "tls_sendfile",
    "rustls_write",
    "rustls_write_ve",
    "rustls_written",
    "rustls_encrypt",
    "rustls_encrypte",
    "rustls_decrypt",
    "rustls_decrypte",
    "tls_go_write",
    "tls_go_read",
    "tls_go_returned",
    "tls_go_handshak",
    "tls_go_handshak",
    "bio_write",
    "bio_write_retur",
    "bio_read",
    "bio_read_return",
];

#[test]
#[ignore = "needs root"]
fn every_program_loads_attaches_fires_and_goes() {
    let _counting = enable_stats(Stats::RunTime).expect("count the runs of BPF programs");
    let before = programs();
    let observer = Observer::of_this_process().unwrap();
    let ours = || programs().into_iter().filter(|(id, _)| !before.contains_key(id));
    let names: Vec<_> = ours().map(|(_, (name, _))| name).collect();
    for expected in
        ["sys_enter", "sys_exit", "inet_sock_set_s", "sched_process_f"].iter().chain(&ON_FUNCTIONS)
    {
        assert!(names.iter().any(|name| name == expected), "{expected} is loaded: {names:?}");
    }

    // A process that is made, runs a program and ends; a connection that opens, moves bytes and closes.
    assert!(Command::new("true").status().unwrap().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    drop((client, server));

    let ran = |(_, (name, runs)): (u32, (String, u64))| {
        (runs == 0 && !ON_FUNCTIONS.contains(&name.as_str())).then_some(name)
    };
    wait::until("every program has run", Duration::from_secs(5), || {
        let idle: Vec<_> = ours().filter_map(ran).collect();
        if idle.is_empty() { Ok(Some(())) } else { anyhow::bail!("these have not: {idle:?}") }
    })
    .unwrap();

    let ids: Vec<_> = ours().map(|(id, _)| id).collect();
    drop(observer);
    wait::until("the kernel has freed the programs", Duration::from_secs(10), || {
        let loaded = programs();
        Ok(ids.iter().all(|id| !loaded.contains_key(id)).then_some(()))
    })
    .unwrap();
}
