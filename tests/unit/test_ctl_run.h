/*
 * Running lines through requests, and looking at their replies. Included by test_ctl_*.c.
 */
#ifndef TEST_CTL_RUN_H
#define TEST_CTL_RUN_H

#include "test_ctl_fixture.h"

#include <jansson.h>

static struct {
    struct str text;
    bool is_error, denied;
    unsigned n_done;
} result;

static struct request *pending; /* started, not done */

static void on_done(struct request *request)
{
    STR_AUTO frame = {0};

    str_reset(&result.text);
    str_append_n(&result.text, str_text(&request->reply.body), request->reply.body.len);
    result.is_error = request->reply.is_error;
    result.denied = request->denied;
    result.n_done++;
    codec_frame(&frame, str_text(&result.text), result.text.len);
    /* No empty line but the closing one, in whatever a command says. */
    if (frame.len > 1)
        ck_assert_ptr_eq(strstr(str_text(&frame), "\n\n"), frame.data + frame.len - 2);
    if (request->afterwards)
        request->afterwards(request);
    if (pending == request)
        pending = NULL;
    request_free(request);
}

static void start(const char *line, enum ctl_level level)
{
    static const struct ctl_who who = {.uid = 1001, .gid = 1001, .pid = 42,
                                       .login_uid = UINT32_MAX, .text = "uid 1001 pid 42"};
    struct codec_words words = {0};
    const char *problem = NULL;

    ck_assert_int_eq(codec_split(line, strlen(line), &words, &problem), 0);
    pending = request_create(&fake.host, &words, &who, 64 * 1024 * 1024, clock_now_ms(),
                             clock_wall_ms());
    ck_assert_ptr_nonnull(pending);
    result.n_done = 0;
    request_start(pending, level, on_done, &fake);
}

UNUSED static const char *run(const char *line)
{
    start(line, CTL_LEVEL_ADMINISTER);
    ck_assert_uint_eq(result.n_done, 1);
    return str_text(&result.text);
}

UNUSED static json_t *run_json(const char *line)
{
    json_error_t error;
    json_t *json = json_loads(run(line), 0, &error);

    ck_assert_msg(json != NULL, "%s: %s: %s", line, error.text, str_text(&result.text));
    ck_assert(json_is_object(json));
    return json;
}

#define says(text, part)                                                                           \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in: %s", part, text)

UNUSED static json_t *named(json_t *json, const char *list, const char *name)
{
    json_t *array = json_object_get(json, list), *item;
    size_t i;

    json_array_foreach(array, i, item)
        if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0)
            return item;
    ck_abort_msg("no %s in %s", name, list);
    return NULL;
}

#define is_text(object, key, value)                                                                \
    ck_assert_str_eq(json_string_value(json_object_get(object, key)), value)
#define is_number(object, key, value)                                                              \
    ck_assert_int_eq(json_integer_value(json_object_get(object, key)), value)

/* On a slow machine time goes on. */
#define is_about(object, key, value)                                                               \
    do {                                                                                           \
        is_at_least(object, key, value);                                                           \
        ck_assert_int_le(json_integer_value(json_object_get(object, key)), (value) + 60);          \
    } while (0)
#define is_at_least(object, key, value)                                                            \
    ck_assert_int_ge(json_integer_value(json_object_get(object, key)), value)
#define is_bool(object, key, value)                                                                \
    ck_assert_int_eq(json_is_true(json_object_get(object, key)), value)

#endif
