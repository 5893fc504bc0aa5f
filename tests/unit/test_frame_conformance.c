/* The conformance suite of framers: what framer.h promises, of each of them. frame_run() ends the
 * program where the contract is broken; here is what to run. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "frame_run.h"
#include "test_frame_scripts.h"

/* SplitMix64, of Vigna, https://prng.di.unimi.it/splitmix64.c */
static uint64_t draw(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static size_t draw_below(uint64_t *random, size_t n)
{
    return n > 0 ? (size_t)(draw(random) % n) : 0;
}

static size_t count_exchanges(const struct script *script)
{
    size_t n = 0;

    while (n < EXCHANGES_MAX && script->exchanges[n].client.n > 0) {
        n++;
    }
    return n;
}

static void append(struct str *s, struct bytes bytes)
{
    str_append_n(s, bytes.at, bytes.n);
}

static struct frame_input input_of(const struct str *client, const struct str *backend)
{
    return (struct frame_input){
        .client = client->data,
        .n_client = client->len,
        .backend = backend->data,
        .n_backend = backend->len,
    };
}

static const char *run(int kind, const struct frame_input *input)
{
    return frame_run(framer_table[kind], &script_options, input);
}

static bool run_alike(int kind, const struct frame_input *input, unsigned n)
{
    return frame_run_alike(framer_table[kind], &script_options, input, n);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;

    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

START_TEST(describes_itself)
{
    const struct framer_ops *framer = framer_table[_i];

    ck_assert_ptr_nonnull(framer);
    ck_assert_str_ne(framer->name, "");
    ck_assert_uint_gt(framer->state_bytes, 0);
    ck_assert_uint_le(framer->state_bytes, FRAMER_STATE_MAX);
    ck_assert(framer->init != NULL && framer->request != NULL && framer->reply != NULL);
    ck_assert(framer->reply_ended != NULL && framer->again != NULL);
    for (int kind = FRAMING_NONE + 1; kind < _i; kind++) {
        ck_assert_str_ne(framer->name, framer_table[kind]->name);
    }
}
END_TEST

/* Each exchange by itself: it starts, its answer comes, and neither how they are split nor an
 * upstream that fails makes a difference. */
START_TEST(exchanges_are_understood)
{
    const struct script *script = &scripts[_i];

    for (size_t e = 0; e < count_exchanges(script); e++) {
        const struct exchange *x = &script->exchanges[e];
        struct frame_input input = {.client = x->client.at,
                                    .n_client = x->client.n,
                                    .backend = x->backend.at,
                                    .n_backend = x->backend.n,
                                    .seed = e};
        STR_AUTO usual = {0};
        str_append(&usual, run(_i, &input));
        ck_assert_msg(count(usual.data, "request starts") == 1, "%zu: %s", e, usual.data);
        ck_assert_uint_eq(count(usual.data, "refuse"), 0);
        ck_assert_msg(e >= 2 || strstr(usual.data, "\nreply ends clean\n") != NULL, "%zu: %s", e,
                      usual.data);
        ck_assert_uint_eq(count(usual.data, "untaken"), 0);
        ck_assert(run_alike(_i, &input, 40));
        input.again = true;
        ck_assert_str_eq(run(_i, &input), usual.data);
        ck_assert(run_alike(_i, &input, 20));
        input.backend_ends = true;
        ck_assert(run_alike(_i, &input, 10));
    }
}
END_TEST

/* Random dialogues of a few exchanges, either side of which may stop anywhere. */
START_TEST(dialogues_are_alike)
{
    const struct script *script = &scripts[_i];
    size_t n = count_exchanges(script);
    uint64_t random = 1;
    bool alike = true;

    for (int round = 0; round < 300 && alike; round++) {
        STR_AUTO client = {0};
        STR_AUTO backend = {0};
        for (size_t left = 1 + draw_below(&random, 5); left > 0; left--) {
            const struct exchange *x = &script->exchanges[draw_below(&random, n)];
            append(&client, x->client);
            append(&backend, x->backend);
        }
        struct frame_input input = input_of(&client, &backend);
        input.seed = (uint64_t)round;
        input.fresh = round % 2 == 0;
        input.again = round % 3 == 0;
        input.backend_ends = round % 5 == 0;
        alike = run_alike(_i, &input, 2);
        input.n_client = draw_below(&random, client.len + 1);
        alike = alike && run_alike(_i, &input, 2);
        input.n_backend = draw_below(&random, backend.len + 1);
        alike = alike && run_alike(_i, &input, 2);
    }
    ck_assert(alike);
}
END_TEST

static void spoil(struct str *s, uint64_t *random)
{
    static const char favoured[] = "\r\n\0 :;*$0123456789-\xff\x80";

    for (size_t left = 1 + draw_below(random, 3); left > 0 && s->len > 1; left--) {
        size_t at = draw_below(random, s->len);
        if (draw(random) % 3 == 0) {
            memmove(s->data + at, s->data + at + 1, s->len - at - 1);
            s->len--;
        } else {
            s->data[at] = draw(random) % 2 == 0
                              ? (char)draw(random)
                              : favoured[draw_below(random, sizeof(favoured) - 1)];
        }
    }
}

/* Dialogues with some bytes changed or gone. */
START_TEST(spoilt_dialogues_are_alike)
{
    const struct script *script = &scripts[_i];
    size_t n = count_exchanges(script);
    uint64_t random = 2;
    bool alike = true;

    for (int round = 0; round < 1000 && alike; round++) {
        STR_AUTO client = {0};
        STR_AUTO backend = {0};
        for (size_t left = 1 + draw_below(&random, 3); left > 0; left--) {
            const struct exchange *x = &script->exchanges[draw_below(&random, n)];
            append(&client, x->client);
            append(&backend, x->backend);
        }
        spoil(draw(&random) % 2 == 0 ? &client : &backend, &random);
        struct frame_input input = input_of(&client, &backend);
        input.seed = (uint64_t)round;
        input.fresh = round % 2 == 0;
        alike = run_alike(_i, &input, 2);
    }
    ck_assert(alike);
}
END_TEST

START_TEST(garbage_breaks_nothing)
{
    uint64_t random = 3;
    bool alike = true;

    for (int round = 0; round < 500 && alike; round++) {
        unsigned char client[300], backend[300];
        unsigned mask = round % 2 == 0 ? 0xff : 0x3f; /* of any bytes, of digits and their like */
        for (size_t i = 0; i < sizeof(client); i++) {
            client[i] = (unsigned char)(draw(&random) & mask);
            backend[i] = (unsigned char)(draw(&random) & mask);
        }
        const struct exchange *first = &scripts[_i].exchanges[0];
        struct frame_input input = {.client = client,
                                    .n_client = draw_below(&random, 300),
                                    .backend = backend,
                                    .n_backend = draw_below(&random, 300),
                                    .backend_ends = round % 3 == 0,
                                    .seed = (uint64_t)round};
        alike = run_alike(_i, &input, 2);
        input.client = first->client.at;
        input.n_client = first->client.n;
        alike = alike && run_alike(_i, &input, 2);
    }
    ck_assert(alike);
}
END_TEST

START_TEST(refused_is_not_passed_on)
{
    const struct script *script = &scripts[_i];
    const struct exchange *first = &script->exchanges[0];

    for (size_t r = 0; r < BEGINNINGS_MAX && script->refused[r].n > 0; r++) {
        STR_AUTO client = {0};
        STR_AUTO backend = {0};
        append(&client, first->client);
        append(&client, script->refused[r]);
        append(&client, first->client);
        append(&backend, first->backend);
        append(&backend, first->backend);
        struct frame_input input = input_of(&client, &backend);
        input.seed = r;
        const char *transcript = run(_i, &input);
        ck_assert_msg(count(transcript, "refuse \"") == 1, "%zu: %s", r, transcript);
        ck_assert_msg(count(transcript, "request starts") == 1, "%zu: %s", r, transcript);
        ck_assert(run_alike(_i, &input, 20));
    }
}
END_TEST

/* Without an answer to the first request, nothing of the second is looked at. */
START_TEST(pipelined_requests_wait)
{
    const struct exchange *x = scripts[_i].exchanges;

    STR_AUTO client = {0};
    STR_AUTO backend = {0};
    append(&client, x[0].client);
    append(&client, x[1].client);
    append(&backend, x[0].backend);
    struct frame_input input = input_of(&client, &backend);
    char untaken[60];
    snprintf(untaken, sizeof(untaken), "\nuntaken of client %zu\n", x[1].client.n);
    for (input.n_backend = 0; input.n_backend < backend.len; input.n_backend++) {
        const char *transcript = run(_i, &input);
        ck_assert_msg(count(transcript, "request starts") == 1, "%s", transcript);
        ck_assert_msg(count(transcript, untaken) == 1, "%s", transcript);
        ck_assert(run_alike(_i, &input, 3));
    }
    ck_assert_uint_eq(count(run(_i, &input), "request starts"), 2);
}
END_TEST

/* Bytes behind an answer's end are nobody's. */
START_TEST(stray_answers_stay)
{
    const struct exchange *x = scripts[_i].exchanges;

    STR_AUTO backend = {0};
    append(&backend, x[0].backend);
    append(&backend, x[1].backend);
    struct frame_input input = {.client = x[0].client.at,
                                .n_client = x[0].client.n,
                                .backend = backend.data,
                                .n_backend = backend.len,
                                .seed = 1};
    char untaken[60];
    snprintf(untaken, sizeof(untaken), "\nreply ends clean\nuntaken of backend %zu\n",
             x[1].backend.n);
    ck_assert_ptr_nonnull(strstr(run(_i, &input), untaken));
    ck_assert(run_alike(_i, &input, 20));
}
END_TEST

/* begin, and then c up to n bytes, of which the backend's are the same where to_backend. */
static bool endless_is_alike(int kind, struct bytes begin, char c, size_t n, bool of_backend)
{
    STR_AUTO text = {0};
    struct bytes first = scripts[kind].exchanges[0].client;

    append(&text, begin);
    while (text.len < n) {
        str_append_char(&text, c);
    }
    struct frame_input input = {.client = text.data, .n_client = n, .seed = n};
    if (of_backend) {
        input = (struct frame_input){.client = first.at,
                                     .n_client = first.n,
                                     .backend = text.data,
                                     .n_backend = n,
                                     .backend_ends = n % 2 == 0,
                                     .seed = n};
    }
    /* Byte by byte costs framers their patience where they look at all that is held. */
    STR_AUTO whole = {0};
    str_append(&whole, run(kind, &input));
    for (input.seed = 2; input.seed < 5; input.seed++) {
        if (strcmp(run(kind, &input), whole.data) != 0) {
            return false;
        }
    }
    return true;
}

/* What has no end is not held beyond the limit, which frame_run() sees to. */
START_TEST(holds_no_more_than_it_may)
{
    static const char fillers[] = "x1";
    const struct script *script = &scripts[_i];
    bool alike = true;

    for (size_t b = 0; b < BEGINNINGS_MAX; b++) {
        for (size_t n = FRAMER_HOLD_MAX - 1; n <= FRAMER_HOLD_MAX + 2; n++) {
            for (const char *c = fillers; *c != '\0'; c++) {
                alike = alike && (script->endless[b].n == 0 ||
                                  endless_is_alike(_i, script->endless[b], *c, n, false));
                alike = alike && (script->endless_answers[b].n == 0 ||
                                  endless_is_alike(_i, script->endless_answers[b], *c, n, true));
            }
        }
    }
    ck_assert(alike);
}
END_TEST

/* Appends a request that is n bytes in all. */
static void append_request(struct str *s, int kind, size_t n)
{
    static const char *const around[FRAMING_KIND_COUNT][2] = {
        [FRAMING_HTTP1] = {"GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n"},
        [FRAMING_RESP] = {"ECHO ", "\r\n"},
        [FRAMING_MEMCACHED] = {"set a 0 0 %%%%%\r\n", "\r\n"},
        [FRAMING_LINE] = {"", "\n"},
        [FRAMING_LENGTH] = {"%%%%", ""},
    };
    size_t from = s->len, behind = strlen(around[kind][1]), data;

    str_append(s, around[kind][0]);
    data = n - (s->len - from) - behind;
    while (s->len - from < n - behind) {
        str_append_char(s, 'x');
    }
    str_append(s, around[kind][1]);
    char number[12];
    snprintf(number, sizeof(number), "%05zu", data);
    if (kind == FRAMING_MEMCACHED) {
        memcpy(s->data + from + strlen("set a 0 0 "), number, 5);
    } else if (kind == FRAMING_LENGTH) {
        memcpy(s->data + from, (char[]){0, (char)(data >> 16), (char)(data >> 8), (char)data}, 4);
    }
}

/* Whole requests about as long as may be held, with another behind each. */
START_TEST(requests_about_the_limit)
{
    for (size_t n = FRAMER_HOLD_MAX - 2; n <= FRAMER_HOLD_MAX + 2; n++) {
        STR_AUTO client = {0};
        append_request(&client, _i, n);
        ck_assert_uint_eq(client.len, n);
        append(&client, scripts[_i].exchanges[0].client);
        struct frame_input input = {.client = client.data, .n_client = client.len};
        STR_AUTO whole = {0};
        str_append(&whole, run(_i, &input));
        ck_assert_uint_le(count(whole.data, "request starts"), 1);
        ck_assert_uint_eq(count(whole.data, "request ends") + count(whole.data, "refuse") +
                              count(whole.data, "own"),
                          1);
        for (input.seed = 2; input.seed < 8; input.seed++) {
            ck_assert(strcmp(run(_i, &input), whole.data) == 0);
        }
    }
}
END_TEST

static void check_bounds(const struct framing *f, size_t n)
{
    bool holds = f->verb == FRAMING_HOLD;

    ck_assert(f->used <= n && (!holds || (f->used == 0 && n < FRAMER_HOLD_MAX)));
}

/* Both sides at once: answers begin to come while requests are under way. Only that nothing breaks
 * is known of these. */
static void interleave(int kind, const struct str *client, const struct str *backend,
                       uint64_t *random)
{
    const struct framer_ops *framer = framer_table[kind];
    unsigned char *room = malloc(FRAMER_ROOM_BYTES);
    void *state = calloc(1, framer->state_bytes);
    size_t sent = 0, answered = 0, held[2] = {0, 0};
    bool open = false, outstanding = false;

    framer->init(state, &script_options);
    for (int step = 0; step < 200; step++) {
        bool asks = (open || !outstanding) && (!outstanding || draw(random) % 2 == 0);
        const struct str *side = asks ? client : backend;
        size_t *at = asks ? &sent : &answered;
        size_t rest = side->len - *at;
        if (rest <= held[asks]) {
            continue;
        }
        size_t n = held[asks] + 1 + draw_below(random, rest - held[asks]);
        struct framing f = (asks ? framer->request : framer->reply)(
            state, (const unsigned char *)side->data + *at, n, room);
        check_bounds(&f, n);
        held[asks] = f.verb == FRAMING_HOLD ? n : 0;
        *at += f.used;
        while (f.more && f.verb == FRAMING_FORWARD) {
            outstanding |= f.starts;
            open |= f.starts;
            f = (asks ? framer->request
                      : framer->reply)(state, (const unsigned char *)side->data + *at, 0, room);
            check_bounds(&f, 0);
        }
        if (f.verb == FRAMING_OWN || f.verb == FRAMING_REFUSE || f.closes) {
            break;
        }
        outstanding = asks ? outstanding || f.starts : outstanding && !f.ends;
        open = asks ? (open || f.starts) && !f.ends : open;
        if (!asks && f.ends && open) {
            ck_assert(!f.clean);
            break;
        }
    }
    if (framer->fini != NULL) {
        framer->fini(state);
    }
    free(state);
    free(room);
}

START_TEST(early_answers_break_nothing)
{
    const struct script *script = &scripts[_i];
    size_t n = count_exchanges(script);
    uint64_t random = 4;

    for (int round = 0; round < 300; round++) {
        STR_AUTO client = {0};
        STR_AUTO backend = {0};
        for (size_t left = 1 + draw_below(&random, 3); left > 0; left--) {
            append(&client, script->exchanges[draw_below(&random, n)].client);
            append(&backend, script->exchanges[draw_below(&random, n)].backend);
        }
        interleave(_i, &client, &backend, &random);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame/conformance");
    TCase *tc = tcase_create("all");
    const int from = FRAMING_NONE + 1, to = FRAMING_KIND_COUNT;

    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, describes_itself, from, to);
    tcase_add_loop_test(tc, exchanges_are_understood, from, to);
    tcase_add_loop_test(tc, dialogues_are_alike, from, to);
    tcase_add_loop_test(tc, spoilt_dialogues_are_alike, from, to);
    tcase_add_loop_test(tc, garbage_breaks_nothing, from, to);
    tcase_add_loop_test(tc, refused_is_not_passed_on, from, to);
    tcase_add_loop_test(tc, pipelined_requests_wait, from, to);
    tcase_add_loop_test(tc, stray_answers_stay, from, to);
    tcase_add_loop_test(tc, holds_no_more_than_it_may, from, to);
    tcase_add_loop_test(tc, requests_about_the_limit, from, to);
    tcase_add_loop_test(tc, early_answers_break_nothing, from, to);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
