/*
 * The snapshot: the immutable, position-independent form of the configuration that master hands to
 * workers and monitor in a sealed memfd, one per generation. Built by model, read by everyone.
 * Only configured values; what moves by itself (health, active counts) is in the scoreboard.
 *
 * All offsets are in bytes from the header; all arrays are contiguous and ordered as in the file.
 * Readers call snapshot_check() before anything else.
 *
 * Hash tables: the lookup tables of pools whose scheduler hashes (Maglev; Eisenbud et al., NSDI
 * 2016), as backends' indices within their pool. They follow from configured weights and names
 * alone, so that nothing that moves by itself ever makes a new one. They are most of the bytes by
 * far, so only master goes through them, before anyone gets them; whoever looks an entry up minds
 * that it may be no backend.
 */
#ifndef SLUICE_SNAPSHOT_H
#define SLUICE_SNAPSHOT_H

#include <stdint.h>

#include "base/addr.h"
#include "sluice/limits.h"

#define SNAPSHOT_MAGIC  UINT64_C(0x31504e5345434c53)
#define SNAPSHOT_LAYOUT 7
#define SNAPSHOT_NONE   UINT32_MAX

enum admin_state { ADMIN_READY, ADMIN_DRAIN, ADMIN_MAINTENANCE, ADMIN_COUNT };
/* What the operator says of a backend's health: nothing, or over its checks. */
enum said_health { SAID_AUTO, SAID_UP, SAID_DOWN, SAID_COUNT };
enum start_state { START_UNKNOWN, START_UP, START_DOWN, START_COUNT };
enum hash_key { HASH_KEY_SOURCE, HASH_KEY_SOURCE_PORT, HASH_KEY_COUNT };
enum backup_use { BACKUP_USE_FIRST, BACKUP_USE_ALL, BACKUP_USE_COUNT };
/* on_return and on_down: what becomes of sessions that would not be begun any more. */
enum session_fate { SESSIONS_KEEP, SESSIONS_CLOSE, SESSIONS_COUNT };
/* What connections to backends begin with: a PROXY header, of which version. */
enum send_proxy { SEND_PROXY_OFF, SEND_PROXY_V1, SEND_PROXY_V2, SEND_PROXY_COUNT };

/* Backend connections: opened for each session; opened ahead of it; handed from session to session;
 * from request to request. */
enum reuse_mode { REUSE_OFF, REUSE_WARM, REUSE_SESSION, REUSE_REQUEST, REUSE_MODE_COUNT };
/* What finds the ends of messages; names and operations in frame/framer.h. */
enum framing_kind {
    FRAMING_NONE,
    FRAMING_HTTP1,
    FRAMING_RESP,
    FRAMING_MEMCACHED,
    FRAMING_LINE,
    FRAMING_LENGTH,
    FRAMING_KIND_COUNT
};
enum reuse_policy { REUSE_SAFE, REUSE_ALWAYS, REUSE_POLICY_COUNT };

/* Which ended sessions are logged: none; those refused or ended other than in order; all. */
enum session_log { SESSION_LOG_OFF, SESSION_LOG_ERRORS, SESSION_LOG_ALL };
#define SESSION_LOG_EVERY_MAX 1000000

/* What workers count as a failure of a backend (outlier's "on"), as bits. */
enum outlier_signal { OUTLIER_CONNECT = 1, OUTLIER_RESET = 2, OUTLIER_FIRST_BYTE = 4 };

/* So many at once, then one per interval. */
struct snapshot_rate {
    uint64_t interval_ns; /* 0: no limit */
    uint32_t burst;       /* at least 1 where there is a limit */
    uint32_t pad;
};

struct snapshot_header {
    uint64_t magic;
    uint32_t layout;
    uint32_t generation; /* from 1 */
    uint64_t size_bytes;
    uint32_t n_services, n_listeners, n_pools, n_backends, n_checks;
    uint32_t services_offset, listeners_offset, pools_offset, backends_offset, checks_offset;
    uint32_t max_connections; /* whole daemon; 0: none */
    uint32_t n_entries;       /* of all hash tables */
    uint32_t entries_offset;
    uint32_t n_args; /* of all checks */
    uint32_t args_offset;
    uint32_t n_text_bytes; /* what args and reset exchanges point into; the last is a NUL where
                              there are any */
    uint32_t texts_offset;
    uint32_t n_sources; /* of all backends */
    uint32_t sources_offset;
    uint32_t n_status_allow;
    struct addr_cidr status_allow[STATUS_ALLOW_MAX]; /* who may use the status address */
    uint64_t buffer_bytes; /* that slow peers may have held for them, all together; 0: no limit */
    uint64_t hash_seed;    /* key of every hash of clients: secret, so that nobody can aim */
};

struct snapshot_service {
    char name[NAME_BYTES_MAX];
    uint32_t row;  /* its scoreboard row, the same in every generation */
    uint32_t pool; /* index into pools */
    uint32_t first_listener, n_listeners;
    uint32_t idle_timeout_ms;       /* 0: none */
    uint32_t half_close_timeout_ms; /* 0: none */
    uint32_t keepalive_ms;          /* 0: off */
    uint32_t user_timeout_ms;       /* 0: the kernel's */
    uint32_t max_connections;       /* 0: none */
    uint32_t fallback_pool;         /* index into pools, or SNAPSHOT_NONE */
    uint32_t persistence_ms;        /* 0: off */
    uint32_t persistence_mask;      /* leading bits of an IPv4 client that count, 0 to 32 */
    uint32_t persistence_mask6;     /* of an IPv6 client, 0 to 128 */
    uint32_t session_log;           /* enum session_log, or SESSION_LOG_ALL + N - 1 for one of N */
    uint32_t admin;                 /* enum admin_state; only maintenance turns clients away */
    struct snapshot_rate accept_rate;
};

struct snapshot_listener {
    struct addr address;
    uint32_t id;      /* master's number for this listening address, the same while it exists */
    uint32_t service; /* index into services */
};

struct snapshot_outlier {
    uint32_t signals;              /* enum outlier_signal, together */
    uint32_t consecutive_failures; /* that eject a backend; 0: nothing does */
    uint32_t first_byte_timeout_ms;
    uint32_t eject_time_ms; /* the first time; longer each time in a row */
    uint32_t max_ejected;   /* percent of the pool's ready backends */
};

struct snapshot_reuse {
    uint32_t mode;     /* enum reuse_mode; everything below is 0 with REUSE_OFF */
    uint32_t framing;  /* enum framing_kind; not FRAMING_NONE with REUSE_REQUEST */
    uint32_t policy;   /* enum reuse_policy */
    uint32_t warm_min; /* idle upstreams kept ready, per backend and worker */
    uint32_t max_idle; /* per backend and worker; at least 1, not less than warm_min */
    uint32_t max_uses; /* requests or sessions of an upstream; 0: no limit */
    uint32_t idle_max_ms, max_age_ms; /* 0: none */
    uint32_t length_bytes;            /* of framing length: 1, 2, 4, 8; else 0 */
    uint32_t length_little_endian, length_includes_header; /* 0 or 1 */
    uint32_t handshake_key, scripts;                       /* of framing resp, 0 or 1 */
    /* Reset exchange of REUSE_SESSION: into the texts of the checks' args, bytes that may contain
     * NUL, and marks for nonces, with which they are at most REUSE_RESET_BYTES_MAX; no bytes:
     * none. */
    uint32_t reset_send, reset_send_bytes, reset_expect, reset_expect_bytes;
    uint32_t pad;
    uint64_t settings; /* hash of all that makes two upstreams of one backend different */
};

struct snapshot_pool {
    char name[NAME_BYTES_MAX];
    uint32_t scheduler; /* index into sched_table */
    uint32_t first_backend, n_backends;
    uint32_t connect_timeout_ms;
    uint32_t retries; /* further tries after the first */
    uint32_t keepalive_ms;
    uint32_t user_timeout_ms;
    uint32_t start;            /* enum start_state */
    uint32_t row;              /* scoreboard row of the pool: follows its name */
    uint32_t hash_key;         /* enum hash_key */
    uint32_t queue;            /* sessions that may wait; 0: none */
    uint32_t queue_timeout_ms; /* 0: none */
    uint32_t slow_start_ms;    /* 0: off */
    uint32_t panic_threshold;  /* percent; 0: never */
    uint32_t min_healthy;
    uint32_t backup_use;             /* enum backup_use */
    uint32_t on_return, on_down;     /* enum session_fate */
    uint32_t first_entry, n_entries; /* its hash table, which others may share; 0 entries: none */
    uint32_t require_any;            /* 1: one passing check is enough */
    struct snapshot_outlier outlier;
    struct snapshot_reuse reuse;
    uint32_t send_proxy;  /* enum send_proxy */
    uint32_t transparent; /* 1: sessions connect from their client's address; without reuse */
    uint32_t paused;      /* 1: new sessions wait */
    uint32_t pad;
    uint64_t table_inputs; /* hash of what the table is made from: alike means the same table */
};

struct snapshot_backend {
    char name[NAME_BYTES_MAX];
    struct addr address;            /* ADDR_NONE: its name does not resolve, so it is down */
    uint32_t slot;                  /* scoreboard slot: follows pool, name and address */
    uint32_t row;                   /* scoreboard row: follows pool and name */
    uint32_t weight;                /* 0 to 65535 */
    uint32_t max_connections;       /* 0: none */
    uint32_t first_check, n_checks; /* its own or its pool's; 0 checks: counts as up */
    uint32_t admin;                 /* enum admin_state */
    uint32_t resume_connections;    /* once full, takes new sessions again under this; 1 to
                                       max_connections where that is set, else 0 */
    uint32_t backup;                /* 1: only joins when primaries are missing */
    uint32_t said_health;           /* enum said_health */
    struct snapshot_rate connect_rate;
    struct addr check_address;        /* checked instead of address; ADDR_NONE: not given */
    uint32_t first_source, n_sources; /* to connect from; 0: there are no ports, it has no
                                         address yet, or its pool is transparent */
};

/* An address to connect to a backend from: of its family, or ADDR_NONE, which is then the only one:
 * the kernel chooses. */
struct snapshot_source {
    struct addr_ip ip;
    uint32_t pair; /* its number in the scoreboard; 0: not counted */
};

/* An option of a check's kind: offsets of two strings in the texts. */
struct snapshot_arg {
    uint32_t name, value;
};

struct snapshot_check {
    char kind[NAME_BYTES_MAX];  /* "tcp" */
    char title[NAME_BYTES_MAX]; /* "tcp" or "tcp:label" */
    uint32_t interval_ms, fast_interval_ms, down_interval_ms, timeout_ms;
    uint32_t rise, fall;
    uint32_t port;              /* 0: the backend's own */
    uint32_t first_arg, n_args; /* a list's items follow each other under one name */
    uint64_t args_hash;         /* of their texts: alike means the same */
};

/* src/pool/snapshot.c */

/*
 * Returns 0 when map of size_bytes, neither more nor less, is a whole, consistent snapshot of this
 * layout, else -EINVAL: every count within limits.h, every array aligned for its items and apart
 * from the others, every index, enum, port and prefix in range, every name not empty and
 * NUL-terminated, every listener listed by the service it names, every entry of a hash table a
 * backend of its pool. Only pool.scheduler is left to the scheduler table's reader
 * (chooser_create). Trusts nothing, reads nothing outside map.
 */
int snapshot_check(const void *map, uint64_t size_bytes);

const struct snapshot_service *snapshot_services(const struct snapshot_header *snapshot);
const struct snapshot_listener *snapshot_listeners(const struct snapshot_header *snapshot);
const struct snapshot_pool *snapshot_pools(const struct snapshot_header *snapshot);
const struct snapshot_backend *snapshot_backends(const struct snapshot_header *snapshot);
const struct snapshot_source *snapshot_sources(const struct snapshot_header *snapshot);
const struct snapshot_check *snapshot_checks(const struct snapshot_header *snapshot);
const struct snapshot_arg *snapshot_args(const struct snapshot_header *snapshot);
/* The string at an offset that an arg gives. */
const char *snapshot_text(const struct snapshot_header *snapshot, uint32_t offset);
/* All hash tables one after the other; a pool's begins at first_entry. */
const uint16_t *snapshot_entries(const struct snapshot_header *snapshot);

/* Maps a memfd sealed against writing and shrinking read-only, and does all of snapshot_check() but
 * looking at entries of hash tables: what that took would hold a worker's sessions up. The
 * descriptor stays the caller's. NULL on failure with errno (EINVAL: not sealed, or no snapshot).
 */
const struct snapshot_header *snapshot_map(int fd);
void snapshot_unmap(const struct snapshot_header *snapshot); /* NULL is allowed */

#endif
