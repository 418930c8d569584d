//! curl and Python's `http.server`: a connection for each request, HTTP/1.0 answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use expect_test::{Expect, expect};
use remora_tests::remora::Remora;
use remora_tests::servers::HttpServer;
use remora_tests::span::Names;
use remora_tests::tools;

use crate::whole;

fn check(ip: IpAddr, path: &str, expected: &Expect) {
    let server = HttpServer::files(ip, &[("hello.txt", b"Hello, world!\n")]).unwrap();
    let mut remora = Remora::start().unwrap();
    tools::curl(&[&format!("http://{}{path}", server.address())]).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    expected.assert_eq(&whole(&spans, &Names::of(&[("SERVER", server.address())])));
}

#[test]
#[ignore = "needs root"]
fn one_request_over_ipv4() {
    check(
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        "/hello.txt?token=secret&page=2",
        &expect![[r#"
            client `GET` of curl, unset
                http.request.method = GET
                http.response.body.size = 14
                http.response.status_code = 200
                network.peer.address = 127.0.0.1
                network.peer.port = SERVER.port
                network.protocol.version = 1.1
                server.address = 127.0.0.1
                server.port = SERVER.port
                url.full = http://SERVER/hello.txt?token=REDACTED&page=2
                user_agent.original = curl/*
              server `GET /hello.txt` of http.server, unset
                  client.address = 127.0.0.1
                  client.port = *
                  http.request.method = GET
                  http.response.body.size = 14
                  http.response.status_code = 200
                  http.route = /hello.txt
                  network.peer.address = 127.0.0.1
                  network.peer.port = *
                  network.protocol.version = 1.1
                  remora.parent.evidence = position
                  server.address = 127.0.0.1
                  server.port = SERVER.port
                  url.path = /hello.txt
                  url.query = token=REDACTED&page=2
                  url.scheme = http
                  user_agent.original = curl/*
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn one_request_over_ipv6() {
    check(
        IpAddr::V6(Ipv6Addr::LOCALHOST),
        "/hello.txt",
        &expect![[r#"
            client `GET` of curl, unset
                http.request.method = GET
                http.response.body.size = 14
                http.response.status_code = 200
                network.peer.address = ::1
                network.peer.port = SERVER.port
                network.protocol.version = 1.1
                server.address = ::1
                server.port = SERVER.port
                url.full = http://SERVER/hello.txt
                user_agent.original = curl/*
              server `GET /hello.txt` of http.server, unset
                  client.address = ::1
                  client.port = *
                  http.request.method = GET
                  http.response.body.size = 14
                  http.response.status_code = 200
                  http.route = /hello.txt
                  network.peer.address = ::1
                  network.peer.port = *
                  network.protocol.version = 1.1
                  remora.parent.evidence = position
                  server.address = ::1
                  server.port = SERVER.port
                  url.path = /hello.txt
                  url.scheme = http
                  user_agent.original = curl/*
        "#]],
    );
}

#[test]
#[ignore = "needs root"]
fn what_is_not_found_is_the_clients_error() {
    check(
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        "/no/such/file",
        &expect![[r#"
            client `GET` of curl, error
                error.type = 404
                http.request.method = GET
                http.response.body.size = 335
                http.response.status_code = 404
                network.peer.address = 127.0.0.1
                network.peer.port = SERVER.port
                network.protocol.version = 1.1
                server.address = 127.0.0.1
                server.port = SERVER.port
                url.full = http://SERVER/no/such/file
                user_agent.original = curl/*
              server `GET /no/such/file` of http.server, unset
                  client.address = 127.0.0.1
                  client.port = *
                  http.request.method = GET
                  http.response.body.size = 335
                  http.response.status_code = 404
                  http.route = /no/such/file
                  network.peer.address = 127.0.0.1
                  network.peer.port = *
                  network.protocol.version = 1.1
                  remora.parent.evidence = position
                  server.address = 127.0.0.1
                  server.port = SERVER.port
                  url.path = /no/such/file
                  url.scheme = http
                  user_agent.original = curl/*
        "#]],
    );
}
