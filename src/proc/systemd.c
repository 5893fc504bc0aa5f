/* The notify socket of the supervisor. Owns it. In master. */
#include "systemd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define FDS_A_MESSAGE 200 /* the kernel passes 253 at most */

struct systemd {
    int fd; /* -1: nobody to tell */
    struct sockaddr_un address;
    socklen_t address_len;
    char *path; /* NOTIFY_SOCKET */
    uint64_t watchdog_us;
    char status[256]; /* as sent last */
};

static uint64_t read_watchdog(void)
{
    const char *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    if (us == NULL || (pid != NULL && strtol(pid, NULL, 10) != getpid())) {
        return 0;
    }
    return strtoull(us, NULL, 10);
}

/* A path, or an abstract name after "@". */
static void open_socket(struct systemd *systemd, const char *path)
{
    size_t len = strlen(path);
    if (len < 2 || len >= sizeof(systemd->address.sun_path) || strchr("/@", path[0]) == NULL) {
        return;
    }
    systemd->path = strdup(path);
    systemd->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    systemd->address.sun_family = AF_UNIX;
    memcpy(systemd->address.sun_path, path, len + 1);
    if (path[0] == '@') {
        systemd->address.sun_path[0] = '\0';
    }
    systemd->address_len =
        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '@' ? 0 : 1));
}

struct systemd *systemd_create(void)
{
    struct systemd *systemd = calloc(1, sizeof(*systemd));
    const char *path = getenv("NOTIFY_SOCKET");
    if (systemd == NULL) {
        return NULL;
    }
    systemd->fd = -1;
    if (path != NULL) {
        open_socket(systemd, path);
        systemd->watchdog_us = read_watchdog();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return systemd;
}

void systemd_destroy(struct systemd *systemd)
{
    if (systemd != NULL) {
        fd_close(&systemd->fd);
        free(systemd->path);
        free(systemd);
    }
}

void systemd_pass_on(const struct systemd *systemd)
{
    char number[32];
    if (systemd->path == NULL) {
        return;
    }
    setenv("NOTIFY_SOCKET", systemd->path, 1);
    if (systemd->watchdog_us != 0) {
        snprintf(number, sizeof(number), "%" PRIu64, systemd->watchdog_us);
        setenv("WATCHDOG_USEC", number, 1);
        snprintf(number, sizeof(number), "%d", (int)getpid());
        setenv("WATCHDOG_PID", number, 1);
    }
}

/* --- saying --- */

static bool say(struct systemd *systemd, const char *text, const int *fds, size_t n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(FDS_A_MESSAGE * sizeof(int))];
    } control;
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_name = &systemd->address,
                             .msg_namelen = systemd->address_len,
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
    if (systemd->fd < 0) {
        return true;
    }
    if (n > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(head), fds, n * sizeof(int));
    }
    return sendmsg(systemd->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

uint64_t systemd_watchdog_ms(const struct systemd *systemd)
{
    uint64_t half_ms = systemd->watchdog_us / 2000;
    return systemd->watchdog_us != 0 && half_ms == 0 ? 1 : half_ms;
}

void systemd_feed(struct systemd *systemd)
{
    (void)say(systemd, "WATCHDOG=1", NULL, 0);
}

void systemd_ready(struct systemd *systemd)
{
    char text[64];
    snprintf(text, sizeof(text), "READY=1\nMAINPID=%d", (int)getpid());
    (void)say(systemd, text, NULL, 0);
}

void systemd_reloading(struct systemd *systemd, uint64_t now_us)
{
    char text[64];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us);
    (void)say(systemd, text, NULL, 0);
}

void systemd_stopping(struct systemd *systemd)
{
    (void)say(systemd, "STOPPING=1", NULL, 0);
}

void systemd_status(struct systemd *systemd, const char *text)
{
    char message[sizeof(systemd->status) + 16];
    if (systemd->fd < 0 || strncmp(systemd->status, text, sizeof(systemd->status) - 1) == 0) {
        return;
    }
    snprintf(message, sizeof(message), "STATUS=%.*s", (int)sizeof(systemd->status) - 1, text);
    if (say(systemd, message, NULL, 0)) {
        snprintf(systemd->status, sizeof(systemd->status), "%s", text);
    }
}

void systemd_extend(struct systemd *systemd, uint64_t ms)
{
    char text[64];
    snprintf(text, sizeof(text), "EXTEND_TIMEOUT_USEC=%" PRIu64, ms * 1000);
    (void)say(systemd, text, NULL, 0);
}

void systemd_hand_over(struct systemd *systemd, pid_t pid)
{
    char text[64];
    snprintf(text, sizeof(text), "MAINPID=%d", (int)pid);
    (void)say(systemd, text, NULL, 0);
    fd_close(&systemd->fd);
}

bool systemd_store(struct systemd *systemd, const char *name, const int *fds, size_t n)
{
    char text[320];
    snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    for (size_t at = 0; at < n; at += FDS_A_MESSAGE) {
        size_t left = n - at;
        if (!say(systemd, text, fds + at, left < FDS_A_MESSAGE ? left : FDS_A_MESSAGE)) {
            return false; /* what was stored already is not stored twice */
        }
    }
    return true;
}

void systemd_forget(struct systemd *systemd, const char *name)
{
    char text[320];
    snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
    (void)say(systemd, text, NULL, 0);
}
