/* Users, groups and capabilities. Owns nothing. In master and its fresh children. */
#include "privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"

static const struct passwd *find_user(const char *user)
{
    if (user != NULL) {
        return getpwnam(user);
    }
    const struct passwd *found = getpwnam("sluice");
    return found != NULL ? found : getpwnam("nobody");
}

int privileges_find(const char *user, const char *group, struct privileges *out,
                    struct str *out_problem)
{
    *out = (struct privileges){.drop = geteuid() == 0, .uid = geteuid(), .gid = getegid()};
    if (!out->drop) {
        return 0;
    }
    const struct passwd *pw = find_user(user);
    if (pw == NULL) {
        str_printf(out_problem, "user \"%s\" does not exist; create it or name another",
                   user != NULL ? user : "nobody");
        return -ENOENT;
    }
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    if (group != NULL) {
        const struct group *gr = getgrnam(group);
        if (gr == NULL) {
            str_printf(out_problem, "group \"%s\" does not exist; create it or name another",
                       group);
            return -ENOENT;
        }
        out->gid = gr->gr_gid;
    }
    return 0;
}

/* The kernel takes this one or CAP_NET_ADMIN (net/ipv4/ip_sockglue.c, IP_TRANSPARENT), with which
 * the whole network could be changed. */
#define ANY_SOURCE CAP_NET_RAW

bool privileges_has_any_source(void)
{
    FD_AUTO fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &(int){1}, sizeof(int)) == 0;
}

/* Of what it is permitted, at most this is left; nor does a program that it runs inherit more. */
static int give_up_all_but(bool any_source)
{
    capng_clear(CAPNG_SELECT_BOTH);
    if (any_source) {
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, ANY_SOURCE);
    }
    return capng_apply(CAPNG_SELECT_CAPS) == 0 && prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) == 0 ? 0
                                                                                          : -EPERM;
}

int privileges_drop(const struct privileges *privileges)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!privileges->drop) { /* a supervisor may have given it more than it needs: low ports, say */
        return give_up_all_but(privileges->any_source);
    }
    if (privileges->any_source && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) {
        return -errno;
    }
    if (setgroups(0, NULL) != 0 ||
        setresgid(privileges->gid, privileges->gid, privileges->gid) != 0 ||
        setresuid(privileges->uid, privileges->uid, privileges->uid) != 0) {
        return -errno;
    }
    return privileges->any_source ? give_up_all_but(true) : 0;
}

int privileges_trim_master(const struct privileges *privileges)
{
    if (!privileges->drop) {
        return 0;
    }
    capng_clear(CAPNG_SELECT_BOTH);
    capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED,
                  CAP_NET_BIND_SERVICE,   /* low ports, also on reload */
                  CAP_SETUID, CAP_SETGID, /* new workers become the user */
                  CAP_KILL,               /* and are ended as another user */
                  CAP_DAC_OVERRIDE, CAP_CHOWN,
                  CAP_FOWNER, /* files, sockets and logs of that user */
                  -1);
    if (privileges->any_source) { /* new workers keep it */
        capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, ANY_SOURCE);
    }
    return capng_apply(CAPNG_SELECT_CAPS) == 0 ? 0 : -EPERM;
}
