/*
 * Lines of a backends_file: no input may crash the parser, and each backend that it takes has a
 * usable name that no other has, a place in the file, and an address unless there was a fault.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "conf/read.h"
#include "model/backends_file.h"
#include "model/model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char own[] = "pool \"web\" {\n backend \"a\" { address = \"10.0.0.1:80\" }\n}\n";
static const char *const kinds[] = {"tcp", NULL};
static const struct model_registries registries = {.check_kinds = kinds};

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_backend(const struct conf_section *pool, const struct conf_section *backend,
                          bool faultless)
{
    expect(conf_name_valid(backend->title));
    expect(conf_find_section(pool, "backend", backend->title) == backend);
    expect(backend->line > 0);
    expect(!faultless || conf_find(backend, "address") != NULL);
    for (size_t i = 0; i < backend->n_options; i++) {
        expect(backend->options[i].n_values == 1);
        expect(conf_find(backend, backend->options[i].name) == &backend->options[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", own, strlen(own), model_schema(), &errors);
    struct conf_section *pool = conf_find_section(&tree->root, "pool", "web");
    char *text = malloc(size + 1); /* of just this size, for the sanitizer to see an overrun */

    expect(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    backends_file_parse(pool, "/b", text, size, &errors);
    for (size_t i = 0; i < pool->n_sections; i++) {
        check_backend(pool, pool->sections[i], errors.errors == 0);
    }
    model_free(model_build(tree, &registries, &errors)); /* no service: never good, but judged */
    errlist_free(&errors);
    conf_tree_free(tree);
    free(text);
    return 0;
}
