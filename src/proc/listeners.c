/* Owns every listening socket of the daemon. In master. */
#include "listeners.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "listening.h"
#include "sluice/limits.h"

/* They come back in one string of the environment, which may have 128 KiB. */
#define STORED_NAMES_MAX (100U << 10)

struct group {
    struct addr configured; /* as in the file: perhaps port 0 */
    struct addr address;    /* as bound */
    uint32_t id;
    uint32_t backlog;
    bool planned; /* opened by the plan under way */
    bool wanted;  /* named by the model being committed */
    bool linked;  /* a unix: path that is ours to remove */
    bool lent;    /* it is, once this process serves: see listeners_hold() */
    bool stored;  /* whoever keeps copies has them */
    size_t n_fds;
    int *fds;
    size_t n_silent; /* the last ones of them do not listen yet: see listeners_hold() */
    char name[INHERITED_NAME_MAX];
};

struct listeners {
    uint32_t n_workers;
    bool holds;
    struct inherited *inherited;
    const struct listeners_keeper *keeper;
    void *keeper_arg;
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

void listeners_inherit(struct listeners *listeners, struct inherited *inherited)
{
    listeners->inherited = inherited;
}

void listeners_keep(struct listeners *listeners, const struct listeners_keeper *keeper, void *arg)
{
    listeners->keeper = keeper;
    listeners->keeper_arg = arg;
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

/* Whether the port is the same, and one address includes the other. */
static bool overlap(const struct addr_ip *a, const struct addr_ip *b)
{
    static const uint8_t any[16];
    return a->family == b->family && a->port == b->port &&
           (memcmp(a->bytes, any, sizeof(any)) == 0 || memcmp(b->bytes, any, sizeof(any)) == 0 ||
            memcmp(a->bytes, b->bytes, sizeof(any)) == 0);
}

/* Whether one of our own groups stands in the way. It may be about to go; the check of the model,
 * and that of chosen ports, make sure that both do not stay. */
static bool overlaps_own(const struct listeners *listeners, const struct group *group)
{
    for (size_t i = 0; i < listeners->count; i++) {
        if (overlap(&group->address.ip, &listeners->groups[i]->address.ip)) {
            return true;
        }
    }
    return false;
}

static int open_group(const struct listeners *listeners, struct group *group,
                      const struct model_service *service)
{
    bool is_unix = group->configured.ip.family == ADDR_UNIX;
    bool join = !is_unix && overlaps_own(listeners, group);
    for (size_t i = 0; i < group->n_fds; i++) {
        group->fds[i] = is_unix
                            ? listening_open_unix(&group->address, service)
                            : listening_open_tcp(&group->address, i == 0 && !join, true, service);
        if (group->fds[i] < 0) {
            int error = group->fds[i];
            group->fds[i] = -1;
            return error;
        }
        if (i == 0 && !is_unix) {
            listening_read_address(group->fds[0], &group->address);
        }
    }
    group->linked = is_unix && group->configured.path[0] != '@';
    return 0;
}

/*
 * The same group of another process, or a supervisor's single socket. It may have fewer members
 * than there are workers: then it is completed, or, where the kernel does not let us (another user
 * made it), shared. It may have more: all are served, since closing one would reset whoever waits
 * in it. False: nothing was inherited.
 */
static bool inherit_group(const struct listeners *listeners, struct group *group,
                          const struct model_service *service)
{
    static const size_t most = WORKERS_MAX;
    bool is_ours, is_unix = group->configured.ip.family == ADDR_UNIX;
    int *fds = malloc(most * sizeof(*fds));
    size_t n = fds == NULL ? 0
                           : inherited_take(listeners->inherited, &group->configured, group->name,
                                            fds, is_unix ? 1 : most, &is_ours);
    if (n == 0) {
        free(fds);
        return false;
    }
    free(group->fds);
    group->fds = fds;
    listening_read_address(fds[0], &group->address);
    group->lent = is_ours && is_unix && group->configured.path[0] != '@';
    group->linked = group->lent && !listeners->holds;
    for (size_t i = 0; i < n && !is_unix; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
    }
    size_t inherited = n;
    while (!is_unix && n < listeners->n_workers) {
        fds[n] = listening_open_tcp(&group->address, false, !listeners->holds, service);
        if (fds[n] < 0) {
            break;
        }
        n++;
    }
    group->n_fds = n;
    group->n_silent = listeners->holds ? n - inherited : 0;
    return true;
}

/* Not with colons, which part names where they come back. */
static void name_group(struct group *group, const struct model_service *service)
{
    char text[ADDR_TEXT_MAX];
    snprintf(group->name, sizeof(group->name), "%s,%s", service->name,
             addr_format(&group->configured, text));
    for (char *c = group->name; *c != '\0'; c++) {
        *c = *c == ':' || *c <= ' ' || *c > '~' ? '+' : *c;
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
    name_group(group, service);
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
        int error = group == NULL ? -ENOMEM
                    : inherit_group(listeners, group, service)
                        ? 0
                        : open_group(listeners, group, service);
        if (error == 0 && !append(listeners, group)) {
            error = -ENOMEM;
        }
        if (error != 0) {
            char text[ADDR_TEXT_MAX];
            char section[NAME_BYTES_MAX + 16];
            snprintf(section, sizeof(section), "service \"%s\"", service->name);
            STR_AUTO advice = {0};
            listening_advise(&listener->address, -error, &advice);
            errlist_add(errors, ERRLIST_ERROR, service->file, service->line, section,
                        "cannot listen on %s: %s; %s", addr_format(&listener->address, text),
                        strerror(-error), str_text(&advice));
            if (group != NULL) {
                group_free(group);
            }
            return error;
        }
    }
    listener->address = group->address;
    return 0;
}

static void report_chosen(const struct group *chosen, const struct model_service *owner,
                          const struct group *other, const struct model_service *service,
                          struct errlist *errors)
{
    char text[ADDR_TEXT_MAX];
    char bound[ADDR_TEXT_MAX];
    char configured[ADDR_TEXT_MAX];
    char section[NAME_BYTES_MAX + 16];
    snprintf(section, sizeof(section), "service \"%s\"", service->name);
    errlist_add(errors, ERRLIST_ERROR, service->file, service->line, section,
                "cannot listen on %s: it overlaps with %s, which the kernel gave to service \"%s\" "
                "for %s, and which that one keeps; choose another port",
                addr_format(&other->address, text), addr_format(&chosen->address, bound),
                owner->name, addr_format(&chosen->configured, configured));
}

static bool is_chosen(const struct group *group)
{
    return group->configured.ip.family != ADDR_UNIX && group->configured.ip.port == 0;
}

/* Two groups on one port would share its clients. The check of the model has seen to that, but for
 * ports that the kernel chose. Returns 0 or -1. */
static int check_chosen(const struct listeners *listeners, const struct group *chosen,
                        const struct model_service *owner, const struct model *model,
                        struct errlist *errors)
{
    int failed = 0;
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            const struct group *other = find(listeners, service->listeners[j].id);
            if (!is_chosen(other) && overlap(&chosen->address.ip, &other->address.ip)) {
                report_chosen(chosen, owner, other, service, errors);
                failed = -1;
            }
        }
    }
    return failed;
}

static int check_all_chosen(const struct listeners *listeners, const struct model *model,
                            struct errlist *errors)
{
    int failed = 0;
    for (size_t i = 0; i < model->n_services; i++) {
        const struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            const struct group *group = find(listeners, service->listeners[j].id);
            failed |= is_chosen(group) ? check_chosen(listeners, group, service, model, errors) : 0;
        }
    }
    return failed;
}

static int plan_all(struct listeners *listeners, struct model *model, struct errlist *errors)
{
    int failed = 0;
    for (size_t i = 0; i < model->n_services; i++) {
        struct model_service *service = &model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            int error = plan_one(listeners, service, &service->listeners[j], errors);
            if (error == -EMFILE || error == -ENFILE) {
                return error; /* as all that follow would say */
            }
            failed |= error;
        }
    }
    return failed;
}

int listeners_plan(struct listeners *listeners, struct model *model, struct errlist *errors)
{
    int failed = plan_all(listeners, model, errors);
    failed = failed != 0 ? failed : check_all_chosen(listeners, model, errors);
    if (failed != 0) {
        listeners_abort(listeners);
    }
    return failed;
}

static void forget(const struct listeners *listeners, const struct group *group)
{
    if (group->stored && listeners->keeper != NULL) {
        listeners->keeper->forget(listeners->keeper_arg, group->name);
    }
}

/* Removes the groups that test() says, keeping the order of the others. */
static void remove_where(struct listeners *listeners, bool (*test)(const struct group *))
{
    size_t kept = 0;
    for (size_t i = 0; i < listeners->count; i++) {
        if (test(listeners->groups[i])) {
            forget(listeners, listeners->groups[i]);
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
        listening_set_options(group->fds[i], &group->configured, service);
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

bool listeners_get(const struct listeners *listeners, size_t index, uint32_t worker, size_t nth,
                   uint32_t *out_id, int *out_fd)
{
    if (index >= listeners->count) {
        return false;
    }
    const struct group *group = listeners->groups[index];
    size_t at = worker + nth * listeners->n_workers;
    *out_id = group->id;
    *out_fd = nth == 0            ? group->fds[worker % group->n_fds]
              : at < group->n_fds ? group->fds[at]
                                  : -1;
    return true;
}

void listeners_hold(struct listeners *listeners, bool holds)
{
    listeners->holds = holds;
    for (size_t i = 0; i < listeners->count && !holds; i++) {
        struct group *group = listeners->groups[i];
        group->linked = group->linked || group->lent;
        for (; group->n_silent > 0; group->n_silent--) {
            (void)listen(group->fds[group->n_fds - group->n_silent], (int)group->backlog);
        }
    }
}

void listeners_disown(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        listeners->groups[i]->linked = listeners->groups[i]->lent = false;
    }
}

void listeners_store(struct listeners *listeners)
{
    size_t bytes = 0;
    for (size_t i = 0; listeners->keeper != NULL && i < listeners->count; i++) {
        struct group *group = listeners->groups[i];
        bytes += group->n_fds * (strlen(group->name) + 1);
        if (!group->stored && bytes <= STORED_NAMES_MAX &&
            listeners->keeper->store(listeners->keeper_arg, group->name, group->fds,
                                     group->n_fds)) {
            group->stored = true;
        }
    }
}

void listeners_forget_all(struct listeners *listeners)
{
    for (size_t i = 0; i < listeners->count; i++) {
        forget(listeners, listeners->groups[i]);
        listeners->groups[i]->stored = false;
    }
}

bool listeners_walk(const struct listeners *listeners, size_t at, int *out_fd,
                    const char **out_name)
{
    for (size_t i = 0; i < listeners->count; i++) {
        const struct group *group = listeners->groups[i];
        if (at < group->n_fds) {
            *out_fd = group->fds[at];
            *out_name = group->name;
            return true;
        }
        at -= group->n_fds;
    }
    return false;
}
