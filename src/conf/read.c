/*
 * The steps of reading in their order: scan, expansion, second opinion. Runs in the reading child.
 */
#include "read.h"

#include "confuse.h"
#include "expand.h"
#include "scan.h"

void conf_complete(struct conf_tree *tree, struct errlist *errors)
{
    if (tree && tree->root.schema->complete)
        tree->root.schema->complete(tree, errors);
}

/* Expansion has its say even when the scan found faults, so that all are told at once. */
static struct conf_tree *finish(struct conf_tree *tree, struct scan_merged *merged,
                                struct errlist *errors, bool completes)
{
    size_t scan_errors = errors->errors;
    if (tree)
        conf_expand_tree(tree, errors);
    if (tree && scan_errors == 0)
        conf_confuse_check(tree, merged, errors);
    scan_merged_free(merged);
    if (completes)
        conf_complete(tree, errors);
    errlist_sort(errors);
    if (tree && errors->errors == tree->name_faults)
        return tree;
    conf_tree_free(tree);
    return NULL;
}

struct conf_tree *conf_read_file(const char *path, const struct conf_section_schema *schema,
                                 struct errlist *errors)
{
    struct scan_merged merged = {0};
    return finish(scan_file(path, schema, errors, &merged), &merged, errors, true);
}

struct conf_tree *conf_read_again(const struct conf_tree *tree, struct errlist *errors)
{
    struct conf_tree *copy = conf_tree_copy(tree);
    if (!copy)
        errlist_add(errors, ERRLIST_ERROR, NULL, 0, NULL, "out of memory");
    conf_complete(copy, errors);
    errlist_sort(errors);
    return copy;
}

struct conf_tree *conf_read_text(const char *name, const char *text, size_t len,
                                 const struct conf_section_schema *schema, struct errlist *errors)
{
    struct scan_merged merged = {0};
    return finish(scan_text(name, text, len, schema, errors, &merged), &merged, errors, false);
}
