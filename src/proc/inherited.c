/* Reads what a supervisor or a predecessor left in the environment. In main, then in master. */
#include "inherited.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define SOCKETS_MAX 100000 /* a mistyped number must not keep us busy */

struct socket {
    int fd; /* -1: taken */
    struct addr address;
    char name[INHERITED_NAME_MAX];
};

struct inherited {
    int channel, handover, real_stderr;
    size_t count;
    struct socket *sockets;
};

/* --- reading --- */

static bool is_listening(int fd)
{
    int accepts = 0, type = 0;
    socklen_t len = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepts, &len) == 0 && accepts != 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

/* Copies the name at *names, which ends at a colon, and moves on. out has the previous one. */
static void next_name(const char **names, char out[static INHERITED_NAME_MAX])
{
    size_t n = *names == NULL ? 0 : strcspn(*names, ":");
    if (n == 1 && (*names)[0] == INHERITED_SAME) {
        *names = (*names)[1] == ':' ? *names + 2 : NULL;
        return;
    }
    snprintf(out, INHERITED_NAME_MAX, "%.*s", (int)n, *names == NULL ? "" : *names);
    if (*names != NULL) {
        *names = (*names)[n] == ':' ? *names + n + 1 : NULL;
    }
}

static void read_socket(struct inherited *inherited, int fd, const char **names)
{
    struct socket *socket = &inherited->sockets[inherited->count];
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    if (inherited->count > 0) {
        memcpy(socket->name, socket[-1].name, sizeof(socket->name));
    }
    next_name(names, socket->name);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) != 0) {
        return; /* there is no such descriptor */
    }
    socket->fd = fd;
    socket->address = (struct addr){0};
    if (is_listening(fd) && getsockname(fd, (struct sockaddr *)&sa, &len) == 0) {
        addr_from_sockaddr((struct sockaddr *)&sa, len, &socket->address);
    }
    inherited->count++;
}

static void read_sockets(struct inherited *inherited)
{
    const char *pid = getenv("LISTEN_PID"), *n_text = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");
    long n = n_text == NULL ? 0 : strtol(n_text, NULL, 10);
    if (pid == NULL || strtol(pid, NULL, 10) != getpid() || n <= 0 || n > SOCKETS_MAX) {
        return;
    }
    inherited->sockets = calloc((size_t)n, sizeof(*inherited->sockets));
    for (long i = 0; inherited->sockets != NULL && i < n; i++) {
        read_socket(inherited, INHERITED_FIRST + (int)i, &names);
    }
}

static void read_upgrade(struct inherited *inherited)
{
    const char *text = getenv(INHERITED_UPGRADE_VARIABLE);
    int numbers[3];
    if (text == NULL || sscanf(text, "%d,%d,%d", &numbers[0], &numbers[1], &numbers[2]) != 3) {
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        if (numbers[i] < INHERITED_FIRST || fcntl(numbers[i], F_SETFD, FD_CLOEXEC) != 0) {
            return;
        }
    }
    inherited->channel = numbers[0];
    inherited->handover = numbers[1];
    inherited->real_stderr = numbers[2];
}

struct inherited *inherited_read(void)
{
    struct inherited *inherited = calloc(1, sizeof(*inherited));
    if (inherited == NULL) {
        return NULL;
    }
    inherited->channel = inherited->handover = inherited->real_stderr = -1;
    read_upgrade(inherited);
    read_sockets(inherited);
    unsetenv(INHERITED_UPGRADE_VARIABLE);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return inherited;
}

void inherited_free(struct inherited *inherited)
{
    if (inherited == NULL) {
        return;
    }
    for (size_t i = 0; i < inherited->count; i++) {
        fd_close(&inherited->sockets[i].fd);
    }
    fd_close(&inherited->channel);
    fd_close(&inherited->handover);
    fd_close(&inherited->real_stderr);
    free(inherited->sockets);
    free(inherited);
}

/* --- taking --- */

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

int inherited_channel(const struct inherited *inherited)
{
    return inherited->channel;
}

int inherited_take_channel(struct inherited *inherited)
{
    return take(&inherited->channel);
}

int inherited_take_handover(struct inherited *inherited)
{
    return take(&inherited->handover);
}

void inherited_restore_stderr(struct inherited *inherited)
{
    if (inherited->real_stderr >= 0) {
        (void)dup2(inherited->real_stderr, STDERR_FILENO);
        fd_close(&inherited->real_stderr);
    }
}

/* The descriptor store and a socket unit may both hold the very same socket. */
static bool is_among(int fd, const int *fds, size_t n)
{
    struct stat own, other;
    for (size_t i = 0; i < n; i++) {
        if (fstat(fd, &own) == 0 && fstat(fds[i], &other) == 0 && own.st_ino == other.st_ino) {
            return true;
        }
    }
    return false;
}

static bool matches(const struct socket *socket, const struct addr *address, const char *name)
{
    if (socket->fd < 0 || socket->address.ip.family != address->ip.family) {
        return false;
    }
    if (address->ip.family != ADDR_UNIX && address->ip.port == 0) {
        return strcmp(socket->name, name) == 0;
    }
    return addr_equal(&socket->address, address);
}

size_t inherited_take(struct inherited *inherited, const struct addr *address, const char *name,
                      int *out_fds, size_t max, bool *out_is_ours)
{
    size_t n = 0;
    *out_is_ours = true;
    for (size_t i = 0; inherited != NULL && i < inherited->count && n < max; i++) {
        struct socket *socket = &inherited->sockets[i];
        if (!matches(socket, address, name)) {
            continue;
        }
        *out_is_ours = *out_is_ours && strcmp(socket->name, name) == 0;
        if (is_among(socket->fd, out_fds, n)) {
            fd_close(&socket->fd);
        } else {
            out_fds[n++] = take(&socket->fd);
        }
    }
    return n;
}

bool inherited_left(const struct inherited *inherited, size_t index, struct addr *out)
{
    for (size_t i = 0; inherited != NULL && i < inherited->count; i++) {
        if (inherited->sockets[i].fd >= 0 && index-- == 0) {
            *out = inherited->sockets[i].address;
            return true;
        }
    }
    return false;
}
