/*
 * The one way in which a configuration becomes the running one: places in the scoreboard, listening
 * sockets, a sealed snapshot, then everyone is told. In master.
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
#include "master.h"
#include "model/snapshot_build.h"

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

/* The snapshot in a memfd that nobody can change any more, or -errno. */
static int seal_snapshot(const struct master *master, const struct model *model,
                         uint32_t generation)
{
    size_t n = 0;
    void *bytes = snapshot_build(model, generation, master->hash_seed, master->running, &n);
    if (bytes == NULL || pairs_number(master->pairs, bytes) != 0) {
        free(bytes);
        return -ENOMEM;
    }
    FD_AUTO fd = memfd_create("sluice-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    bool done =
        fd >= 0 && write_all(fd, bytes, n) &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0;
    int error = errno;
    free(bytes);
    if (!done) {
        return -error;
    }
    int kept = fd;
    fd = -1;
    return kept;
}

static bool refuse(struct master *master, struct model *model)
{
    listeners_abort(master->listeners);
    registry_abort(master->registry);
    model_free(model);
    return false;
}

bool publish(struct master *master, struct model *model, struct errlist *errors)
{
    if (registry_plan(master->registry, model, clock_now_ms(), errors) != 0) {
        model_free(model);
        return false;
    }
    if (listeners_plan(master->listeners, model, errors) != 0) {
        return refuse(master, model);
    }
    struct capacity capacity;
    uint32_t limit = limits_find(master, model, &capacity);
    struct model_global asked = model->global;
    model->global.max_connections = limit; /* what the snapshot should say … */
    model->global.buffer_bytes = limits_buffers(master, model);
    uint32_t generation = master->model == NULL ? 1 : master->model->generation + 1;
    int snapshot = seal_snapshot(master, model, generation);
    model->global = asked; /* … and what the file said */
    const struct snapshot_header *running = snapshot < 0 ? NULL : snapshot_map(snapshot);
    if (running == NULL) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "cannot make the snapshot for the workers: %s; free some memory",
                    strerror(snapshot < 0 ? -snapshot : errno));
        fd_close(&snapshot);
        return refuse(master, model);
    }
    model->generation = generation;
    registry_commit(master->registry, model);
    ports_tell(master);
    listeners_commit(master->listeners, model);
    fd_close(&master->snapshot);
    master->snapshot = snapshot;
    snapshot_unmap(master->running);
    master->running = running;
    master->connections_limit = limit;
    master->capacity = capacity;
    model_free(master->model);
    master->model = model;
    children_sync(master);
    return true;
}
