/* HTTP over sockets that are used in unusual ways, with every byte compared.
 *
 * Usage: unusual PORT ROUNDS WAY
 * Ways: plain, io_uring, zerocopy, sendfile, sendmmsg, edge (edge-triggered epoll, and FIONREAD before each read), fastopen,
 * mptcp. A child serves, the parent asks: `GET /WAY/N` is answered with status 200 + N % 4 and a body of a size and a
 * pattern that N decides. Every other round goes the plain way, on the same connection. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <linux/errqueue.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define LARGEST 40000
#define MPTCP 262
static const int sizes[] = {0, 1, 300, 5000, LARGEST};
static const char *way;

static int is_way(const char *name) { return !strcmp(way, name); }

static size_t body_of(int round, char *body) {
    size_t size = (size_t)sizes[round % (int)(sizeof sizes / sizeof *sizes)];
    for (size_t at = 0; at < size; at++)
        body[at] = (char)('a' + (at + (size_t)round) % 23);
    return size;
}

/* One operation at a time. */
static struct {
    int fd;
    unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
    struct io_uring_sqe *sqes;
    struct io_uring_cqe *cqes;
} ring;

static void *map(size_t size, off_t what) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, what);
    if (at == MAP_FAILED)
        err(1, "map io_uring");
    return at;
}

static void open_ring(void) {
    struct io_uring_params parameters = {0};
    ring.fd = (int)syscall(__NR_io_uring_setup, 8, &parameters);
    if (ring.fd < 0)
        err(1, "io_uring_setup");
    char *sq = map(parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *cq = map(parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.sqes = map(parameters.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
    ring.sq_tail = (unsigned *)(sq + parameters.sq_off.tail);
    ring.sq_mask = (unsigned *)(sq + parameters.sq_off.ring_mask);
    ring.sq_array = (unsigned *)(sq + parameters.sq_off.array);
    ring.cq_head = (unsigned *)(cq + parameters.cq_off.head);
    ring.cq_tail = (unsigned *)(cq + parameters.cq_off.tail);
    ring.cq_mask = (unsigned *)(cq + parameters.cq_off.ring_mask);
    ring.cqes = (struct io_uring_cqe *)(cq + parameters.cq_off.cqes);
}

static ssize_t by_ring(int operation, int fd, void *data, size_t length) {
    unsigned index = *ring.sq_tail & *ring.sq_mask;
    memset(&ring.sqes[index], 0, sizeof ring.sqes[index]);
    ring.sqes[index].opcode = (unsigned char)operation;
    ring.sqes[index].fd = fd;
    ring.sqes[index].addr = (unsigned long)data;
    ring.sqes[index].len = (unsigned)length;
    ring.sq_array[index] = index;
    atomic_store((_Atomic unsigned *)ring.sq_tail, *ring.sq_tail + 1);
    if (syscall(__NR_io_uring_enter, ring.fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
        err(1, "io_uring_enter");
    if (atomic_load((_Atomic unsigned *)ring.cq_tail) == *ring.cq_head)
        errx(1, "io_uring has no answer");
    int result = ring.cqes[*ring.cq_head & *ring.cq_mask].res;
    atomic_store((_Atomic unsigned *)ring.cq_head, *ring.cq_head + 1);
    return result;
}

static ssize_t send_zerocopy(int fd, const char *data, size_t length) {
    ssize_t sent = send(fd, data, length, MSG_ZEROCOPY);
    char control[128];
    struct msghdr message = {.msg_control = control, .msg_controllen = sizeof control};
    /* The buffer is the kernel's until it says otherwise. */
    while (sent > 0 && recvmsg(fd, &message, MSG_ERRQUEUE) < 0)
        usleep(100);
    return sent;
}

static ssize_t send_file(int fd, const char *data, size_t length) {
    int file = memfd_create("body", 0);
    off_t from = 0;
    if (file < 0 || write(file, data, length) != (ssize_t)length)
        err(1, "memfd");
    ssize_t sent = sendfile(fd, file, &from, length);
    close(file);
    return sent;
}

static void send_all(int fd, char *data, size_t length, int is_unusual) {
    while (length > 0) {
        ssize_t sent;
        if (is_unusual && is_way("io_uring"))
            sent = by_ring(IORING_OP_SEND, fd, data, length);
        else if (is_unusual && is_way("zerocopy"))
            sent = send_zerocopy(fd, data, length);
        else if (is_unusual && is_way("sendfile"))
            sent = send_file(fd, data, length);
        else
            sent = send(fd, data, length, 0);
        if (sent <= 0)
            err(1, "%s: send %zd", way, sent);
        data += sent;
        length -= (size_t)sent;
    }
}

/* The head and the body by one call, as far as it takes them. */
static void send_messages(int fd, char *head, size_t head_length, char *body, size_t length) {
    struct iovec parts[2] = {{head, head_length}, {body, length}};
    struct mmsghdr messages[2] = {
        {.msg_hdr = {.msg_iov = &parts[0], .msg_iovlen = 1}},
        {.msg_hdr = {.msg_iov = &parts[1], .msg_iovlen = 1}},
    };
    int count = sendmmsg(fd, messages, length ? 2 : 1, 0);
    if (count < 1 || messages[0].msg_len != head_length)
        err(1, "sendmmsg");
    size_t sent = count > 1 ? messages[1].msg_len : 0;
    send_all(fd, body + sent, length - sent, 0);
}

static ssize_t receive(int fd, char *data, size_t room, int is_unusual, int events) {
    if (is_unusual && is_way("io_uring"))
        return by_ring(IORING_OP_RECV, fd, data, room);
    if (!is_way("edge"))
        return recv(fd, data, room, 0);
    int ready = 0;
    while (ioctl(fd, FIONREAD, &ready) == 0 && ready == 0) {
        struct epoll_event event;
        if (epoll_wait(events, &event, 1, 5000) < 1)
            errx(1, "edge: the reader was not woken");
        char end;
        /* The end of the stream is an edge without bytes. */
        if (ioctl(fd, FIONREAD, &ready) == 0 && ready == 0 && recv(fd, &end, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            return 0;
    }
    return recv(fd, data, (size_t)ready < room ? (size_t)ready : room, 0);
}

static void serve(int fd) {
    static char request[LARGEST], body[LARGEST];
    int one = 1, events = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET | EPOLLRDHUP};
    if (epoll_ctl(events, EPOLL_CTL_ADD, fd, &event))
        err(1, "epoll_ctl");
    if (is_way("zerocopy") && setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one))
        err(1, "SO_ZEROCOPY");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    size_t length = 0;
    for (int is_unusual = 0;; is_unusual = !is_unusual) {
        ssize_t part = 0;
        request[length] = 0;
        while (!strstr(request, "\r\n\r\n")) {
            part = receive(fd, request + length, sizeof request - 1 - length, is_unusual, events);
            if (part <= 0) {
                close(events);
                close(fd);
                return;
            }
            length += (size_t)part;
            request[length] = 0;
        }
        /* GET /WAY/N: the number is behind the second slash. */
        int round = atoi(strchr(strchr(request, '/') + 1, '/') + 1);
        char head[100];
        size_t size = body_of(round, body);
        int head_length = snprintf(head, sizeof head, "HTTP/1.1 %d OK\r\nContent-Length: %zu\r\n\r\n", 200 + round % 4, size);
        if (is_unusual && is_way("sendmmsg")) {
            send_messages(fd, head, (size_t)head_length, body, size);
        } else {
            send_all(fd, head, (size_t)head_length, is_unusual && !is_way("sendfile"));
            send_all(fd, body, size, is_unusual);
        }
        length = 0;
    }
}

static void ask(int fd, int round, const struct sockaddr_in *open_to) {
    static char expected[LARGEST + 100], got[LARGEST + 100];
    char request[100], body[LARGEST];
    size_t asked = (size_t)snprintf(request, sizeof request, "GET /%s/%d HTTP/1.1\r\nHost: a\r\n\r\n", way, round);
    if (open_to ? sendto(fd, request, asked, MSG_FASTOPEN, (const struct sockaddr *)open_to, sizeof *open_to) != (ssize_t)asked
                : send(fd, request, asked, 0) != (ssize_t)asked)
        err(1, "%s: ask", way);
    size_t size = body_of(round, body);
    size_t wanted = (size_t)snprintf(expected, sizeof expected, "HTTP/1.1 %d OK\r\nContent-Length: %zu\r\n\r\n", 200 + round % 4, size);
    memcpy(expected + wanted, body, size);
    wanted += size;
    for (size_t length = 0; length < wanted;) {
        ssize_t part = recv(fd, got + length, wanted - length, 0);
        if (part <= 0)
            err(1, "%s: round %d ended after %zu of %zu bytes", way, round, length, wanted);
        length += (size_t)part;
    }
    if (memcmp(expected, got, wanted))
        errx(1, "%s: other bytes came in round %d", way, round);
}

int main(int count, char **arguments) {
    if (count != 4)
        errx(2, "usage: unusual PORT ROUNDS WAY");
    int port = atoi(arguments[1]), rounds = atoi(arguments[2]), one = 1, queue = 5;
    way = arguments[3];
    int protocol = is_way("mptcp") ? MPTCP : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM, protocol);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (is_way("fastopen") && setsockopt(listening, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof queue))
        err(1, "TCP_FASTOPEN");
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 5))
        err(1, "%s: listen", way);
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            return 1;
        if (is_way("io_uring"))
            open_ring();
        for (;;) {
            int fd = accept(listening, NULL, NULL);
            if (fd < 0)
                err(1, "accept");
            serve(fd);
        }
    }
    close(listening);
    int fd = -1;
    for (int round = 0; round < rounds; round++) {
        int is_new = fd < 0 || is_way("fastopen");
        if (is_new) {
            close(fd);
            fd = socket(AF_INET, SOCK_STREAM, protocol);
            if (!is_way("fastopen") && connect(fd, (struct sockaddr *)&address, sizeof address))
                err(1, "%s: connect", way);
        }
        ask(fd, round, is_new && is_way("fastopen") ? &address : NULL);
    }
    close(fd);
    kill(child, SIGKILL);
    return 0;
}
