/*
 * From words to a reply. In master.
 */
#include "ctl/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"

#define NAMES_TOLD_MAX 12

struct request *request_create(const struct ctl_host *host, struct codec_words *words,
                               const struct ctl_who *who, size_t reply_limit, uint64_t now_ms,
                               uint64_t wall_ms)
{
    struct request *request = calloc(1, sizeof(*request));
    const char **positional = calloc(words->count + 1, sizeof(*positional));

    if (!request || !positional) {
        free(request);
        free(positional);
        return NULL;
    }
    request->host = *host;
    codec_join(&request->line, (const char *const *)words->words, words->count);
    request->words = *words;
    *words = (struct codec_words){0};
    request->positional = positional;
    request->args = positional;
    request->who = *who;
    snprintf(request->who_text, sizeof(request->who_text), "%s", who->text);
    request->who.text = request->who_text;
    request->who.why = NULL;
    request->now_ms = now_ms;
    request->wall_ms = wall_ms;
    bool as_json = request->words.count > 0 &&
                   strcmp(request->words.words[request->words.count - 1], "json") == 0;
    if (as_json)
        request->words.count--;
    reply_init(&request->reply, as_json, reply_limit);
    return request;
}

void request_free(struct request *request)
{
    if (!request)
        return;
    reply_free(&request->reply);
    str_free(&request->line);
    str_free(&request->closing_what);
    str_free(&request->closing_pool);
    change_list_free(&request->gathered);
    errlist_free(&request->gathered_errors);
    codec_words_free(&request->words);
    free(request->positional);
    free(request);
}

/* --- running --- */

static void finish(struct request *request)
{
    reply_finish(&request->reply);
    request->done(request);
}

void request_finish(struct request *request)
{
    if (request->running)
        request->finished = true;
    else
        finish(request);
}

bool request_is_live(const struct request *request)
{
    return request->owner != NULL;
}

static void refuse_unknown(struct request *request)
{
    const char *const *words = (const char *const *)request->words.words;
    const char *nearest = command_nearest(words, request->words.count);
    bool is_begun = request->words.count > 0 && command_begins_with(words[0]);
    STR_AUTO text = {0};

    codec_join(&text, words, request->words.count < 2 ? request->words.count : 2);
    if (request->words.count == 0)
        reply_bad_usage(&request->reply, "no command before json; \"help\" lists all commands");
    else if (is_begun && (request->words.count == 1 || !nearest))
        reply_bad_usage(&request->reply,
                        "unknown command: %s; \"help %s\" lists those that begin with %s",
                        str_text(&text), words[0], words[0]);
    else if (nearest)
        reply_bad_usage(&request->reply,
                        "unknown command: %s; did you mean \"%s\"? (\"help\" lists all commands)",
                        str_text(&text), nearest);
    else
        reply_bad_usage(&request->reply, "unknown command: %s; \"help\" lists all commands",
                        str_text(&text));
}

/* The one place where levels are checked. */
static bool is_allowed(struct request *request, enum ctl_level level)
{
    STR_AUTO options = {0};

    if (level >= request->command->level)
        return true;
    auth_options_text(request->command->level, &options);
    reply_error(&request->reply,
                "not allowed: \"%s\" needs level %s, and uid %u has %s; add the user or an "
                "@group of it to %s in the section global",
                request->command->words, ctl_level_names[request->command->level],
                (unsigned)request->who.uid, ctl_level_names[level], str_text(&options));
    request->denied = true;
    return false;
}

int request_refuse_usage(struct request *request, const char *what)
{
    STR_AUTO usage = {0};

    command_usage(request->command, &usage);
    reply_bad_usage(&request->reply, "%s%s usage: %s", what,
                    what[strlen(what) - 1] == '?' ? "" : ";", str_text(&usage));
    return -EINVAL;
}

static int parse_arguments(struct request *request, size_t taken)
{
    const struct command *command = request->command;
    size_t count = request->words.count;

    if ((command->flags & COMMAND_FORCE) && count > taken &&
        strcmp(request->words.words[count - 1], "force") == 0) {
        request->force = true;
        count--;
    }
    for (size_t i = taken; i < count; i++) {
        char *word = request->words.words[i];

        if (!request_is_option(word))
            request->positional[request->n_args++] = word;
        else if (request_parse_option(request, word) != 0)
            return -EINVAL;
    }
    if (request->n_args < command->args_min)
        return request_refuse_usage(request, "something is missing");
    if (request->n_args > command->args_max)
        return request_refuse_usage(request, "too many words");
    if ((command->flags & COMMAND_SETTINGS) && request->n_options == 0)
        return request_refuse_usage(request, "no option=value is given");
    return 0;
}

/* True when the command is to be run. */
static bool prepare(struct request *request, enum ctl_level level)
{
    size_t taken = 0;

    request->command =
        command_find((const char *const *)request->words.words, request->words.count, &taken);
    if (!request->command) {
        refuse_unknown(request);
        return false;
    }
    return is_allowed(request, level) && parse_arguments(request, taken) == 0;
}

void request_start(struct request *request, enum ctl_level level, request_done_fn *done,
                   void *owner)
{
    enum command_outcome outcome = COMMAND_DONE;

    request->done = done;
    request->owner = owner;
    request->running = true;
    if (prepare(request, level))
        outcome = request->command->run(request);
    request->running = false;
    if (outcome == COMMAND_DONE || request->finished)
        finish(request);
}

/* --- what commands ask of their arguments --- */

static const struct model *model_of(const struct request *request)
{
    return request->host.ops->model(request->host.self);
}

/* The reply becomes: what name is not known, and the nearest of the names, or some of them. */
static void refuse_name(struct request *request, const char *what, const char *name,
                        const char **names)
{
    const char *nearest = units_nearest(name, names);
    STR_AUTO quoted = {0};
    STR_AUTO known = {0};
    size_t n = 0;

    for (; names[n] && n < NAMES_TOLD_MAX; n++)
        str_printf(&known, "%s%s", n > 0 ? ", " : "", names[n]);
    if (names[n])
        str_append(&known, " and more");
    codec_quote(&quoted, name);
    if (nearest)
        reply_error(&request->reply, "there is no %s %s; did you mean %s?", what, str_text(&quoted),
                    nearest);
    else
        reply_error(&request->reply, "there is no %s %s; known: %s", what, str_text(&quoted),
                    n > 0 ? str_text(&known) : "none");
}

/* Names of count structs that begin with their name, for the nearest one. */
static void refuse_among(struct request *request, const char *what, const char *name,
                         const void *first, size_t count, size_t struct_bytes)
{
    const char **names = calloc(count + 1, sizeof(*names));

    if (!names) {
        reply_error(&request->reply, "there is no such %s", what);
        return;
    }
    for (size_t i = 0; i < count; i++)
        memcpy(&names[i], (const char *)first + i * struct_bytes, sizeof(names[i]));
    refuse_name(request, what, name, names);
    free(names);
}

_Static_assert(offsetof(struct model_pool, name) == 0 &&
                   offsetof(struct model_backend, name) == 0 &&
                   offsetof(struct model_service, name) == 0,
               "refuse_among reads the name at the start");

const struct model_pool *request_find_pool(struct request *request, const char *name)
{
    const struct model *model = model_of(request);
    const struct model_pool *pool = model_find_pool(model, name);

    if (!pool)
        refuse_among(request, "pool", name, model->pools, model->n_pools, sizeof(*model->pools));
    return pool;
}

const struct model_backend *request_find_backend(struct request *request,
                                                 const struct model_pool *pool, const char *name)
{
    const struct model_backend *backend = model_find_backend(pool, name);
    STR_AUTO what = {0};

    if (backend)
        return backend;
    if (request_refuse_removed(request, pool->name, name))
        return NULL;
    str_printf(&what, "backend in pool %s called", pool->name);
    refuse_among(request, str_text(&what), name, pool->backends, pool->n_backends,
                 sizeof(*pool->backends));
    return NULL;
}

bool request_has_backend(struct request *request, const struct model_pool *pool, const char *name)
{
    return model_has_backend(pool, name) || request_find_backend(request, pool, name);
}

bool request_find_anywhere(struct request *request, const char *name)
{
    const struct model *model = model_of(request);
    const char **names;
    size_t n = 0;

    for (size_t i = 0; i < model->n_pools; i++) {
        if (model_has_backend(&model->pools[i], name))
            return true;
        n += model->pools[i].n_backends;
    }
    if (request_refuse_removed(request, NULL, name))
        return false;
    names = calloc(n + 1, sizeof(*names));
    if (!names) {
        reply_error(&request->reply, "there is no such backend");
        return false;
    }
    n = 0;
    for (size_t i = 0; i < model->n_pools; i++)
        for (size_t j = 0; j < model->pools[i].n_backends; j++)
            names[n++] = model->pools[i].backends[j].name;
    refuse_name(request, "backend in any pool called", name, names);
    free(names);
    return false;
}

const struct model_service *request_find_service(struct request *request, const char *name)
{
    const struct model *model = model_of(request);
    const struct model_service *service = model_find_service(model, name);

    if (!service)
        refuse_among(request, "service", name, model->services, model->n_services,
                     sizeof(*model->services));
    return service;
}

static void filter_row(struct session_filter *filter, uint32_t row)
{
    bool known = filter->row == row;

    for (uint32_t i = 0; i < filter->n_more && !known; i++)
        known = filter->more[i] == row;
    if (filter->row == SESSION_FILTER_ANY)
        filter->row = row;
    else if (!known && filter->n_more < SESSION_FILTER_MORE_MAX)
        filter->more[filter->n_more++] = row;
}

void request_filter_rows(const struct model_pool *pool, const char *name,
                         struct session_filter *filter)
{
    _Static_assert(NAMES_ANSWERS_MAX <= SESSION_FILTER_MORE_MAX + 1, "all addresses of a name");
    for (size_t i = 0; i < pool->n_backends; i++)
        if (model_backend_is_meant(&pool->backends[i], name))
            filter_row(filter, pool->backends[i].row);
}

/* Those of removed ones that still have sessions, as show backends lists them. */
static void filter_removed(const struct ctl_host *host, const char *pool, const char *name,
                           struct session_filter *filter)
{
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        struct ctl_drain drain;

        if (host->ops->drain(host->self, slot, &drain) && drain.removed &&
            atomic_load_explicit(&host->sb->slot_active[slot], memory_order_relaxed) > 0 &&
            strcmp(drain.pool, pool) == 0 &&
            (strcmp(drain.backend, name) == 0 || names_is_of(drain.backend, name)))
            filter_row(filter, drain.row);
    }
}

bool request_find_pair(struct request *request, const char *pair, struct session_filter *filter)
{
    const char *slash = strchr(pair, '/');
    const struct model_pool *pool;
    STR_AUTO name = {0};

    if (!slash) {
        reply_error(&request->reply, "backend=%s names no pool; write backend=POOL/NAME", pair);
        return false;
    }
    str_append_n(&name, pair, (size_t)(slash - pair));
    filter->row = SESSION_FILTER_ANY;
    filter_removed(&request->host, str_text(&name), slash + 1, filter);
    pool = model_find_pool(model_of(request), str_text(&name));
    if (pool)
        request_filter_rows(pool, slash + 1, filter);
    if (filter->row != SESSION_FILTER_ANY)
        return true;
    pool = request_find_pool(request, str_text(&name));
    return pool && request_has_backend(request, pool, slash + 1);
}
