/*
 * Reading the state that outlived the daemon. Whoever may write the file could as well write the
 * configuration; but it may be damaged, or edited by hand: nothing of it is believed before all of
 * it is sound, and nothing in it may be what a command could not have said. In master.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"
#include "state_names.h"

#define BEFORE_MAX   4 /* records that wait within each other; commands make one */
#define SETTINGS_MAX 64

struct reader {
    uint64_t now_ms, wall_ms;
    struct str *problem;
};

/* A record's strings are the JSON's; what is allocated is freed by release(). */
static void release(struct override *item)
{
    if (item == NULL) {
        return;
    }
    release(item->before);
    free(item->before);
    free(item->settings);
}

__attribute__((format(printf, 2, 3))) static int refuse(const struct reader *reader,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    str_vprintf(reader->problem, format, args);
    va_end(args);
    return 1;
}

/* What is printed as lines to paste into a file must not be able to begin a line. */
static bool has_control(const char *text)
{
    for (const char *c = text; c != NULL && *c != '\0'; c++) {
        bool is_c1 = (unsigned char)c[0] == 0xc2 && (unsigned char)c[1] < 0xa0;

        if ((unsigned char)*c < ' ' || *c == 0x7f || is_c1) {
            return true;
        }
    }
    return false;
}

static bool is_among(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

static int read_setting(const struct reader *reader, json_t *json, bool is_first,
                        struct override_setting *out)
{
    json_error_t error;

    if (json_unpack_ex(json, &error, JSON_STRICT, "{s:s, s:s}", "option", &out->option, "value",
                       &out->value) != 0) {
        return refuse(reader, "a setting: %s", error.text);
    }
    if (has_control(out->value)) {
        return refuse(reader, "a setting: control characters");
    }
    if (is_first ? strcmp(out->option, "address") != 0
                 : !is_among(override_addable(), out->option)) {
        return refuse(reader, "a setting: no backend is added with that option");
    }
    return 0;
}

static int read_settings(const struct reader *reader, json_t *json, struct override *item)
{
    size_t n = json_array_size(json); /* 0 where it is not there, or no list */
    int rc = 0;

    if (json != NULL && (n == 0 || n > SETTINGS_MAX)) {
        return refuse(reader, "settings: no list, or none or too many in it");
    }
    item->settings = n > 0 ? calloc(n, sizeof(*item->settings)) : NULL;
    if (n > 0 && item->settings == NULL) {
        return -ENOMEM;
    }
    item->n_settings = n;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = read_setting(reader, json_array_get(json, i), i == 0, &item->settings[i]);
    }
    return rc;
}

static int judge_texts(const struct reader *reader, const struct override *item)
{
    const char *const texts[] = {item->service, item->pool,  item->backend,    item->option,
                                 item->by,      item->value, item->file_value, item->why};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (has_control(texts[i])) {
            return refuse(reader, "control characters");
        }
    }
    return 0;
}

static bool may_set(const struct override *item)
{
    const char *const *names = item->service != NULL   ? override_settable_of_service()
                               : item->pool == NULL    ? override_settable_of_global()
                               : item->backend != NULL ? override_settable_of_backend()
                                                       : override_settable_of_pool();

    return item->option != NULL && is_among(names, item->option);
}

/* Whether it is one that a command could have made. */
static int judge_record(const struct reader *reader, const struct override *item)
{
    bool is_set = item->kind == OVERRIDE_SET;
    bool names_one = item->pool != NULL ? item->service == NULL : item->backend == NULL;

    if (!names_one || (!is_set && item->backend == NULL)) {
        return refuse(reader, "it does not name what it is about");
    }
    if (is_set ? !may_set(item) : item->option != NULL) {
        return refuse(reader, "its option cannot be set");
    }
    if (item->kind == OVERRIDE_REMOVED ? item->value != NULL || item->file_value == NULL
                                       : item->value == NULL) {
        return refuse(reader, "its value is missing, or one too many");
    }
    if ((item->kind == OVERRIDE_ADDED) != (item->n_settings > 0)) {
        return refuse(reader, "only what was added has settings, and it needs them");
    }
    if (item->before != NULL &&
        (item->until_wall_ms == 0 || !override_is_same(item, item->before))) {
        return refuse(reader, "what stands after it does not belong to it");
    }
    return judge_texts(reader, item);
}

static void set_end(const struct reader *reader, struct override *item)
{
    uint64_t until = item->until_wall_ms;
    uint64_t left = until > reader->wall_ms ? until - reader->wall_ms : 0;
    uint64_t asked = until > item->wall_ms ? until - item->wall_ms : 0;

    if (until != 0) {
        item->until_ms = reader->now_ms + (left < asked ? left : asked);
    }
}

/* What the sessions had that are gone with the old daemon; it still says until when clients may
 * come back to where they were. */
static void set_close(const struct reader *reader, struct override *item, json_int_t close_ms)
{
    uint64_t close = close_ms > 0 ? (uint64_t)close_ms : 0;
    uint64_t left = close > reader->wall_ms ? close - reader->wall_ms : 0;
    uint64_t asked = close > item->wall_ms ? close - item->wall_ms : 0;

    item->has_close = close_ms >= 0;
    item->close_wall_ms = close;
    item->close_ms = close != 0 ? reader->now_ms + (left < asked ? left : asked) : 0;
}

static int read_record(const struct reader *reader, json_t *json, unsigned depth,
                       struct override *item);

static int read_before(const struct reader *reader, json_t *json, unsigned depth,
                       struct override *item)
{
    if (json == NULL) {
        return 0;
    }
    if (depth == BEFORE_MAX) {
        return refuse(reader, "too many stand after each other");
    }
    item->before = calloc(1, sizeof(*item->before));
    return item->before != NULL ? read_record(reader, json, depth + 1, item->before) : -ENOMEM;
}

static int find_kind(const char *word)
{
    int kind = 0;

    while (state_kinds[kind] != NULL && strcmp(state_kinds[kind], word) != 0) {
        kind++;
    }
    return kind;
}

/* item is zeroed, and released by the caller in any case. */
static int read_record(const struct reader *reader, json_t *json, unsigned depth,
                       struct override *item)
{
    json_t *settings = NULL;
    json_t *before = NULL;
    json_int_t at_ms = 0;
    json_int_t until_ms = 0;
    json_int_t close_ms = -1; /* not said */
    const char *kind;
    json_error_t error;
    int rc;

    if (json_unpack_ex(json, &error, JSON_STRICT,
                       "{s:s, s?s, s?s, s?s, s?s, s?s, s?s, s:s, s?s, s:I, s?I, s?I, s?o, s?o}",
                       "kind", &kind, "service", &item->service, "pool", &item->pool, "backend",
                       &item->backend, "option", &item->option, "value", &item->value, "file_value",
                       &item->file_value, "by", &item->by, "why", &item->why, "at_ms", &at_ms,
                       "until_ms", &until_ms, "close_ms", &close_ms, "settings", &settings,
                       "before", &before) != 0) {
        return refuse(reader, "%s", error.text);
    }
    if (find_kind(kind) == OVERRIDE_KIND_COUNT) {
        return refuse(reader, "its kind is unknown");
    }
    if (at_ms < 0 || until_ms < 0 || close_ms < -1) {
        return refuse(reader, "a time before all times");
    }
    item->kind = (enum override_kind)find_kind(kind);
    item->wall_ms = (uint64_t)at_ms;
    item->until_wall_ms = (uint64_t)until_ms;
    set_end(reader, item);
    set_close(reader, item, close_ms);
    rc = read_settings(reader, settings, item);
    rc = rc == 0 ? read_before(reader, before, depth, item) : rc;
    return rc == 0 ? judge_record(reader, item) : rc;
}

static int read_overrides(const struct reader *reader, json_t *json, struct overrides *list)
{
    int rc = 0;

    if (!json_is_array(json)) {
        return refuse(reader, "overrides: no list");
    }
    for (size_t i = 0; i < json_array_size(json) && rc == 0; i++) {
        struct override item = {0};
        STR_AUTO text = {0};
        const struct reader of_record = {reader->now_ms, reader->wall_ms, &text};

        rc = read_record(&of_record, json_array_get(json, i), 0, &item);
        if (rc == 1) {
            rc = refuse(reader, "record %zu: %s", i + 1, str_text(&text));
        } else if (rc == 0) {
            rc = overrides_set(list, &item);
        }
        release(&item);
    }
    return rc;
}

/* A text of file syntax has line breaks, but nothing else that its writer would have escaped. */
static bool is_config_text(const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (((unsigned char)*c < ' ' && *c != '\n') || *c == 0x7f) {
            return false;
        }
    }
    return *text != '\0';
}

static int read_config(const struct reader *reader, json_t *json, struct kept_configs *list)
{
    struct kept_config item = {0};
    json_int_t generation, changes, at_ms;
    int unconfirmed;
    json_error_t error;

    if (json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:I, s:b, s:I, s:s, s?s, s:s}",
                       "generation", &generation, "changes", &changes, "unconfirmed", &unconfirmed,
                       "at_ms", &at_ms, "by", &item.by, "why", &item.why, "text",
                       &item.text) != 0) {
        return refuse(reader, "configs: %s", error.text);
    }
    if (generation < 1 || generation > UINT32_MAX || changes < 0 || changes > UINT32_MAX ||
        at_ms < 0 || has_control(item.by) || has_control(item.why) || !is_config_text(item.text)) {
        return refuse(reader, "configs: one is not what it should be");
    }
    item.generation = (uint32_t)generation;
    item.changes = (uint32_t)changes;
    item.unconfirmed = unconfirmed != 0;
    item.wall_ms = (uint64_t)at_ms;
    return kept_add(list, &item, 0);
}

static int read_confirm(const struct reader *reader, json_t *json, struct state *state)
{
    json_int_t generation, until_ms;
    const char *by;
    json_error_t error;

    if (json == NULL) {
        return 0;
    }
    if (json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:I, s:s}", "generation", &generation,
                       "until_ms", &until_ms, "by", &by) != 0) {
        return refuse(reader, "confirm: %s", error.text);
    }
    if (generation < 1 || generation > UINT32_MAX || until_ms < 0 || has_control(by) ||
        kept_find(&state->kept, (uint32_t)generation) == NULL) {
        return refuse(reader, "confirm: it is not what it should be");
    }
    state->confirm = (struct state_confirm){
        .generation = (uint32_t)generation, .until_ms = (uint64_t)until_ms, .by = strdup(by)};
    return state->confirm.by != NULL ? 0 : -ENOMEM;
}

/* What version 1 did not have: all NULL and 0 there. */
static int read_configs(const struct reader *reader, json_t *configs, json_t *confirm,
                        json_int_t generation, struct state *state)
{
    int rc = 0;

    if ((configs != NULL && !json_is_array(configs)) || generation < 0 || generation > UINT32_MAX) {
        return refuse(reader, "generation or configs is not what it should be");
    }
    state->generation = (uint32_t)generation;
    for (size_t i = 0; i < json_array_size(configs) && rc == 0; i++) {
        rc = read_config(reader, json_array_get(configs, i), &state->kept);
        if (rc == -EFBIG) {
            rc = refuse(reader, "configs: they are too large");
        }
    }
    return rc == 0 ? read_confirm(reader, confirm, state) : rc;
}

/* 16 digits, and nothing else. */
static bool read_seed(const char *text, uint64_t *out)
{
    bool is_seed = strlen(text) == 16 && strspn(text, "0123456789abcdef") == 16;

    *out = is_seed ? strtoull(text, NULL, 16) : 0;
    return is_seed;
}

static int read_all(const struct reader *reader, json_t *root, struct state *state)
{
    const char *seed;
    const char *health_fail = NULL;
    json_t *overrides;
    json_t *configs = NULL;
    json_t *confirm = NULL;
    json_int_t generation = 0;
    json_error_t error;
    json_int_t version;
    int rc;

    if (json_unpack_ex(root, &error, 0, "{s:I}", "version", &version) != 0 || version < 1) {
        return refuse(reader, "it has no version");
    }
    if (version > STATE_VERSION) {
        return refuse(reader, "its version %lld is newer than this release, which knows %d",
                      (long long)version, STATE_VERSION);
    }
    if (json_unpack_ex(root, &error, JSON_STRICT, "{s:I, s:s, s?s, s:o, s?I, s?o, s?o}", "version",
                       &version, "hash_seed", &seed, "health_fail", &health_fail, "overrides",
                       &overrides, "generation", &generation, "configs", &configs, "confirm",
                       &confirm) != 0) {
        return refuse(reader, "%s", error.text);
    }
    if (!read_seed(seed, &state->hash_seed) || has_control(health_fail)) {
        return refuse(reader, "hash_seed or health_fail is not what it should be");
    }
    state->health_fail = health_fail != NULL ? strdup(health_fail) : NULL;
    if (health_fail != NULL && state->health_fail == NULL) {
        return -ENOMEM;
    }
    rc = read_overrides(reader, overrides, &state->overrides);
    return rc == 0 ? read_configs(reader, configs, confirm, generation, state) : rc;
}

int state_decode(const char *text, size_t len, uint64_t now_ms, uint64_t wall_ms, struct state *out,
                 struct str *out_problem)
{
    const struct reader reader = {now_ms, wall_ms, out_problem};
    struct state state = {0};
    json_error_t error;
    json_t *root;
    int rc;

    if (len > STATE_BYTES_MAX) {
        return refuse(&reader, "it is too large");
    }
    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    rc = root != NULL ? read_all(&reader, root, &state)
                      : refuse(&reader, "line %d: %s", error.line, error.text);
    json_decref(root);
    if (rc != 0) {
        state_free(&state);
        return rc;
    }
    *out = state;
    return 0;
}
