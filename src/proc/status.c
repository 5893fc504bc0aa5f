/*
 * Master's part of the status address: it opens the socket, which may need root and outlives every
 * monitor, and makes the pages of figures that a monitor asks for. Owns the socket. In master.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "ctl/metrics.h"
#include "ctl/status.h"
#include "ctl/view.h"
#include "listening.h"
#include "master.h"
#include "succession.h"
#include "upgrade.h"

#define BACKLOG 128

int status_open(struct master *master)
{
    const char *text = master->model->global.status;
    const char *problem;
    struct addr address;
    if (text == NULL || addr_parse(text, true, &address, &problem) != 0) {
        return 0; /* it is off: what is written was looked through with the file */
    }
    int fd = succession_take(master, &address, "status");
    if (fd >= 0) {
        listening_read_address(fd, &master->status_address);
    } else {
        fd = listening_open_single(&address, BACKLOG, &master->status_address);
    }
    if (fd < 0) {
        log_error("cannot open the status address", LOG_STR("status", text),
                  LOG_STR("error", strerror(-fd)),
                  LOG_STR("hint", "set status in global to an address that is here and free"));
        return fd;
    }
    master->status_fd = fd;
    addr_format(&master->status_address, master->status_text);
    return 0;
}

void status_close(struct master *master)
{
    const struct addr *address = &master->status_address;
    bool is_anothers = succession_is_waiting(master) || upgrade_is_over(master);
    if (master->status_fd >= 0 && !is_anothers && address->ip.family == ADDR_UNIX &&
        address->path[0] != '@') {
        unlink(address->path);
    }
    fd_close(&master->status_fd);
}

static bool render(struct master *master, uint32_t page, struct str *out)
{
    struct ctl_host host = {
        .ops = &master_host_ops, .self = master, .sb = &master->sb, .events = master->events};
    uint64_t now_ms = clock_now_ms(), wall_ms = clock_wall_ms();
    if (page == STATUS_METRICS) {
        metrics_render(&host, now_ms, wall_ms, out);
    } else if (page == STATUS_FIGURES) {
        stats_render(&host, now_ms, wall_ms, out);
    } else {
        return false;
    }
    return !out->failed;
}

static bool write_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t written = write(fd, bytes, n);
        if (written < 0) {
            return false;
        }
        bytes += written;
        n -= (size_t)written;
    }
    return true;
}

int status_make_page(struct master *master, uint32_t page)
{
    STR_AUTO text = {.limit = STATUS_PAGE_BYTES};
    FD_AUTO fd = -1;
    if (!render(master, page, &text)) {
        return -1;
    }
    fd = memfd_create("sluice-figures", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || !write_all(fd, str_text(&text), text.len) ||
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
        return -1;
    }
    int kept = fd;
    fd = -1;
    return kept;
}
