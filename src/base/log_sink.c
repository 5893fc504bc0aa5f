/*
 * The log's sinks. Owns the descriptor of the one in use; runs in every process.
 *
 * At 4096 bytes (PIPE_BUF) a pipe takes a line whole or not at all. Whatever else breaks off in
 * mid-line (a full disk, a stream socket) is remembered, and the next line starts with a line end,
 * so that no two lines ever run together.
 *
 * The sockets of syslog and the journal are shared by all processes: master opens one and hands it
 * to the others. When the daemon behind it was started anew, whoever notices first connects that
 * very socket again, for all of them.
 */
#include "log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "fd.h"
#include "log_line.h"

#define SYSLOG_PATH   "/dev/log"
#define JOURNAL_PATH  "/run/systemd/journal/socket"
#define MEND_EVERY_MS 1000
#define SENDS_MAX     64
#define LOG_FILE_MODE 0640
/* What may lie in the daemon's queue before lines are dropped; the kernel bounds it (wmem_max). */
#define SEND_BYTES (1024 * 1024)

static enum sink_kind kind_of(int fd, enum log_target target)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (target != LOG_TARGET_STREAM) {
        return SINK_DATAGRAM;
    }
    if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        return SINK_SEND;
    }
    if (S_ISREG(st.st_mode) || (flags >= 0 && (flags & O_NONBLOCK) != 0)) {
        return SINK_WRITE;
    }
    return SINK_POLLED;
}

void log_sink_adopt(struct log_sink *sink, int fd, enum log_target target)
{
    int old = sink->fd;

    *sink = (struct log_sink){.fd = fd, .target = target, .kind = kind_of(fd, target)};
    if (old != fd) {
        fd_close(&old);
    }
}

/* --- opening --- */

void log_share_stderr(void)
{
    struct stat st;
    int flags = fcntl(STDERR_FILENO, F_GETFL);

    if (flags >= 0 && (flags & O_APPEND) == 0 && fstat(STDERR_FILENO, &st) == 0 &&
        S_ISREG(st.st_mode)) {
        (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND);
    }
}

/*
 * Standard error is shared with whoever started us: to make it non-blocking for us alone it is
 * opened once more. Sockets cannot be, and another user's pipe or terminal may not be; then a
 * duplicate has to do.
 */
static int open_stderr(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    return fd >= 0 ? fd : -errno;
}

static int connect_to(int fd, enum log_target target)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)strcpy(address.sun_path, target == LOG_TARGET_SYSLOG ? SYSLOG_PATH : JOURNAL_PATH);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
}

static int open_daemon(enum log_target target)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int room = SEND_BYTES;
    int error;

    if (fd < 0) {
        return -errno;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
    error = connect_to(fd, target);
    if (error != 0) {
        close(fd);
        return error;
    }
    return fd;
}

static int open_file(const char *path, int flags)
{
    int fd =
        open(path, O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, LOG_FILE_MODE);

    return fd >= 0 ? fd : -errno;
}

int log_sink_open(const char *target, enum log_target *out_target)
{
    *out_target = LOG_TARGET_STREAM;
    if (strcmp(target, "stderr") == 0) {
        return open_stderr();
    }
    if (strcmp(target, "syslog") == 0 || strcmp(target, "journal") == 0) {
        *out_target = target[0] == 's' ? LOG_TARGET_SYSLOG : LOG_TARGET_JOURNAL;
        return open_daemon(*out_target);
    }
    if (target[0] != '/') {
        return -EINVAL;
    }
    return open_file(target, O_CREAT);
}

int log_sink_open_present(const char *target)
{
    enum log_target kind;

    return target[0] == '/' ? open_file(target, 0) : log_sink_open(target, &kind);
}

/* --- streams --- */

/* Hands bytes to the sink without ever waiting. Returns how many it took. */
static size_t offer(const struct log_sink *sink, const char *bytes, size_t len)
{
    struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};
    ssize_t n;

    if (sink->kind == SINK_POLLED && (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0)) {
        return 0;
    }
    do {
        n = sink->kind == SINK_SEND ? send(sink->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : write(sink->fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* How many of the lines go in one call: what is only known to be ready takes one without waiting.
 */
static size_t in_one_go(const struct log_sink *sink, size_t n)
{
    return sink->kind == SINK_POLLED ? 1 : n;
}

static size_t put_stream(struct log_sink *sink, char *bytes, const uint32_t *ends, size_t n)
{
    const char *from = bytes;
    size_t done = 0;

    if (sink->in_midline) {
        bytes[-1] = '\n';
        from--;
    }
    while (done < n) {
        const char *to = bytes + ends[done + in_one_go(sink, n - done) - 1];
        size_t taken = offer(sink, from, (size_t)(to - from));

        if (taken > 0) {
            sink->in_midline = from[taken - 1] != '\n';
        }
        from += taken;
        while (done < n && bytes + ends[done] <= from) {
            done++;
        }
        if (from < to) {
            break;
        }
    }
    return done;
}

/* --- datagrams --- */

/* Whether there is hope that another try finds the daemon: it is gone, or was started anew. */
static bool mend(struct log_sink *sink, int error)
{
    uint64_t now_ms;

    if (error != ECONNREFUSED && error != ENOTCONN && error != ECONNRESET && error != EPIPE) {
        return false;
    }
    now_ms = clock_now_ms();
    if (sink->mended_ms != 0 && now_ms - sink->mended_ms < MEND_EVERY_MS) {
        return false;
    }
    sink->mended_ms = now_ms;
    return connect_to(sink->fd, sink->target) == 0;
}

static size_t put_datagrams(struct log_sink *sink, char *bytes, const uint32_t *ends, size_t n)
{
    struct mmsghdr sends[SENDS_MAX];
    struct iovec parts[SENDS_MAX];
    size_t done = 0;

    while (done < n) {
        size_t most = n - done < SENDS_MAX ? n - done : SENDS_MAX;
        int sent;

        for (size_t i = 0; i < most; i++) {
            uint32_t from = done + i > 0 ? ends[done + i - 1] : 0;

            parts[i] = (struct iovec){.iov_base = bytes + from, .iov_len = ends[done + i] - from};
            sends[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &parts[i], .msg_iovlen = 1}};
        }
        sent = sendmmsg(sink->fd, sends, (unsigned)most, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EINTR || mend(sink, errno))) {
            continue;
        }
        if (sent <= 0) {
            return done;
        }
        done += (size_t)sent;
    }
    return done;
}

size_t log_sink_put(struct log_sink *sink, char *bytes, const uint32_t *ends, size_t n)
{
    if (sink->fd < 0) {
        return 0;
    }
    return sink->kind == SINK_DATAGRAM ? put_datagrams(sink, bytes, ends, n)
                                       : put_stream(sink, bytes, ends, n);
}
