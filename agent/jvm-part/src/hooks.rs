//! Where a unit of work passes from one thread to another, by class and method.

/// The class whose methods the hooks call. It lies in `java.lang`, which every class sees.
pub const HELPER: &str = "java/lang/RemoraHandOver4";

/// What a hook calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The object works for whom the thread works for.
    Give,
    /// As [`Call::Give`], but nothing where the thread works for nobody that is known.
    Pass,
    /// The thread works for the object, until [`Call::Leave`].
    Enter,
    /// The thread works for something that was never seen before, until [`Call::Leave`].
    Fresh,
    /// The thread works for whom it worked for before.
    Leave,
    /// As [`Call::Enter`], for what the object keeps as its handler.
    EnterHandler,
    /// The thread works for the object.
    Take,
    /// The thread works for nobody.
    Drop,
    /// The virtual thread runs on this thread.
    Mount,
    /// The virtual thread that ran on this thread does not any more.
    Unmount,
    /// The request of the JDK's HTTP client is written next, to its connection.
    ClaimHttp,
    /// A message is put behind those that Netty has to write to a channel.
    ClaimNetty,
    /// A TLS engine is about to encrypt what is in these buffers.
    WrapBegins,
    /// It has done so.
    Wrapped,
    /// A TLS engine is about to decrypt into these buffers.
    UnwrapBegins,
    /// It has done so.
    Unwrapped,
    /// A TLS socket shakes hands.
    SocketBegins,
    /// A TLS socket is about to encrypt and send bytes.
    SocketWrites,
    /// A TLS socket has received and decrypted bytes.
    SocketHasRead,
}

impl Call {
    /// All, in the order of their constants.
    pub const ALL: [Call; 19] = [
        Call::Give,
        Call::Pass,
        Call::Enter,
        Call::Fresh,
        Call::Leave,
        Call::EnterHandler,
        Call::Take,
        Call::Drop,
        Call::Mount,
        Call::Unmount,
        Call::ClaimHttp,
        Call::ClaimNetty,
        Call::WrapBegins,
        Call::Wrapped,
        Call::UnwrapBegins,
        Call::Unwrapped,
        Call::SocketBegins,
        Call::SocketWrites,
        Call::SocketHasRead,
    ];

    /// Returns the name of its method.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Call::Give => "give",
            Call::Pass => "pass",
            Call::Enter => "enter",
            Call::Fresh => "fresh",
            Call::Leave => "leave",
            Call::EnterHandler => "enterHandler",
            Call::Take => "take",
            Call::Drop => "drop",
            Call::Mount => "mount",
            Call::Unmount => "unmount",
            Call::ClaimHttp => "claimHttp",
            Call::ClaimNetty => "claimNetty",
            Call::WrapBegins => "wrapBegins",
            Call::Wrapped => "wrapped",
            Call::UnwrapBegins => "unwrapBegins",
            Call::Unwrapped => "unwrapped",
            Call::SocketBegins => "socketBegins",
            Call::SocketWrites => "socketWrites",
            Call::SocketHasRead => "socketHasRead",
        }
    }

    /// Returns the descriptor of its method.
    #[must_use]
    pub fn descriptor(self) -> &'static str {
        match self {
            Call::Fresh | Call::Leave | Call::Drop | Call::Unmount => "()V",
            // Buffers, the first, how many.
            Call::WrapBegins => "(Ljava/lang/Object;II)V",
            // Result, engine, buffers with plaintext, the first, how many, buffer with ciphertext.
            Call::Wrapped => "(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;IILjava/lang/Object;)V",
            // Engine, buffer with ciphertext, buffers for plaintext, the first, how many.
            Call::UnwrapBegins => "(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;II)V",
            // Result, engine, buffers with plaintext, the first, how many.
            Call::Unwrapped => "(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;II)V",
            // Stream, array, offset, length.
            Call::SocketWrites => "(Ljava/lang/Object;Ljava/lang/Object;II)V",
            // Bytes read, stream, array, offset, length.
            Call::SocketHasRead => "(ILjava/lang/Object;Ljava/lang/Object;II)V",
            _ => "(Ljava/lang/Object;)V",
        }
    }

    /// Returns whether all that matters of its object is the identity.
    #[must_use]
    pub fn is_of_identity(self) -> bool {
        matches!(self, Call::Give | Call::Pass | Call::Enter | Call::Take | Call::Mount)
    }
}

/// A local variable of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// It holds an object.
    Object(u8),
    /// It holds an `int`.
    Int(u8),
}

/// A call that is put into a method.
#[derive(Clone, Copy, Debug)]
pub struct Insertion {
    /// What is called.
    pub call: Call,
    /// Whether what the method returns is the first argument.
    pub takes_returned: bool,
    /// The other arguments.
    pub arguments: &'static [Local],
}

/// A method that is changed.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The class, with slashes.
    pub class: &'static str,
    method: &'static str,
    /// How the descriptor begins.
    descriptor: &'static str,
    /// What is called first.
    pub before: Option<Insertion>,
    /// What is called where the method returns.
    pub after: Option<Insertion>,
    /// Whether [`after`](Self::after) is called also where the method ends by an exception.
    pub is_around: bool,
}

impl Hook {
    const fn before(
        class: &'static str,
        method: &'static str,
        descriptor: &'static str,
        call: Call,
        arguments: &'static [Local],
    ) -> Self {
        let before = Some(Insertion { call, takes_returned: false, arguments });
        Self { class, method, descriptor, before, after: None, is_around: false }
    }

    pub(crate) const fn around(
        class: &'static str,
        method: &'static str,
        descriptor: &'static str,
        call: Call,
        arguments: &'static [Local],
    ) -> Self {
        let after = Some(Insertion { call: Call::Leave, takes_returned: false, arguments: NOTHING });
        Self { after, is_around: true, ..Self::before(class, method, descriptor, call, arguments) }
    }

    /// The call gets what the method returns.
    const fn returning(
        class: &'static str,
        method: &'static str,
        descriptor: &'static str,
        call: Call,
        arguments: &'static [Local],
    ) -> Self {
        let after = Some(Insertion { call, takes_returned: true, arguments });
        Self { class, method, descriptor, before: None, after, is_around: false }
    }

    /// Returns the hook with a call before the method's code as well.
    const fn begun_by(self, call: Call, arguments: &'static [Local]) -> Self {
        Self { before: Some(Insertion { call, takes_returned: false, arguments }), ..self }
    }

    /// Returns whether it tells plaintext, rather than who works for whom.
    #[must_use]
    pub fn is_of_tls(&self) -> bool {
        self.class.starts_with(TLS_PACKAGE)
    }

    /// Returns whether it is for this method of its class.
    #[must_use]
    pub fn is_for(&self, method: &[u8], descriptor: &[u8]) -> bool {
        method == self.method.as_bytes() && descriptor.starts_with(self.descriptor.as_bytes())
    }
}

/// Returns the hooks of a class; they stand together.
#[must_use]
pub fn of_class(name: &[u8]) -> &'static [Hook] {
    let is_of_it = |hook: &&Hook| hook.class.as_bytes() == name;
    let Some(begin) = ALL.iter().position(|hook| is_of_it(&hook)) else { return &[] };
    let rest = ALL.get(begin..).unwrap_or(&[]);
    let count = rest.iter().take_while(is_of_it).count();
    rest.get(..count).unwrap_or(&[])
}

const NOTHING: &[Local] = &[];
const THIS: &[Local] = &[Local::Object(0)];
const FIRST: &[Local] = &[Local::Object(1)];
const SECOND: &[Local] = &[Local::Object(2)];
const FOURTH: &[Local] = &[Local::Object(4)];

const POOL: &str = "java/util/concurrent/ThreadPoolExecutor";
const SCHEDULED: &str = "java/util/concurrent/ScheduledThreadPoolExecutor";
const FORK_JOIN_POOL: &str = "java/util/concurrent/ForkJoinPool";
const FORK_JOIN_TASK: &str = "java/util/concurrent/ForkJoinTask";
const FUTURE: &str = "java/util/concurrent/CompletableFuture";
const VIRTUAL: &str = "java/lang/VirtualThread";
const TOMCAT_POOL: &str = "org/apache/tomcat/util/threads/ThreadPoolExecutor";
const NETTY_EXECUTOR: &str = "io/netty/util/concurrent/AbstractEventExecutor";
const NIO_CHANNEL: &str = "io/netty/channel/nio/AbstractNioChannel$AbstractNioUnsafe";
const EPOLL_CHANNEL: &str = "io/netty/channel/epoll/AbstractEpollChannel$AbstractEpollUnsafe";
const TLS_PACKAGE: &str = "sun/security/ssl/";
const TLS_ENGINE: &str = "sun/security/ssl/SSLEngineImpl";
const JBOSS_POOL: &str = "org/jboss/threads/EnhancedQueueExecutor";
const MICRONAUT_ACQUIRE: &str = "io/micronaut/http/client/netty/CancellableMonoSink";
const REACTOR_ACQUIRE: &str = "reactor/netty/resources/DefaultPooledConnectionProvider$DisposableAcquire";

/// Reactor Netty has a copy of Reactor's pool.
macro_rules! reactor_netty {
    () => {
        "reactor/netty/internal/shaded/reactor/pool"
    };
}

macro_rules! completion {
    ($name:literal) => {
        Hook::around(
            concat!("java/util/concurrent/CompletableFuture$", $name),
            "tryFire",
            "(I)",
            Call::Enter,
            THIS,
        )
    };
}

/// Who waits for a connection of Micronaut's client.
macro_rules! micronaut_pending {
    ($pool:literal) => {
        concat!("io/micronaut/http/client/netty/", $pool, "$PendingRequest")
    };
}

/// What runs when a future of Vert.x has come true, or failed. The classes that only pass it on are left alone.
macro_rules! vertx_listener {
    ($name:literal, $method:literal) => {
        Hook::around(concat!("io/vertx/core/impl/future/", $name), $method, "(", Call::Enter, THIS)
    };
}

macro_rules! vertx_future {
    ($name:literal) => {
        Hook::before(
            concat!("io/vertx/core/impl/future/", $name),
            "addListener",
            "(Lio/vertx/core/impl/future/Listener;)V",
            Call::Pass,
            FIRST,
        )
    };
}

macro_rules! vertx_pool {
    () => {
        "io/vertx/core/net/impl/pool/SimpleConnectionPool"
    };
}

/// All hooks. Threads that wait in a loop go on with the old code of that loop, so nothing here is such a loop.
pub static ALL: &[Hook] = &[
    // A task is given where it is handed in, also by the pool's own subclasses.
    Hook::before(POOL, "execute", "(Ljava/lang/Runnable;)V", Call::Give, FIRST),
    Hook::before(POOL, "beforeExecute", "(Ljava/lang/Thread;Ljava/lang/Runnable;)V", Call::Take, SECOND),
    Hook::before(POOL, "afterExecute", "(Ljava/lang/Runnable;Ljava/lang/Throwable;)V", Call::Drop, NOTHING),
    Hook::before(
        SCHEDULED,
        "delayedExecute",
        "(Ljava/util/concurrent/RunnableScheduledFuture;)V",
        Call::Give,
        FIRST,
    ),
    Hook::before(
        FORK_JOIN_POOL,
        "externalSubmit",
        "(Ljava/util/concurrent/ForkJoinTask;)",
        Call::Give,
        FIRST,
    ),
    Hook::before(FORK_JOIN_POOL, "poolSubmit", "(ZLjava/util/concurrent/ForkJoinTask;)", Call::Give, SECOND),
    Hook::before(FORK_JOIN_TASK, "fork", "()", Call::Pass, THIS),
    Hook::before(FORK_JOIN_TASK, "invoke", "()", Call::Pass, THIS),
    Hook::around(FORK_JOIN_TASK, "doExec", "()", Call::Enter, THIS),
    // What depends on a future works for whom it was asked by, whoever completes the future.
    Hook::before(
        FUTURE,
        "unipush",
        "(Ljava/util/concurrent/CompletableFuture$Completion;)",
        Call::Pass,
        FIRST,
    ),
    Hook::before(FUTURE, "bipush", "(Ljava/util/concurrent/CompletableFuture;", Call::Pass, SECOND),
    Hook::before(FUTURE, "orpush", "(Ljava/util/concurrent/CompletableFuture;", Call::Pass, SECOND),
    completion!("UniApply"),
    completion!("UniAccept"),
    completion!("UniRun"),
    completion!("UniWhenComplete"),
    completion!("UniHandle"),
    completion!("UniExceptionally"),
    completion!("UniComposeExceptionally"),
    completion!("UniCompose"),
    completion!("BiApply"),
    completion!("BiAccept"),
    completion!("BiRun"),
    completion!("OrApply"),
    completion!("OrAccept"),
    completion!("OrRun"),
    Hook::before(VIRTUAL, "start", "(Ljdk/internal/vm/ThreadContainer;)V", Call::Give, THIS),
    Hook::before(VIRTUAL, "runContinuation", "()V", Call::Mount, THIS),
    Hook::before(VIRTUAL, "afterYield", "()V", Call::Unmount, NOTHING),
    Hook::before(VIRTUAL, "afterDone", "(Z)V", Call::Unmount, NOTHING),
    Hook::before("jdk/internal/net/http/MultiExchange", "responseAsync", "(", Call::Give, THIS),
    Hook::before(
        "jdk/internal/net/http/Http1Request",
        "headers",
        "()Ljava/util/List;",
        Call::ClaimHttp,
        THIS,
    ),
    Hook::before(TOMCAT_POOL, "executeInternal", "(Ljava/lang/Runnable;)V", Call::Give, FIRST),
    Hook::before(
        TOMCAT_POOL,
        "beforeExecute",
        "(Ljava/lang/Thread;Ljava/lang/Runnable;)V",
        Call::Take,
        SECOND,
    ),
    Hook::before(
        TOMCAT_POOL,
        "afterExecute",
        "(Ljava/lang/Runnable;Ljava/lang/Throwable;)V",
        Call::Drop,
        NOTHING,
    ),
    Hook::before(
        "io/netty/util/concurrent/SingleThreadEventExecutor",
        "addTask",
        "(Ljava/lang/Runnable;)V",
        Call::Give,
        FIRST,
    ),
    Hook::around(NETTY_EXECUTOR, "safeExecute", "(Ljava/lang/Runnable;)V", Call::Enter, THIS),
    Hook::around(NETTY_EXECUTOR, "runTask", "(Ljava/lang/Runnable;)V", Call::Enter, THIS),
    Hook::before(
        "io/netty/util/concurrent/AbstractScheduledEventExecutor",
        "scheduleFromEventLoop",
        "(Lio/netty/util/concurrent/ScheduledFutureTask;)",
        Call::Give,
        FIRST,
    ),
    // What a channel has to read is about one request, if any.
    Hook::around(
        "io/netty/channel/nio/AbstractNioByteChannel$NioByteUnsafe",
        "read",
        "()V",
        Call::Fresh,
        NOTHING,
    ),
    Hook::around(
        "io/netty/channel/epoll/AbstractEpollStreamChannel$EpollStreamUnsafe",
        "epollInReady",
        "()V",
        Call::Fresh,
        NOTHING,
    ),
    // A connection is for whoever will use it, and that is told later.
    Hook::around(NIO_CHANNEL, "connect", "(", Call::Fresh, NOTHING),
    Hook::around(EPOLL_CHANNEL, "connect", "(", Call::Fresh, NOTHING),
    Hook::before("io/netty/channel/ChannelOutboundBuffer", "addMessage", "(", Call::ClaimNetty, THIS),
    // Who waits for a connection gets it from whoever gives it back.
    Hook::before("reactor/pool/SimpleDequePool", "doAcquire", "(", Call::Give, FIRST),
    Hook::around("reactor/pool/AbstractPool$Borrower", "deliver", "(", Call::Enter, THIS),
    Hook::before(concat!(reactor_netty!(), "/SimpleDequePool"), "doAcquire", "(", Call::Give, FIRST),
    Hook::around(concat!(reactor_netty!(), "/AbstractPool$Borrower"), "deliver", "(", Call::Enter, THIS),
    Hook::before(REACTOR_ACQUIRE, "onSubscribe", "(", Call::Give, THIS),
    Hook::around(REACTOR_ACQUIRE, "onStateChange", "(", Call::Enter, THIS),
    Hook::before(MICRONAUT_ACQUIRE, "subscribe", "(", Call::Give, THIS),
    Hook::around(MICRONAUT_ACQUIRE, "tryEmitValue", "(", Call::Enter, THIS),
    Hook::around(MICRONAUT_ACQUIRE, "tryEmitError", "(", Call::Enter, THIS),
    // Later versions.
    Hook::before(micronaut_pending!("PoolResizer"), "flow", "()", Call::Pass, THIS),
    Hook::around(micronaut_pending!("PoolResizer"), "tryComplete", "(", Call::Enter, THIS),
    Hook::around(micronaut_pending!("PoolResizer"), "tryCompleteExceptionally", "(", Call::Enter, THIS),
    Hook::before(micronaut_pending!("Pool40"), "flow", "()", Call::Pass, THIS),
    Hook::around(micronaut_pending!("Pool40"), "tryComplete", "(", Call::Enter, THIS),
    Hook::around(micronaut_pending!("Pool40"), "tryCompleteExceptionally", "(", Call::Enter, THIS),
    Hook::before(micronaut_pending!("Pool49"), "flow", "()", Call::Pass, THIS),
    Hook::around(micronaut_pending!("Pool49"), "tryComplete", "(", Call::Enter, THIS),
    Hook::around(micronaut_pending!("Pool49"), "tryCompleteExceptionally", "(", Call::Enter, THIS),
    Hook::before(
        vertx_pool!(),
        "acquire",
        "(Lio/vertx/core/impl/ContextInternal;Lio/vertx/core/net/impl/pool/PoolWaiter$Listener;I",
        Call::Give,
        FOURTH,
    ),
    Hook::around(concat!(vertx_pool!(), "$LeaseImpl"), "emit", "()V", Call::EnterHandler, THIS),
    vertx_future!("FutureImpl"),
    vertx_future!("SucceededFuture"),
    vertx_future!("FailedFuture"),
    vertx_listener!("FutureImpl$1", "onSuccess"),
    vertx_listener!("FutureImpl$2", "onFailure"),
    vertx_listener!("FutureImpl$3", "onSuccess"),
    vertx_listener!("FutureImpl$3", "onFailure"),
    vertx_listener!("FutureImpl$4", "onSuccess"),
    vertx_listener!("FutureImpl$4", "onFailure"),
    vertx_listener!("Composition", "onSuccess"),
    vertx_listener!("Composition", "onFailure"),
    vertx_listener!("Transformation", "onSuccess"),
    vertx_listener!("Transformation", "onFailure"),
    vertx_listener!("Eventually", "onSuccess"),
    vertx_listener!("Eventually", "onFailure"),
    vertx_listener!("Mapping", "onSuccess"),
    vertx_listener!("Otherwise", "onFailure"),
    // One thread works off the tasks that several have put in order, and nothing tells where the next one begins.
    Hook::around("io/vertx/core/impl/TaskQueue", "run", "()V", Call::Fresh, NOTHING),
    Hook::before(
        JBOSS_POOL,
        "tryExecute",
        "(Lorg/jboss/threads/EnhancedQueueExecutor$Task;)",
        Call::Give,
        FIRST,
    ),
    Hook::around("org/jboss/threads/EnhancedQueueExecutor$Task", "run", "()V", Call::Enter, THIS),
    // All ways into an engine lead through these two.
    Hook::returning(
        TLS_ENGINE,
        "wrap",
        "([Ljava/nio/ByteBuffer;IILjava/nio/ByteBuffer;)",
        Call::Wrapped,
        &[Local::Object(0), Local::Object(1), Local::Int(2), Local::Int(3), Local::Object(4)],
    )
    .begun_by(Call::WrapBegins, &[Local::Object(1), Local::Int(2), Local::Int(3)]),
    Hook::returning(
        TLS_ENGINE,
        "unwrap",
        "(Ljava/nio/ByteBuffer;[Ljava/nio/ByteBuffer;II)",
        Call::Unwrapped,
        &[Local::Object(0), Local::Object(2), Local::Int(3), Local::Int(4)],
    )
    .begun_by(
        Call::UnwrapBegins,
        &[Local::Object(0), Local::Object(1), Local::Object(2), Local::Int(3), Local::Int(4)],
    ),
    Hook::before("sun/security/ssl/SSLSocketImpl", "startHandshake", "(", Call::SocketBegins, THIS),
    Hook::before(
        "sun/security/ssl/SSLSocketImpl$AppOutputStream",
        "write",
        "([BII)V",
        Call::SocketWrites,
        &[Local::Object(0), Local::Object(1), Local::Int(2), Local::Int(3)],
    ),
    Hook::returning(
        "sun/security/ssl/SSLSocketImpl$AppInputStream",
        "read",
        "([BII)I",
        Call::SocketHasRead,
        &[Local::Object(0), Local::Object(1), Local::Int(2), Local::Int(3)],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_of_a_class_stand_together() {
        for hook in ALL {
            let hooks = of_class(hook.class.as_bytes());
            let count = ALL.iter().filter(|other| other.class == hook.class).count();
            assert_eq!(hooks.len(), count, "{}", hook.class);
            assert!(hooks.iter().all(|other| other.class == hook.class));
        }
        assert!(of_class(b"java/lang/String").is_empty());
    }

    #[test]
    fn calls_that_take_an_object_have_one() {
        let insertions = || ALL.iter().flat_map(|hook| [hook.before, hook.after]).flatten();
        for Insertion { call, takes_returned, arguments } in insertions() {
            let shown = |local: &Local| match local {
                Local::Object(_) => "Ljava/lang/Object;",
                Local::Int(_) => "I",
            };
            let arguments: String = arguments.iter().map(shown).collect();
            let wanted = call.descriptor();
            let rest = wanted.strip_suffix(&format!("{arguments})V")).and_then(|rest| rest.strip_prefix('('));
            let is_returned = |rest: &str| matches!(rest, "I" | "Ljava/lang/Object;");
            assert!(rest.is_some_and(|rest| is_returned(rest) == takes_returned), "{call:?}");
        }
    }
}
