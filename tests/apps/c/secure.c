/* HTTP over OpenSSL that is used in unusual ways, with every answer compared.
 *
 * Usage: secure WAY serve PORT KEY CERTIFICATE
 *        secure WAY ask PORT ROUNDS
 *        secure since PORT [NANOSECONDS]
 *        secure wait
 *        secure kernel-there
 * `GET /WAY/N` is answered with status 200 + N % 2 and its path, and padding where answers shall be long. WAY says what is
 * unusual; `filter-` before it kills the process for system calls that probes may make. `since` runs itself anew, then asks
 * for `/since/M` until it is killed, M being the milliseconds since then. `kernel-there` fails where the kernel cannot encrypt. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LONG 200000
#define ROOM (LONG + 4096)
#define MANY 8
#define PIECE 700
/* Between two requests of those who ask for ever. */
#define PACE_MS 10
/* `uretprobe` and `uprobe` of x86-64. */
#define FIRST_OF_PROBES 335
#define LAST_OF_PROBES 336

static const char *way;
static int waited_to_write;

static int is_way(const char *name) { return !strcmp(way, name); }
static int is_long(void) { return is_way("partial") || is_way("retry"); }
static int is_early(void) { return is_way("early") || is_way("early-refused"); }
static int is_1_2(void) {
    return is_way("renegotiate") || is_way("renegotiate-server") || is_way("resume-id") || is_way("resume-ticket");
}

__attribute__((noreturn)) static void fail(const char *what) {
    ERR_print_errors_fp(stderr);
    errx(1, "%s: %s", way, what);
}

/* A connection. Where the library works on memory, the program carries what it has made. */
struct peer {
    SSL *ssl;
    int fd;
    int is_in_memory;
    int reads_early;
    size_t length;
    char *bytes;
};

static void wait_for(int fd, short events) {
    struct pollfd ready = {.fd = fd, .events = events};
    if (poll(&ready, 1, 20000) != 1)
        fail("nothing happens");
}

static void send_made(struct peer *peer) {
    char piece[PIECE];
    int length;
    while ((length = BIO_read(SSL_get_wbio(peer->ssl), piece, sizeof piece)) > 0)
        for (int sent = 0, more; sent < length; sent += more) {
            if ((more = (int)send(peer->fd, piece + sent, (size_t)(length - sent), MSG_NOSIGNAL)) < 0) {
                if (errno != EAGAIN)
                    err(1, "send");
                wait_for(peer->fd, POLLOUT);
                more = 0;
            }
        }
}

static int receive_more(struct peer *peer) {
    char piece[PIECE];
    wait_for(peer->fd, POLLIN);
    ssize_t length = recv(peer->fd, piece, sizeof piece, 0);
    if (length <= 0)
        return 0;
    return BIO_write(SSL_get_rbio(peer->ssl), piece, (int)length) == length;
}

/* Waits for what a call wants; returns 0 where no more will come. */
static int await(struct peer *peer, int result) {
    int error = SSL_get_error(peer->ssl, result);
    if (peer->is_in_memory) {
        send_made(peer);
        return error == SSL_ERROR_WANT_READ ? receive_more(peer) : 0;
    }
    if (error == SSL_ERROR_WANT_READ)
        wait_for(peer->fd, POLLIN);
    else if (error == SSL_ERROR_WANT_WRITE)
        waited_to_write++, wait_for(peer->fd, POLLOUT);
    else
        return 0;
    return 1;
}

static void shake_hands(struct peer *peer) {
    for (int result; (result = SSL_do_handshake(peer->ssl)) != 1;)
        if (!await(peer, result))
            fail("handshake");
    if (peer->is_in_memory)
        send_made(peer);
}

static void write_all(struct peer *peer, const char *bytes, size_t length) {
    while (length > 0) {
        int result = SSL_write(peer->ssl, bytes, (int)length);
        if (result > 0)
            bytes += result, length -= (size_t)result;
        else if (!await(peer, result))
            fail("write");
    }
    if (peer->is_in_memory)
        send_made(peer);
}

static void write_early(struct peer *peer, const char *bytes, size_t length) {
    size_t written;
    while (!SSL_write_early_data(peer->ssl, bytes, length, &written))
        if (!await(peer, 0))
            fail("write early");
}

static struct peer open_peer(SSL_CTX *context, int fd) {
    struct peer peer = {.fd = fd, .ssl = SSL_new(context), .bytes = malloc(ROOM), .is_in_memory = is_way("memory")};
    int small = 8192, on = 1;
    if (is_long())
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (is_way("partial"))
        SSL_set_mode(peer.ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (peer.is_in_memory)
        SSL_set_bio(peer.ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    else
        SSL_set_fd(peer.ssl, fd);
    return peer;
}

static void close_peer(struct peer *peer) {
    SSL_shutdown(peer->ssl);
    if (peer->is_in_memory)
        send_made(peer);
    SSL_free(peer->ssl);
    close(peer->fd);
    free(peer->bytes);
}

static SSL_CTX *make_context(const SSL_METHOD *method) {
    SSL_CTX *context = SSL_CTX_new(method);
    if (!context)
        fail("context");
    if (is_1_2())
        SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    if (is_way("resume-id"))
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    if (is_way("kernel"))
        SSL_CTX_set_options(context, SSL_OP_ENABLE_KTLS);
    return context;
}

/* The server. */

/* Returns the bytes of the first request; 0 where it is not all there. */
static size_t request_in(const struct peer *peer) {
    const char *end = memmem(peer->bytes, peer->length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    const char *field = memmem(peer->bytes, (size_t)(end - peer->bytes), "Content-Length: ", 16);
    size_t whole = (size_t)(end - peer->bytes) + 4 + (field ? strtoul(field + 16, NULL, 10) : 0);
    return peer->length >= whole ? whole : 0;
}

static void answer(struct peer *peer) {
    static char text[ROOM];
    for (size_t whole; (whole = request_in(peer)) > 0;) {
        int from, to;
        if (sscanf(peer->bytes, "%*s %n%*s%n", &from, &to) < 0)
            fail("no request");
        int number = atoi(strrchr(strndupa(peer->bytes + from, (size_t)(to - from)), '/') + 1);
        int body = is_long() ? LONG : to - from;
        int head = sprintf(text, "HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n", 200 + number % 2, body);
        memset(text + head, 'x', (size_t)body);
        memcpy(text + head, peer->bytes + from, (size_t)(to - from));
        memmove(peer->bytes, peer->bytes + whole, peer->length -= whole);
        if (is_way("renegotiate-server") && number % 2) {
            SSL_renegotiate(peer->ssl);
            SSL_do_handshake(peer->ssl);
        }
        if (peer->reads_early)
            write_early(peer, text, (size_t)(head + body));
        else
            write_all(peer, text, (size_t)(head + body));
    }
}

/* Reads what there is before the handshake is over; returns 0 where there is no more yet. */
static int serve_early(struct peer *peer) {
    size_t length = 0;
    int result = SSL_read_early_data(peer->ssl, peer->bytes + peer->length, ROOM - peer->length, &length);
    peer->length += length;
    if (result == SSL_READ_EARLY_DATA_FINISH)
        peer->reads_early = 0;
    return result != SSL_READ_EARLY_DATA_ERROR;
}

/* Serves what has come; returns 0 at the end. */
static int serve_peer(struct peer *peer) {
    for (;;) {
        if (peer->is_in_memory && recv(peer->fd, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            return 0;
        int length = 0;
        if (peer->reads_early) {
            length = serve_early(peer);
        } else if ((length = SSL_read(peer->ssl, peer->bytes + peer->length, (int)(ROOM - peer->length))) > 0) {
            peer->length += (size_t)length;
        }
        if (length <= 0) {
            int error = SSL_get_error(peer->ssl, length);
            if (peer->is_in_memory)
                send_made(peer);
            if (error != SSL_ERROR_WANT_READ)
                return 0;
            if (!peer->is_in_memory)
                return 1;
            char piece[PIECE];
            ssize_t more = recv(peer->fd, piece, sizeof piece, MSG_DONTWAIT);
            if (more <= 0)
                return more < 0 && errno == EAGAIN;
            BIO_write(SSL_get_rbio(peer->ssl), piece, (int)more);
        }
        answer(peer);
    }
}

static void serve(int port, const char *key, const char *certificate) {
    SSL_CTX *context = make_context(TLS_server_method());
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        fail("certificate");
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"secure", 6);
    if (is_early())
        SSL_CTX_set_max_early_data(context, 16384);
    if (is_way("hello-retry"))
        SSL_CTX_set1_groups_list(context, "P-384");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        err(1, "listen");
    struct peer peers[2 * MANY] = {0};
    struct pollfd ready[2 * MANY + 1] = {{.fd = listener, .events = POLLIN}};
    for (int count = 0;;) {
        if (poll(ready, (nfds_t)count + 1, -1) < 0)
            err(1, "poll");
        for (int at = count - 1; at >= 0; at--)
            if (ready[at + 1].revents && !serve_peer(&peers[at])) {
                close_peer(&peers[at]);
                peers[at] = peers[--count];
                ready[at + 1] = ready[count + 1];
            }
        if (ready[0].revents && count < 2 * MANY) {
            peers[count] = open_peer(context, accept(listener, NULL, NULL));
            peers[count].reads_early = is_early();
            SSL_set_accept_state(peers[count].ssl);
            ready[++count] = (struct pollfd){.fd = peers[count - 1].fd, .events = POLLIN};
        }
    }
}

/* The client. */

static struct peer reach(SSL_CTX *context, int port, SSL_SESSION *session) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        err(1, "connect");
    struct peer peer = open_peer(context, fd);
    SSL_set_connect_state(peer.ssl);
    SSL_set_tlsext_host_name(peer.ssl, "localhost");
    if (session && SSL_set_session(peer.ssl, session) != 1)
        fail("session");
    return peer;
}

static int write_request(char *text, int number) {
    int body = is_long() ? LONG : 0;
    int head = sprintf(text, "%s /%s/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", body ? "POST" : "GET",
                       way, number, body);
    memset(text + head, 'b', (size_t)body);
    return head + body;
}

/* Reads at most so many bytes; returns 1 once the answer is whole, and right. */
static int read_some(struct peer *peer, int number, size_t most) {
    if (is_way("nothing")) {
        char one;
        if (SSL_read(peer->ssl, &one, 0) > 0 || SSL_peek(peer->ssl, &one, 1) > 1)
            fail("read nothing");
    }
    size_t room = ROOM - 1 - peer->length;
    int result = SSL_read(peer->ssl, peer->bytes + peer->length, (int)(most < room ? most : room));
    if (result <= 0) {
        if (!await(peer, result))
            fail("read");
        return 0;
    }
    peer->bytes[peer->length += (size_t)result] = 0;
    char *body = strstr(peer->bytes, "\r\n\r\n"), *field = strcasestr(peer->bytes, "content-length: ");
    if (!body || !field || peer->length < (size_t)(body + 4 - peer->bytes) + strtoul(field + 16, NULL, 10))
        return 0;
    char expected[64];
    int length = sprintf(expected, "/%s/%d", way, number);
    int is_right = atoi(peer->bytes + 9) == 200 + number % 2 && !strncmp(body + 4, expected, (size_t)length);
    for (const char *padding = body + 4 + length; is_right && *padding; padding++)
        is_right = *padding == 'x';
    if (!is_right)
        fail("another answer");
    peer->length = 0;
    return 1;
}

static void ask(struct peer *peer, int number) {
    static char text[ROOM];
    int length = write_request(text, number);
    if (is_way("nothing")) {
        size_t written;
        SSL_write_ex(peer->ssl, text, 0, &written);
        SSL_write(peer->ssl, text, 0);
    }
    write_all(peer, text, (size_t)length);
    while (!read_some(peer, number, ROOM))
        ;
}

/* Two requests on each connection, the first maybe before the handshake. A server takes early data of a session once. */
static void ask_resuming(SSL_CTX *context, int port, int rounds) {
    SSL_SESSION *session = NULL;
    int uses_left = 0;
    for (int number = 0; number < rounds; number += 2) {
        struct peer peer = reach(context, port, session);
        if (session && is_early()) {
            char text[256];
            write_early(&peer, text, (size_t)write_request(text, number));
            shake_hands(&peer);
            int is_taken = SSL_get_early_data_status(peer.ssl) == SSL_EARLY_DATA_ACCEPTED;
            if (is_taken != (is_way("early") || uses_left == 2))
                fail("early data");
            if (is_taken)
                while (!read_some(&peer, number, ROOM))
                    ;
            else
                ask(&peer, number);
        } else {
            shake_hands(&peer);
            ask(&peer, number);
        }
        if (session && !SSL_session_reused(peer.ssl) && !is_way("early-refused"))
            fail("not resumed");
        ask(&peer, number + 1);
        if (--uses_left <= 0) {
            SSL_SESSION_free(session);
            session = SSL_get1_session(peer.ssl);
            uses_left = is_way("early-refused") ? 2 : 1;
        }
        close_peer(&peer);
    }
}

/* Requests of several connections in pieces, by turns. */
static void ask_by_turns(SSL_CTX *context, int port, int rounds) {
    struct peer peers[MANY];
    for (int at = 0; at < MANY; at++)
        peers[at] = reach(context, port, NULL);
    for (int number = 0; number < rounds; number += MANY) {
        char text[MANY][256];
        int length[MANY], is_done[MANY] = {0};
        for (int at = 0; at < MANY; at++)
            length[at] = write_request(text[at], number + at);
        for (int part = 0; part < 3; part++)
            for (int at = 0; at < MANY; at++) {
                int from = length[at] * part / 3, to = length[at] * (part + 1) / 3;
                write_all(&peers[at], text[at] + from, (size_t)(to - from));
            }
        for (int left = MANY; left > 0;)
            for (int at = MANY - 1; at >= 0; at--)
                if (!is_done[at] && (is_done[at] = read_some(&peers[at], number + at, (size_t)(7 + at))))
                    left--;
    }
    for (int at = 0; at < MANY; at++)
        close_peer(&peers[at]);
}

static void ask_all(int port, int rounds) {
    SSL_CTX *context = make_context(TLS_client_method());
    if (is_way("hello-retry"))
        SSL_CTX_set1_groups_list(context, "X25519:P-384");
    if (!strncmp(way, "resume", 6) || is_early() || is_way("hello-retry"))
        return ask_resuming(context, port, rounds);
    if (is_way("turns"))
        return ask_by_turns(context, port, rounds);
    struct peer peer = reach(context, port, NULL);
    shake_hands(&peer);
    if (is_way("kernel") && !BIO_get_ktls_send(SSL_get_wbio(peer.ssl)))
        fail("the kernel does not encrypt");
    for (int number = 0; number < rounds; number++) {
        if (is_way("renegotiate") && number % 2) {
            SSL_renegotiate(peer.ssl);
            shake_hands(&peer);
        }
        if (is_way("keys") && number % 2)
            SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED);
        ask(&peer, number);
    }
    if (is_long() && !waited_to_write)
        fail("it never had to wait");
    if (is_way("nothing")) {
        SSL_shutdown(peer.ssl);
        char one;
        while (SSL_read(peer.ssl, &one, 1) < 0)
            wait_for(peer.fd, POLLIN);
    }
    close_peer(&peer);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void ask_since(int port, long long since_ns) {
    SSL_CTX *context = make_context(TLS_client_method());
    for (;;) {
        struct peer peer = reach(context, port, NULL);
        shake_hands(&peer);
        ask(&peer, (int)((now_ns() - since_ns) / 1000000));
        close_peer(&peer);
        poll(NULL, 0, PACE_MS);
    }
}

/* Ends the process by a signal when it calls what probes may call. */
static void forbid_probes(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FIRST_OF_PROBES, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, LAST_OF_PROBES, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        err(1, "filter");
}

/* A socket without a connection is refused for another reason where the kernel can encrypt. */
static int can_kernel_encrypt(void) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls") == 0 || errno != ENOENT;
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    way = count > 1 ? arguments[1] : "";
    if (!strncmp(way, "filter-", 7)) {
        way += 7;
        forbid_probes();
    }
    if (is_way("wait"))
        return pause();
    if (is_way("kernel-there"))
        return !can_kernel_encrypt();
    if (is_way("since") && count == 3) {
        char since[32];
        sprintf(since, "%lld", now_ns());
        execl("/proc/self/exe", arguments[0], way, arguments[2], since, NULL);
        err(1, "execute");
    }
    if (is_way("since") && count == 4)
        ask_since(atoi(arguments[2]), atoll(arguments[3]));
    else if (count == 6 && !strcmp(arguments[2], "serve"))
        serve(atoi(arguments[3]), arguments[4], arguments[5]);
    else if (count == 5 && !strcmp(arguments[2], "ask"))
        ask_all(atoi(arguments[3]), atoi(arguments[4]));
    else
        errx(2, "usage: see the source");
}
