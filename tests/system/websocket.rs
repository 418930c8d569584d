//! WebSocket: one span for each connection, with the number of messages.

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::servers::RecordedServer;
use remora_tests::span::{Names, Show, outline};
use remora_tests::{clients, tools};

use crate::whole;

const TOLD: &[&str] = &[
    "error.type",
    "http.response.status_code",
    "remora.incomplete",
    "remora.websocket.client_messages",
    "remora.websocket.close_code",
    "remora.websocket.server_messages",
    "url.path",
];

#[test]
#[ignore = "needs root"]
fn ws_talks_to_websockets() {
    let chat = RecordedServer::chat().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::node("chat.js").unwrap();
    tools::printed(client.arg(chat.address().port().to_string()).args(["one", "two", "three"])).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(chat.address()).unwrap();
    expect![[r#"
        client `GET` of remora-test-clients, unset
            http.request.method = GET
            http.response.status_code = 101
            network.peer.address = 127.0.0.1
            network.peer.port = CHAT.port
            network.protocol.version = 1.1
            remora.websocket.client_messages = 3
            remora.websocket.close_code = 1000
            remora.websocket.server_messages = 3
            server.address = 127.0.0.1
            server.port = CHAT.port
            url.full = http://CHAT/rooms/17
          server `GET /rooms/{id}` of chat_server, unset
              client.address = 127.0.0.1
              client.port = *
              http.request.method = GET
              http.response.status_code = 101
              http.route = /rooms/{id}
              network.peer.address = 127.0.0.1
              network.peer.port = *
              network.protocol.version = 1.1
              remora.parent.evidence = position
              remora.websocket.client_messages = 3
              remora.websocket.close_code = 1000
              remora.websocket.server_messages = 3
              server.address = 127.0.0.1
              server.port = CHAT.port
              url.path = /rooms/17
              url.scheme = http
    "#]]
    .assert_eq(&whole(&spans, &Names::of(&[("CHAT", chat.address())])));
}

#[test]
#[ignore = "needs root"]
fn gorilla_talks_to_ws() {
    let chat = RecordedServer::node().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_go("chat").unwrap();
    tools::printed(client.arg(chat.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(chat.address()).unwrap();
    expect![[r#"
        client `GET` of golden, unset
            http.response.status_code = 101
            remora.websocket.client_messages = 3
            remora.websocket.close_code = 1001
            remora.websocket.server_messages = 3
          server `GET /chat` of golden-clients, unset
              http.response.status_code = 101
              remora.websocket.client_messages = 3
              remora.websocket.close_code = 1001
              remora.websocket.server_messages = 3
              url.path = /chat
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("CHAT", chat.address())]), Show::Only(TOLD)));
}

#[test]
#[ignore = "needs root"]
fn websockets_talks_to_uvicorn() {
    let chat = RecordedServer::uvicorn().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_python("live.py").unwrap();
    tools::printed(client.arg("chat").arg(chat.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(chat.address()).unwrap();
    expect![[r#"
        client `GET` of live, unset
            http.response.status_code = 101
            remora.websocket.client_messages = 3
            remora.websocket.close_code = 1000
            remora.websocket.server_messages = 3
          server `GET /chat/room` of live_app, unset
              http.response.status_code = 101
              remora.websocket.client_messages = 3
              remora.websocket.close_code = 1000
              remora.websocket.server_messages = 3
              url.path = /chat/room
        client `GET` of live, error
            error.type = 1008
            http.response.status_code = 101
            remora.websocket.client_messages = 1
            remora.websocket.close_code = 1008
            remora.websocket.server_messages = 0
          server `GET /chat/room` of live_app, unset
              http.response.status_code = 101
              remora.websocket.client_messages = 1
              remora.websocket.close_code = 1008
              remora.websocket.server_messages = 0
              url.path = /chat/room
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("CHAT", chat.address())]), Show::Only(TOLD)));
}

#[test]
#[ignore = "needs root"]
fn ws_talks_to_hypercorn_by_http2() {
    let hypercorn = RecordedServer::hypercorn().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_node("live.js").unwrap();
    tools::printed(client.arg("chat-http2").arg(hypercorn.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(hypercorn.address()).unwrap();
    expect![[r#"
        client `CONNECT` of golden-clients, error
            error.type = 403
            http.response.status_code = 403
          server `CONNECT /nothing` of live_app, unset
              http.response.status_code = 403
              url.path = /nothing
        client `CONNECT` of golden-clients, unset
            http.response.status_code = 200
            remora.websocket.client_messages = 2
            remora.websocket.close_code = 1000
            remora.websocket.server_messages = 2
          server `CONNECT /chat/room` of live_app, unset
              http.response.status_code = 200
              remora.websocket.client_messages = 2
              remora.websocket.close_code = 1000
              remora.websocket.server_messages = 2
              url.path = /chat/room
        client `CONNECT` of golden-clients, error
            error.type = 1008
            http.response.status_code = 200
            remora.websocket.client_messages = 2
            remora.websocket.close_code = 1008
            remora.websocket.server_messages = 1
          server `CONNECT /chat/room` of live_app, unset
              http.response.status_code = 200
              remora.websocket.client_messages = 2
              remora.websocket.close_code = 1008
              remora.websocket.server_messages = 1
              url.path = /chat/room
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[]), Show::Only(TOLD)));
}
