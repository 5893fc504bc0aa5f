/*
 * The last good configurations, as texts in file syntax with ${…} unexpanded: the oldest first, the
 * newest last, none twice. Bounded in number and in bytes. In master.
 */
#ifndef SLUICE_MODEL_KEPT_H
#define SLUICE_MODEL_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEPT_MAX       10
#define KEPT_BYTES_MAX ((size_t)4 << 20) /* of all texts together */

struct kept_config {
    uint32_t generation; /* in which it came into force; 0: none */
    uint32_t changes;    /* how many lines it changed then */
    bool unconfirmed;    /* it waits for "confirm"; never known to be good so far */
    uint64_t wall_ms;
    char *by, *text;
    char *why; /* NULL: not said */
};

struct kept_configs { /* zeroed is empty */
    struct kept_config items[KEPT_MAX];
    size_t count;
};

/*
 * Adds a copy as the newest. An older one of the same text goes (it was good, and what is confirmed
 * stays so); where the newest has it already, or the one of generation pinned (0: none), nothing
 * changes. What is too much then goes, oldest first, but for the pinned one. Returns 0, -EFBIG when
 * the text does not fit beside that, or -ENOMEM; the list is as it was then.
 */
int kept_add(struct kept_configs *list, const struct kept_config *config, uint32_t pinned);
/* NULL: none of that generation. */
const struct kept_config *kept_find(const struct kept_configs *list, uint32_t generation);
/* The newest of that text, or NULL. */
const struct kept_config *kept_find_text(const struct kept_configs *list, const char *text);
/* What waited for its confirmation is good now; or it goes, but for that of generation except. */
void kept_confirm(struct kept_configs *list);
void kept_drop_unconfirmed(struct kept_configs *list, uint32_t except);
void kept_free(struct kept_configs *list);

#endif
