/* The answer between child and parent: whole it comes out as it went in, and damaged in any way it
 * is refused or at least makes a sound tree. */
#include "test_conf_fixture.h"

#include <stdint.h>

#include "conf/wire.h"

static const char sample[] =
    "global { workers = 4 log = '${X}' }\n"
    "service \"web\" { listen = { a, b } allow = { } pool = \"${T_NOT_SET:-v}\"\n"
    "  route \"*.x\" { pool = p } }\n"
    "pool \"web\" { backend \"a\" { address = \"a\\n\" check \"t:x\" { } } }\n";

static void encode_sample(struct str *out)
{
    struct errlist errors = {0};
    struct conf_tree *tree;

    tree = read_good(sample);
    errlist_add(&errors, ERRLIST_WARNING, "f", 3, "pool \"web\"", "mind");
    conf_wire_encode(&errors, tree, out);
    ck_assert(!out->failed);
    errlist_free(&errors);
    conf_tree_free(tree);
}

static void write_tree(const struct conf_section *section, struct str *out)
{
    str_printf(out, "%s|%s|%s|%d|%d\n", section->schema->name ? section->schema->name : "",
               section->title ? section->title : "", section->file, section->line,
               section->parent != NULL);
    for (size_t i = 0; i < section->n_options; i++) {
        const struct conf_option *option = &section->options[i];
        str_printf(out, " %s %s:%d", option->name, option->file, option->line);
        for (size_t j = 0; j < option->n_values; j++)
            str_printf(out, " %s>%s@%d%d", option->values[j].raw, option->values[j].text,
                       option->values[j].line, option->values[j].secret);
        str_append(out, "\n");
    }
    for (size_t i = 0; i < section->n_sections; i++) {
        ck_assert_ptr_eq(section->sections[i]->parent, section);
        write_tree(section->sections[i], out);
    }
}

START_TEST(round_trip)
{
    STR_AUTO bytes = {0};
    STR_AUTO before = {0};
    STR_AUTO after = {0};
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct conf_tree *original;

    encode_sample(&bytes);
    original = read_good(sample);
    ck_assert_int_eq(conf_wire_decode(bytes.data, bytes.len, &root_schema, &errors, &tree), 0);
    ck_assert_ptr_nonnull(tree);
    write_tree(&original->root, &before);
    write_tree(&tree->root, &after);
    ck_assert_str_eq(str_text(&after), str_text(&before));
    ck_assert_uint_eq(tree->n_files, 1);
    ck_assert_str_eq(tree->files[0], "f");
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_uint_eq(errors.errors, 0);
    ck_assert_str_eq(errors.items[0].text, "mind");
    ck_assert_str_eq(errors.items[0].section, "pool \"web\"");
    ck_assert_int_eq(errors.items[0].line, 3);
    errlist_free(&errors);
    conf_tree_free(tree);
    conf_tree_free(original);
}
END_TEST

START_TEST(errors_come_alone_too)
{
    STR_AUTO bytes = {0};
    struct errlist errors = {0};
    struct errlist decoded = {0};
    struct conf_tree *out = NULL;

    for (int i = 0; i < ERRLIST_MAX + 50; i++)
        errlist_add(&errors, i % 2 ? ERRLIST_ERROR : ERRLIST_WARNING, "f", i, NULL, "n %d", i);
    conf_wire_encode(&errors, NULL, &bytes);
    errlist_add(&decoded, ERRLIST_ERROR, "g", 1, NULL, "was there");
    ck_assert_int_eq(conf_wire_decode(bytes.data, bytes.len, &root_schema, &decoded, &out), 0);
    ck_assert_ptr_null(out);
    ck_assert_uint_eq(decoded.errors, errors.errors + 1);
    ck_assert_uint_eq(decoded.count + decoded.dropped, errors.count + errors.dropped + 1);
    ck_assert_str_eq(decoded.items[1].text, "n 0");
    errlist_free(&errors);
    errlist_free(&decoded);
}
END_TEST

/* What has no place in the schema stays behind, and all else comes through, to be judged. */
START_TEST(unknown_sections_stay_behind)
{
    const char text[] =
        "upstream web { server x { } y = 1 }\npool \"web\" { nonsense { } retries = 3 }\n";
    STR_AUTO bytes = {0};
    struct errlist errors = {0}, decoded = {0};
    struct conf_tree *out = NULL;
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), &root_schema, &errors);

    ck_assert_ptr_nonnull(tree);
    ck_assert_uint_eq(tree->root.n_sections, 2);
    conf_wire_encode(&errors, tree, &bytes);
    ck_assert_int_eq(conf_wire_decode(bytes.data, bytes.len, &root_schema, &decoded, &out), 0);
    ck_assert_uint_eq(decoded.errors, errors.errors);
    ck_assert_uint_eq(out->root.n_sections, 1);
    ck_assert_str_eq(out->root.sections[0]->title, "web");
    ck_assert_uint_eq(out->root.sections[0]->n_sections, 0);
    ck_assert_uint_eq(out->root.sections[0]->n_options, 1);
    errlist_free(&errors);
    errlist_free(&decoded);
    conf_tree_free(tree);
    conf_tree_free(out);
}
END_TEST

/* Decodes from memory of just that size, for a sanitizer to see an overrun. */
static int decode_copy(const char *bytes, size_t len)
{
    char *copy = malloc(len > 0 ? len : 1);
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    STR_AUTO text = {0};
    int result;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, len);
    result = conf_wire_decode(copy, len, &root_schema, &errors, &tree);
    ck_assert(result == 0 || (tree == NULL && errors.count == 0 && errors.errors == 0));
    ck_assert(result != 0 || (tree != NULL) == (errors.errors == 0));
    if (tree)
        write_tree(&tree->root, &text);
    free(copy);
    errlist_free(&errors);
    conf_tree_free(tree);
    return result;
}

START_TEST(every_truncation_is_refused)
{
    STR_AUTO bytes = {0};

    encode_sample(&bytes);
    for (size_t len = 0; len < bytes.len; len++)
        ck_assert_int_eq(decode_copy(bytes.data, len), -EBADMSG);
    str_append_char(&bytes, 'x');
    ck_assert_int_eq(decode_copy(bytes.data, bytes.len), -EBADMSG);
}
END_TEST

START_TEST(every_damaged_byte_is_survived)
{
    static const unsigned char values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    STR_AUTO bytes = {0};

    encode_sample(&bytes);
    for (size_t i = 0; i < bytes.len; i++) {
        char kept = bytes.data[i];
        for (size_t v = 0; v < sizeof values; v++) {
            bytes.data[i] = (char)values[v];
            (void)decode_copy(bytes.data, bytes.len);
        }
        bytes.data[i] = kept;
    }
    ck_assert_int_eq(decode_copy(bytes.data, bytes.len), 0);
}
END_TEST

START_TEST(no_text_holds_a_nul)
{
    STR_AUTO bytes = {0};
    size_t n = 0;

    encode_sample(&bytes);
    for (size_t i = 0; i + 3 < bytes.len; i++) {
        if (memcmp(bytes.data + i, "web", 3) != 0)
            continue;
        bytes.data[i + 1] = '\0';
        ck_assert_int_eq(decode_copy(bytes.data, bytes.len), -EBADMSG);
        bytes.data[i + 1] = 'e';
        n++;
    }
    ck_assert_uint_eq(n, 3); /* in the message, the service, the pool */
}
END_TEST

/* What is sound in form, but against the rules. Built from a tree that no scan would make. */
START_TEST(rules_are_looked_at_again)
{
    static char json[] = "json";
    static char web[] = "web";
    static char value[] = "1";
    static char *files[] = {web};
    struct conf_value values[2] = {{value, value, 1, false}, {value, value, 1, false}};
    struct conf_option options[2] = {{"retries", web, 1, values, 1},
                                     {"retries", web, 1, values, 1}};
    struct conf_section pool = {
        .schema = &pool_schema, .title = web, .file = web, .line = 1, .options = options};
    struct conf_section *pools[] = {&pool};
    struct conf_tree tree = {
        .root = {.schema = &root_schema, .file = web, .sections = pools, .n_sections = 1},
        .files = files,
        .n_files = 1};
    struct errlist none = {0};
    STR_AUTO bytes = {0};

#define DECODED                                                                                    \
    (str_reset(&bytes), conf_wire_encode(&none, &tree, &bytes), decode_copy(bytes.data, bytes.len))
    pool.n_options = 1;
    ck_assert_int_eq(DECODED, 0);
    pool.n_options = 2; /* an option twice */
    ck_assert_int_eq(DECODED, -EBADMSG);
    pool.n_options = 1;
    options[0].n_values = 2; /* two values of a scalar */
    ck_assert_int_eq(DECODED, -EBADMSG);
    options[0].n_values = 0;
    ck_assert_int_eq(DECODED, -EBADMSG);
    options[0].n_values = 1;
    pool.title = json;
    ck_assert_int_eq(DECODED, -EBADMSG);
    pool.title = NULL;
    ck_assert_int_eq(DECODED, -EBADMSG);
    pool.title = web;
    pool.line = -1;
    ck_assert_int_eq(DECODED, -EBADMSG);
    pool.line = 0;
    ck_assert_int_eq(DECODED, -EBADMSG);
    pool.line = 1;
    ck_assert_int_eq(DECODED, 0);
}
END_TEST

START_TEST(a_limit_is_kept)
{
    struct str out = {.limit = 100};
    struct conf_tree *tree = read_good(sample);
    struct errlist none = {0};

    conf_wire_encode(&none, tree, &out);
    ck_assert(out.failed);
    str_free(&out);
    conf_tree_free(tree);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        round_trip,
        errors_come_alone_too,
        unknown_sections_stay_behind,
        every_truncation_is_refused,
        every_damaged_byte_is_survived,
        no_text_holds_a_nul,
        rules_are_looked_at_again,
        a_limit_is_kept,
    };

    return RUN_SUITE("conf/wire", tests, false);
}
