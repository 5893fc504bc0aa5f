/*
 * Opening the control socket. In master, at start.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/server.h"

#define BACKLOG 1024

static int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd < 0 ? -errno : fd;
}

/* Nobody may connect before the mode is right. Returns 0 or -errno. */
static int bind_closed(int fd, const struct sockaddr_un *address)
{
    mode_t old = umask(0777);
    int result = bind(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : -errno;

    umask(old);
    return result;
}

/* 0: nobody listens there any more; -EADDRINUSE: somebody does; else -errno. */
static int probe(const struct sockaddr_un *address)
{
    FD_AUTO fd = open_socket();
    struct stat status;

    if (fd < 0)
        return fd;
    if (lstat(address->sun_path, &status) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -ENOTSOCK;
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    return errno == ECONNREFUSED ? 0 : -errno;
}

static int bind_in_place(int fd, const struct sockaddr_un *address)
{
    int result = bind_closed(fd, address);

    if (result != -EADDRINUSE)
        return result;
    result = probe(address);
    if (result != 0)
        return result;
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return -errno;
    return bind_closed(fd, address);
}

int ctl_listen(const char *path, uint32_t mode)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    FD_AUTO fd = -1;
    int result;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = open_socket();
    if (fd < 0)
        return fd;
    result = bind_in_place(fd, &address);
    if (result != 0)
        return result;
    if (listen(fd, BACKLOG) != 0 || chmod(path, mode & 0777) != 0) {
        result = -errno;
        unlink(path);
        return result;
    }
    result = fd;
    fd = -1;
    return result;
}
