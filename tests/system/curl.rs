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
    check(IpAddr::V4(Ipv4Addr::LOCALHOST), "/hello.txt?token=secret&page=2", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn one_request_over_ipv6() {
    check(IpAddr::V6(Ipv6Addr::LOCALHOST), "/hello.txt", &expect![[""]]);
}

#[test]
#[ignore = "needs root"]
fn what_is_not_found_is_the_clients_error() {
    check(IpAddr::V4(Ipv4Addr::LOCALHOST), "/no/such/file", &expect![[""]]);
}
