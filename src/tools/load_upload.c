/*
 * The expected answer to a raw upload. All uploads of a run send the same bytes, so each byte is
 * hashed once for all of them: the furthest connection drives it on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "load_engine.h"
#include "pattern.h"

struct load_upload_hash {
    XXH64_state_t *state;
    uint64_t reached;
};

struct load_upload_hash *load_upload_hash_new(void)
{
    struct load_upload_hash *hash = calloc(1, sizeof(*hash));

    if (!hash)
        return NULL;
    hash->state = XXH64_createState();
    if (!hash->state) {
        free(hash);
        return NULL;
    }
    XXH64_reset(hash->state, 0);
    return hash;
}

void load_upload_hash_free(struct load_upload_hash *hash)
{
    if (!hash)
        return;
    XXH64_freeState(hash->state);
    free(hash);
}

void load_upload_hash_reach(struct load_upload_hash *hash, uint64_t offset)
{
    while (hash->reached < offset) {
        uint64_t left = offset - hash->reached;
        size_t piece = left < PATTERN_CHUNK ? (size_t)left : PATTERN_CHUNK;
        XXH64_update(hash->state, pattern_at(hash->reached), piece);
        hash->reached += piece;
    }
}

bool load_upload_hash_matches(const struct load_upload_hash *hash, const char *line)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "%" PRIu64 " %016" PRIx64 "\n", hash->reached,
             XXH64_digest(hash->state));
    return strcmp(line, expected) == 0;
}
