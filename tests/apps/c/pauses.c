/* What a program feels while others change the text of its TLS library.
 *
 * Usage: pauses KEY CERTIFICATE
 * Again and again, a client writes a message and its server, in the same thread, reads it. For each 100 ms the longest
 * time that this took is printed, in microseconds. The thread goes before all others and sleeps in between, so that no
 * other program's turn is measured. */
#include <err.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

#define MESSAGE 200
#define PACE_NS 200000
#define WINDOW_NS 100000000LL

__attribute__((noreturn)) static void fail(const char *what) {
    ERR_print_errors_fp(stderr);
    errx(1, "%s", what);
}

static long long now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void shake_hands(SSL *client, SSL *server) {
    SSL_set_connect_state(client);
    SSL_set_accept_state(server);
    for (int turns = 0; SSL_do_handshake(client) != 1 || SSL_do_handshake(server) != 1; turns++) {
        SSL_do_handshake(server);
        if (turns > 20)
            fail("handshake");
    }
}

int main(int count, char **arguments) {
    if (count != 3)
        errx(2, "usage: see the source");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    SSL_CTX *of_client = SSL_CTX_new(TLS_client_method()), *of_server = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_PrivateKey_file(of_server, arguments[1], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_certificate_chain_file(of_server, arguments[2]) != 1)
        fail("certificate");
    SSL *client = SSL_new(of_client), *server = SSL_new(of_server);
    BIO *near, *far;
    if (!BIO_new_bio_pair(&near, 0, &far, 0))
        fail("pair");
    SSL_set_bio(client, near, near);
    SSL_set_bio(server, far, far);
    shake_hands(client, server);
    if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){.sched_priority = 1}))
        err(1, "go before others (needs root)");
    char message[MESSAGE] = {0};
    for (;;) {
        long long longest = 0;
        for (long long end = now_ns() + WINDOW_NS, begin; (begin = now_ns()) < end;) {
            if (SSL_write(client, message, MESSAGE) != MESSAGE || SSL_read(server, message, MESSAGE) != MESSAGE)
                fail("message");
            long long took = now_ns() - begin;
            longest = took > longest ? took : longest;
            nanosleep(&(struct timespec){.tv_nsec = PACE_NS}, NULL);
        }
        printf("%lld\n", longest / 1000);
        fflush(stdout);
    }
}
