/* Owns every listening socket of the daemon. In master. */
#include "listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

struct group {
    struct addr configured; /* as in the file: perhaps port 0 */
    struct addr address;    /* as bound */
    uint32_t id;
    uint32_t backlog;
    bool planned; /* opened by the plan under way */
    bool wanted;  /* named by the model being committed */
    bool linked;  /* a unix: path that is ours to remove */
    size_t n_fds;
    int *fds;
};

struct listeners {
    uint32_t n_workers;
    struct group **groups;
    size_t count;
};

struct listeners *listeners_create(uint32_t n_workers)
{
    struct listeners *listeners = calloc(1, sizeof(*listeners));
    if (listeners != NULL) {
        listeners->n_workers = n_workers;
    }
    return listeners;
}

static void group_free(struct group *group)
{
    for (size_t i = 0; i < group->n_fds; i++) {
        fd_close(&group->fds[i]);
    }
    if (group->linked) {
        unlink(group->address.path);
    }
    free(group->fds);
    free(group);
}

void listeners_destroy(struct listeners *listeners)
{
    if (listeners == NULL) {
        return;
    }
    for (size_t i = 0; i < listeners->count; i++) {
        group_free(listeners->groups[i]);
    }
    free(listeners->groups);
    free(listeners);
}

static struct group *find(const struct listeners *listeners, uint32_t id)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (listeners->groups[i]->id == id) {
            return listeners->groups[i];
        }
    }
    return NULL;
}

/* Options that accepted sockets inherit, and that a reload may change. */
static void set_session_options(int fd, const struct addr *address,
                                const struct model_service *service)
{
    if (address->ip.family == ADDR_UNIX) {
        return;
    }
    int keepalive = service->keepalive_ms > 0;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, sizeof(keepalive));
    if (keepalive) {
        int seconds = (int)((service->keepalive_ms + 999) / 1000);
        int between = seconds / 4 > 0 ? seconds / 4 : 1;
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &between, sizeof(between));
    }
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &service->user_timeout_ms,
               sizeof(service->user_timeout_ms));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    /* TCP_QUICKACK stays as it is: without it an acknowledgement could ride on the answer, but a
     * client that writes its request in small pieces would wait for it each time. */
}

static void set_freebind(int fd, const struct addr *address)
{
    if (address->ip.family == ADDR_IPV4) {
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &(int){1}, sizeof(int));
    } else {
        setsockopt(fd, IPPROTO_IPV6, IPV6_FREEBIND, &(int){1}, sizeof(int));
    }
}

/*
 * Opens one TCP listener. The first of a group binds without SO_REUSEPORT, so that an address that
 * another daemon listens on is refused instead of silently shared; it joins its group afterwards.
 */
static int open_tcp(const struct addr *address, bool first, const struct model_service *service)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    FD_AUTO fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (address->ip.family == ADDR_IPV6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    }
    if (service->freebind) {
        set_freebind(fd, address);
    }
    if (!first) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    }
    set_session_options(fd, address, service);
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, (int)service->backlog) != 0) {
        return -errno;
    }
    if (first) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Whether somebody listens on a Unix socket path. */
static bool unix_is_live(const struct sockaddr *sa, socklen_t len)
{
    FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd >= 0 && (connect(fd, sa, len) == 0 || errno == EAGAIN);
}

static int open_unix(const struct addr *address, const struct model_service *service)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    if (unix_is_live((struct sockaddr *)&sa, len)) {
        return -EADDRINUSE;
    }
    struct stat st;
    if (address->path[0] != '@' && lstat(address->path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            return -EEXIST;
        }
        unlink(address->path); /* left over by a process that is gone */
    }
    if (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, (int)service->backlog) != 0) {
        return -errno;
    }
    if (address->path[0] != '@') {
        /* Like a TCP port, it is open to everyone who can reach it: the directory decides. */
        chmod(address->path, 0666);
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Whether one of our own groups stands in the way: the same port, and one address includes the
 * other. It may be about to go; the check of the model has made sure that both do not stay. */
static bool overlaps_own(const struct listeners *listeners, const struct group *group)
{
    static const uint8_t any[16];
    const struct addr_ip *a = &group->address.ip;
    for (size_t i = 0; i < listeners->count; i++) {
        const struct addr_ip *b = &listeners->groups[i]->address.ip;
        if (a->family == b->family && a->port == b->port &&
            (memcmp(a->bytes, any, sizeof(any)) == 0 || memcmp(b->bytes, any, sizeof(any)) == 0 ||
             memcmp(a->bytes, b->bytes, sizeof(any)) == 0)) {
            return true;
        }
    }
    return false;
}

static void read_bound(int fd, struct addr *out)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    addr_from_sockaddr((struct sockaddr *)&sa, len, out);
}

int listeners_open_single(const struct addr *address, uint32_t backlog, struct addr *out_bound)
{
    const struct model_service plain = {.freebind = true, .backlog = backlog};
    bool is_unix = address->ip.family == ADDR_UNIX;
    int fd = is_unix ? open_unix(address, &plain) : open_tcp(address, true, &plain);
    *out_bound = *address;
    if (fd >= 0 && !is_unix) {
        read_bound(fd, out_bound);
    }
    return fd;
}

static int open_group(const struct listeners *listeners, struct group *group,
                      const struct model_service *service)
{
    bool is_unix = group->configured.ip.family == ADDR_UNIX;
    bool join = !is_unix && overlaps_own(listeners, group);
    for (size_t i = 0; i < group->n_fds; i++) {
        group->fds[i] = is_unix ? open_unix(&group->address, service)
                                : open_tcp(&group->address, i == 0 && !join, service);
        if (group->fds[i] < 0) {
            int error = group->fds[i];
            group->fds[i] = -1;
            return error;
        }
        if (i == 0 && !is_unix) {
            read_bound(group->fds[0], &group->address);
        }
    }
    group->linked = is_unix && group->configured.path[0] != '@';
    return 0;
}

static const char *advice(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "another process listens there; end it or choose another address";
    case EACCES:
        return "ports under 1024 need root or CAP_NET_BIND_SERVICE; a path needs a writable folder";
    case EADDRNOTAVAIL:
        return "this machine does not have that address; set freebind = true to listen anyway";
    case EMFILE:
    case ENFILE:
        return "too few descriptors for addresses x workers; raise the limit (ulimit -n, "
               "LimitNOFILE)";
    case EEXIST:
        return "there is a file of that name that is no socket; remove it";
    case ENOENT:
        return "its folder does not exist; create it";
    default:
        return "choose an address that this machine can listen on";
    }
}

static struct group *group_new(const struct listeners *listeners,
                               const struct model_listener *listener,
                               const struct model_service *service)
{
    struct group *group = calloc(1, sizeof(*group));
    size_t n = listener->address.ip.family == ADDR_UNIX ? 1 : listeners->n_workers;
    int *fds = malloc(n * sizeof(*fds));
    if (group == NULL || fds == NULL) {
        free(group);
        free(fds);
        return NULL;
    }
    memset(fds, 0xff, n * sizeof(*fds)); /* -1 everywhere */
    *group = (struct group){.configured = listener->address,
                            .address = listener->address,
                            .id = listener->id,
                            .backlog = service->backlog,
                            .planned = true,
                            .n_fds = n,
                            .fds = fds};
    return group;
}

static bool append(struct listeners *listeners, struct group *group)
{
    struct group **groups =
        realloc(listeners->groups, (listeners->count + 1) * sizeof(struct group *));
    if (groups == NULL) {
        return false;
    }
    listeners->groups = groups;
    groups[listeners->count++] = group;
    return true;
}

static int plan_one(struct listeners *listeners, const struct model_service *service,
                    struct model_listener *listener, struct errlist *errors)
{
    struct group *group = find(listeners, listener->id);
    if (group == NULL) {
        group = group_new(listeners, listener, service);
        int error = group == NULL ? -ENOMEM : open_group(listeners, group, service);
        if (error == 0 && !append(listeners, group)) {
            error = -ENOMEM;
        }
        if (error != 0) {
            char text[ADDR_TEXT_MAX];
            char section[NAME_BYTES_MAX + 16];
            snprintf(section, sizeof(section), "service \"%s\"", service->name);
            errlist_add(errors, ERRLIST_ERROR, service->file, service->line, section,
                        "cannot listen on %s: %s; %s", addr_format(&listener->address, text),
                        strerror(-error), advice(-error));
            if (group != NULL) {
                group_free(group);
            }
            return -1;
        }
    }
    listener->address = group->address;
    return 0;
}

int listeners_plan(struct listeners *listeners, struct model *model, struct errlist *errors)
{
    int failed = 0;
    for (size_t i = 0; i < model->n_services; i++) {
        struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            failed |= plan_one(listeners, service, &service->listeners[j], errors);
        }
    }
    if (failed != 0) {
        listeners_abort(listeners);
    }
    return failed;
}

/* Removes the groups that test() says, keeping the order of the others. */
static void remove_where(struct listeners *listeners, bool (*test)(const struct group *))
{
    size_t kept = 0;
    for (size_t i = 0; i < listeners->count; i++) {
        if (test(listeners->groups[i])) {
            group_free(listeners->groups[i]);
        } else {
            listeners->groups[kept++] = listeners->groups[i];
        }
    }
    listeners->count = kept;
}

static bool is_planned(const struct group *group)
{
    return group->planned;
}

static bool is_unwanted(const struct group *group)
{
    return !group->wanted;
}

void listeners_abort(struct listeners *listeners)
{
    remove_where(listeners, is_planned);
}

static void adopt_options(struct group *group, const struct model_service *service)
{
    for (size_t i = 0; i < group->n_fds; i++) {
        set_session_options(group->fds[i], &group->configured, service);
        if (group->backlog != service->backlog) {
            listen(group->fds[i], (int)service->backlog); /* on a listener: only the new length */
        }
    }
    group->backlog = service->backlog;
}

void listeners_commit(struct listeners *listeners, const struct model *model)
{
    for (size_t i = 0; i < listeners->count; i++) {
        listeners->groups[i]->wanted = false;
    }
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            struct group *group = find(listeners, service->listeners[j].id);
            group->wanted = true;
            if (!group->planned) {
                adopt_options(group, service);
            }
            group->planned = false;
        }
    }
    remove_where(listeners, is_unwanted);
}

bool listeners_get(const struct listeners *listeners, size_t index, uint32_t worker,
                   uint32_t *out_id, int *out_fd)
{
    if (index >= listeners->count) {
        return false;
    }
    const struct group *group = listeners->groups[index];
    *out_id = group->id;
    *out_fd = group->fds[group->n_fds == 1 ? 0 : worker];
    return true;
}
