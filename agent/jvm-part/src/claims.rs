//! Which socket a message goes to that somebody else will write, and how many bytes are written there before it.

use core::ffi::CStr;

use crate::fields::Fields;
use crate::jni::{Env, Object};

/// Messages that wait for a channel before it is no longer counted what lies before a new one.
const MAX_WAITING: usize = 64;

/// A place in what is written to a socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) descriptor: i32,
    /// Bytes that will be written before it.
    pub(crate) ahead: u32,
}

const NIO_SOCKET: [(&CStr, &CStr); 1] = [(c"fdVal", c"I")];

static SOCKET_CHANNEL: Fields<1> = Fields::new(NIO_SOCKET);

mod http {
    use super::*;

    pub(super) static REQUEST: Fields<2> = Fields::new([
        (c"http1Exchange", c"Ljdk/internal/net/http/Http1Exchange;"),
        (c"connection", c"Ljdk/internal/net/http/HttpConnection;"),
    ]);
    pub(super) static EXCHANGE_IMPL: Fields<1> =
        Fields::new([(c"exchange", c"Ljdk/internal/net/http/Exchange;")]);
    pub(super) static EXCHANGE: Fields<1> =
        Fields::new([(c"multi", c"Ljdk/internal/net/http/MultiExchange;")]);
    pub(super) static TLS_CONNECTION: Fields<1> =
        Fields::new([(c"plainConnection", c"Ljdk/internal/net/http/PlainHttpConnection;")]);
    pub(super) static PLAIN_CONNECTION: Fields<1> =
        Fields::new([(c"chan", c"Ljava/nio/channels/SocketChannel;")]);
}

/// Returns the object of the JDK's HTTP client that the caller's request has as its own, and its place.
pub(crate) fn of_http(env: Env, request: Object) -> Option<(Object, Place)> {
    let [exchange, connection] = http::REQUEST.of(env, request)?;
    let connection = env.object(request, connection)?;
    let plain = match http::TLS_CONNECTION.of(env, connection) {
        Some([plain]) => env.object(connection, plain)?,
        None => connection,
    };
    let [channel] = http::PLAIN_CONNECTION.of(env, plain)?;
    let channel = env.object(plain, channel)?;
    let exchange_impl = env.object(request, exchange)?;
    let [exchange] = http::EXCHANGE_IMPL.of(env, exchange_impl)?;
    let exchange = env.object(exchange_impl, exchange)?;
    let [multi] = http::EXCHANGE.of(env, exchange)?;
    let multi = env.object(exchange, multi)?;
    Some((multi, Place { descriptor: nio_descriptor(env, channel)?, ahead: 0 }))
}

fn nio_descriptor(env: Env, channel: Object) -> Option<i32> {
    let [descriptor] = SOCKET_CHANNEL.of(env, channel)?;
    Some(env.int(channel, descriptor))
}

mod netty {
    use super::*;

    const ENTRY: &CStr = c"Lio/netty/channel/ChannelOutboundBuffer$Entry;";

    pub(super) static BUFFER: Fields<3> = Fields::new([
        (c"channel", c"Lio/netty/channel/Channel;"),
        (c"flushedEntry", ENTRY),
        (c"unflushedEntry", ENTRY),
    ]);
    pub(super) static ENTRIES: Fields<4> =
        Fields::new([(c"next", ENTRY), (c"total", c"J"), (c"progress", c"J"), (c"cancelled", c"Z")]);
    pub(super) static CHANNEL: Fields<1> = Fields::new([(c"parent", c"Lio/netty/channel/Channel;")]);
    pub(super) static NIO: Fields<1> = Fields::new([(c"ch", c"Ljava/nio/channels/SelectableChannel;")]);
    pub(super) static EPOLL: Fields<1> = Fields::new([(c"socket", c"Lio/netty/channel/epoll/LinuxSocket;")]);
    pub(super) static SOCKET: Fields<1> = Fields::new([(c"fd", c"I")]);
}

/// Returns the place of the message that is about to be put into a channel's buffer; none for what a server answers.
pub(crate) fn of_netty(env: Env, buffer: Object) -> Option<Place> {
    let [channel, flushed, unflushed] = netty::BUFFER.of(env, buffer)?;
    let channel = env.object(buffer, channel)?;
    let [parent] = netty::CHANNEL.of(env, channel)?;
    if env.object(channel, parent).is_some() {
        return None;
    }
    let descriptor = netty_descriptor(env, channel)?;
    // Those that are flushed lie before those that are not, in one list.
    let first = env.object(buffer, flushed).or_else(|| env.object(buffer, unflushed));
    Some(Place { descriptor, ahead: waiting_bytes(env, first)? })
}

fn netty_descriptor(env: Env, channel: Object) -> Option<i32> {
    if let Some([socket]) = netty::NIO.of(env, channel) {
        return nio_descriptor(env, env.object(channel, socket)?);
    }
    let [socket] = netty::EPOLL.of(env, channel)?;
    let socket = env.object(channel, socket)?;
    let [descriptor] = netty::SOCKET.of(env, socket)?;
    Some(env.int(socket, descriptor))
}

/// Returns how many bytes of a list of messages are not written yet.
fn waiting_bytes(env: Env, first: Option<Object>) -> Option<u32> {
    let mut waiting: i64 = 0;
    let mut entry = first;
    for _ in 0..MAX_WAITING {
        let Some(found) = entry else { return u32::try_from(waiting).ok() };
        let [next, total, progress, cancelled] = netty::ENTRIES.of(env, found)?;
        if !env.boolean(found, cancelled) {
            let left = env.long(found, total).saturating_sub(env.long(found, progress));
            waiting = waiting.saturating_add(left.max(0));
        }
        entry = env.object(found, next);
    }
    None
}
