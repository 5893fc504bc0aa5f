/*
 * Configuration texts, read within this process: no input may crash or hang the scan or libconfuse,
 * the two must agree on every text that the scan accepts, and an accepted one must survive being
 * written and read again, and being sent to another process. The same bytes are also taken for such
 * an answer of another process, as are accepted texts' answers with a byte changed.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/read.h"
#include "conf/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_option_schema global_options[] = {
    {"workers", false}, {"log", false}, {NULL, false}};
static const struct conf_option_schema pool_options[] = {
    {"scheduler", false}, {"retries", false}, {"listen", true}, {NULL, false}};
static const struct conf_option_schema backend_options[] = {
    {"address", false}, {"weight", false}, {NULL, false}};
static const struct conf_option_schema check_options[] = {
    {"path", false}, {"steps", true}, {NULL, false}};
static const struct conf_section_schema global_schema = {"global", false, false, global_options,
                                                         NULL};
static const struct conf_section_schema check_schema = {"check", true, true, check_options, NULL};
static const struct conf_section_schema *const backend_sections[] = {&check_schema, NULL};
static const struct conf_section_schema backend_schema = {"backend", true, false, backend_options,
                                                          backend_sections};
static const struct conf_section_schema *const pool_sections[] = {&backend_schema, &check_schema,
                                                                  NULL};
static const struct conf_section_schema pool_schema = {"pool", true, false, pool_options,
                                                       pool_sections};
static const struct conf_section_schema *const root_sections[] = {&global_schema, &pool_schema,
                                                                  NULL};
static const struct conf_section_schema root_schema = {NULL, false, false, NULL, root_sections};

static void expect(bool holds)
{
    if (!holds)
        abort();
}

/* In file syntax again; texts: with what each value expands to, for comparing only. */
static void write_section(const struct conf_section *section, bool texts, struct str *out)
{
    for (size_t i = 0; i < section->n_options; i++) {
        const struct conf_option *option = &section->options[i];
        str_printf(out, "%s = {", option->name);
        for (size_t j = 0; j < option->n_values; j++) {
            str_append(out, j > 0 ? ", " : " ");
            conf_quote(out, option->values[j].raw);
            if (texts)
                conf_quote(out, option->values[j].text);
        }
        str_append(out, " }\n");
        /* Only a list takes braces; a scalar has one value. */
        for (size_t o = 0; section->schema->options[o].name; o++)
            if (section->schema->options[o].name == option->name &&
                !section->schema->options[o].list)
                expect(option->n_values == 1);
    }
    for (size_t i = 0; i < section->n_sections; i++) {
        const struct conf_section *sub = section->sections[i];
        expect(sub->parent == section && sub->line > 0);
        str_printf(out, "%s ", sub->schema->name);
        if (sub->title)
            conf_quote(out, sub->title);
        str_append(out, " {\n");
        write_section(sub, texts, out);
        str_append(out, "}\n");
    }
}

/* Reads; only faults of the text may come of it. */
static struct conf_tree *read_checked(const char *text, size_t len)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", text, len, &root_schema, &errors);

    expect(tree != NULL || errors.errors > 0);
    expect(tree == NULL || tree->name_faults == errors.errors);
    if (errors.errors > 0) {
        conf_tree_free(tree);
        tree = NULL;
    }
    for (size_t i = 0; i < errors.count; i++)
        expect(strncmp(errors.items[i].text, "internal error", 14) != 0);
    errlist_free(&errors);
    return tree;
}

static struct conf_tree *decode(const char *bytes, size_t len)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    STR_AUTO written = {0};
    int result = conf_wire_decode(bytes, len, &root_schema, &errors, &tree);

    expect(result == 0 || (tree == NULL && errors.count == 0));
    if (tree)
        write_section(&tree->root, true, &written);
    errlist_free(&errors);
    return tree;
}

static void check_wire(const struct conf_tree *tree, const struct str *written, uint8_t salt)
{
    struct errlist none = {0};
    STR_AUTO bytes = {0};
    STR_AUTO again = {0};
    struct conf_tree *decoded;

    conf_wire_encode(&none, tree, &bytes);
    decoded = decode(bytes.data, bytes.len);
    expect(decoded != NULL);
    write_section(&decoded->root, true, &again);
    expect(strcmp(str_text(&again), str_text(written)) == 0);
    conf_tree_free(decoded);

    for (size_t i = salt % 7; i < bytes.len; i += 7) {
        char kept = bytes.data[i];
        bytes.data[i] = (char)(kept ^ (char)(1 << (i % 8)));
        conf_tree_free(decode(bytes.data, bytes.len));
        bytes.data[i] = kept;
    }
}

/* What was accepted, written as a value of a list, must be read as the same. */
static void check_quoting(const struct conf_section *section)
{
    for (size_t i = 0; i < section->n_options; i++) {
        for (size_t j = 0; j < section->options[i].n_values; j++) {
            const struct conf_value *value = &section->options[i].values[j];
            STR_AUTO text = {0};
            struct conf_tree *tree;

            str_append(&text, "global { log = ");
            conf_quote(&text, value->raw);
            str_append(&text, " }");
            tree = read_checked(str_text(&text), text.len);
            expect(tree != NULL);
            expect(strcmp(tree->root.sections[0]->options[0].values[0].raw, value->raw) == 0);
            expect(strcmp(tree->root.sections[0]->options[0].values[0].text, value->text) == 0);
            conf_tree_free(tree);
        }
    }
    for (size_t i = 0; i < section->n_sections; i++)
        check_quoting(section->sections[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size > 0 ? size : 1); /* of just this size, for an overrun to be seen */
    struct conf_tree *tree;

    expect(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    conf_tree_free(decode(text, size));
    tree = read_checked(text, size);
    if (tree) {
        STR_AUTO written = {0};
        write_section(&tree->root, true, &written);
        check_wire(tree, &written, size > 0 ? data[size / 2] : 0);
        check_quoting(&tree->root);
    }
    conf_tree_free(tree);
    free(text);
    return 0;
}
