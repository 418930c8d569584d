//! nginx, static and as a reverse proxy with kept connections.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::TcpListener;

use expect_test::expect;
use remora_tests::load::{self, Request};
use remora_tests::remora::Remora;
use remora_tests::servers::{Gunicorn, Nginx, Workers};
use remora_tests::span::{Names, Span};
use remora_tests::{net, tools};

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
