/*
 * Levels of the control socket. The lists of the model are resolved to ids once and kept: the
 * look-up of a name may read files or ask the network, so it must not happen per request. In
 * master.
 */
#include "ctl/auth.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/units.h"

#define LOOKUP_BYTES_FIRST 4096
#define LOOKUP_BYTES_MAX   (1024 * 1024) /* a group's members are part of its entry */

const char *const ctl_level_names[CTL_LEVEL_COUNT] = {
    [CTL_LEVEL_NONE] = "none",
    [CTL_LEVEL_READ] = "read",
    [CTL_LEVEL_OPERATE] = "operate",
    [CTL_LEVEL_ADMINISTER] = "administer",
};

static const char *const level_options[CTL_LEVEL_COUNT] = {
    [CTL_LEVEL_READ] = "control_read",
    [CTL_LEVEL_OPERATE] = "control_operate",
    [CTL_LEVEL_ADMINISTER] = "control_administer",
};

struct grant {
    enum ctl_level level;
    bool is_group;
    uint32_t id;
};

struct auth {
    bool filled;
    uint32_t generation;
    uint64_t filled_ms;
    struct grant *grants;
    size_t n_grants;
};

/* --- the peer --- */

static uint32_t read_login_uid(pid_t pid)
{
    char path[64];
    uint32_t login_uid = UINT32_MAX;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/loginuid", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return UINT32_MAX;
    if (fscanf(file, "%u", &login_uid) != 1)
        login_uid = UINT32_MAX;
    fclose(file);
    return login_uid;
}

static int read_groups(int fd, struct auth_peer *peer)
{
    socklen_t bytes = 32 * sizeof(gid_t);

    for (;;) {
        socklen_t room = bytes;
        gid_t *groups = malloc(bytes);

        if (!groups)
            return -ENOMEM;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) == 0) {
            peer->groups = groups;
            peer->n_groups = bytes / sizeof(gid_t);
            return 0;
        }
        free(groups);
        if (errno != ERANGE || bytes <= room)
            return -errno;
    }
}

int auth_peer_of(int fd, struct auth_peer *out)
{
    struct ucred credentials;
    socklen_t bytes = sizeof(credentials);
    struct auth_peer peer = {0};
    int result;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) != 0)
        return -errno;
    peer.uid = credentials.uid;
    peer.gid = credentials.gid;
    peer.pid = credentials.pid;
    result = read_groups(fd, &peer);
    if (result != 0)
        return result;
    peer.login_uid = read_login_uid(peer.pid);
    *out = peer;
    return 0;
}

void auth_peer_free(struct auth_peer *peer)
{
    free(peer->groups);
    *peer = (struct auth_peer){0};
}

static bool peer_in_group(const struct auth_peer *peer, gid_t gid)
{
    if (peer->gid == gid)
        return true;
    for (size_t i = 0; i < peer->n_groups; i++)
        if (peer->groups[i] == gid)
            return true;
    return false;
}

/* --- the lists --- */

/* One try with a buffer of so many bytes. Returns 0, ERANGE for a larger one, or another errno; an
 * unknown name is ENOENT. */
static int lookup_once(const char *name, bool is_group, char *buffer, size_t bytes, uint32_t *out)
{
    struct passwd user, *found_user = NULL;
    struct group group, *found_group = NULL;
    int error = is_group ? getgrnam_r(name, &group, buffer, bytes, &found_group)
                         : getpwnam_r(name, &user, buffer, bytes, &found_user);

    if (error != 0)
        return error;
    if (is_group && found_group)
        *out = found_group->gr_gid;
    else if (!is_group && found_user)
        *out = found_user->pw_uid;
    else
        return ENOENT;
    return 0;
}

static bool lookup_name(const char *name, bool is_group, uint32_t *out)
{
    for (size_t bytes = LOOKUP_BYTES_FIRST; bytes <= LOOKUP_BYTES_MAX; bytes *= 4) {
        char *buffer = malloc(bytes);
        int error = buffer ? lookup_once(name, is_group, buffer, bytes, out) : ENOMEM;

        free(buffer);
        if (error != ERANGE)
            return error == 0;
    }
    return false;
}

/* As chown does: a name first, then a number. */
static bool resolve(const char *name, bool is_group, uint32_t *out)
{
    const char *problem;
    uint64_t number;

    if (lookup_name(name, is_group, out))
        return true;
    if (units_parse_uint(name, 0, UINT32_MAX - 1, &number, &problem) != 0)
        return false;
    *out = (uint32_t)number;
    return true;
}

static size_t list_length(char *const *list)
{
    size_t n = 0;

    while (list && list[n])
        n++;
    return n;
}

static void add_grants(struct auth *auth, enum ctl_level level, char *const *list)
{
    for (; list && *list; list++) {
        struct grant grant = {.level = level, .is_group = **list == '@'};

        if (resolve(*list + grant.is_group, grant.is_group, &grant.id))
            auth->grants[auth->n_grants++] = grant;
    }
}

/* Without memory nobody but root and the owner has any level until the next try. */
static void fill(struct auth *auth, const struct model *model, uint64_t now_ms)
{
    const struct model_global *global = &model->global;
    size_t n = list_length(global->control_read) + list_length(global->control_operate) +
               list_length(global->control_administer);

    free(auth->grants);
    auth->n_grants = 0;
    auth->filled = false;
    auth->grants = calloc(n + 1, sizeof(*auth->grants));
    if (!auth->grants)
        return;
    add_grants(auth, CTL_LEVEL_READ, global->control_read);
    add_grants(auth, CTL_LEVEL_OPERATE, global->control_operate);
    add_grants(auth, CTL_LEVEL_ADMINISTER, global->control_administer);
    auth->filled = true;
    auth->generation = model->generation;
    auth->filled_ms = now_ms;
}

struct auth *auth_create(void)
{
    return calloc(1, sizeof(struct auth));
}

void auth_destroy(struct auth *auth)
{
    if (!auth)
        return;
    free(auth->grants);
    free(auth);
}

enum ctl_level auth_level(struct auth *auth, const struct model *model, uid_t own_uid,
                          const struct auth_peer *peer, uint64_t now_ms)
{
    enum ctl_level level = CTL_LEVEL_NONE;

    if (peer->uid == 0 || peer->uid == own_uid)
        return CTL_LEVEL_ADMINISTER;
    if (!auth->filled || auth->generation != model->generation ||
        now_ms - auth->filled_ms > AUTH_CACHE_MS)
        fill(auth, model, now_ms);
    for (size_t i = 0; i < auth->n_grants; i++) {
        const struct grant *grant = &auth->grants[i];
        bool matches = grant->is_group ? peer_in_group(peer, grant->id) : peer->uid == grant->id;

        if (matches && grant->level > level)
            level = grant->level;
    }
    return level;
}

void auth_options_text(enum ctl_level level, struct str *out)
{
    const char *separator = "";

    for (size_t i = level; i < CTL_LEVEL_COUNT; i++) {
        str_printf(out, "%s%s", separator, level_options[i] ? level_options[i] : "");
        separator = " or ";
    }
}
