/*
 * One request and its reply over the control socket. In sluicectl; blocking, with a limit on
 * silence.
 */
#include "sluicectl/talk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/codec.h"

#define CHUNK_BYTES 65536

const char *talk_choose_socket(const char *asked, const char *usual)
{
    const char *from_environment = getenv("SLUICE_SOCKET");

    if (asked)
        return asked;
    return from_environment && *from_environment ? from_environment : usual;
}

/* Limits connecting, too. */
int talk_limit_silence(int fd, uint32_t silence_ms)
{
    const struct timeval limit = {.tv_sec = silence_ms / 1000,
                                  .tv_usec = (suseconds_t)(silence_ms % 1000) * 1000};

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
        return -errno;
    return 0;
}

int talk_connect(const char *path, uint32_t silence_ms)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    FD_AUTO fd = -1;
    int result;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    result = talk_limit_silence(fd, silence_ms);
    if (result != 0)
        return result;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        return errno == EAGAIN ? -ETIMEDOUT : -errno;
    result = fd;
    fd = -1;
    return result;
}

static int send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

int talk_send_line(int fd, const char *line, size_t len)
{
    int result = send_all(fd, line, len);

    return result != 0 ? result : send_all(fd, "\n", 1);
}

int talk_receive(int fd, struct str *out)
{
    struct codec_scan scan = {0};
    char chunk[CHUNK_BYTES];

    while (!scan.done) {
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (n == 0)
            return -ECONNRESET;
        str_append_n(out, chunk, codec_scan_reply(&scan, chunk, (size_t)n));
        if (out->failed)
            return -ENOMEM;
    }
    return 0;
}
