/*
 * The state that outlives the daemon: written and read again it is the same, its ends come onto the
 * new clock, and nothing else than what was written so is taken.
 */
#include "model/state.h"
#include "test_model_fixture.h"

#define NOW  1000
#define WALL 5000000

#define HEAD "{\"version\":1,\"hash_seed\":\"00000000000000ff\",\"overrides\":["
#define CONFIG(generation, text)                                                                   \
    "{\"generation\":" generation                                                                  \
    ",\"changes\":1,\"unconfirmed\":false,\"at_ms\":5,\"by\":\"me\","                              \
    "\"text\":\"" text "\"}"
#define CONFIRM(generation)                                                                        \
    "\"confirm\":{\"generation\":" generation ",\"until_ms\":9,\"by\":\"me\"}"
#define TAIL        "]}"
#define ONE(record) HEAD "{" record "}" TAIL
#define SAID        "\"by\":\"uid 0\",\"at_ms\":1"
#define SET_WEIGHT                                                                                 \
    "\"kind\":\"set\",\"pool\":\"p\",\"backend\":\"b\",\"option\":\"weight\",\"value\":"           \
    "\"3\"," SAID
#define SET_ADDRESS                                                                                \
    "\"settings\":[{\"option\":\"address\",\"value\":\"h:1\"}],\"value\":\"h:1\"," SAID
#define ADD_B "\"kind\":\"added\",\"pool\":\"p\",\"backend\":\"b\","

static struct override set_weight(const char *value)
{
    return (struct override){.kind = OVERRIDE_SET,
                             .pool = (char *)"p",
                             .backend = (char *)"b",
                             .option = (char *)"weight",
                             .value = (char *)(uintptr_t)value,
                             .file_value = (char *)"1",
                             .by = (char *)"uid 0 pid 4",
                             .wall_ms = WALL - 100};
}

static void add(struct state *state, const struct override *item)
{
    ck_assert_int_eq(overrides_set(&state->overrides, item), 0);
}

/* Of every kind one, with all that can be said of it. */
static void fill(struct state *state)
{
    struct override_setting settings[] = {{(char *)"address", (char *)"10.0.0.9:80"},
                                          {(char *)"weight", (char *)"\"7\\"}};
    struct override before = set_weight("3");
    struct override item = set_weight("0");

    *state = (struct state){.hash_seed = 0xfedcba9876543210, .health_fail = strdup("root: \"no\"")};
    state->generation = 9;
    for (uint32_t i = 3; i < 9; i++) {
        char text[32];
        snprintf(text, sizeof(text), "pool \"%u\" {\n}\n", i);
        const struct kept_config config = {.generation = i,
                                           .changes = i * 7,
                                           .unconfirmed = i > 7,
                                           .wall_ms = WALL + i,
                                           .by = (char *)"uid 0 pid 1",
                                           .why = i % 2 != 0 ? (char *)"größer" : NULL,
                                           .text = text};
        ck_assert_int_eq(kept_add(&state->kept, &config, 0), 0);
    }
    state->confirm =
        (struct state_confirm){.generation = 5, .until_ms = WALL + 9, .by = strdup("uid 7")};
    before.why = (char *)"earlier";
    item.until_wall_ms = WALL + 60000;
    item.until_ms = 4;
    item.before = &before;
    add(state, &item);
    add(state, &(struct override){.kind = OVERRIDE_SET,
                                  .service = (char *)"s",
                                  .option = (char *)"pool",
                                  .value = (char *)"p",
                                  .file_value = (char *)"",
                                  .by = (char *)"uid 1",
                                  .why = (char *)"größer",
                                  .wall_ms = 2});
    add(state, &(struct override){.kind = OVERRIDE_SET,
                                  .pool = (char *)"p",
                                  .option = (char *)"scheduler",
                                  .value = (char *)"rr",
                                  .by = (char *)"uid 1",
                                  .wall_ms = 3});
    add(state, &(struct override){.kind = OVERRIDE_ADDED,
                                  .pool = (char *)"p",
                                  .backend = (char *)"n",
                                  .value = (char *)"10.0.0.9:80 weight=7",
                                  .settings = settings,
                                  .n_settings = 2,
                                  .by = (char *)"uid 1",
                                  .wall_ms = 4});
    add(state, &(struct override){.kind = OVERRIDE_REMOVED,
                                  .pool = (char *)"p",
                                  .backend = (char *)"gone",
                                  .file_value = (char *)"10.0.0.3:80",
                                  .by = (char *)"uid 1",
                                  .wall_ms = 5});
}

static int decode_at(const char *text, size_t len, uint64_t wall_ms, struct state *out,
                     struct str *problem)
{
    char *exact = malloc(len > 0 ? len : 1); /* for an overrun to be seen */
    int rc;

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, text, len);
    rc = state_decode(exact, len, NOW, wall_ms, out, problem);
    free(exact);
    return rc;
}

static void expect_good(const char *text, uint64_t wall_ms, struct state *out)
{
    STR_AUTO problem = {0};
    int rc = decode_at(text, strlen(text), wall_ms, out, &problem);

    ck_assert_msg(rc == 0, "%s: %s", str_text(&problem), text);
}

static void expect_refused(const char *text, size_t len, const char *needle)
{
    struct state state = {.hash_seed = 77};
    STR_AUTO problem = {0};
    int rc = decode_at(text, len, WALL, &state, &problem);

    ck_assert_msg(rc == 1, "accepted: %.*s", (int)len, text);
    ck_assert_msg(strstr(str_text(&problem), needle) != NULL, "\"%s\" without \"%s\": %s",
                  str_text(&problem), needle, text);
    ck_assert(state.hash_seed == 77 && state.overrides.count == 0);
}

START_TEST(all_comes_back)
{
    struct state state;
    struct state again = {0};
    STR_AUTO text = {0};
    STR_AUTO second = {0};
    const struct override *item;

    fill(&state);
    state_encode(&state, &text);
    expect_good(str_text(&text), WALL, &again);
    ck_assert_uint_eq(again.hash_seed, state.hash_seed);
    ck_assert_str_eq(again.health_fail, "root: \"no\"");
    ck_assert_uint_eq(again.overrides.count, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert(override_is_same(&again.overrides.items[i], &state.overrides.items[i]));
    }
    item = &again.overrides.items[0];
    ck_assert_str_eq(item->value, "0");
    ck_assert_str_eq(item->by, "uid 0 pid 4");
    ck_assert_uint_eq(item->wall_ms, WALL - 100);
    ck_assert_uint_eq(item->until_wall_ms, WALL + 60000);
    ck_assert_uint_eq(item->until_ms, NOW + 60000);
    ck_assert_str_eq(item->before->value, "3");
    ck_assert_str_eq(item->before->why, "earlier");
    ck_assert_uint_eq(item->before->until_ms, 0);
    item = &again.overrides.items[3];
    ck_assert_uint_eq(item->n_settings, 2);
    ck_assert_str_eq(item->settings[0].value, "10.0.0.9:80");
    ck_assert_str_eq(item->settings[1].value, "\"7\\");
    ck_assert_str_eq(again.overrides.items[1].why, "größer");
    ck_assert_str_eq(again.overrides.items[1].file_value, "");
    ck_assert_ptr_null(again.overrides.items[2].file_value);
    ck_assert_str_eq(again.overrides.items[4].file_value, "10.0.0.3:80");
    state_encode(&again, &second);
    ck_assert_str_eq(str_text(&second), str_text(&text));
    state_free(&state);
    state_free(&again);
}
END_TEST

START_TEST(nothing_comes_back_as_nothing)
{
    struct state state = {0};
    struct state again = {.hash_seed = 1};
    STR_AUTO text = {0};

    state_encode(&state, &text);
    expect_good(str_text(&text), WALL, &again);
    ck_assert(again.hash_seed == 0 && again.health_fail == NULL && again.overrides.count == 0);
    state_free(&again);
}
END_TEST

START_TEST(a_drain_keeps_its_deadline)
{
    struct override item = {.kind = OVERRIDE_SET,
                            .pool = (char *)"p",
                            .backend = (char *)"a",
                            .option = (char *)"admin",
                            .value = (char *)"drain",
                            .by = (char *)"x",
                            .wall_ms = WALL - 100,
                            .has_close = true,
                            .close_wall_ms = WALL + 5000};
    struct state state = {0};
    struct state again = {0};
    STR_AUTO text = {0};

    ck_assert_int_eq(overrides_set(&state.overrides, &item), 0);
    item.backend = (char *)"b";
    item.close_wall_ms = 0; /* never */
    ck_assert_int_eq(overrides_set(&state.overrides, &item), 0);
    item.backend = (char *)"c";
    item.has_close = false;
    ck_assert_int_eq(overrides_set(&state.overrides, &item), 0);
    state_encode(&state, &text);
    expect_good(str_text(&text), WALL + 1000, &again);
    const struct override *items = again.overrides.items;
    ck_assert(items[0].has_close && items[1].has_close && !items[2].has_close);
    ck_assert_uint_eq(items[0].close_ms, NOW + 4000);
    ck_assert_uint_eq(items[0].close_wall_ms, WALL + 5000);
    ck_assert_uint_eq(items[1].close_ms + items[2].close_ms, 0);
    state_free(&state);
    state_free(&again);
}
END_TEST

START_TEST(ends_go_by_the_wall_clock)
{
    static const struct {
        uint64_t wall_ms, until_ms;
    } cases[] = {
        {1000, NOW + 9000}, /* the moment it was said */
        {4000, NOW + 6000}, /* the daemon was away for 3 s */
        {9999, NOW + 1},    /* almost over */
        {10000, NOW},       /* over just now … */
        {99999, NOW},       /* … and long ago */
        {0, NOW + 9000},    /* a clock that was set back gives no more time than was asked for */
        {UINT64_MAX, NOW},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct state state = {0};

        expect_good(ONE("\"kind\":\"set\",\"pool\":\"p\",\"option\":\"queue\",\"value\":\"1\","
                        "\"by\":\"x\",\"at_ms\":1000,\"until_ms\":10000"),
                    cases[i].wall_ms, &state);
        ck_assert_uint_eq(state.overrides.items[0].until_ms, cases[i].until_ms);
        ck_assert_uint_eq(state.overrides.items[0].until_wall_ms, 10000);
        state_free(&state);
    }
}
END_TEST

static const struct {
    const char *text, *needle;
} broken[] = {
    {"", "line"},
    {"\n", "line"},
    {"{}", "no version"},
    {"[]", "no version"},
    {"3", "line"},
    {"{\"version\":\"1\"}", "no version"},
    {"{\"version\":1.0}", "no version"},
    {"{\"version\":0}", "no version"},
    {"{\"version\":-1}", "no version"},
    {"{\"version\":3}", "version 3 is newer"},
    {"{\"version\":2}", "hash_seed"},
    {HEAD "],\"configs\":{}}", "configs is not"},
    {HEAD "],\"generation\":-1}", "generation or"},
    {HEAD "],\"configs\":[{}]}", "configs: "},
    {HEAD "],\"configs\":[" CONFIG("0", "x") "]}", "configs: one is not"},
    {HEAD "],\"configs\":[" CONFIG("4", "x\\u001b[m") "]}", "configs: one is not"},
    {HEAD "],\"configs\":[" CONFIG("4", "") "]}", "configs: one is not"},
    {HEAD "],\"configs\":[" CONFIG("4", "x") "]," CONFIRM("5") "}", "confirm: it is not"},
    {HEAD "],\"configs\":[]," CONFIRM("4") "}", "confirm: it is not"},
    {HEAD "],\"confirm\":7}", "confirm: "},
    {"{\"version\":9223372036854775807,\"more\":[]}", "is newer"},
    {"{\"version\":1}", "hash_seed"},
    {"{\"version\":1,\"version\":1}", "duplicate"},
    {"{\"version\":1,\"hash_seed\":\"00000000000000ff\"}", "overrides"},
    {HEAD TAIL "x", "line 1"},
    {HEAD TAIL HEAD TAIL, "line 1"},
    {"{\"version\":1,\"hash_seed\":\"\",\"overrides\":[]}", "hash_seed"},
    {"{\"version\":1,\"hash_seed\":\"00000000000000fg\",\"overrides\":[]}", "hash_seed"},
    {"{\"version\":1,\"hash_seed\":\"-0000000000000ff\",\"overrides\":[]}", "hash_seed"},
    {"{\"version\":1,\"hash_seed\":\"000000000000000ff\",\"overrides\":[]}", "hash_seed"},
    {"{\"version\":1,\"hash_seed\":255,\"overrides\":[]}", "Expected string"},
    {"{\"version\":1,\"hash_seed\":\"00000000000000ff\",\"overrides\":{}}", "no list"},
    {"{\"version\":1,\"hash_seed\":\"00000000000000ff\",\"overrides\":[],\"x\":1}", "unpacked"},
    {"{\"version\":1,\"hash_seed\":\"00000000000000ff\",\"health_fail\":\"a\\nb\","
     "\"overrides\":[]}",
     "health_fail"},
    {HEAD "7" TAIL, "record 1: Expected object"},
    {HEAD "null" TAIL, "record 1: Expected object"},
    {ONE(SET_WEIGHT ",\"odd\":1"), "record 1: "},
    {ONE(SET_WEIGHT ",\"why\":null"), "record 1: Expected string"},
    {ONE(SET_WEIGHT ",\"why\":\"a\\u0000b\""), "\\u0000"},
    {ONE(SET_WEIGHT ",\"why\":\"a\\nb = 1\""), "record 1: control"},
    {ONE(SET_WEIGHT ",\"why\":\"a\\u007f\""), "record 1: control"},
    {ONE(SET_WEIGHT ",\"why\":\"a\\u009b\""), "record 1: control"},
    {ONE(SET_WEIGHT ",\"why\":\"\xff\""), "line 1"},
    {ONE(SET_WEIGHT ",\"service\":\"s\""), "does not name"},
    {ONE(SET_WEIGHT ",\"until_ms\":-1"), "before all times"},
    {ONE(SET_WEIGHT ",\"until_ms\":1.5"), "Expected integer"},
    {ONE(SET_WEIGHT ",\"settings\":[]"), "settings"},
    {ONE(SET_WEIGHT ",\"settings\":{}"), "settings"},
    {ONE(SET_WEIGHT ",\"settings\":[{\"option\":\"address\",\"value\":\"h:1\"}]"), "settings"},
    {ONE(SET_WEIGHT "},{" SET_WEIGHT ",\"odd\":1"), "record 2: "},
    {ONE("\"kind\":\"put\",\"pool\":\"p\"," SAID), "kind is unknown"},
    {ONE("\"kind\":\"\",\"pool\":\"p\"," SAID), "kind is unknown"},
    {ONE("\"kind\":\"set\",\"option\":\"weight\",\"value\":\"1\"," SAID), "cannot be set"},
    {ONE("\"kind\":\"set\",\"backend\":\"b\",\"option\":\"weight\",\"value\":\"1\"," SAID),
     "does not name"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"value\":\"1\"," SAID), "cannot be set"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"option\":\"weight\",\"value\":\"1\"," SAID),
     "cannot be set"},
    {ONE("\"kind\":\"set\",\"service\":\"p\",\"option\":\"listen\",\"value\":\"1\"," SAID),
     "cannot be set"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"backend\":\"b\",\"option\":\"address\","
         "\"value\":\"1\"," SAID),
     "cannot be set"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"option\":\"queue\"," SAID), "value is missing"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"option\":\"queue\",\"value\":\"1\",\"at_ms\":1"), "by"},
    {ONE("\"kind\":\"set\",\"pool\":\"p\",\"option\":\"queue\",\"value\":\"1\",\"by\":\"x\""),
     "at_ms"},
    {ONE("\"kind\":\"added\",\"pool\":\"p\"," SET_ADDRESS), "does not name"},
    {ONE(ADD_B "\"option\":\"weight\"," SET_ADDRESS), "cannot be set"},
    {ONE(ADD_B "\"value\":\"h:1\"," SAID), "needs them"},
    {ONE(ADD_B "\"value\":\"x\",\"settings\":[7]," SAID), "setting: Expected object"},
    {ONE(ADD_B "\"value\":\"x\",\"settings\":[{\"option\":\"weight\",\"value\":\"1\"}]," SAID),
     "no backend is added"},
    {ONE(ADD_B "\"value\":\"x\",\"settings\":[{\"option\":\"address\",\"value\":\"1\"},"
               "{\"option\":\"address\",\"value\":\"1\"}]," SAID),
     "no backend is added"},
    {ONE(ADD_B "\"value\":\"x\",\"settings\":[{\"option\":\"address\",\"value\":\"\\t\"}]," SAID),
     "setting: control"},
    {ONE("\"kind\":\"removed\",\"pool\":\"p\",\"backend\":\"b\"," SAID), "value is missing"},
    {ONE("\"kind\":\"removed\",\"pool\":\"p\",\"file_value\":\"h:1\"," SAID), "does not name"},
    {ONE("\"kind\":\"removed\",\"pool\":\"p\",\"backend\":\"b\",\"file_value\":\"h:1\","
         "\"value\":\"1\"," SAID),
     "one too many"},
    {ONE(SET_WEIGHT ",\"before\":{" SET_WEIGHT "}"), "what stands after"},
    {ONE(SET_WEIGHT ",\"until_ms\":9,\"before\":{\"kind\":\"set\",\"pool\":\"p\",\"option\":"
                    "\"queue\",\"value\":\"1\"," SAID "}"),
     "what stands after"},
    {ONE(SET_WEIGHT ",\"until_ms\":9,\"before\":7"), "record 1: Expected object"},
};

START_TEST(what_is_broken_is_refused)
{
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        expect_refused(broken[i].text, strlen(broken[i].text), broken[i].needle);
    }
    expect_refused("{\"version\":1}\0", 14, "line");
}
END_TEST

START_TEST(what_they_were_broken_from_is_good)
{
    static const char *const good[] = {
        HEAD TAIL,
        ONE(SET_WEIGHT),
        ONE(SET_WEIGHT ",\"until_ms\":9,\"before\":{" SET_WEIGHT "}"),
        ONE(ADD_B SET_ADDRESS),
        ONE("\"kind\":\"removed\",\"pool\":\"p\",\"backend\":\"b\",\"file_value\":\"h:1\"," SAID),
        ONE(SET_WEIGHT "},{" SET_WEIGHT), /* the last one counts */
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct state state = {0};

        expect_good(good[i], WALL, &state);
        ck_assert_uint_le(state.overrides.count, 1);
        state_free(&state);
    }
}
END_TEST

/* depth records that each wait for the end of the one around them. */
static void nest(struct str *text, unsigned depth)
{
    str_append(text, HEAD);
    for (unsigned i = 0; i < depth; i++) {
        str_append(text, "{" SET_WEIGHT ",\"until_ms\":9,\"before\":");
    }
    str_append(text, "{" SET_WEIGHT "}");
    for (unsigned i = 0; i < depth; i++) {
        str_append(text, "}");
    }
    str_append(text, TAIL);
}

START_TEST(nesting_has_an_end)
{
    STR_AUTO deep = {0};
    STR_AUTO deeper = {0};
    struct state state = {0};
    STR_AUTO again = {0};

    nest(&deep, 4);
    expect_good(str_text(&deep), WALL, &state);
    state_encode(&state, &again);
    state_free(&state);
    expect_good(str_text(&again), WALL, &state);
    ck_assert_ptr_nonnull(state.overrides.items[0].before->before->before->before);
    state_free(&state);
    nest(&deeper, 5);
    expect_refused(str_text(&deeper), deeper.len, "too many");
    nest(&deeper, 100000);
    expect_refused(str_text(&deeper), deeper.len, "line");
}
END_TEST

START_TEST(what_is_cut_short_is_refused)
{
    struct state state;
    STR_AUTO text = {0};

    fill(&state);
    state_encode(&state, &text);
    state_free(&state);
    for (size_t len = 0; len < text.len - 1; len++) { /* the line end is not needed */
        expect_refused(str_text(&text), len, "line");
    }
}
END_TEST

/* Any byte may be any other: what still is a state must be writable and readable again. */
START_TEST(what_is_flipped_crashes_nothing)
{
    struct state state;
    STR_AUTO text = {0};

    fill(&state);
    state_encode(&state, &text);
    state_free(&state);
    for (size_t i = 0; i < text.len * 8; i++) {
        STR_AUTO problem = {0};

        text.data[i / 8] = (char)(text.data[i / 8] ^ (1 << (i % 8)));
        if (state_decode(text.data, text.len, NOW, WALL, &state, &problem) == 0) {
            struct state second = {0};
            STR_AUTO again = {0};

            state_encode(&state, &again);
            expect_good(str_text(&again), WALL, &second);
            state_free(&state);
            state_free(&second);
        }
        text.data[i / 8] = (char)(text.data[i / 8] ^ (1 << (i % 8)));
    }
}
END_TEST

START_TEST(what_is_not_utf8_is_written_readably)
{
    struct state state = {0};
    struct state again = {0};
    struct override item = set_weight("3");
    STR_AUTO text = {0};

    item.file_value = (char *)"a\xff";
    add(&state, &item);
    state_encode(&state, &text);
    expect_good(str_text(&text), WALL, &again);
    ck_assert_str_eq(again.overrides.items[0].file_value, "a\xef\xbf\xbd");
    state_free(&state);
    state_free(&again);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model state", all_comes_back, nothing_comes_back_as_nothing,
                     a_drain_keeps_its_deadline, ends_go_by_the_wall_clock,
                     what_is_broken_is_refused, what_they_were_broken_from_is_good,
                     nesting_has_an_end, what_is_cut_short_is_refused,
                     what_is_flipped_crashes_nothing, what_is_not_utf8_is_written_readably);
}
