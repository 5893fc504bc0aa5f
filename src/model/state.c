/*
 * Writing the state that outlives the daemon. In master.
 */
#include "state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "state_names.h"

const char *const state_kinds[OVERRIDE_KIND_COUNT + 1] = {
    [OVERRIDE_SET] = "set", [OVERRIDE_ADDED] = "added", [OVERRIDE_REMOVED] = "removed"};

/* What is not there is left out, so that a reader needs no third case. */
static void put_text(struct json *json, const char *key, const char *text)
{
    if (text != NULL) {
        json_put_string(json, key, text);
    }
}

static void put_settings(struct json *json, const struct override *item)
{
    if (item->n_settings == 0) {
        return;
    }
    json_begin_array(json, "settings");
    for (size_t i = 0; i < item->n_settings; i++) {
        json_begin_object(json, NULL);
        json_put_string(json, "option", item->settings[i].option);
        json_put_string(json, "value", item->settings[i].value);
        json_end_object(json);
    }
    json_end_array(json);
}

static void put_record(struct json *json, const char *key, const struct override *item)
{
    json_begin_object(json, key);
    json_put_string(json, "kind", state_kinds[item->kind]);
    put_text(json, "service", item->service);
    put_text(json, "pool", item->pool);
    put_text(json, "backend", item->backend);
    put_text(json, "option", item->option);
    put_text(json, "value", item->value);
    put_text(json, "file_value", item->file_value);
    put_text(json, "by", item->by);
    put_text(json, "why", item->why);
    json_put_uint(json, "at_ms", item->wall_ms);
    if (item->until_wall_ms != 0) {
        json_put_uint(json, "until_ms", item->until_wall_ms);
    }
    if (item->has_close) {
        json_put_uint(json, "close_ms", item->close_wall_ms);
    }
    put_settings(json, item);
    if (item->before != NULL) {
        put_record(json, "before", item->before);
    }
    json_end_object(json);
}

static void put_kept(struct json *json, const struct kept_config *item)
{
    json_begin_object(json, NULL);
    json_put_uint(json, "generation", item->generation);
    json_put_uint(json, "changes", item->changes);
    json_put_bool(json, "unconfirmed", item->unconfirmed);
    json_put_uint(json, "at_ms", item->wall_ms);
    json_put_string(json, "by", item->by);
    put_text(json, "why", item->why);
    json_put_string(json, "text", item->text);
    json_end_object(json);
}

static void put_configs(struct json *json, const struct state *state)
{
    json_put_uint(json, "generation", state->generation);
    json_begin_array(json, "configs");
    for (size_t i = 0; i < state->kept.count; i++) {
        put_kept(json, &state->kept.items[i]);
    }
    json_end_array(json);
    if (state->confirm.generation != 0) {
        json_begin_object(json, "confirm");
        json_put_uint(json, "generation", state->confirm.generation);
        json_put_uint(json, "until_ms", state->confirm.until_ms);
        json_put_string(json, "by", state->confirm.by);
        json_end_object(json);
    }
}

void state_encode(const struct state *state, struct str *out)
{
    struct json json;
    char seed[17];

    /* As text: in JSON, 64 bits do not fit a number that everyone reads alike. */
    snprintf(seed, sizeof(seed), "%016" PRIx64, state->hash_seed);
    json_init(&json, out);
    json_begin_object(&json, NULL);
    json_put_int(&json, "version", STATE_VERSION);
    json_put_string(&json, "hash_seed", seed);
    put_text(&json, "health_fail", state->health_fail);
    json_begin_array(&json, "overrides");
    for (size_t i = 0; i < state->overrides.count; i++) {
        put_record(&json, NULL, &state->overrides.items[i]);
    }
    json_end_array(&json);
    put_configs(&json, state);
    json_end_object(&json);
    str_append_char(out, '\n');
}

void state_free(struct state *state)
{
    overrides_free(&state->overrides);
    kept_free(&state->kept);
    free(state->confirm.by);
    free(state->health_fail);
    *state = (struct state){0};
}
