/* A custom runtime in plain C, one connection and no library: echoes each event. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[1 << 16];

static void send_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, 0);

        if (sent <= 0)
            exit(0);
        bytes += sent;
        size -= (size_t)sent;
    }
}

/* A whole response into `buffer`; returns where its body starts. */
static char *receive(int fd)
{
    size_t size = 0;

    for (;;) {
        ssize_t got = recv(fd, buffer + size, sizeof(buffer) - 1 - size, 0);
        char *body;
        char *length;

        if (got <= 0)
            exit(0);
        size += (size_t)got;
        buffer[size] = '\0';
        body = strstr(buffer, "\r\n\r\n");
        length = strstr(buffer, "Content-Length: ");
        if (body != NULL && length != NULL &&
            size >= (size_t)(body + 4 - buffer) + strtoul(length + 16, NULL, 10))
            return body + 4;
    }
}

int main(void)
{
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    struct sockaddr_in address = {.sin_family = AF_INET};
    char prefix[64] = "";
    char request[1 << 16];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    unsigned port;

    if (api == NULL || sscanf(api, "127.0.0.1:%u%63s", &port, prefix) < 1)
        return 1;
    address.sin_port = htons((unsigned short)port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        return 2;
    for (;;) {
        char id[64] = "";
        char *body;
        int size = snprintf(request, sizeof(request),
                            "GET %s/2018-06-01/runtime/invocation/next HTTP/1.1\r\n"
                            "Host: %s\r\n\r\n",
                            prefix, api);

        send_all(fd, request, (size_t)size);
        body = receive(fd);
        sscanf(strstr(buffer, "Lambda-Runtime-Aws-Request-Id: ") + 31, "%63[^\r]", id);
        printf("echo from %s uid %u\n", getenv("AWS_LAMBDA_FUNCTION_NAME"), getuid());
        fflush(stdout);
        size = snprintf(request, sizeof(request),
                        "POST %s/2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\n"
                        "Host: %s\r\nContent-Length: %zu\r\n\r\n%s",
                        prefix, id, api, strlen(body), body);
        send_all(fd, request, (size_t)size);
        (void)receive(fd);
    }
}
