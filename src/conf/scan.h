/*
 * The scan: from files to a tree with places, to messages for all that is wrong with structure and
 * names, and to one merged text for libconfuse. Values in the tree are not expanded yet.
 */
#ifndef SLUICE_CONF_SCAN_H
#define SLUICE_CONF_SCAN_H

#include "conf.h"

struct scan_place {
    const char *file; /* owned by the tree */
    int line;
};

/* All statements, without comments and includes, spelled so that libconfuse expands nothing. */
struct scan_merged { /* zeroed is empty */
    struct str text;
    struct scan_place *places; /* of each line of text */
    size_t n_places;
};

/* Both return a tree, incomplete when errors got an error, or NULL without memory, which is an
 * error too. merged is only of use when there was none. */
struct conf_tree *scan_file(const char *path, const struct conf_section_schema *schema,
                            struct errlist *errors, struct scan_merged *merged);
/* The same for a text in memory called name; include() is refused in it. */
struct conf_tree *scan_text(const char *name, const char *text, size_t len,
                            const struct conf_section_schema *schema, struct errlist *errors,
                            struct scan_merged *merged);
void scan_merged_free(struct scan_merged *merged);

#endif
