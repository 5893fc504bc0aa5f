/*
 * The model: the validated configuration plus the operator's overrides, in master only. Built whole
 * from a conf tree or not at all; never changed in place: every change builds a new one, which is
 * compared with the old, validated and turned into a snapshot.
 */
#ifndef SLUICE_MODEL_MODEL_H
#define SLUICE_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/errlist.h"
#include "base/str.h"
#include "base/units.h"
#include "conf/conf.h"
#include "sluice/snapshot.h"

struct option_def;

/* Values that came from a ${file:…}, by option: wherever the value would be shown, raw is. */
struct model_secret {
    const struct option_def *option;
    size_t item; /* place in the list; 0 for single values */
    char *raw;   /* as conf_value.raw has it */
};

struct model_secrets {
    struct model_secret *items;
    size_t count;
};

#define STATE_FILE_DEFAULT "/var/lib/sluice/state.json"

/*
 * Fields are filled by the option table (options.c); times in milliseconds. Lists end with NULL and
 * are never NULL themselves; other text is NULL where the option is not given and has no default,
 * and only empty where that is its default.
 * What belongs to other kinds of checks than its check's is NULL, false and empty.
 * Every file is a string of model.files.
 */
struct model_place {
    const char *file; /* NULL: nowhere */
    int line;
};

struct model_global {
    uint32_t workers;         /* 0: auto, one per CPU */
    uint32_t max_connections; /* 0: auto */
    uint64_t buffer_bytes;    /* buffer_memory; 0: auto */
    char *user, *group;       /* NULL: not given; sluice if it exists, else nobody */
    char *control_socket;
    uint32_t control_mode; /* octal in the file */
    char **control_read, **control_operate, **control_administer;
    char *status;        /* NULL: not given, off */
    char **status_allow; /* CIDRs */
    char *log;
    uint32_t log_format, log_level; /* enums of base/log.h */
    uint32_t stop_delay_ms, drain_timeout_ms, close_over_ms, upgrade_timeout_ms;
    char *state_file; /* "none", or a path; NULL: not given, STATE_FILE_DEFAULT if it can be */
    char *hash_seed;  /* NULL: not given, one is made */
    struct model_secrets secrets;
    struct model_place *places; /* of each option in the table's order */
};

struct model_check {
    char *title; /* "tcp" or "tcp:label" */
    char *kind;
    uint32_t interval_ms, fast_interval_ms, down_interval_ms, timeout_ms;
    uint32_t rise, fall;
    uint32_t port; /* 0: the backend's own */
    char *source;  /* NULL: the kernel's choice */
    /* http */
    char *method, *path, *host, **headers, *status, *body, *sni;
    bool tls, verify;
    /* other kinds */
    char **steps, **command, *send, *user;
    bool dynamic;
    struct model_secrets secrets;
    const char *file;
    int line;
};

struct model_backend {
    char *name;
    char *of; /* whose address it is: the template's name (names.h); NULL: it stands for itself */
    char *address_text;  /* as written */
    struct addr address; /* ADDR_NONE: a name without an address */
    bool named; /* address_text holds a name; nobody has expanded it, or it has no address */
    uint32_t weight, max_connections;
    uint32_t resume_connections; /* 0: auto, 3/4 of max_connections */
    struct units_rate connect_rate;
    bool backup;
    uint32_t admin;           /* enum admin_state */
    uint32_t said_health;     /* enum said_health */
    char *check_address_text; /* NULL: not given */
    /* Likewise ADDR_NONE; port 0 where none is written. See model_backend_check_address(). */
    struct addr check_address;
    char *checks; /* "none" or NULL */
    struct model_check *own_checks;
    size_t n_own_checks;
    struct model_secrets secrets;
    const char *file;
    int line;
    /* Places in the scoreboard, given by the registry. */
    uint32_t slot, row;
};

/* Ejecting backends by what sessions see of them. */
struct model_outlier {
    bool given; /* false: off; the rest is at its defaults */
    char **on;  /* words, for enum outlier_signal */
    uint32_t consecutive_failures;
    uint32_t first_byte_timeout_ms; /* 0: not given */
    uint32_t eject_time_ms;
    uint32_t max_ejected;
    struct model_secrets secrets;
};

enum model_endian { LENGTH_BIG_ENDIAN, LENGTH_LITTLE_ENDIAN, LENGTH_ENDIAN_COUNT };
enum model_handshake { HANDSHAKE_OWN, HANDSHAKE_KEY, HANDSHAKE_COUNT };

/* Handing connections to backends on. */
struct model_reuse {
    bool given;        /* false: off; the rest is at its defaults */
    uint32_t mode;     /* enum reuse_mode */
    uint32_t framing;  /* enum framing_kind */
    uint32_t warm_min; /* 0: auto, which follows from mode */
    uint32_t idle_max_ms, max_age_ms;
    uint32_t max_uses, max_idle;
    char *reset_send, *reset_expect; /* as written, with escapes; "" for none */
    uint32_t policy;                 /* enum reuse_policy */
    uint32_t length_bytes;           /* 0: not given */
    uint32_t length_endian;          /* enum model_endian */
    bool length_includes_header;
    uint32_t handshake; /* enum model_handshake */
    bool scripts;
    struct model_secrets secrets;
};

enum model_require { REQUIRE_ALL, REQUIRE_ANY, REQUIRE_COUNT };

struct model_pool {
    char *name;
    char *scheduler;
    uint32_t connect_timeout_ms, retries, keepalive_ms, user_timeout_ms;
    uint32_t start;         /* enum start_state */
    uint32_t on_unresolved; /* enum model_unresolved */
    uint32_t hash_key;      /* enum hash_key */
    uint32_t queue, queue_timeout_ms;
    uint32_t slow_start_ms;
    uint32_t drain_within_ms; /* 0: no deadline */
    bool paused;
    uint32_t panic_threshold, min_healthy;
    uint32_t backup_use;         /* enum backup_use */
    uint32_t on_return, on_down; /* enum session_fate */
    uint32_t require;            /* enum model_require */
    uint32_t send_proxy;         /* enum send_proxy */
    char **source_addresses;     /* as written: sources.h */
    bool transparent;            /* connected to from the client's address */
    char *notify;                /* NULL: nothing is run */
    char *backends_file;         /* NULL: none; its backends are among the others */
    struct model_outlier outlier;
    struct model_reuse reuse;
    struct model_check *checks;
    size_t n_checks;
    struct model_backend *backends;
    size_t n_backends;
    struct model_secrets secrets;
    const char *file;
    int line;
    uint32_t row; /* in the scoreboard, given by the registry */
};

enum model_unresolved { UNRESOLVED_DOWN, UNRESOLVED_REFUSE, UNRESOLVED_COUNT };

struct model_listener {
    struct addr address;
    uint32_t id; /* given by the registry: the same while this address is listened on */
};

struct model_service {
    char *name;
    char **listen; /* as written */
    struct model_listener *listeners;
    size_t n_listeners;
    char *pool;
    uint32_t pool_index;
    char *fallback_pool;     /* NULL: none */
    uint32_t fallback_index; /* SNAPSHOT_NONE: none */
    bool freebind;
    uint32_t backlog;
    uint32_t idle_timeout_ms, half_close_timeout_ms, keepalive_ms, user_timeout_ms;
    uint32_t max_connections;
    uint32_t persistence_ms, persistence_mask, persistence_mask6;
    struct units_rate accept_rate;
    uint32_t session_log; /* enum session_log, or SESSION_LOG_ALL + N - 1 for one of N */
    uint32_t admin;       /* enum admin_state */
    bool healthz;
    struct model_secrets secrets;
    const char *file;
    int line;
    uint32_t row; /* in the scoreboard, given by the registry */
};

struct model {
    uint32_t generation; /* 0 until published */
    struct model_global global;
    struct model_service *services;
    size_t n_services;
    struct model_pool *pools;
    size_t n_pools;
    char **files; /* what it was read from, the main one first; ends with NULL */
};

/* An option that is its check's kind's own; a list's items follow each other under one name. */
struct model_arg {
    const char *name, *value;
};

/*
 * What lives elsewhere and is handed in, so that model needs neither checks nor events. A judge
 * answers false with what is wrong and what would be right appended to *out_problem.
 */
struct model_registries {
    const char *const *check_kinds; /* ends with NULL */
    /* Judges one value, or one item of a list. NULL: everything passes. */
    bool (*judge_check)(const char *kind, const char *option, const char *value,
                        struct str *out_problem);
    /* Judges all values together, defaults too, once each has passed. NULL: everything passes. */
    bool (*judge_check_all)(const char *kind, const struct model_arg *args, size_t n_args,
                            struct str *out_problem);
};

/* The schema that conf_load_start() wants, made from the option table. Lives for ever. */
const struct conf_section_schema *model_schema(void);

/*
 * Types and validates the whole tree. Every fault goes to errors with its place. Returns the model
 * when there was no error (warnings are fine), else NULL. The tree stays the caller's and is not
 * needed afterwards. Hosts are left unresolved (named, ADDR_NONE): names_expand() puts addresses in
 * their place before.
 */
struct model *model_build(const struct conf_tree *tree, const struct model_registries *registries,
                          struct errlist *errors);
/* The same of a tree that is to follow the running one: without warnings of pools that nothing uses
 * in either. */
struct model *model_build_next(const struct conf_tree *tree, const struct conf_tree *running,
                               const struct model_registries *registries, struct errlist *errors);
void model_free(struct model *model); /* NULL is allowed */

/* Where an option of global is written, else where its section is, if anywhere. Its file is the
 * model's. */
struct model_place model_global_place(const struct model *model, const char *option);

/* A backend's address for people: as written, and unexpanded where it comes from a secret. */
const char *model_backend_shown(const struct model_backend *backend);

/* By walking the names: for commands, not for loops over all. NULL when there is none. */
struct model_pool *model_find_pool(const struct model *model, const char *name);
struct model_backend *model_find_backend(const struct model_pool *pool, const char *name);
struct model_service *model_find_service(const struct model *model, const char *name);
/* Whether commands mean this backend by that name: it is called so, or is an address of the one
 * that is. */
bool model_backend_is_meant(const struct model_backend *backend, const char *name);
bool model_has_backend(const struct model_pool *pool, const char *name); /* at least one such */

/* The checks that hold for a backend: none under checks = "none", else its own, else the pool's. */
const struct model_check *model_backend_checks(const struct model_pool *pool,
                                               const struct model_backend *backend,
                                               size_t *out_count);

/* What a backend's checks look at instead of its address, with the backend's port where none is
 * written; ADDR_NONE: nothing else. */
struct addr model_backend_check_address(const struct model_backend *backend);

/* Under how many sessions a backend that was full takes new ones again: as given, else 3/4 of
 * max_connections, rounded up. 0 without max_connections. */
uint32_t model_backend_resume(const struct model_backend *backend);

/* --- comparing and printing --- */

struct change_list { /* zeroed is empty; lines such as "pool web: backend c added" */
    char **lines;
    size_t count, cap;
    bool needs_restart; /* at least one line is about an option that a reload cannot change */
};
__attribute__((format(printf, 2, 3))) void change_add(struct change_list *list, const char *format,
                                                      ...);
void change_list_free(struct change_list *list);

/* What it takes to get from old to new, a line each, made from the option table. For options that
 * a reload cannot change: "global: workers 2 -> 4: needs a restart". */
void model_diff(const struct model *old_model, const struct model *new_model,
                struct change_list *out);
/* Copies from running what a reload cannot change. Call after model_diff. Returns 0 or -ENOMEM, and
 * new_model may only be freed then. */
int model_keep_fixed(const struct model *running, struct model *new_model);

/* The model in file syntax; reads back to the same. all: options at their defaults too. Backends
 * from a backends_file, which would collide with themselves, are comments. */
void model_print(const struct model *model, bool all, struct str *out);
/* The same of a model whose names are not expanded; comments say what they stand for in running. */
void model_print_names(const struct model *model, const struct model *running, bool all,
                       struct str *out);
/* Whether it came from its pool's backends_file, itself or what it is an address of. */
bool model_backend_is_from_file(const struct model_pool *pool, const struct model_backend *backend);

/* --- option table, for help and the manual --- */

enum option_type {
    OPTION_TEXT,
    OPTION_LIST,
    OPTION_TIME,   /* uint32_t milliseconds */
    OPTION_UINT,   /* uint32_t */
    OPTION_AUTO,   /* uint32_t, "auto" is 0 */
    OPTION_SIZE,   /* uint64_t bytes, "auto" is 0 */
    OPTION_MODE,   /* uint32_t, octal */
    OPTION_BOOL,   /* bool */
    OPTION_RATE,   /* struct units_rate */
    OPTION_WORD,   /* uint32_t index into words */
    OPTION_SAMPLE, /* the same; "1/N" is as many more than the last word's as N is more than 1 */
    OPTION_TYPE_COUNT
};

struct option_def {
    const char *section; /* "global", "service", "pool", "outlier", "reuse", "backend", "check" */
    const char *name;
    enum option_type type;
    size_t offset; /* in the section's struct */
    /* NULL: none. "=interval": that option's value. A list's: "{ }", "{ \"item\", … }". Text may
     * be empty only where this is "". */
    const char *default_text;
    uint64_t min, max;        /* 0 without a default counts as not given */
    const char *const *words; /* OPTION_WORD, and a list that takes no others: ends with NULL */
    /* Checks only; kinds by their names, with blanks between them. kinds: those that have the
     * option, which is then handed on to them (so text, a list or bool); NULL: every check has it.
     * required_for: those that cannot do without it. */
    const char *kinds, *required_for;
    bool required;
    bool reloadable;
    bool file_only;   /* of a pool: read together with the file, so not by command */
    bool settable;    /* by command on a running daemon, as an override */
    const char *help; /* one or two sentences for the manual */
};

/* Options of one section stand together. Ends with a NULL name. */
extern const struct option_def option_table[];

#endif
