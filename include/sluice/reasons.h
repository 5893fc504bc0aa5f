/*
 * Why a client was refused, and how a session ended. One table each: counters, logs, `show` and
 * metrics take their names from here. A client connection is counted once in connections_total and
 * later either under exactly one refusal or under exactly one ending.
 */
#ifndef SLUICE_REASONS_H
#define SLUICE_REASONS_H

/* Accepted and reset without having been served. */
#define REFUSAL_LIST(X)                                                                            \
    X(NO_BACKEND, "no_backend", "none is eligible")                                                \
    X(FULL, "full", "every eligible backend is at its limit")                                      \
    X(QUEUE_FULL, "queue_full",                                                                    \
      "every eligible backend is at its limit, and the pool's queue is full")                      \
    X(QUEUE_TIMEOUT, "queue_timeout", "no backend became free in time")                            \
    X(START_TIMEOUT, "start_timeout", "no check result within the waiting time")                   \
    X(CONNECT_FAILED, "connect_failed", "every allowed try failed")                                \
    X(SOURCE_PORTS, "source_ports", "no port left to connect to a backend from")                   \
    X(CLIENT_ADDRESS, "client_address", "no backend could be connected to from it")                \
    X(SERVICE_LIMIT, "service_limit", "the service's max_connections")                             \
    X(DAEMON_LIMIT, "daemon_limit", "global max_connections")                                      \
    X(MAINTENANCE, "maintenance", "the service's admin is maintenance")                            \
    X(DESCRIPTORS, "descriptors", "the process has no descriptor left")                            \
    X(MEMORY, "memory", "no memory for it")                                                        \
    X(CLIENT_GONE, "client_gone", "it went away before a backend was connected")                   \
    X(OPERATOR, "operator", "closed by command before a backend was connected")                    \
    X(STOPPING, "stopping", "the service or the daemon ended meanwhile")

/* Ended after having been connected to a backend. */
#define ENDING_LIST(X)                                                                             \
    X(CLIENT_FIN, "client_fin", "orderly, the client's end came first")                            \
    X(BACKEND_FIN, "backend_fin", "orderly, the backend's end came first")                         \
    X(CLIENT_RESET, "client_reset", "the client reset the connection")                             \
    X(BACKEND_RESET, "backend_reset", "the backend reset the connection")                          \
    X(CLIENT_TIMEOUT, "client_timeout", "TCP gave the peer up (user_timeout, keepalive)")          \
    X(BACKEND_TIMEOUT, "backend_timeout", "the same of the backend")                               \
    X(IDLE_TIMEOUT, "idle_timeout", "no byte in either direction for idle_timeout")                \
    X(HALF_CLOSE_TIMEOUT, "half_close_timeout",                                                    \
      "no byte for half_close_timeout once one side had ended")                                    \
    X(DRAIN_DEADLINE, "drain_deadline", "still there when a stop's time was over")                 \
    X(BACKEND_DRAINED, "backend_drained",                                                          \
      "still there when its backend's time to drain, or a pause's, was over")                      \
    X(BACKEND_DOWN, "backend_down", "found down by its checks, and the pool closes then")          \
    X(PRIMARIES_BACK, "primaries_back", "was on a backup that is no longer needed")                \
    X(OPERATOR, "operator", "closed by command")                                                   \
    X(BAD_MESSAGE, "bad_message", "refused by the pool's framing")                                 \
    X(WORKER_DIED, "worker_died", "the process that carried it ended")                             \
    X(ERROR, "error", "memory, or an unexpected error of the system")

/* Why an upstream (a backend's connection in a pool that keeps them) was closed instead of kept. */
#define DISCARD_LIST(X)                                                                            \
    X(IDLE_MAX, "idle_max", "idle for too long")                                                   \
    X(MAX_AGE, "max_age", "older than max_age")                                                    \
    X(MAX_USES, "max_uses", "has served max_uses")                                                 \
    X(MAX_IDLE, "max_idle", "enough idle ones are there")                                          \
    X(EVICTED, "evicted", "its place was needed under the backend's max_connections")              \
    X(NOT_UP, "not_up", "the backend is down, drained, in maintenance, ejected")                   \
    X(CHANGED, "changed", "address or settings are not what they were")                            \
    X(BACKEND_CLOSED, "backend_closed", "by the backend, while idle or behind its answer")         \
    X(STRAY_BYTES, "stray_bytes", "the backend sent what nobody had asked for")                    \
    X(RESET_FAILED, "reset_failed", "the reset exchange did not come out as it should")            \
    X(SESSION_END, "session_end", "its session ended in the midst of something")                   \
    X(OWNED, "owned", "it had come to belong to its session")                                      \
    X(NOT_CLEAN, "not_clean", "by what the framing saw, something may be left behind")             \
    X(HANDSHAKE, "handshake", "bringing it to a client's handshake failed")                        \
    X(TURNED_AWAY, "turned_away", "the backend said something, unasked, and closed it")            \
    X(UNHEARD, "unheard", "not known yet whether the backend speaks first")                        \
    X(UNPROVEN, "unproven", "not known yet whether the backend keeps idle ones (policy safe)")     \
    X(SWITCHED_OFF, "switched_off", "reuse is off for this backend: show upstreams says why")

#define REASONS_AS_REFUSAL(id, name, help) REFUSAL_##id,
#define REASONS_AS_ENDING(id, name, help)  ENDING_##id,
#define REASONS_AS_DISCARD(id, name, help) DISCARD_##id,

enum refusal { REFUSAL_LIST(REASONS_AS_REFUSAL) REFUSAL_COUNT };
enum ending { ENDING_LIST(REASONS_AS_ENDING) ENDING_COUNT };
enum discard { DISCARD_LIST(REASONS_AS_DISCARD) DISCARD_COUNT };

extern const char *const refusal_names[REFUSAL_COUNT]; /* src/pool/reasons.c */
extern const char *const ending_names[ENDING_COUNT];
extern const char *const discard_names[DISCARD_COUNT];
/* A few words on each, for the manual. */
extern const char *const refusal_help[REFUSAL_COUNT];
extern const char *const ending_help[ENDING_COUNT];
extern const char *const discard_help[DISCARD_COUNT];

#endif
