/* The framers line and length. */
#include "frame_run.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define STARTS "request starts key \"\" next \"\"\n"

static const struct framer_options be4 = {.length_bytes = 4};

struct dialogue {
    const struct framer_ops *framer;
    const struct framer_options *options;
    const char *client;
    size_t n_client;
    const char *backend;
    size_t n_backend;
    bool backend_ends;
    const char *transcript;
};

/* Of literals, which may hold NUL. */
#define BYTES(text) text, sizeof(text) - 1

static void check_dialogue(const struct dialogue *d)
{
    const struct frame_input input = {
        .client = d->client,
        .n_client = d->n_client,
        .backend = d->backend,
        .n_backend = d->n_backend,
        .backend_ends = d->backend_ends,
    };

    ck_assert_str_eq(frame_run(d->framer, d->options, &input), d->transcript);
    ck_assert(frame_run_alike(d->framer, d->options, &input, 10));
}

static const struct dialogue lines[] = {
    {&framer_line, NULL, BYTES("one\ntwo\n"), BYTES("1\n2\n"), false,
     STARTS "to backend \"one\\n\"\nrequest ends\nto client \"1\\n\"\nreply ends clean\n" STARTS
            "to backend \"two\\n\"\nrequest ends\nto client \"2\\n\"\nreply ends clean\n"},
    {&framer_line, NULL, BYTES("\n\0\n"), BYTES("\n\r\n"), false,
     STARTS "to backend \"\\n\"\nrequest ends\nto client \"\\n\"\nreply ends clean\n" STARTS
            "to backend \"\\x00\\n\"\nrequest ends\nto client \"\\r\\n\"\nreply ends clean\n"},
    /* What the client has sent behind its request waits, what the backend has is nobody's. */
    {&framer_line, NULL, BYTES("one\ntwo\n"), BYTES("half"), false,
     STARTS "to backend \"one\\n\"\nrequest ends\nto client \"half\"\nuntaken of client 4\n"},
    {&framer_line, NULL, BYTES("one\n"), BYTES("1\nstray"), false,
     STARTS "to backend \"one\\n\"\nrequest ends\nto client \"1\\n\"\nreply ends clean\n"
            "untaken of backend 5\n"},
    {&framer_line, NULL, BYTES("one\n"), BYTES("half"), true,
     STARTS "to backend \"one\\n\"\nrequest ends\nto client \"half\"\nbackend ends\n"
            "refuse \"answer cut short\"\n"},
    {&framer_line, NULL, BYTES("unfinished"), BYTES("early\n"), true,
     "untaken of client 10\nuntaken of backend 6\n"},
};

#define REFUSED(why) "refuse \"" why "\"\n"

static const struct framer_options le2 = {.length_bytes = 2, .length_little_endian = true};
static const struct framer_options whole1 = {.length_bytes = 1, .length_includes_header = true};
static const struct framer_options be8 = {.length_bytes = 8};
static const struct framer_options whole8 = {.length_bytes = 8, .length_includes_header = true};

static const struct dialogue lengths[] = {
    {&framer_length, &be4, BYTES("\0\0\0\3abc\0\0\0\0"), BYTES("\0\0\0\2xy\0\0\0\1z"), false,
     STARTS "to backend \"\\x00\\x00\\x00\\x03abc\"\nrequest ends\n"
            "to client \"\\x00\\x00\\x00\\x02xy\"\nreply ends clean\n" STARTS
            "to backend \"\\x00\\x00\\x00\\x00\"\nrequest ends\n"
            "to client \"\\x00\\x00\\x00\\x01z\"\nreply ends clean\n"},
    {&framer_length, &le2, BYTES("\2\0ab"), BYTES("\1\0c"), false,
     STARTS "to backend \"\\x02\\x00ab\"\nrequest ends\nto client \"\\x01\\x00c\"\n"
            "reply ends clean\n"},
    {&framer_length, &whole1, BYTES("\3ab\1"), BYTES("\1\2c"), false,
     STARTS "to backend \"\\x03ab\"\nrequest ends\nto client \"\\x01\"\nreply ends clean\n" STARTS
            "to backend \"\\x01\"\nrequest ends\nto client \"\\x02c\"\nreply ends clean\n"},
    {&framer_length, &whole1, BYTES("\0abc"), BYTES(""), false,
     REFUSED("length smaller than its header")},
    {&framer_length, &whole1, BYTES("\1"), BYTES("\0abc"), false,
     STARTS "to backend \"\\x01\"\nrequest ends\n" REFUSED("length smaller than its header")},
    {&framer_length, &whole8, BYTES("\0\0\0\0\0\0\0\7"), BYTES(""), false,
     REFUSED("length smaller than its header")},
    {&framer_length, &whole8, BYTES("\0\0\0\0\0\0\0\10"), BYTES(""), false,
     STARTS "to backend \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x08\"\nrequest ends\n"},
    {&framer_length, &be8, BYTES("\x40\0\0\0\0\0\0\1..."), BYTES(""), false,
     REFUSED("absurd length")},
    {&framer_length, &be8, BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), BYTES(""), false,
     REFUSED("absurd length")},
    {&framer_length, &be8, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), BYTES(""), false,
     REFUSED("absurd length")},
    {&framer_length, &be8, BYTES("\x40\0\0\0\0\0\0\0ab"), BYTES(""), false,
     STARTS "to backend \"@\\x00\\x00\\x00\\x00\\x00\\x00\\x00"
            "ab\"\n"},
    /* Answered while a long request is under way. */
    {&framer_length, &be8, BYTES("\0\0\0\0\1\0\0\0ab"), BYTES("\0\0\0\0\0\0\0\1z"), false,
     STARTS "to backend \"\\x00\\x00\\x00\\x00\\x01\\x00\\x00\\x00"
            "ab\"\n"
            "to client \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01z\"\n"
            "reply ends not clean closes why \"answer before the request ended\"\n"},
    {&framer_length, &be4, BYTES("\0\0\0\0"), BYTES("\0\0\0\2x"), true,
     STARTS "to backend \"\\x00\\x00\\x00\\x00\"\nrequest ends\n"
            "to client \"\\x00\\x00\\x00\\x02x\"\nbackend ends\nrefuse \"answer cut short\"\n"},
    {&framer_length, &be4, BYTES("\0\0\0"), BYTES(""), false, "untaken of client 3\n"},
};

START_TEST(says_of_lines)
{
    check_dialogue(&lines[_i]);
}
END_TEST

START_TEST(says_of_lengths)
{
    check_dialogue(&lengths[_i]);
}
END_TEST

static char *fill(size_t n)
{
    char *bytes = malloc(n);

    ck_assert_ptr_nonnull(bytes);
    memset(bytes, 'x', n);
    return bytes;
}

/* A line or message of n bytes, but for its last byte: held (its request has not started) up to the
 * most that may be held. */
static bool is_held(const struct framer_ops *framer, const char *bytes, size_t n)
{
    struct frame_input input = {.client = bytes, .n_client = n - 1, .seed = 0};
    bool held = strncmp(frame_run(framer, &be4, &input), "untaken", 7) == 0;

    for (input.seed = 2; input.seed < 6; input.seed++) {
        bool too = strncmp(frame_run(framer, &be4, &input), "untaken", 7) == 0;
        ck_assert_int_eq(held, too);
    }
    return held;
}

START_TEST(holds_no_more_than_it_may)
{
    for (size_t n = FRAMER_HOLD_MAX - 1; n <= FRAMER_HOLD_MAX + 2; n++) {
        char *bytes = fill(n);
        struct frame_input input = {
            .client = bytes, .n_client = n, .backend = "1\n", .n_backend = 2, .seed = 7};
        bytes[n - 1] = '\n';
        ck_assert_int_eq(is_held(&framer_line, bytes, n), n <= FRAMER_HOLD_MAX);
        ck_assert(frame_run_alike(&framer_line, NULL, &input, 4));
        ck_assert_ptr_nonnull(strstr(frame_run(&framer_line, NULL, &input), "reply ends clean\n"));
        memcpy(bytes, (char[]){0, (char)((n - 4) >> 16), (char)((n - 4) >> 8), (char)(n - 4)}, 4);
        input.backend = "\0\0\0\0";
        input.n_backend = 4;
        ck_assert_int_eq(is_held(&framer_length, bytes, n), n <= FRAMER_HOLD_MAX);
        ck_assert(frame_run_alike(&framer_length, &be4, &input, 4));
        ck_assert_ptr_nonnull(
            strstr(frame_run(&framer_length, &be4, &input), "reply ends clean\n"));
        free(bytes);
    }
}
END_TEST

/* Answered while a long line is under way: it cannot be in answer to it. */
START_TEST(answer_within_a_line_is_not_clean)
{
    size_t n = FRAMER_HOLD_MAX + 10;
    char *bytes = fill(n);
    struct frame_input input = {.client = bytes, .n_client = n, .backend = "no\n", .n_backend = 3};

    ck_assert_ptr_nonnull(strstr(frame_run(&framer_line, NULL, &input),
                                 "to client \"no\\n\"\nreply ends not clean closes why "
                                 "\"answer before the request ended\"\n"));
    ck_assert(frame_run_alike(&framer_line, NULL, &input, 4));
    free(bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame/plain");
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, says_of_lines, 0, sizeof(lines) / sizeof(*lines));
    tcase_add_loop_test(tc, says_of_lengths, 0, sizeof(lengths) / sizeof(*lengths));
    tcase_add_test(tc, holds_no_more_than_it_may);
    tcase_add_test(tc, answer_within_a_line_is_not_clean);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
