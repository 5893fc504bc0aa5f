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
#include "model/moved.h"
#include "model/snapshot_build.h"
#include "preflight.h"

static int write_all(void *arg, const void *bytes, size_t n)
{
    const int *fd = arg;
    const char *from = bytes;

    while (n > 0) {
        ssize_t written = write(*fd, from, n);
        if (written < 0) {
            return -errno;
        }
        from += written;
        n -= (size_t)written;
    }
    return 0;
}

static int write_snapshot(int fd, const struct master *master, const struct model *model,
                          uint32_t generation)
{
    size_t n;
    struct snapshot_header *built = snapshot_build(model, generation, master->hash_seed, &n);
    int rc = built == NULL ? -ENOMEM : pairs_number(master->pairs, built);

    if (rc == 0) {
        rc = write_all(&fd, built, n);
    }
    if (rc == 0) {
        rc = snapshot_put_tables(model, built, master->running, write_all, &fd);
    }
    if (rc == 0 && ftruncate(fd, (off_t)built->size_bytes) != 0) {
        rc = -errno;
    }
    free(built);
    return rc;
}

/* The snapshot in a memfd that nobody can change any more, or -errno. */
static int seal_snapshot(const struct master *master, const struct model *model,
                         uint32_t generation)
{
    FD_AUTO fd = memfd_create("sluice-snapshot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        return -errno;
    }
    int rc = write_snapshot(fd, master, model, generation);
    if (rc != 0) {
        return rc;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0) {
        return -errno;
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Maps it and looks through all of it, hash tables too, so that nobody else has to. */
static const struct snapshot_header *map_whole(int fd)
{
    const struct snapshot_header *snapshot = snapshot_map(fd);

    if (snapshot != NULL && snapshot_check(snapshot, snapshot->size_bytes) != 0) {
        snapshot_unmap(snapshot);
        errno = EINVAL;
        return NULL;
    }
    return snapshot;
}

static bool refuse(struct master *master, struct model *model)
{
    listeners_abort(master->listeners);
    registry_abort(master->registry);
    drains_expect(master, NULL, NULL, false, 0);
    model_free(model);
    return false;
}

bool publish(struct master *master, struct model *model, struct errlist *errors,
             struct change_list *changes)
{
    if (!preflight_workers(model, &master->privileges, errors)) {
        model_free(model);
        return false;
    }
    if (registry_plan(master->registry, model, clock_now_ms(), errors) != 0) {
        drains_expect(master, NULL, NULL, false, 0);
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
    uint32_t generation =
        (master->model == NULL ? master->last_generation : master->model->generation) + 1;
    int snapshot = seal_snapshot(master, model, generation);
    model->global = asked; /* … and what the file said */
    const struct snapshot_header *running = snapshot < 0 ? NULL : map_whole(snapshot);
    if (running == NULL) {
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL,
                    "cannot make the snapshot for the workers: %s; free some memory",
                    strerror(snapshot < 0 ? -snapshot : errno));
        fd_close(&snapshot);
        return refuse(master, model);
    }
    if (changes != NULL && master->running != NULL) {
        moved_add(master->running, running, false, changes);
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
    atomic_store(&master->sb.header->upgrade_timeout_ms, model->global.upgrade_timeout_ms);
    master->capacity = capacity;
    drains_publish(master, master->model, model);
    model_free(master->model);
    master->model = model;
    children_sync(master);
    drains_renew(master);
    return true;
}

/* --- only looking --- */

struct room {
    char *at;
};

static int put_room(void *arg, const void *bytes, size_t n)
{
    struct room *room = arg;

    memcpy(room->at, bytes, n);
    room->at += n;
    return 0;
}

/* The whole snapshot in memory of its own, or NULL. */
static struct snapshot_header *make_whole(const struct master *master, const struct model *model)
{
    size_t n;
    struct snapshot_header *built = snapshot_build(model, 1, master->hash_seed, &n);
    struct snapshot_header *whole = built != NULL ? malloc(built->size_bytes) : NULL;
    struct room room = {(char *)whole};

    if (whole != NULL) {
        (void)put_room(&room, built, n);
        if (snapshot_put_tables(model, built, master->running, put_room, &room) != 0) {
            free(whole);
            whole = NULL;
        }
    }
    free(built);
    return whole;
}

void publish_weigh(const struct master *master, const struct model *model, struct errlist *errors,
                   struct change_list *changes)
{
    struct snapshot_header *whole = make_whole(master, model);

    if (whole != NULL) {
        moved_add(master->running, whole, true, changes);
    } else {
        errlist_add(errors, ERRLIST_WARNING, NULL, 0, NULL,
                    "out of memory: how many clients would go elsewhere by hash is not known");
    }
    free(whole);
}
