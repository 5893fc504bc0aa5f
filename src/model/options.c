/*
 * THE option table: every option of the configuration file is declared here and nowhere else. The
 * schema for the parser, defaults, typing, printing, comparing and the manual are made from it. In
 * master, and in whatever prints the manual.
 */
#include "options.h"

#include "base/log.h"
#include "pool/eligibility.h"
#include "sluice/limits.h"

#define SECONDS(n) (UINT64_C(1000) * (n))
#define HOURS(n)   (SECONDS(3600) * (n))
#define DAYS(n)    (HOURS(24) * (n))

#define TIME_MAX          DAYS(40) /* fits 32 bits of milliseconds */
#define KEEPALIVE_MAX     HOURS(9) /* TCP_KEEPIDLE takes at most 32767 s */
#define USER_TIMEOUT_MAX  DAYS(24) /* TCP_USER_TIMEOUT is a signed 32-bit number of milliseconds */
#define CONNECTIONS_MAX   INT32_MAX
#define BUFFER_MEMORY_MIN (UINT64_C(256) << 10)
#define BUFFER_MEMORY_MAX (UINT64_C(1024) << 30)
#define MODE_MAX          0777
#define QUEUE_MAX         1000000

/* Kinds of checks that open connections of their own. */
#define KINDS_CONNECTING "tcp http expect agent redis postgresql mysql smtp ssh memcached"

static const char *const said_health_words[SAID_COUNT + 1] = {
    [SAID_AUTO] = "auto", [SAID_UP] = "up", [SAID_DOWN] = "down"};
static const char *const start_words[START_COUNT + 1] = {
    [START_UNKNOWN] = "unknown", [START_UP] = "up", [START_DOWN] = "down"};
static const char *const unresolved_words[UNRESOLVED_COUNT + 1] = {
    [UNRESOLVED_DOWN] = "down", [UNRESOLVED_REFUSE] = "refuse"};
static const char *const hash_key_words[HASH_KEY_COUNT + 1] = {
    [HASH_KEY_SOURCE] = "source", [HASH_KEY_SOURCE_PORT] = "source_port"};
static const char *const session_log_words[] = {
    [SESSION_LOG_OFF] = "off", [SESSION_LOG_ERRORS] = "errors", [SESSION_LOG_ALL] = "all", NULL};
static const char *const backup_use_words[BACKUP_USE_COUNT + 1] = {
    [BACKUP_USE_FIRST] = "first", [BACKUP_USE_ALL] = "all"};
static const char *const fate_words[SESSIONS_COUNT + 1] = {
    [SESSIONS_KEEP] = "keep", [SESSIONS_CLOSE] = "close"};
static const char *const require_words[REQUIRE_COUNT + 1] = {
    [REQUIRE_ALL] = "all", [REQUIRE_ANY] = "any"};
static const char *const send_proxy_words[SEND_PROXY_COUNT + 1] = {
    [SEND_PROXY_OFF] = "off", [SEND_PROXY_V1] = "v1", [SEND_PROXY_V2] = "v2"};
static const char *const reuse_mode_words[REUSE_MODE_COUNT + 1] = {[REUSE_OFF] = "off",
                                                                   [REUSE_WARM] = "warm",
                                                                   [REUSE_SESSION] = "session",
                                                                   [REUSE_REQUEST] = "request"};
/* But for "none" the names of the framers. */
static const char *const framing_words[FRAMING_KIND_COUNT + 1] = {
    [FRAMING_NONE] = "none",           [FRAMING_HTTP1] = "http1", [FRAMING_RESP] = "resp",
    [FRAMING_MEMCACHED] = "memcached", [FRAMING_LINE] = "line",   [FRAMING_LENGTH] = "length"};
static const char *const reuse_policy_words[REUSE_POLICY_COUNT + 1] = {
    [REUSE_SAFE] = "safe", [REUSE_ALWAYS] = "always"};
static const char *const endian_words[LENGTH_ENDIAN_COUNT + 1] = {
    [LENGTH_BIG_ENDIAN] = "big", [LENGTH_LITTLE_ENDIAN] = "little"};
static const char *const handshake_words[HANDSHAKE_COUNT + 1] = {
    [HANDSHAKE_OWN] = "own", [HANDSHAKE_KEY] = "key"};
/* In the order of enum outlier_signal's bits. */
static const char *const signal_words[] = {"connect", "reset", "first_byte", NULL};

#define GLOBAL(field)  .section = "global", .offset = offsetof(struct model_global, field)
#define SERVICE(field) .section = "service", .offset = offsetof(struct model_service, field)
#define POOL(field)    .section = "pool", .offset = offsetof(struct model_pool, field)
#define OUTLIER(field) .section = "outlier", .offset = offsetof(struct model_outlier, field)
#define REUSE(field)   .section = "reuse", .offset = offsetof(struct model_reuse, field)
#define BACKEND(field) .section = "backend", .offset = offsetof(struct model_backend, field)
#define CHECK(field)   .section = "check", .offset = offsetof(struct model_check, field)

const struct option_def option_table[] = {
    {GLOBAL(workers), .name = "workers", .type = OPTION_AUTO, .default_text = "auto", .min = 1,
     .max = WORKERS_MAX,
     .help = "How many worker processes carry connections; auto is one per CPU."},
    {GLOBAL(max_connections), .name = "max_connections", .type = OPTION_AUTO,
     .default_text = "auto", .min = 1, .max = CONNECTIONS_MAX, .reloadable = true,
     .help = "Client connections of the whole daemon; auto is what descriptors, ports and memory "
             "allow."},
    {GLOBAL(buffer_bytes), .name = "buffer_memory", .type = OPTION_SIZE, .default_text = "auto",
     .min = BUFFER_MEMORY_MIN, .max = BUFFER_MEMORY_MAX, .reloadable = true,
     .help = "Memory for bytes that slow peers have not taken yet, all of them together; once it "
             "is used up nothing is read that would have to be kept. auto is a 32nd of the memory "
             "there is, from 16m to 512m."},
    {GLOBAL(user), .name = "user", .type = OPTION_TEXT,
     .help = "User that a daemon started as root drops to: sluice if it exists, else nobody, "
             "unless given."},
    {GLOBAL(group), .name = "group", .type = OPTION_TEXT,
     .help = "Group that a daemon started as root drops to: sluice if it exists, else the user's "
             "own, unless given."},
    {GLOBAL(control_socket), .name = "control_socket", .type = OPTION_TEXT,
     .default_text = "/run/sluice/control.sock",
     .help = "Path of the Unix socket that takes commands."},
    {GLOBAL(control_mode), .name = "control_mode", .type = OPTION_MODE, .default_text = "0660",
     .max = MODE_MAX, .reloadable = true, .help = "File mode of the control socket, in octal."},
    {GLOBAL(control_read), .name = "control_read", .type = OPTION_LIST, .default_text = "{ }",
     .reloadable = true, .help = "Users and @groups that may look at everything."},
    {GLOBAL(control_operate), .name = "control_operate", .type = OPTION_LIST, .default_text = "{ }",
     .reloadable = true,
     .help = "Users and @groups that may also change backends, pools and services."},
    {GLOBAL(control_administer), .name = "control_administer", .type = OPTION_LIST,
     .default_text = "{ }", .reloadable = true,
     .help = "Users and @groups that may also reload, save, upgrade and stop. Root and the "
             "daemon's own user may do everything."},
    {GLOBAL(status), .name = "status", .type = OPTION_TEXT,
     .help = "Address of metrics, figures, health answers and the dashboard over HTTP: "
             "ADDRESS:PORT, [V6]:PORT or unix:PATH. Not given: there is none."},
    {GLOBAL(status_allow), .name = "status_allow", .type = OPTION_LIST,
     .default_text = "{ \"127.0.0.0/8\", \"::1/128\" }", .reloadable = true,
     .help = "Addresses and networks that may use it."},
    {GLOBAL(log), .name = "log", .type = OPTION_TEXT, .default_text = "stderr", .reloadable = true,
     .help = "Where the log goes: stderr, syslog, journal or the absolute path of a file."},
    {GLOBAL(log_format), .name = "log_format", .type = OPTION_WORD, .default_text = "logfmt",
     .words = log_format_names, .reloadable = true,
     .help = "Form of a log line: key=value pairs or JSON."},
    {GLOBAL(log_level), .name = "log_level", .type = OPTION_WORD, .default_text = "info",
     .words = log_level_names, .reloadable = true, .settable = true,
     .help = "The least important kind of message that is still logged."},
    {GLOBAL(state_file), .name = "state_file", .type = OPTION_TEXT,
     .help = "File that keeps over a restart what was changed by command, and the key of hashes: "
             "an absolute path, or none. Unless given, " STATE_FILE_DEFAULT " if its folder is "
             "there and writable."},
    {GLOBAL(hash_seed), .name = "hash_seed", .type = OPTION_TEXT,
     .help = "Secret text that keys every hash of clients, so that nobody can aim at a backend. "
             "Give balancers that must choose alike the same one, as ${file:/PATH}; unless given, "
             "one is made, and kept in state_file."},
    {GLOBAL(stop_delay_ms), .name = "stop_delay", .type = OPTION_TIME, .default_text = "0s",
     .max = TIME_MAX, .reloadable = true,
     .help = "How long a daemon that was asked to stop goes on accepting while its health answers "
             "already say no, so that whoever asks sends clients elsewhere; 0s: not at all."},
    {GLOBAL(drain_timeout_ms), .name = "drain_timeout", .type = OPTION_TIME, .default_text = "30s",
     .max = TIME_MAX, .reloadable = true,
     .help = "How long sessions may go on after a stop was asked for; 0s: none."},
    {GLOBAL(close_over_ms), .name = "close_over", .type = OPTION_TIME, .default_text = "60s",
     .max = TIME_MAX, .reloadable = true,
     .help = "Sessions that a draining backend or a paused pool still has are closed evenly over "
             "the last part of the time they were given, which is this long, or all of it where "
             "that is shorter; 0s: all at its end."},
    {GLOBAL(upgrade_timeout_ms), .name = "upgrade_timeout", .type = OPTION_TIME,
     .default_text = "0s", .max = TIME_MAX, .reloadable = true,
     .help = "How long the sessions of the old daemon may go on after an upgrade, or after its "
             "master was killed; 0s: no limit."},

    {SERVICE(listen), .name = "listen", .type = OPTION_LIST, .required = true, .reloadable = true,
     .help = "Addresses that take clients: ADDRESS:PORT, [V6]:PORT (IPv6 only) or unix:PATH. "
             "Port 0 lets the kernel choose one that no other address of the file may have then."},
    {SERVICE(freebind), .name = "freebind", .type = OPTION_BOOL, .default_text = "true",
     .reloadable = true,
     .help = "Whether an address may be listened on that this machine does not have yet."},
    {SERVICE(backlog), .name = "backlog", .type = OPTION_UINT, .default_text = "4096", .min = 1,
     .max = 1000000, .reloadable = true,
     .help = "Connections that may wait to be accepted, per address and worker; the kernel's "
             "somaxconn bounds it."},
    {SERVICE(pool), .name = "pool", .type = OPTION_TEXT, .required = true, .reloadable = true,
     .help = "Name of the pool whose backends serve the clients."},
    {SERVICE(fallback_pool), .name = "fallback_pool", .type = OPTION_TEXT, .reloadable = true,
     .help = "Name of another pool, with checks and settings of its own, that takes new sessions "
             "while the pool has no eligible backend: a sorry server, say."},
    {SERVICE(idle_timeout_ms), .name = "idle_timeout", .type = OPTION_TIME, .default_text = "1h",
     .max = TIME_MAX, .reloadable = true,
     .help = "Ends a session without a byte in either direction for this long; 0s: never."},
    {SERVICE(half_close_timeout_ms), .name = "half_close_timeout", .type = OPTION_TIME,
     .default_text = "30s", .max = TIME_MAX, .reloadable = true,
     .help = "The idle timeout once one direction has ended; 0s: none."},
    {SERVICE(keepalive_ms), .name = "keepalive", .type = OPTION_TIME, .default_text = "60s",
     .max = KEEPALIVE_MAX, .reloadable = true,
     .help = "Idle time before TCP asks whether the client is still there; 0s: it never asks."},
    {SERVICE(user_timeout_ms), .name = "user_timeout", .type = OPTION_TIME, .default_text = "30s",
     .max = USER_TIMEOUT_MAX, .reloadable = true,
     .help = "How long sent bytes may stay unacknowledged before the client is given up; 0s: as "
             "the kernel is set."},
    {SERVICE(max_connections), .name = "max_connections", .type = OPTION_UINT, .default_text = "0",
     .max = CONNECTIONS_MAX, .reloadable = true,
     .help = "Client connections of this service; 0: no limit of its own."},
    {SERVICE(accept_rate), .name = "accept_rate", .type = OPTION_RATE, .default_text = "none",
     .reloadable = true,
     .help = "How many new clients this service accepts in a time; more than that wait in the "
             "kernel's queue and are not refused. The burst is a tenth of a second's worth unless "
             "given, and at least what comes in 5 ms."},
    {SERVICE(persistence_ms), .name = "persistence", .type = OPTION_TIME, .default_text = "0s",
     .max = TIME_MAX, .reloadable = true,
     .help = "A client keeps its backend while it has sessions there and for this long after the "
             "last one; 0s: each session is a choice of its own."},
    {SERVICE(persistence_mask), .name = "persistence_mask", .type = OPTION_UINT,
     .default_text = "32", .max = 32, .reloadable = true,
     .help = "Leading bits of an IPv4 client's address that persistence looks at: 24 keeps a whole "
             "/24 network on one backend."},
    {SERVICE(persistence_mask6), .name = "persistence_mask6", .type = OPTION_UINT,
     .default_text = "128", .max = 128, .reloadable = true,
     .help = "The same of an IPv6 client's address."},
    {SERVICE(session_log), .name = "session_log", .type = OPTION_SAMPLE, .default_text = "errors",
     .words = session_log_words, .max = SESSION_LOG_EVERY_MAX, .reloadable = true,
     .help =
         "Which ended sessions get a line in the log: off, errors (refused, or ended other than "
         "in order), all, or 1/N: one of N of all."},
    {SERVICE(admin), .name = "admin", .type = OPTION_WORD, .default_text = "ready",
     .words = admin_state_names, .reloadable = true,
     .help = "What the operator wants of it: ready takes clients, drain does so too while its "
             "health answer says no, so that whoever asks sends them elsewhere, maintenance resets "
             "new clients. Sessions go on in any case."},
    {SERVICE(healthz), .name = "healthz", .type = OPTION_BOOL, .default_text = "true",
     .reloadable = true, .help = "Whether the daemon's overall health answer counts this service."},

    {POOL(scheduler), .name = "scheduler", .type = OPTION_TEXT, .default_text = "wlc",
     .reloadable = true, .help = "How the backend of a new session is chosen."},
    {POOL(hash_key), .name = "hash_key", .type = OPTION_WORD, .default_text = "source",
     .words = hash_key_words, .reloadable = true,
     .help = "What of a client a hashing scheduler looks at: its address, or address and port, so "
             "that one client's sessions are spread."},
    {POOL(connect_timeout_ms), .name = "connect_timeout", .type = OPTION_TIME, .default_text = "3s",
     .min = 1, .max = TIME_MAX, .reloadable = true,
     .help = "How long one try to connect to a backend may take."},
    {POOL(retries), .name = "retries", .type = OPTION_UINT, .default_text = "3", .max = 10,
     .reloadable = true,
     .help = "How many other backends are tried after a failed connect, while no byte of the "
             "client was consumed."},
    {POOL(keepalive_ms), .name = "keepalive", .type = OPTION_TIME, .default_text = "60s",
     .max = KEEPALIVE_MAX, .reloadable = true,
     .help = "Idle time before TCP asks whether the backend is still there; 0s: it never asks."},
    {POOL(user_timeout_ms), .name = "user_timeout", .type = OPTION_TIME, .default_text = "30s",
     .max = USER_TIMEOUT_MAX, .reloadable = true,
     .help = "How long sent bytes may stay unacknowledged before the backend is given up; 0s: as "
             "the kernel is set."},
    {POOL(send_proxy), .name = "send_proxy", .type = OPTION_WORD, .default_text = "off",
     .words = send_proxy_words, .reloadable = true,
     .help = "Whether a connection to a backend begins with a PROXY header that names the client, "
             "and of which version: v1 is text, v2 binary. Checks of the backend's own address "
             "then begin with one, too."},
    {POOL(source_addresses), .name = "source_addresses", .type = OPTION_LIST, .default_text = "{ }",
     .reloadable = true,
     .help = "Addresses of this machine to connect to backends from, ranges of them and networks: "
             "10.0.0.1, 10.0.0.16-10.0.0.31, 10.1.0.0/28. Each has all ports once for every "
             "backend; the one with most of them left is taken. For a backend of a family that is "
             "not in the list, and without one, the kernel chooses."},
    {POOL(transparent), .name = "transparent", .type = OPTION_BOOL, .default_text = "false",
     .reloadable = true,
     .help = "Connect to backends from the client's address, with a port of the kernel's choice. "
             "The daemon must be started as root with it, and the backends' replies must come back "
             "through this machine: sluicectl doctor tells how."},
    {POOL(queue), .name = "queue", .type = OPTION_UINT, .default_text = "0", .max = QUEUE_MAX,
     .reloadable = true,
     .help = "Sessions that may wait for a place while every healthy backend is at its limit; 0: "
             "none waits, they are refused."},
    {POOL(queue_timeout_ms), .name = "queue_timeout", .type = OPTION_TIME, .default_text = "5s",
     .max = TIME_MAX, .reloadable = true,
     .help = "How long a session may wait in the queue before it is refused; 0s: without limit."},
    {POOL(slow_start_ms), .name = "slow_start", .type = OPTION_TIME, .default_text = "0s",
     .max = TIME_MAX, .reloadable = true,
     .help = "Time in which the weight of a backend that recovered, was added or was made ready "
             "rises from a tenth to the whole; 0s: it counts in full at once."},
    {POOL(drain_within_ms), .name = "drain_within", .type = OPTION_TIME, .default_text = "0s",
     .max = TIME_MAX, .reloadable = true,
     .help = "How long sessions of a backend go on that is drained (admin = drain) or was removed; "
             "those that remain are closed then, evenly over close_over. 0s: as long as they "
             "like."},
    {POOL(paused), .name = "paused", .type = OPTION_BOOL, .default_text = "false",
     .reloadable = true,
     .help = "Whether new sessions wait, however many there are and whatever queue and "
             "queue_timeout say; those that are connected go on."},
    {POOL(panic_threshold), .name = "panic_threshold", .type = OPTION_UINT, .default_text = "0",
     .max = 100, .reloadable = true,
     .help = "With less than this percentage of the ready backends healthy, health is ignored and "
             "all of them share the load; 0: never."},
    {POOL(min_healthy), .name = "min_healthy", .type = OPTION_UINT, .default_text = "1", .min = 1,
     .max = BACKENDS_MAX, .reloadable = true,
     .help = "While fewer backends than this that are no backups are healthy and ready, the "
             "backups join in. Load never counts."},
    {POOL(backup_use), .name = "backup_use", .type = OPTION_WORD, .default_text = "first",
     .words = backup_use_words, .reloadable = true,
     .help = "Which healthy backups join in when they are needed: the first in file order, or all "
             "of them."},
    {POOL(on_return), .name = "on_return", .type = OPTION_WORD, .default_text = "keep",
     .words = fate_words, .reloadable = true,
     .help = "What becomes of sessions on backups once these are no longer needed: they go on, or "
             "are closed."},
    {POOL(on_down), .name = "on_down", .type = OPTION_WORD, .default_text = "keep",
     .words = fate_words, .reloadable = true,
     .help = "What becomes of sessions on a backend that its checks, or the operator, found down: "
             "they go on, or are "
             "closed."},
    {POOL(start), .name = "start", .type = OPTION_WORD, .default_text = "unknown",
     .words = start_words, .reloadable = true,
     .help = "Health of a new backend until its first check result; clients wait a moment for "
             "one that is unknown."},
    {POOL(on_unresolved), .name = "on_unresolved", .type = OPTION_WORD, .default_text = "down",
     .words = unresolved_words, .reloadable = true,
     .help = "What becomes of a backend whose name does not resolve: it counts as down, or the "
             "configuration is refused."},
    {POOL(require), .name = "require", .type = OPTION_WORD, .default_text = "all",
     .words = require_words, .reloadable = true,
     .help = "Which of a backend's checks must pass for it to be up: all of them, or any one."},
    {POOL(backends_file), .name = "backends_file", .type = OPTION_TEXT, .reloadable = true,
     .file_only = true,
     .help =
         "Absolute path of a file with more backends, a line NAME ADDRESS [option=value …] each; "
         "it is watched, and taken over as a whole when it changes, but not where that would take "
         "away the last eligible backend of the pool (a reload does)."},
    {POOL(notify), .name = "notify", .type = OPTION_TEXT, .reloadable = true,
     .help = "Absolute path of a program that is run when a backend goes up or down, and when the "
             "pool is lost or restored."},

    {OUTLIER(on), .name = "on", .type = OPTION_LIST, .default_text = "{ \"connect\" }",
     .words = signal_words, .reloadable = true,
     .help = "What counts as a failure of a backend: a connect that fails, a session that it "
             "resets, a first byte that does not come in time."},
    {OUTLIER(consecutive_failures), .name = "consecutive_failures", .type = OPTION_UINT,
     .default_text = "5", .min = 1, .max = 1000, .reloadable = true,
     .help = "Failures in a row that eject a backend."},
    {OUTLIER(first_byte_timeout_ms), .name = "first_byte_timeout", .type = OPTION_TIME, .min = 1,
     .max = TIME_MAX, .reloadable = true,
     .help = "How long a backend may take from the client's first byte to its own, where that "
             "counts."},
    {OUTLIER(eject_time_ms), .name = "eject_time", .type = OPTION_TIME, .default_text = "30s",
     .min = SECONDS(1), .max = DAYS(1), .reloadable = true,
     .help = "How long a backend gets no new sessions when it is ejected for the first time; "
             "longer each time in a row."},
    {OUTLIER(max_ejected), .name = "max_ejected", .type = OPTION_UINT, .default_text = "10",
     .max = 100, .reloadable = true,
     .help = "Percentage of the pool's ready backends that may be ejected at a time; one always "
             "may, and one always stays."},

    {REUSE(mode), .name = "mode", .type = OPTION_WORD, .default_text = "off",
     .words = reuse_mode_words, .reloadable = true,
     .help = "Whom a connection to a backend serves: with off the one session that it was opened "
             "for, with warm one session, but opened ahead of it, with session one session after "
             "the other, with request one request after the other, from any client. With off the "
             "section's other options may stay, for later."},
    {REUSE(framing), .name = "framing", .type = OPTION_WORD, .default_text = "none",
     .words = framing_words, .reloadable = true,
     .help = "The protocol whose messages are followed to tell when a client leaves nothing "
             "behind; mode request needs one. With line and length you declare that the protocol "
             "gives one answer to each request, in order, and keeps nothing of a client."},
    {REUSE(warm_min), .name = "warm_min", .type = OPTION_AUTO, .default_text = "auto",
     .max = REUSE_IDLE_MAX, .reloadable = true,
     .help = "Idle connections that each worker keeps ready to each backend; auto is 4 in mode "
             "warm (or max_idle, if that is less) and none in the other modes."},
    {REUSE(idle_max_ms), .name = "idle_max", .type = OPTION_TIME, .default_text = "5s",
     .max = TIME_MAX, .reloadable = true,
     .help = "How long a connection may lie idle before it is closed; 0s: without limit. It must "
             "be under the idle time after which the backend closes connections itself."},
    {REUSE(max_age_ms), .name = "max_age", .type = OPTION_TIME, .default_text = "10m",
     .max = TIME_MAX, .reloadable = true,
     .help = "How old a connection may become before it is no longer handed on, varied a little "
             "so that not all end together; 0s: without limit."},
    {REUSE(max_uses), .name = "max_uses", .type = OPTION_UINT, .default_text = "0",
     .max = CONNECTIONS_MAX, .reloadable = true,
     .help = "How many sessions, or in mode request requests, a connection serves before it is "
             "closed; 0: without limit."},
    {REUSE(max_idle), .name = "max_idle", .type = OPTION_UINT, .default_text = "64", .min = 1,
     .max = REUSE_IDLE_MAX, .reloadable = true,
     .help = "Idle connections that each worker keeps to each backend; one that would be more is "
             "closed."},
    {REUSE(reset_send), .name = "reset_send", .type = OPTION_TEXT, .default_text = "",
     .reloadable = true,
     .help = "Mode session without a framing: what a backend is sent after a session to make it "
             "forget that. In it and in reset_expect {nonce} is 16 hex digits, new ones each time, "
             "that nobody can guess: without them a client's data may pass for the answer. For "
             "Redis it is \"RESET\\r\\nPING {nonce}\\r\\n\". A client that stops in the midst of "
             "a request has these bytes added to that, and one that may run scripts can fake any "
             "answer: write framing instead where there is one. Any byte can be written as "
             "\\\\xHH."},
    {REUSE(reset_expect), .name = "reset_expect", .type = OPTION_TEXT, .default_text = "",
     .reloadable = true,
     .help = "What the backend must answer to reset_send, exactly and with nothing after it, for "
             "the connection to be handed on; else it is closed. Written as reset_send is; for "
             "Redis it is \"+RESET\\r\\n$16\\r\\n{nonce}\\r\\n\"."},
    {REUSE(policy), .name = "policy", .type = OPTION_WORD, .default_text = "safe",
     .words = reuse_policy_words, .reloadable = true,
     .help = "Mode request: which connection a client's first request may go on. With safe it is "
             "a fresh or a proven one; with always any idle one, which costs the request if the "
             "backend is just closing that."},
    {REUSE(length_bytes), .name = "length_bytes", .type = OPTION_UINT, .min = 1, .max = 8,
     .reloadable = true,
     .help =
         "Framing length: how many bytes at the beginning of a message hold its length: 1, 2, 4 "
         "or 8."},
    {REUSE(length_endian), .name = "length_endian", .type = OPTION_WORD, .default_text = "big",
     .words = endian_words, .reloadable = true,
     .help = "Framing length: whether the length begins with its most significant byte (big, the "
             "network's order) or its least significant one (little)."},
    {REUSE(length_includes_header), .name = "length_includes_header", .type = OPTION_BOOL,
     .default_text = "false", .reloadable = true,
     .help = "Framing length: whether the length counts its own bytes, too."},
    {REUSE(handshake), .name = "handshake", .type = OPTION_WORD, .default_text = "own",
     .words = handshake_words, .reloadable = true,
     .help = "Framing resp: what becomes of a client that begins with HELLO, AUTH, SELECT or "
             "CLIENT SETINFO, SETNAME or NO-EVICT. With own it has a connection to itself; with "
             "key clients that begin alike share connections that have begun so."},
    {REUSE(scripts), .name = "scripts", .type = OPTION_BOOL, .default_text = "false",
     .reloadable = true,
     .help = "Framing resp: whether scripts and functions (EVAL, EVALSHA, FCALL and their kin) "
             "count as leaving nothing behind; else a client that calls one keeps its connection "
             "to itself from then on."},

    {BACKEND(address_text), .name = "address", .type = OPTION_TEXT, .required = true,
     .reloadable = true,
     .help = "HOST:PORT, [V6]:PORT, unix:PATH or srv:NAME. A name stands for all of its "
             "addresses: each is a backend of its own, called NAME@ADDRESS."},
    {BACKEND(weight), .name = "weight", .type = OPTION_UINT, .default_text = "1", .max = 65535,
     .reloadable = true, .settable = true,
     .help = "Share of new sessions relative to the other backends; 0 drains."},
    {BACKEND(max_connections), .name = "max_connections", .type = OPTION_UINT, .default_text = "0",
     .max = CONNECTIONS_MAX, .reloadable = true, .settable = true,
     .help = "Sessions it may have at a time; 0: no limit."},
    {BACKEND(resume_connections), .name = "resume_connections", .type = OPTION_AUTO,
     .default_text = "auto", .min = 1, .max = CONNECTIONS_MAX, .reloadable = true, .settable = true,
     .help = "Once it was at its limit, it takes new sessions again only when it has fewer than "
             "this; auto is 3/4 of max_connections."},
    {BACKEND(connect_rate), .name = "connect_rate", .type = OPTION_RATE, .default_text = "none",
     .reloadable = true, .settable = true,
     .help = "New connections that may be made to it in a time; beyond that it counts as full for "
             "the moment. The burst is a tenth of a second's worth unless given, and "
             "at least what comes in 5 ms."},
    {BACKEND(backup), .name = "backup", .type = OPTION_BOOL, .default_text = "false",
     .reloadable = true,
     .help = "Whether it stands by, and only joins in while the pool has fewer healthy backends "
             "than min_healthy."},
    {BACKEND(admin), .name = "admin", .type = OPTION_WORD, .default_text = "ready",
     .words = admin_state_names, .reloadable = true, .settable = true,
     .help = "What the operator wants of it: ready takes new sessions, drain only keeps those it "
             "has, maintenance takes it out."},
    {BACKEND(said_health), .name = "health", .type = OPTION_WORD, .default_text = "auto",
     .words = said_health_words, .reloadable = true, .settable = true,
     .help = "The operator's word over its checks: up or down, whatever they find; auto is what "
             "they find."},
    {BACKEND(check_address_text), .name = "check_address", .type = OPTION_TEXT, .reloadable = true,
     .help = "What its checks look at instead of address: a numeric ADDRESS, ADDRESS:PORT, [V6], "
             "[V6]:PORT or unix:PATH. Without a port it is the backend's own; a check's port goes "
             "before both."},
    {BACKEND(checks), .name = "checks", .type = OPTION_TEXT, .reloadable = true,
     .help = "none: the pool's checks do not hold for this backend, it counts as up."},

    {CHECK(interval_ms), .name = "interval", .type = OPTION_TIME, .default_text = "2s", .min = 10,
     .max = TIME_MAX, .reloadable = true, .help = "Time from one check to the next."},
    {CHECK(fast_interval_ms), .name = "fast_interval", .type = OPTION_TIME,
     .default_text = "=interval", .min = 10, .max = TIME_MAX, .reloadable = true,
     .help = "The interval while a change of state is being confirmed."},
    {CHECK(down_interval_ms), .name = "down_interval", .type = OPTION_TIME,
     .default_text = "=interval", .min = 10, .max = TIME_MAX, .reloadable = true,
     .help = "The interval while the backend is down."},
    {CHECK(timeout_ms), .name = "timeout", .type = OPTION_TIME, .default_text = "1s", .min = 1,
     .max = TIME_MAX, .reloadable = true, .help = "A check that takes longer has failed."},
    {CHECK(rise), .name = "rise", .type = OPTION_UINT, .default_text = "2", .min = 1, .max = 100,
     .reloadable = true,
     .help = "Passed checks in a row that bring a backend up. An agent's word holds at once."},
    {CHECK(fall), .name = "fall", .type = OPTION_UINT, .default_text = "3", .min = 1, .max = 100,
     .reloadable = true,
     .help = "Failed checks in a row that take a backend down. An agent's word holds at once."},
    {CHECK(port), .name = "port", .type = OPTION_UINT, .min = 1, .max = 65535, .reloadable = true,
     .required_for = "agent",
     .help = "Another port on the backend's address to check instead of its own."},
    {CHECK(source), .name = "source", .type = OPTION_TEXT, .kinds = KINDS_CONNECTING,
     .reloadable = true,
     .help = "An IP address of this machine to connect from; the kernel's choice unless given."},
    {CHECK(method), .name = "method", .type = OPTION_TEXT, .kinds = "http", .default_text = "GET",
     .reloadable = true, .help = "The request's method, such as GET or HEAD."},
    {CHECK(path), .name = "path", .type = OPTION_TEXT, .kinds = "http", .default_text = "/",
     .reloadable = true, .help = "The path that is asked for, with a query if there is one."},
    {CHECK(host), .name = "host", .type = OPTION_TEXT, .kinds = "http", .reloadable = true,
     .help = "The request's Host header; the address that is checked unless given."},
    {CHECK(headers), .name = "headers", .type = OPTION_LIST, .kinds = "http", .default_text = "{ }",
     .reloadable = true, .help = "Further headers of the request, as in \"Accept: text/plain\"."},
    {CHECK(status), .name = "status", .type = OPTION_TEXT, .kinds = "http",
     .default_text = "200-399", .reloadable = true,
     .help = "The statuses that pass, and ranges of them, as in \"200,204,301-303\"."},
    {CHECK(body), .name = "body", .type = OPTION_TEXT, .kinds = "http", .reloadable = true,
     .help = "A regular expression that must match in the body; its first 64 KiB are looked at."},
    {CHECK(tls), .name = "tls", .type = OPTION_BOOL, .kinds = "http", .default_text = "false",
     .reloadable = true, .help = "Whether the request goes over TLS."},
    {CHECK(sni), .name = "sni", .type = OPTION_TEXT, .kinds = "http", .reloadable = true,
     .help = "The server name that is asked for by TLS; host, without its port, unless given."},
    {CHECK(verify), .name = "verify", .type = OPTION_BOOL, .kinds = "http", .default_text = "false",
     .reloadable = true, .help = "Whether the certificate must be valid, and for that name."},
    {CHECK(steps), .name = "steps", .type = OPTION_LIST, .kinds = "expect", .default_text = "{ }",
     .required_for = "expect", .reloadable = true,
     .help = "The conversation, as in { \"send PING\\r\\n\", \"expect +PONG\" }: send, send-hex, "
             "expect, expect-hex, expect-regex, expect-close."},
    {CHECK(command), .name = "command", .type = OPTION_LIST, .kinds = "exec", .default_text = "{ }",
     .required_for = "exec", .reloadable = true,
     .help = "The program, by its absolute path, and its arguments; there is no shell."},
    {CHECK(dynamic), .name = "dynamic", .type = OPTION_BOOL, .kinds = "exec",
     .default_text = "true", .reloadable = true,
     .help = "Whether the exit statuses 2 to 255 pass, with (status - 2) percent of the weight, at "
             "most 100; else all but 0 fail. A shell script whose commands may not be found or "
             "be killed (126 and more) wants false, or exit 1 itself."},
    {CHECK(send), .name = "send", .type = OPTION_TEXT, .kinds = "agent", .reloadable = true,
     .help = "What the agent is sent before it answers; nothing unless given."},
    {CHECK(user), .name = "user", .type = OPTION_TEXT, .kinds = "postgresql mysql",
     .default_text = "sluice", .reloadable = true,
     .help = "The user whose login is begun; it needs no rights, nor need it exist."},
    {0},
};
