//! HTTP/2 in clear text: Node's own server.

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::NodeHttp2;
use remora_tests::span::Names;
use remora_tests::tools;

use crate::whole;

#[test]
#[ignore = "needs root"]
fn a_request_that_is_known_to_be_http2() {
    let node = NodeHttp2::start().unwrap();
    let mut remora = Remora::start().unwrap();
    for path in ["/users/4711?token=secret", "/missing"] {
        tools::curl(&["--http2-prior-knowledge", &format!("http://{}{path}", node.address())]).unwrap();
    }
    let spans = remora.finish().unwrap().spans_of_server(node.address()).unwrap();
    expect![[r#""#]].assert_eq(&whole(&spans, &Names::of(&[("NODE", node.address())])));
}
