/*
 * Who may do what on the control socket. Three levels, each including the ones before it, given by
 * the model's control_read, control_operate and control_administer: user names, uids, @group names
 * and @gids. Root and the daemon's own user may do everything. The peer's credentials are those it
 * had when it connected, its supplementary groups included. In master.
 */
#ifndef SLUICE_CTL_AUTH_H
#define SLUICE_CTL_AUTH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"
#include "model/model.h"

enum ctl_level {
    CTL_LEVEL_NONE,
    CTL_LEVEL_READ,
    CTL_LEVEL_OPERATE,
    CTL_LEVEL_ADMINISTER,
    CTL_LEVEL_COUNT
};

extern const char *const ctl_level_names[CTL_LEVEL_COUNT];

struct auth_peer { /* zeroed is nobody in particular; free with auth_peer_free */
    uid_t uid;
    gid_t gid;
    pid_t pid;
    uint32_t login_uid; /* UINT32_MAX: none or unknown */
    gid_t *groups;      /* supplementary */
    size_t n_groups;
};

/* Asks the kernel about the other end of a connected Unix socket. Returns 0 or -errno. */
int auth_peer_of(int fd, struct auth_peer *out);
void auth_peer_free(struct auth_peer *peer);

/* Names looked up once per generation of the model, and again after AUTH_CACHE_MS. */
struct auth;

#define AUTH_CACHE_MS 60000

struct auth *auth_create(void);       /* NULL without memory */
void auth_destroy(struct auth *auth); /* NULL is allowed */
/* The highest level the peer has. own_uid: the daemon's. Names that the machine does not know match
 * nobody. */
enum ctl_level auth_level(struct auth *auth, const struct model *model, uid_t own_uid,
                          const struct auth_peer *peer, uint64_t now_ms);

/* Appends the options that give level, for messages: "control_operate or control_administer". */
void auth_options_text(enum ctl_level level, struct str *out);

#endif
