/* A service whose requests are worked on by a pool of threads that take them from a queue, each of which calls another
 * service twice before it answers.
 *
 * Usage: pool connections|requests PORT LEAF_PORT THREADS
 * `connections`: one thread accepts, and a worker reads what comes on the connection that it has taken.
 * `requests`: one thread accepts and reads, and a worker calls and answers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 1024
#define HEAD 4096

/* A connection, and the number that its request asks for: none if the worker has to read it. */
struct task {
    int fd, number;
};

static struct task queue[MOST];
static unsigned first, end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;
static int leaf_port;

static void put(struct task task) {
    pthread_mutex_lock(&lock);
    if (end - first == MOST)
        errx(1, "the queue is full");
    queue[end++ % MOST] = task;
    pthread_cond_signal(&filled);
    pthread_mutex_unlock(&lock);
}

static struct task take(void) {
    pthread_mutex_lock(&lock);
    while (first == end)
        pthread_cond_wait(&filled, &lock);
    struct task task = queue[first++ % MOST];
    pthread_mutex_unlock(&lock);
    return task;
}

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* Reads the head of a request, and returns the number at the end of its path; -1 at the end of the connection. */
static int ask(int fd) {
    char head[HEAD];
    size_t length = 0;
    while (length < 4 || memcmp(head + length - 4, "\r\n\r\n", 4)) {
        ssize_t got = read(fd, head + length, sizeof head - 1 - length);
        if (got <= 0)
            return -1;
        length += got;
    }
    head[length] = 0;
    int number;
    if (sscanf(head, "GET /relay/%d ", &number) != 1)
        errx(1, "what is asked: %s", head);
    return number;
}

static void say(int fd, const char *text) {
    size_t length = strlen(text);
    if (write(fd, text, length) != (ssize_t)length)
        err(1, "write");
}

static void call(int number) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(leaf_port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address))
        err(1, "connect");
    char text[HEAD];
    snprintf(text, sizeof text, "GET /leaf/%d HTTP/1.1\r\nHost: leaf\r\nConnection: close\r\n\r\n", number);
    say(fd, text);
    while (read(fd, text, sizeof text) > 0)
        ;
    close(fd);
}

static void serve(int fd, int number) {
    call(number);
    call(number);
    char body[16], text[HEAD];
    snprintf(body, sizeof body, "%d", number);
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
    say(fd, text);
}

static void *work(void *reads) {
    for (;;) {
        struct task task = take();
        if (!reads) {
            serve(task.fd, task.number);
            continue;
        }
        int number;
        while ((number = ask(task.fd)) >= 0)
            serve(task.fd, number);
        close(task.fd);
    }
    return NULL;
}

static int accepted(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        err(1, "accept");
    return fd;
}

static void hand_on_connections(int listener) {
    for (;;)
        put((struct task){accepted(listener), -1});
}

static void hand_on_requests(int listener) {
    struct pollfd watched[MOST] = {{.fd = listener, .events = POLLIN}};
    nfds_t count = 1;
    for (;;) {
        if (poll(watched, count, -1) < 0)
            err(1, "poll");
        for (nfds_t at = count; at-- > 1;) {
            if (!watched[at].revents)
                continue;
            int number = ask(watched[at].fd);
            if (number >= 0) {
                put((struct task){watched[at].fd, number});
                continue;
            }
            close(watched[at].fd);
            watched[at] = watched[--count];
        }
        if (watched[0].revents) {
            if (count == MOST)
                errx(1, "too many connections");
            watched[count++] = (struct pollfd){.fd = accepted(listener), .events = POLLIN};
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 5)
        errx(2, "usage: pool connections|requests PORT LEAF_PORT THREADS");
    int reads = !strcmp(argv[1], "connections");
    leaf_port = atoi(argv[3]);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = loopback(atoi(argv[2]));
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, MOST))
        err(1, "listen");
    for (int count = atoi(argv[4]); count > 0; count--) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work, reads ? &leaf_port : NULL))
            errx(1, "pthread_create");
    }
    if (reads)
        hand_on_connections(listener);
    else
        hand_on_requests(listener);
}
