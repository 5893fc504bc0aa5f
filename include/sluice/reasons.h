/*
 * Why a client was refused, and how a session ended. One table each: counters, logs, `show` and
 * metrics take their names from here. A client connection is counted once in connections_total and
 * later either under exactly one refusal or under exactly one ending.
 */
#ifndef SLUICE_REASONS_H
#define SLUICE_REASONS_H

/* Accepted and reset without having been served. */
#define REFUSAL_LIST(X)                                                                            \
    X(NO_BACKEND, "no_backend")         /* none is eligible */                                     \
    X(FULL, "full")                     /* every eligible backend is at its limit */               \
    X(QUEUE_FULL, "queue_full")         /* so it is, and so is the pool's queue */                 \
    X(QUEUE_TIMEOUT, "queue_timeout")   /* no backend became free in time */                       \
    X(START_TIMEOUT, "start_timeout")   /* no check result within the waiting time */              \
    X(CONNECT_FAILED, "connect_failed") /* every allowed try failed */                             \
    X(SOURCE_PORTS, "source_ports")     /* no port left to connect to a backend from */            \
    X(SERVICE_LIMIT, "service_limit")   /* the service's max_connections */                        \
    X(DAEMON_LIMIT, "daemon_limit")     /* global max_connections */                               \
    X(MAINTENANCE, "maintenance")       /* the service's admin is maintenance */                   \
    X(DESCRIPTORS, "descriptors")       /* the process has no descriptor left */                   \
    X(MEMORY, "memory")                                                                            \
    X(CLIENT_GONE, "client_gone") /* it went away before a backend was connected */                \
    X(OPERATOR, "operator")       /* closed by command before a backend was connected */           \
    X(STOPPING, "stopping")       /* the service or the daemon ended meanwhile */

/* Ended after having been connected to a backend. */
#define ENDING_LIST(X)                                                                             \
    X(CLIENT_FIN, "client_fin")   /* orderly, the client's end came first */                       \
    X(BACKEND_FIN, "backend_fin") /* orderly, the backend's end came first */                      \
    X(CLIENT_RESET, "client_reset")                                                                \
    X(BACKEND_RESET, "backend_reset")                                                              \
    X(CLIENT_TIMEOUT, "client_timeout") /* TCP gave the peer up (user_timeout, keepalive) */       \
    X(BACKEND_TIMEOUT, "backend_timeout")                                                          \
    X(IDLE_TIMEOUT, "idle_timeout")                                                                \
    X(HALF_CLOSE_TIMEOUT, "half_close_timeout")                                                    \
    X(DRAIN_DEADLINE, "drain_deadline")   /* still there when a stop's time was over */            \
    X(BACKEND_DRAINED, "backend_drained") /* or its backend's to drain, or a pause's */            \
    X(BACKEND_DOWN, "backend_down")       /* found down by its checks, and the pool closes then */ \
    X(PRIMARIES_BACK, "primaries_back")   /* was on a backup that is no longer needed */           \
    X(OPERATOR, "operator")               /* closed by command */                                  \
    X(BAD_MESSAGE, "bad_message")         /* refused by the pool's framing */                      \
    X(WORKER_DIED, "worker_died")         /* the process that carried it ended */                  \
    X(ERROR, "error")                     /* memory, or an unexpected error of the system */

/* Why an upstream (a backend's connection in a pool that keeps them) was closed instead of kept. */
#define DISCARD_LIST(X)                                                                            \
    X(IDLE_MAX, "idle_max") /* idle for too long */                                                \
    X(MAX_AGE, "max_age")                                                                          \
    X(MAX_USES, "max_uses")                                                                        \
    X(MAX_IDLE, "max_idle") /* enough idle ones are there */                                       \
    X(EVICTED, "evicted")   /* its place was needed under the backend's max_connections */         \
    X(NOT_UP, "not_up")     /* the backend is down, drained, in maintenance, ejected */            \
    X(CHANGED, "changed")   /* address or settings are not what they were */                       \
    X(BACKEND_CLOSED, "backend_closed") /* by the backend, while idle or behind its answer */      \
    X(STRAY_BYTES, "stray_bytes")       /* the backend sent what nobody had asked for */           \
    X(RESET_FAILED, "reset_failed")     /* the reset exchange did not come out as it should */     \
    X(SESSION_END, "session_end")       /* its session ended in the midst of something */          \
    X(OWNED, "owned")                   /* it had come to belong to its session */                 \
    X(NOT_CLEAN, "not_clean")       /* by what the framing saw, something may be left behind */    \
    X(HANDSHAKE, "handshake")       /* bringing it to a client's handshake failed */               \
    X(TURNED_AWAY, "turned_away")   /* the backend said something, unasked, and closed it */       \
    X(UNHEARD, "unheard")           /* it is not known yet whether the backend speaks first */     \
    X(UNPROVEN, "unproven")         /* nor whether it keeps idle ones: policy "safe" */            \
    X(SWITCHED_OFF, "switched_off") /* reuse is off for this backend: see reuse_trouble */

#define REASONS_AS_REFUSAL(id, name) REFUSAL_##id,
#define REASONS_AS_ENDING(id, name)  ENDING_##id,
#define REASONS_AS_DISCARD(id, name) DISCARD_##id,

enum refusal { REFUSAL_LIST(REASONS_AS_REFUSAL) REFUSAL_COUNT };
enum ending { ENDING_LIST(REASONS_AS_ENDING) ENDING_COUNT };
enum discard { DISCARD_LIST(REASONS_AS_DISCARD) DISCARD_COUNT };

extern const char *const refusal_names[REFUSAL_COUNT]; /* src/pool/reasons.c */
extern const char *const ending_names[ENDING_COUNT];
extern const char *const discard_names[DISCARD_COUNT];

#endif
