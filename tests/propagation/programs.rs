//! Client programs against a server that keeps every byte.

use std::path::PathBuf;
use std::time::Duration;

use remora_tests::cgroup::Cgroup;
use remora_tests::recorder::Recorder;
use remora_tests::remora::Remora;
use remora_tests::{locate, tools};

use crate::requests::{contexts, one, until_written, without_context};
use crate::trial::host_writes;

/// Connections that say something unusual, each with the bytes of its script's own choice.
const SCRIPT: &str = r#"
import socket, sys, time
host, port = sys.argv[1].split(':')
def connection(*parts, wait=True):
    with socket.create_connection((host, int(port))) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            stream.sendall(part)
            time.sleep(0.002)
        got = b''
        expected = b''.join(parts).count(b' HTTP/1.1\r\n')
        while got.count(b'\r\n\r\nok') < expected:
            part = stream.recv(65536)
            assert part, got
            got += part
        assert got == b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' * expected, got
get = b'GET /items?page=2 HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n'
body = bytes(range(1, 256)) * 4096
kinds = {
    'plain': [get],
    'kept alive': [get, get, get],
    'pipelined': [get * 5],
    'split': [get[:9], get[9:30], get[30:]],
    'chunked': [b'POST /items HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n', b'0\r\n\r\n'],
    'large': [b'PUT /items HTTP/1.1\r\nHost: shop\r\nContent-Length: %d\r\n\r\n' % len(body) + body],
    'long': [b'GET /' + b'x' * 3000 + b' HTTP/1.1\r\nHost: shop\r\n\r\n'],
    'too long': [b'GET / HTTP/1.1\r\nHost: shop\r\nCookie: ' + b'x' * 5000 + b'\r\n\r\n'],
    'own context': [b'GET / HTTP/1.1\r\nHost: shop\r\nTraceParent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n'],
}
connection(*kinds[sys.argv[2]])
"#;

fn python() -> PathBuf {
    locate::program("python3").unwrap()
}

fn script(cgroup: &Cgroup, recorder: &Recorder, kind: &str) {
    let address = recorder.address().to_string();
    let mut command = cgroup.command(&python());
    tools::printed(command.args(["-c", SCRIPT, &address, kind])).unwrap();
}

fn writing(cgroup: &Cgroup) -> Remora {
    Remora::with_flags(&["--propagate-in", cgroup.path().to_str().unwrap(), "--log", "info"]).unwrap()
}

#[test]
#[ignore = "needs root"]
fn what_programs_send_arrives_with_one_header_more() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    let url = format!("http://{}/items?page=2", recorder.address());
    let curl = locate::program("curl").unwrap();
    let requests = "import requests, sys; assert requests.post(sys.argv[1], json={'a': 1}).text == 'ok'";
    let library = "import http.client, sys\n\
                   c = http.client.HTTPConnection(sys.argv[1].split('/')[2]); c.request('GET', '/x')\n\
                   assert c.getresponse().read() == b'ok'";
    let body = "x".repeat(100_000);
    let programs: Vec<(PathBuf, Vec<&str>)> = vec![
        (curl.clone(), vec!["-sS", "--fail", &url]),
        (curl.clone(), vec!["-sS", "--fail", "--data", &body, &url]),
        (
            curl,
            vec![
                "-sS",
                "--fail",
                "-H",
                "Expect: 100-continue",
                "--expect100-timeout",
                "0.05",
                "--data",
                "a=1",
                &url,
            ],
        ),
        (python(), vec!["-c", requests, &url]),
        (python(), vec!["-c", library, &url]),
    ];
    let run = |program: &PathBuf, arguments: &[&str]| {
        tools::printed(cgroup.command(program).args(arguments)).unwrap();
    };
    let plain: Vec<_> =
        programs.iter().map(|(program, arguments)| one(&recorder, &|| run(program, arguments))).collect();
    let mut remora = writing(&cgroup);
    for ((program, arguments), plain) in programs.iter().zip(&plain) {
        let (rest, _) = until_written(&recorder, &|| run(program, arguments), without_context);
        assert_eq!(String::from_utf8_lossy(&rest), String::from_utf8_lossy(plain), "{program:?}");
    }
    assert!(remora.metrics().unwrap().contains("remora_agent_writes_contexts 1"));
    remora.finish().unwrap();
}

#[test]
#[ignore = "needs root"]
fn unusual_requests_arrive_whole() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    // Whether the first request carries a context then.
    let kinds = [
        ("plain", true),
        ("kept alive", true),
        ("pipelined", true),
        ("split", false),
        ("chunked", true),
        ("large", true),
        ("long", true),
        ("too long", false),
    ];
    let plain: Vec<_> =
        kinds.iter().map(|(kind, _)| one(&recorder, &|| script(&cgroup, &recorder, kind))).collect();
    let own = one(&recorder, &|| script(&cgroup, &recorder, "own context"));
    let mut remora = writing(&cgroup);
    for ((kind, is_written), plain) in kinds.into_iter().zip(&plain) {
        println!("{kind}");
        let run = || script(&cgroup, &recorder, kind);
        if is_written {
            let (rest, _) = until_written(&recorder, &run, without_context);
            assert!(rest == *plain, "{kind}");
        } else {
            for _ in 0..4 {
                assert!(one(&recorder, &run) == *plain, "{kind}");
            }
        }
    }
    for _ in 0..4 {
        let received = one(&recorder, &|| script(&cgroup, &recorder, "own context"));
        assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&own));
        assert_eq!(contexts(&received), 1);
    }
    remora.finish().unwrap();
}

#[test]
#[ignore = "needs root"]
fn the_written_context_is_that_of_the_span() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    let mut remora = writing(&cgroup);
    let (_, written) =
        until_written(&recorder, &|| script(&cgroup, &recorder, "kept alive"), without_context);
    let spans = remora.finish().unwrap().spans_of_server(recorder.address()).unwrap();
    let found: Vec<_> = spans.iter().filter(|span| span.span_id == written.span).collect();
    let [call] = found.as_slice() else { panic!("{written:?} is not the only one among {spans:#?}") };
    assert_eq!(call.text("remora.trace.alias"), Some(written.trace.as_str()));
    // The three requests of the connection, of which one carries a context, are all told, by both sides.
    let calls = spans.iter().filter(|span| span.text("remora.trace.alias").is_some()).count();
    assert!(calls >= 1);
    let served = spans.iter().filter(|span| span.parent_id.as_ref() == Some(&written.span)).count();
    assert_eq!(served, 1, "{spans:#?}");
}

#[test]
#[ignore = "needs root"]
fn nobody_writes_where_nobody_said_so() {
    let (cgroup, other, recorder) =
        (Cgroup::new().unwrap(), Cgroup::new().unwrap(), Recorder::start().unwrap());
    let path = cgroup.path().to_str().unwrap();
    let plain = one(&recorder, &|| script(&cgroup, &recorder, "plain"));
    // Another cgroup; a process that is not selected; switched off.
    let outside: [(&Cgroup, Vec<&str>); 3] = [
        (&other, vec!["--propagate-in", path]),
        (&cgroup, vec!["--propagate-in", path, "--exclude", "exe=*python3*"]),
        (&cgroup, vec!["--propagate", "off", "--propagate-in", path]),
    ];
    for (home, flags) in outside {
        let mut remora = Remora::with_flags(&flags).unwrap();
        for _ in 0..5 {
            let received = one(&recorder, &|| script(home, &recorder, "plain"));
            assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(&plain), "{flags:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        remora.finish().unwrap();
    }
}
