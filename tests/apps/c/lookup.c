/* Looks up a name as the C library does, and prints its first address. */

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int count, char **arguments) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[64];
    int error = count == 2 ? getaddrinfo(arguments[1], NULL, &hints, &found) : EAI_NONAME;
    if (!error)
        error = getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST);
    puts(error ? gai_strerror(error) : text);
    return error != 0;
}
