//! HTTP/2: what clients send arrives as they sent it, with one field more in the first header block.

use std::time::Duration;

use remora_tests::cgroup::Cgroup;
use remora_tests::recorder::Recorder;
use remora_tests::remora::{Remora, patience};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{GrpcService, Language};
use remora_tests::span::Span;
use remora_tests::{locate, net, tools, wait};

use crate::counted::counted;
use crate::requests::{self, Written, first_request, without_field};
use crate::trial::host_writes;

const PATIENCE: Duration = Duration::from_secs(60);

/// Requests in frames of the script's own choice, which do not wait for an answer to what opens the connection.
const SCRIPT: &str = r#"
import socket, sys
host, port = sys.argv[1].split(':')
def frame(kind, flags, payload, stream=1):
    return len(payload).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + payload
preface = b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
settings = frame(4, 0, b'', 0)
fields = b'\x82\x86\x44\x06/items\x41\x04shop'
context = b'\x3700-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
coded = b'\x88\x4d\x83\x21\x6b\x1d\x85\xa9\x3f'
ask = frame(1, 5, fields)
kinds = {
    'at once': [preface + settings + ask],
    'opened': [preface + settings, ask],
    'opened in parts': [preface, settings, frame(8, 0, b'\0\0\xff\xff', 0), ask],
    'two streams': [preface + settings, ask + frame(1, 5, b'\x82\x86\x84\x41\x04shop', 3)],
    'body': [preface + settings + frame(1, 4, fields) + frame(0, 1, b'x' * 9000)],
    'priority': [preface + settings, frame(1, 0x25, b'\0\0\0\0\x0f' + fields)],
    'split': [preface + settings + ask[:12], ask[12:]],
    'fragmented': [preface + settings, frame(1, 1, fields[:9]) + frame(9, 4, fields[9:])],
    'padded': [preface + settings, frame(1, 0x0d, b'\x04' + fields + b'\0' * 4)],
    'own plain': [preface + settings, frame(1, 5, fields + b'\x00\x0btraceparent' + context)],
    'own indexed': [preface + settings, frame(1, 5, fields + b'\x40\x0btraceparent' + context)],
    'own never indexed': [preface + settings + frame(1, 5, fields + b'\x10\x0btraceparent' + context)],
    'own coded': [preface + settings, frame(1, 5, fields + b'\x00' + coded + context)],
    'own coded indexed': [preface + settings + frame(1, 5, fields + b'\x40' + coded + context)],
}
with socket.create_connection((host, int(port)), timeout=20) as stream:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    parts = kinds[sys.argv[2]]
    for part in parts:
        stream.sendall(part)
    wanted = 2 if sys.argv[2] == 'two streams' else 1
    got = b''
    while sys.argv[2] != 'fragmented' and got.count(b'ok') < wanted:
        part = stream.recv(65536)
        assert part, got
        got += part
    stream.shutdown(socket.SHUT_WR)
    while stream.recv(65536):
        pass
"#;

/// A request by Node's own HTTP/2: of gRPC if told so.
const NODE: &str = r#"
const [address, path, isGrpc] = process.argv.slice(1);
const client = require('http2').connect('http://' + address);
const text = Buffer.from('100001');
const message = Buffer.concat([Buffer.from([0, 0, 0, 0, text.length + 2, 10, text.length]), text]);
const fields = { ':path': path, ':method': 'POST', 'content-type': isGrpc ? 'application/grpc' : 'text/plain', te: 'trailers' };
const request = client.request(fields);
request.on('response', () => {});
request.on('error', (error) => { throw error; });
request.resume();
request.on('close', () => client.close());
request.end(message);
"#;

fn script(cgroup: &Cgroup, recorder: &Recorder, kind: &str) {
    let address = recorder.address().to_string();
    let mut command = cgroup.command(&locate::program("python3").unwrap());
    tools::printed(command.args(["-c", SCRIPT, &address, kind])).unwrap();
}

fn curl(cgroup: &Cgroup, arguments: &[&str]) -> String {
    let mut command = cgroup.command(&locate::program("curl").unwrap());
    let common = ["-sS", "--fail", "--noproxy", "*", "--http2-prior-knowledge"];
    tools::printed(command.args(common).args(arguments)).unwrap()
}

fn node(cgroup: &Cgroup, arguments: &[&str]) {
    let mut command = cgroup.command(&locate::program("node").unwrap());
    tools::printed(command.args(["-e", NODE]).args(arguments)).unwrap();
}

fn writing(cgroup: &Cgroup, flags: &[&str]) -> Remora {
    let common = ["--propagate-in", cgroup.path().to_str().unwrap()];
    Remora::with_flags(&[&common, flags].concat()).unwrap()
}

/// Runs something that makes one connection; returns its first request with what came before.
fn one(recorder: &Recorder, run: &dyn Fn()) -> Vec<u8> {
    first_request(&requests::one(recorder, run)).to_vec()
}

fn until_written(recorder: &Recorder, run: &dyn Fn()) -> (Vec<u8>, Written) {
    requests::until_written(recorder, run, |received| without_field(first_request(received)))
}

#[test]
#[ignore = "needs root"]
fn what_clients_of_http2_send_arrives_with_one_field_more() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    let address = recorder.address().to_string();
    let (url, body) = (format!("http://{address}/items?page=2"), "x".repeat(20_000));
    let run = |name: &str| match name {
        "curl" => drop(curl(&cgroup, &[&url])),
        "curl with a body" => drop(curl(&cgroup, &["--data", &body, &url])),
        _ => node(&cgroup, &[&address, "/items"]),
    };
    let programs = ["curl", "curl with a body", "Node"];
    let plain = programs.map(|name| one(&recorder, &|| run(name)));
    let mut remora = writing(&cgroup, &[]);
    for (name, plain) in programs.into_iter().zip(plain) {
        let (rest, _) = until_written(&recorder, &|| run(name));
        assert!(rest == plain, "{name}");
    }
    remora.finish().unwrap();
}

#[test]
#[ignore = "needs root"]
fn unusual_requests_of_http2_arrive_whole() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
    // As what it is counted where the first request carries no context.
    let kinds = [
        ("at once", None),
        ("opened", None),
        ("opened in parts", None),
        ("two streams", None),
        ("body", None),
        ("priority", None),
        ("split", Some("partial")),
        ("fragmented", Some("partial")),
        ("padded", Some("http2_unusual")),
        ("own plain", Some("has_context")),
        ("own indexed", Some("has_context")),
        ("own never indexed", Some("has_context")),
        ("own coded", Some("has_context")),
        ("own coded indexed", Some("has_context")),
    ];
    let plain: Vec<_> =
        kinds.iter().map(|(kind, _)| one(&recorder, &|| script(&cgroup, &recorder, kind))).collect();
    let mut remora = writing(&cgroup, &[]);
    for ((kind, refusal), plain) in kinds.into_iter().zip(&plain) {
        println!("{kind}");
        let run = || script(&cgroup, &recorder, kind);
        let Some(refusal) = refusal else {
            let (rest, _) = until_written(&recorder, &run);
            assert!(rest == *plain, "{kind}");
            continue;
        };
        let before = counted(&remora, refusal);
        // Few connections are left alone, and now and then the server is quicker.
        wait::until("it is refused for its reason", patience(PATIENCE), || {
            for _ in 0..4 {
                assert!(one(&recorder, &run) == *plain, "{kind}");
            }
            Ok((counted(&remora, refusal) > before).then_some(()))
        })
        .unwrap();
    }
    remora.finish().unwrap();
}

#[test]
#[ignore = "needs root"]
fn the_written_field_is_that_of_the_span() {
    if !host_writes() {
        return;
    }
    for kind in ["at once", "opened", "two streams"] {
        let (cgroup, recorder) = (Cgroup::new().unwrap(), Recorder::start().unwrap());
        let mut remora = writing(&cgroup, &[]);
        let (_, written) = until_written(&recorder, &|| script(&cgroup, &recorder, kind));
        let spans = remora.finish().unwrap().spans_of_server(recorder.address()).unwrap();
        let found: Vec<_> = spans.iter().filter(|span| span.span_id == written.span).collect();
        let [call] = found.as_slice() else { panic!("{kind}: {written:?} is not one of {spans:#?}") };
        assert_eq!(call.text("remora.trace.alias"), Some(written.trace.as_str()));
        let served = spans.iter().filter(|span| span.parent_id.as_ref() == Some(&written.span)).count();
        assert_eq!(served, 1, "{kind}: {spans:#?}");
    }
}

/// nginx takes requests by HTTP/2, and asks servers by HTTP/1 and by gRPC.
fn proxy(scratch: &Scratch, http1: &str, grpc: &str) -> (Running, String) {
    let address = net::free_address().unwrap();
    let configuration = format!(
        "daemon off; master_process off; pid pid; events {{}}
         http {{ access_log off; client_body_temp_path a; proxy_temp_path b;
           fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
           server {{ listen {address} http2; location /shop.Items/ {{ grpc_pass grpc://{grpc}; }}
             location / {{ proxy_pass http://{http1}; }} }} }}"
    );
    scratch.write("nginx.conf", configuration).unwrap();
    let mut command = std::process::Command::new(locate::program("nginx").unwrap());
    command.arg("-p").arg(scratch.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
    let nginx = Running::start("nginx", scratch, &mut command).unwrap();
    net::wait_listening(address, Duration::from_secs(10)).unwrap();
    (nginx, address.to_string())
}

#[test]
#[ignore = "needs root"]
fn a_trace_goes_on_behind_a_proxy_that_is_not_traced() {
    if !host_writes() {
        return;
    }
    let (cgroup, recorder, scratch) =
        (Cgroup::new().unwrap(), Recorder::start().unwrap(), Scratch::new("http2").unwrap());
    let items = GrpcService::start(Language::Go).unwrap();
    let (nginx, address) = proxy(&scratch, &recorder.address().to_string(), &items.address().to_string());
    let mut remora = writing(&cgroup, &["--exclude", &format!("pid={}", nginx.id())]);
    let url = format!("http://{address}/items");

    let asks: [&dyn Fn(); 2] = [&|| assert_eq!(curl(&cgroup, &[&url]), "ok"), &|| {
        node(&cgroup, &[&address, "/shop.Items/Get", "grpc"]);
    }];
    for ask in asks {
        let before = counted(&remora, "http2_header");
        wait::until("a request goes on behind the proxy", patience(PATIENCE), || {
            ask();
            Ok((counted(&remora, "http2_header") > before).then_some(()))
        })
        .unwrap();
    }
    let bridge = remora.finish().unwrap();
    let calls = bridge.spans_of_server(address.parse().unwrap()).unwrap();
    for server in [recorder.address(), items.address()] {
        let served = bridge.spans_of_server(server).unwrap();
        let is_joined = |span: &Span| calls.iter().any(|call| Some(&call.span_id) == span.parent_id.as_ref());
        assert!(served.iter().any(is_joined), "{server}: {served:#?} of {calls:#?}");
    }
}
