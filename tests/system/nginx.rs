//! nginx, static and as a reverse proxy with kept connections.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;

use expect_test::expect;
use remora_tests::certificates::Certificates;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Nginx, Workers};
use remora_tests::span::{Names, Span};
use remora_tests::{locate, net, tools};

use crate::{shape, whole};

#[test]
#[ignore = "needs root"]
fn a_static_file() {
    let nginx = Nginx::files(&[("hello.txt", &[b'x'; 100_000])]).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}/hello.txt", nginx.address())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nginx.address()).unwrap();
    expect![[r#"
        client `GET` of curl, unset
            http.request.method = GET
            http.response.body.size = 100000
            http.response.status_code = 200
            network.peer.address = 127.0.0.1
            network.peer.port = NGINX.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = NGINX.port
            url.full = http://NGINX/hello.txt
            user_agent.original = curl/*
          server `GET /hello.txt` of nginx, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.body.size = 100000
              http.response.status_code = 200
              http.route = /hello.txt
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = NGINX.port
              url.path = /hello.txt
              url.scheme = http
              user_agent.original = curl/*
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("NGINX", nginx.address())])));
}

#[test]
#[ignore = "needs root"]
fn a_proxy_is_in_the_middle_of_the_trace() {
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let nginx = Nginx::proxy(shop.address()).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}/users/4711", nginx.address())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nginx.address()).unwrap();
    let names = Names::of(&[("NGINX", nginx.address()), ("SHOP", shop.address())]);
    expect![[r#"
        client `GET` of curl, unset
            http.request.method = GET
            http.response.body.size = 23
            http.response.status_code = 200
            network.peer.address = 127.0.0.1
            network.peer.port = NGINX.port
            network.protocol.version = 1.1
            server.address = 127.0.0.1
            server.port = NGINX.port
            url.full = http://NGINX/users/4711
            user_agent.original = curl/*
          server `GET /users/{id}` of nginx, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.body.size = 23
              http.response.status_code = 200
              http.route = /users/{id}
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              server.address = 127.0.0.1
              server.port = NGINX.port
              url.path = /users/4711
              url.scheme = http
              user_agent.original = curl/*
            client `GET` of nginx, unset
                http.request.method = GET
                http.response.body.size = 23
                http.response.status_code = 200
                network.peer.address = 127.0.0.1
                network.peer.port = SHOP.port
                network.protocol.version = 1.1
                remora.parent.evidence = turn
                server.address = upstream
                server.port = SHOP.port
                url.full = http://upstream:SHOP.port/users/4711
                user_agent.original = curl/*
              server `GET /users/{id}` of shop, unset
                  client.address = 127.0.0.1
                  client.port = *
                  http.request.method = GET
                  http.response.body.size = 23
                  http.response.status_code = 200
                  http.route = /users/{id}
                  network.peer.address = 127.0.0.1
                  network.peer.port = *
                  network.protocol.version = 1.1
                  remora.parent.evidence = position
                  server.address = upstream
                  server.port = SHOP.port
                  url.path = /users/4711
                  url.scheme = http
                  user_agent.original = curl/*
    "#]]
    .assert_eq(&whole(&spans, &names));
}

/// OpenSSL gives one record a call, and nginx reads all that are there before it looks at the first.
#[test]
#[ignore = "needs root"]
fn requests_of_one_encrypted_connection_do_not_mix() {
    let certificates = Certificates::make().unwrap();
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let nginx = Nginx::encrypted_proxy(shop.address(), &certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    let authority = certificates.authority();
    let authority = authority.to_str().unwrap();
    let address = nginx.address();
    let ask = |at_once: &str, from: u32, to: u32, more: &[&str]| {
        let url = format!("https://{address}/users/[{from}-{to}]");
        let mut arguments = vec!["--http2", "--cacert", authority, "--parallel", "--parallel-max", at_once];
        arguments.extend(more);
        arguments.push(&url);
        tools::curl(&arguments).unwrap();
    };
    ask("2", 1000, 1099, &[]);
    ask("50", 2000, 2199, &[]);
    ask("1", 3000, 3019, &[]);
    ask("1", 4000, 4019, &["--data", "x=1"]);
    let bridge = remora.finish().unwrap();
    let spans = bridge.spans_of_server(address).unwrap();
    let served = spans.iter().filter(|span| span.kind == "server" && span.service == "nginx");
    let served: BTreeMap<&str, &str> =
        served.filter_map(|span| Some((span.span_id.as_str(), span.text("url.path")?))).collect();
    assert_eq!(served.len(), 340, "all requests are told");
    let calls = spans.iter().filter(|span| span.kind == "client" && span.service == "nginx");
    let [mut right, mut wrong, mut alone] = [0; 3];
    for (path, parent) in calls.filter_map(|span| Some((span.text("url.full")?, span.parent_id.as_deref()))) {
        let Some(parent) = parent.and_then(|parent| served.get(parent)) else { continue };
        let is_right = path.ends_with(parent);
        right += usize::from(is_right);
        wrong += usize::from(!is_right);
        let is_alone = parent.starts_with("/users/3") || parent.starts_with("/users/4");
        alone += usize::from(is_right && is_alone);
    }
    println!("of 340 calls: {right} with the right parent, {wrong} with a wrong one");
    assert_eq!(wrong, 0);
    assert_eq!(alone, 40, "what comes one at a time is known, with a body too");
}

/// nginx reads the request by the call that reads the end of the handshake, and takes it from OpenSSL later.
#[test]
#[ignore = "needs root"]
fn a_request_that_comes_with_the_end_of_the_handshake_leads_to_its_call() {
    const COUNT: usize = 20;
    let certificates = Certificates::make().unwrap();
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let nginx = Nginx::encrypted_proxy(shop.address(), &certificates).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut python = Command::new(locate::program("python3").unwrap());
    python.arg(locate::apps().join("tls/resumed.py")).arg(nginx.address().port().to_string());
    python.arg(certificates.authority()).args(["1000", &COUNT.to_string()]);
    tools::printed(&mut python).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nginx.address()).unwrap();
    let of_nginx =
        |kind: &'static str| spans.iter().filter(move |span| span.kind == kind && span.service == "nginx");
    let served: BTreeMap<&str, &str> =
        of_nginx("server").filter_map(|span| Some((span.span_id.as_str(), span.text("url.path")?))).collect();
    let is_right = |call: &&Span| {
        let parent = call.parent_id.as_deref().and_then(|parent| served.get(parent));
        parent.is_some_and(|path| call.text("url.full").is_some_and(|url| url.ends_with(path)))
    };
    let right = of_nginx("client").filter(is_right).count();
    assert_eq!((served.len(), right), (COUNT + 1, COUNT + 1));
}

#[test]
#[ignore = "needs root"]
fn requests_that_wait_in_the_proxy_do_not_mix() {
    // One worker process behind the proxy: requests queue in nginx, whose event loop serves all of them in turns.
    let shop = Gunicorn::start(Workers::Sync(1), &[]).unwrap();
    let nginx = Nginx::proxy(shop.address()).unwrap();
    let mut remora = Remora::start().unwrap();
    let requests: Vec<_> = (0..320_u32)
        .map(|number| Request {
            path: format!("/users/{number}?test=t{number}t"),
            headers: vec![("traceparent".to_owned(), format!("00-{:032x}-{:016x}-01", 0xdef000 + number, 1))],
            expected: format!("t{number}t"),
        })
        .collect();
    load::run(nginx.address(), &requests, 32).unwrap();
    let bridge = remora.finish().unwrap();
    let mut wrong = Vec::new();
    for number in 0..320_u32 {
        let spans = bridge.trace(&format!("{:032x}", 0xdef000 + number)).unwrap();
        let path = format!("/users/{number}");
        let is_own = |span: &remora_tests::span::Span| {
            span.text("url.path")
                .or(span.text("url.full"))
                .is_some_and(|url| url.split('?').next().is_some_and(|url| url.ends_with(&path)))
        };
        // The test's own client span, nginx as server, nginx as client, the shop.
        if spans.len() != 4 || !spans.iter().all(is_own) {
            wrong.push(format!("{number}: {}", shape(&spans, &Names::default())));
        }
    }
    assert!(wrong.is_empty(), "{} of 320 traces are wrong, first:\n{}", wrong.len(), wrong[0]);
}

#[test]
#[ignore = "needs root"]
fn retries_of_failing_upstreams_do_not_mix() {
    let shop = Gunicorn::start(Workers::Sync(2), &[]).unwrap();
    // One upstream refuses connections, one takes them and hangs up before it answers.
    let refusing = net::free_address().unwrap();
    let hanging_up = TcpListener::bind("127.0.0.1:0").unwrap();
    let failing = [refusing, hanging_up.local_addr().unwrap()];
    std::thread::spawn(move || {
        for mut stream in hanging_up.incoming().flatten() {
            let _read = stream.read(&mut [0; 4096]);
        }
    });
    let nginx = Nginx::proxy_that_retries(shop.address(), &failing).unwrap();
    let mut remora = Remora::start().unwrap();
    // Nothing on the wire names the trace: what belongs together shows by the paths.
    let requests: Vec<_> = (0..320_u32)
        .map(|number| Request {
            path: format!("/users/{number}?test=t{number}t"),
            headers: Vec::new(),
            expected: format!("t{number}t"),
        })
        .collect();
    load::run(nginx.address(), &requests, 32).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nginx.address()).unwrap();
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    let url = |span: &Span| {
        let url = span.text("url.path").or(span.text("url.full")).unwrap_or_default();
        url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default().to_owned()
    };
    let is_proxied = |span: &&Span| span.service == "nginx" && span.kind == "client";
    let calls: Vec<&Span> = spans.iter().filter(is_proxied).collect();
    let failed = calls.iter().filter(|span| span.status == "error").count();
    assert!(failed >= 32, "{failed} of {} calls failed: the test proves nothing", calls.len());
    let parents = spans.iter().filter_map(|span| Some((span, by_id.get(span.parent_id.as_ref()?)?)));
    let wrong: Vec<_> = parents
        .filter(|(span, parent)| url(span) != url(parent))
        .map(|(span, parent)| (url(span), url(parent)))
        .collect();
    assert_eq!(wrong, [], "calls with the parent of another request");
    let linked = calls.iter().filter(|span| span.parent_id.is_some()).count();
    assert!(linked * 100 >= calls.len() * 95, "{linked} of {} calls have a parent", calls.len());
}
