/*
 * How many clients go to another backend by hash, and the list of kept configurations.
 */
#include "model/kept.h"
#include "model/moved.h"
#include "test_model_fixture.h"

static struct snapshot_header *snapshot_of(const char *text, uint64_t seed)
{
    struct model *model = read_good(text);
    size_t bytes;
    struct snapshot_header *made = make_snapshot(model, 1, seed, NULL, &bytes);

    ck_assert_ptr_nonnull(made);
    model_free(model);
    return made;
}

static void make_pool(const char *options, int first, int last, const char *more, struct str *out)
{
    str_printf(out, SERVICE "pool \"web\" { %s\n", options);
    for (int i = first; i <= last; i++) {
        str_printf(out, "backend \"b%d\" { address = \"10.0.%d.%d:80\" }\n", i, i / 250, i % 250);
    }
    str_printf(out, "%s}\n", more);
}

/* In tenths of a percent; −1: there is no line. */
static int moved_with(const char *was, uint64_t old_seed, const char *now, uint64_t new_seed)
{
    struct snapshot_header *a = snapshot_of(was, old_seed);
    struct snapshot_header *b = snapshot_of(now, new_seed);
    struct change_list list = {0};
    int whole = -1, tenths = 0;

    moved_add(a, b, true, &list);
    ck_assert_uint_le(list.count, 1);
    if (list.count == 1) {
        ck_assert_int_eq(sscanf(list.lines[0],
                                "pool web: %d.%d %% of clients would go to another backend", &whole,
                                &tenths),
                         2);
    }
    change_list_free(&list);
    free(a);
    free(b);
    return whole < 0 ? -1 : whole * 10 + tenths;
}

static int moved(const char *options, int last, const char *more, const char *new_options,
                 int new_last, const char *new_more)
{
    STR_AUTO was = {0};
    STR_AUTO now = {0};

    make_pool(options, 1, last, more, &was);
    make_pool(new_options, 1, new_last, new_more, &now);
    return moved_with(str_text(&was), 7, str_text(&now), 7);
}

#define MH     "scheduler = \"mh\""
#define BACKUP "backend \"z\" { address = \"10.9.0.1:80\" backup = true }\n"

START_TEST(shares_are_those_of_the_tables)
{
    int one_of_ten = moved(MH, 10, "", MH, 9, "");
    int one_more = moved(MH, 9, "", MH, 10, "");
    int other_key = moved(MH, 10, "", MH " hash_key = \"source_port\"", 10, "");
    int larger = moved(MH, 600, "", MH, 601, "");

    ck_assert_int_eq(moved(MH, 10, "", MH, 10, ""), -1);
    ck_assert_int_eq(one_of_ten, one_more);
    ck_assert(one_of_ten >= 100 && one_of_ten <= 110);
    ck_assert(other_key >= 890 && other_key <= 910);
    ck_assert(larger >= 990); /* another size of table: all is anew */
}
END_TEST

START_TEST(only_hashing_on_both_sides_counts)
{
    ck_assert_int_eq(moved("scheduler = \"rr\"", 10, "", MH, 9, ""), -1);
    ck_assert_int_eq(moved(MH, 10, "", "scheduler = \"rr\"", 9, ""), -1);
    ck_assert_int_eq(moved("scheduler = \"sh\"", 10, "", MH, 10, ""), -1); /* the same key */
    ck_assert_int_ge(moved("scheduler = \"dh\"", 10, "", MH, 10, ""), 890);
}
END_TEST

START_TEST(who_is_kept_out_by_the_file_has_no_clients)
{
    int more = moved(MH, 10, "", MH, 10, BACKUP);
    int drained = moved(MH, 10, "backend \"d\" { address = \"10.9.0.2:80\" }\n", MH, 10,
                        "backend \"d\" { address = \"10.9.0.2:80\" admin = \"drain\" }\n");

    /* Entries of the backup lead on to anybody: some of its neighbours' clients move. */
    ck_assert(more > 0 && more < 110);
    ck_assert_int_eq(moved(MH, 10, BACKUP, MH, 10,
                           "backend \"z\" { address = \"10.9.0.3:81\" backup = true }\n"),
                     -1);
    ck_assert(drained >= 80 && drained <= 100); /* its own, and nobody else's */
}
END_TEST

START_TEST(another_seed_moves_nearly_all)
{
    STR_AUTO text = {0};

    make_pool(MH, 1, 10, "", &text);
    ck_assert_int_ge(moved_with(str_text(&text), 1, str_text(&text), 2), 890);
    ck_assert_int_eq(moved_with(str_text(&text), 2, str_text(&text), 2), -1);
}
END_TEST

/* --- kept configurations --- */

static int keep(struct kept_configs *list, uint32_t generation, const char *text, bool unconfirmed,
                uint32_t pinned)
{
    return kept_add(list,
                    &(struct kept_config){.generation = generation,
                                          .unconfirmed = unconfirmed,
                                          .by = (char *)"me",
                                          .text = (char *)(uintptr_t)text},
                    pinned);
}

START_TEST(the_last_ten_are_kept_none_twice)
{
    struct kept_configs list = {0};
    char text[16];

    for (uint32_t i = 1; i <= 14; i++) {
        snprintf(text, sizeof(text), "%u", i);
        ck_assert_int_eq(keep(&list, i, text, false, 2), 0);
    }
    ck_assert_uint_eq(list.count, KEPT_MAX);
    ck_assert_uint_eq(list.items[0].generation, 2); /* pinned */
    ck_assert_uint_eq(list.items[1].generation, 6);
    ck_assert_int_eq(keep(&list, 15, "14", false, 0), 0); /* the newest has it */
    ck_assert_uint_eq(list.items[KEPT_MAX - 1].generation, 14);
    ck_assert_int_eq(keep(&list, 16, "7", true, 0), 0);
    ck_assert_uint_eq(list.count, KEPT_MAX);
    ck_assert_uint_eq(list.items[KEPT_MAX - 1].generation, 16);
    ck_assert(!list.items[KEPT_MAX - 1].unconfirmed); /* it was good before */
    ck_assert_ptr_null(kept_find(&list, 7));
    ck_assert_int_eq(keep(&list, 17, "x", true, 0), 0);
    ck_assert_int_eq(keep(&list, 18, "y", true, 0), 0);
    kept_drop_unconfirmed(&list, 18);
    ck_assert(kept_find(&list, 17) == NULL && kept_find(&list, 18) != NULL);
    kept_free(&list);
}
END_TEST

START_TEST(all_together_are_bounded_in_bytes)
{
    struct kept_configs list = {0};
    char *large = calloc(1, KEPT_BYTES_MAX + 2);

    memset(large, 'x', KEPT_BYTES_MAX + 1);
    ck_assert_int_eq(keep(&list, 1, "small", false, 0), 0);
    ck_assert_int_eq(keep(&list, 2, large, false, 0), -EFBIG);
    large[KEPT_BYTES_MAX] = '\0';
    ck_assert_int_eq(keep(&list, 2, large, false, 1), -EFBIG);
    ck_assert_uint_eq(list.count, 1);
    ck_assert_int_eq(keep(&list, 2, large, false, 0), 0);
    ck_assert(list.count == 1 && list.items[0].generation == 2);
    ck_assert_int_eq(keep(&list, 3, "small", false, 0), 0);
    ck_assert(list.count == 1 && list.items[0].generation == 3);
    kept_free(&list);
    free(large);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model_moved", shares_are_those_of_the_tables,
                     only_hashing_on_both_sides_counts, who_is_kept_out_by_the_file_has_no_clients,
                     another_seed_moves_nearly_all, the_last_ten_are_kept_none_twice,
                     all_together_are_bounded_in_bytes);
}
