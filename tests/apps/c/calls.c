/* Sends a known pattern over a stream socket by one family of system calls and reads it back by another.
 *
 * Usage: calls tcp4|tcp6|unix SEND RECEIVE
 * The byte at offset n of the stream is n % 251. It is sent in messages of the sizes below, and each is received
 * before the next is sent, so that every call moves one message. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define LARGEST 5000
static const size_t sizes[] = {10, LARGEST, 100};

static int listener(const char *family, struct sockaddr_storage *address, socklen_t *length) {
    memset(address, 0, sizeof *address);
    if (!strcmp(family, "tcp4")) {
        struct sockaddr_in *in = (struct sockaddr_in *)address;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        *length = sizeof *in;
    } else if (!strcmp(family, "tcp6")) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)address;
        in->sin6_family = AF_INET6;
        in->sin6_addr = in6addr_loopback;
        *length = sizeof *in;
    } else {
        struct sockaddr_un *un = (struct sockaddr_un *)address;
        un->sun_family = AF_UNIX;
        /* An abstract name: nothing is left on disk. */
        int used = snprintf(un->sun_path + 1, sizeof un->sun_path - 1, "remora-calls-%d", getpid());
        *length = offsetof(struct sockaddr_un, sun_path) + 1 + used;
    }
    int fd = socket(address->ss_family, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, *length) || listen(fd, 1))
        err(1, "listen (%s)", family);
    if (getsockname(fd, (struct sockaddr *)address, length))
        err(1, "getsockname");
    return fd;
}

/* Splits a message in two, so that calls which take several segments get several. */
static void segments(struct iovec iov[2], char *data, size_t length) {
    iov[0] = (struct iovec){data, length / 3};
    iov[1] = (struct iovec){data + length / 3, length - length / 3};
}

/* Splits a message in many pieces, most of them short and some empty, as Netty does with frames of HTTP/2. */
#define MOST_PIECES 128
static int pieces(struct iovec iov[MOST_PIECES], char *data, size_t length) {
    static const size_t lengths[] = {9, 5, 0, 61, 1, 2, 300};
    int count = 0;
    for (size_t at = 0; at < length && count < MOST_PIECES; count++) {
        size_t piece = lengths[count % (sizeof lengths / sizeof *lengths)];
        if (piece > length - at || count == MOST_PIECES - 1)
            piece = length - at;
        iov[count] = (struct iovec){data + at, piece};
        at += piece;
    }
    return count;
}

static ssize_t send_by(const char *call, int fd, char *data, size_t length) {
    struct iovec iov[2];
    segments(iov, data, length);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    if (!strcmp(call, "write"))
        return write(fd, data, length);
    if (!strcmp(call, "writev"))
        return writev(fd, iov, 2);
    if (!strcmp(call, "pieces")) {
        struct iovec many[MOST_PIECES];
        return writev(fd, many, pieces(many, data, length));
    }
    if (!strcmp(call, "send"))
        return send(fd, data, length, 0);
    if (!strcmp(call, "sendto"))
        return sendto(fd, data, length, 0, NULL, 0);
    if (!strcmp(call, "sendmsg"))
        return sendmsg(fd, &message, 0);
    if (!strcmp(call, "sendmmsg")) {
        struct mmsghdr messages[2] = {
            {.msg_hdr = {.msg_iov = &iov[0], .msg_iovlen = 1}},
            {.msg_hdr = {.msg_iov = &iov[1], .msg_iovlen = 1}},
        };
        int sent = sendmmsg(fd, messages, 2, 0);
        return sent < 0 ? sent : (ssize_t)(messages[0].msg_len + (sent > 1 ? messages[1].msg_len : 0));
    }
    if (!strcmp(call, "sendfile")) {
        int file = memfd_create("message", 0);
        off_t from = 0;
        if (file < 0 || write(file, data, length) != (ssize_t)length)
            err(1, "memfd");
        ssize_t sent = sendfile(fd, file, &from, length);
        close(file);
        return sent;
    }
    if (!strcmp(call, "splice")) {
        int pipes[2];
        if (pipe(pipes) || write(pipes[1], data, length) != (ssize_t)length)
            err(1, "pipe");
        ssize_t sent = splice(pipes[0], NULL, fd, NULL, length, 0);
        close(pipes[0]);
        close(pipes[1]);
        return sent;
    }
    errx(1, "no such call: %s", call);
}

static ssize_t receive_by(const char *call, int fd, char *data, size_t length) {
    struct iovec iov[2];
    segments(iov, data, length);
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    if (!strcmp(call, "read"))
        return read(fd, data, length);
    if (!strcmp(call, "readv"))
        return readv(fd, iov, 2);
    if (!strcmp(call, "pieces")) {
        struct iovec many[MOST_PIECES];
        return readv(fd, many, pieces(many, data, length));
    }
    if (!strcmp(call, "recv"))
        return recv(fd, data, length, 0);
    if (!strcmp(call, "recvfrom"))
        return recvfrom(fd, data, length, 0, NULL, NULL);
    if (!strcmp(call, "recvmsg"))
        return recvmsg(fd, &message, 0);
    if (!strcmp(call, "recvmmsg")) {
        struct mmsghdr messages[1] = {{.msg_hdr = message}};
        int received = recvmmsg(fd, messages, 1, 0, NULL);
        return received < 0 ? received : (ssize_t)messages[0].msg_len;
    }
    if (!strcmp(call, "peek")) {
        /* Looks first, which moves nothing. */
        if (recv(fd, data, length, MSG_PEEK) < 0)
            err(1, "peek");
        memset(data, 0, length);
        return recv(fd, data, length, 0);
    }
    if (!strcmp(call, "splice")) {
        int pipes[2];
        if (pipe(pipes))
            err(1, "pipe");
        ssize_t moved = splice(fd, NULL, pipes[1], NULL, length, 0);
        if (moved > 0 && read(pipes[0], data, moved) != moved)
            err(1, "read from the pipe");
        close(pipes[0]);
        close(pipes[1]);
        return moved;
    }
    errx(1, "no such call: %s", call);
}

int main(int count, char **arguments) {
    if (count != 4)
        errx(2, "usage: calls tcp4|tcp6|unix SEND RECEIVE");
    struct sockaddr_storage address;
    socklen_t length;
    int listening = listener(arguments[1], &address, &length);
    int client = socket(address.ss_family, SOCK_STREAM, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, length))
        err(1, "connect");
    int server = accept(listening, NULL, NULL);
    if (server < 0)
        err(1, "accept");

    static char sent[LARGEST], received[LARGEST];
    size_t offset = 0;
    for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        size_t size = sizes[index];
        for (size_t at = 0; at < size; at++)
            sent[at] = (char)((offset + at) % 251);
        ssize_t moved = send_by(arguments[2], client, sent, size);
        if (moved != (ssize_t)size)
            err(1, "%s sent %zd of %zu bytes", arguments[2], moved, size);
        for (size_t got = 0; got < size;) {
            ssize_t part = receive_by(arguments[3], server, received + got, size - got);
            if (part <= 0)
                err(1, "%s received %zd", arguments[3], part);
            got += (size_t)part;
        }
        if (memcmp(sent, received, size))
            errx(1, "other bytes came than were sent");
        offset += size;
    }
    return 0;
}
