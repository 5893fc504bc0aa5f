/*
 * One request under way: from its words to its reply. Created from a split line, authorised in one
 * place for every command, run, finished exactly once. Knows no socket, so tests can hand it any
 * line, host and level. In master.
 */
#ifndef SLUICE_CTL_REQUEST_H
#define SLUICE_CTL_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "ctl/codec.h"
#include "ctl/command.h"
#include "ctl/host.h"
#include "ctl/reply.h"

struct request;
/* The reply is complete. The request is the owner's again, to free it. */
typedef void request_done_fn(struct request *request);

struct request {
    struct ctl_host host;          /* a copy: answers may come after the server is gone */
    const struct command *command; /* NULL when the words name none */
    struct codec_words words;
    const char *const *args; /* positional words after the command's own */
    size_t n_args;
    /* name=value words, why= not among them; room for one that a command puts before them */
    struct ctl_setting options[CTL_SETTINGS_MAX + 1];
    size_t n_options;
    struct ctl_edit edit; /* what a command asks of host */
    struct ctl_closing closing;
    struct str closing_what, closing_pool; /* texts of it */
    /* Of a command that asks host for more than one thing: what has been answered so far. */
    struct change_list gathered;
    struct errlist gathered_errors;
    uint32_t gathered_generation;
    size_t n_pools_closed;
    struct ctl_who who; /* why is that of this request */
    char who_text[128];
    struct str line; /* the words as they came, for events */
    bool force;
    uint64_t now_ms, wall_ms;
    struct reply reply;
    /* Set by a command that acts only after its reply was handed to the client, or NULL. */
    void (*afterwards)(struct request *request);
    bool has_within;
    uint64_t within_ms; /* also for afterwards of stop */

    /* Of request.c. */
    bool running, finished;
    bool denied; /* by level, not by the command */
    const char **positional;
    /* Of the owner. */
    request_done_fn *done;
    void *owner;  /* NULL: it is gone, and host with it */
    void *client; /* NULL: it is gone, the request goes on */
    LIST_ENTRY(request) link;
};

/* Takes the words over, copies who. NULL without memory: the words are still the caller's then. */
struct request *request_create(const struct ctl_host *host, struct codec_words *words,
                               const struct ctl_who *who, size_t reply_limit, uint64_t now_ms,
                               uint64_t wall_ms);
void request_free(struct request *request); /* NULL is allowed */

/*
 * Finds the command, checks its level against level, parses its arguments and runs it. done is
 * called exactly once, possibly before this returns, and owns the request then.
 */
void request_start(struct request *request, enum ctl_level level, request_done_fn *done,
                   void *owner);
/* For commands that answered COMMAND_PENDING: the reply is built. */
void request_finish(struct request *request);
/* False once the server is gone: host must not be touched any more. */
bool request_is_live(const struct request *request);

/* The reply becomes an error: what is wrong, and the command's usage. Returns -EINVAL. */
int request_refuse_usage(struct request *request, const char *what);
/* Whether a word is name=value. */
bool request_is_option(char *word);
/* Takes such a word, which is split in place, if the command has that option. Returns 0, or -EINVAL
 * with the reply an error. */
int request_parse_option(struct request *request, char *word);
/* The value of name=value, or NULL when it was not given. */
const char *request_option(const struct request *request, const char *name);
/* Finds what the arguments name; when there is none the reply becomes an error with the nearest
 * known name, and NULL is returned. */
const struct model_pool *request_find_pool(struct request *request, const char *name);
const struct model_backend *request_find_backend(struct request *request,
                                                 const struct model_pool *pool, const char *name);
/* Whether the pool has a backend of that name, or one whose addresses stand for it; if not the
 * reply is an error likewise. */
bool request_has_backend(struct request *request, const struct model_pool *pool, const char *name);
/* Whether any pool has such a backend; if not the reply is an error likewise. */
bool request_find_anywhere(struct request *request, const char *name);
/* Where a backend called so (pool NULL: in any pool) was removed and still has sessions the reply
 * becomes an error that says so, and how they are closed; otherwise false. */
bool request_refuse_removed(struct request *request, const char *pool, const char *name);
const struct model_service *request_find_service(struct request *request, const char *name);
/* Puts the rows of all that commands mean by that name into filter, of which row is
 * SESSION_FILTER_ANY before. */
void request_filter_rows(const struct model_pool *pool, const char *name,
                         struct session_filter *filter);
/* "POOL/NAME" of backend=, which may mean all addresses of a name, and removed ones that still have
 * sessions: puts their rows into filter. False with the reply an error. */
bool request_find_pair(struct request *request, const char *pair, struct session_filter *filter);
/* Typed options: untouched when not given. Return 0, or -EINVAL with the reply an error. */
int request_option_time(struct request *request, const char *name, uint64_t *out_ms);
/* The same, and takes the option away. */
int request_take_time(struct request *request, const char *name, uint64_t *out_ms);
int request_option_uint(struct request *request, const char *name, uint64_t min, uint64_t max,
                        uint64_t *out);

#endif
