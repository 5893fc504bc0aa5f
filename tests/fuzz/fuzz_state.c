/*
 * Texts of state files: none may crash the reader, and what it takes must be written as something
 * that it takes again, and that is then written the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS  1000
#define WALL_MS UINT64_C(1800000000000)

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static bool decode(const char *text, size_t len, struct state *out)
{
    STR_AUTO problem = {0};
    int rc = state_decode(text, len, NOW_MS, WALL_MS, out, &problem);
    expect(rc == 0 || (rc == 1 && problem.len > 0));
    return rc == 0;
}

/* Whatever the text says, the list must bear what is done with one. */
static void use(struct state *state)
{
    for (size_t i = 0; i < state->overrides.count; i++) {
        const struct override *item = &state->overrides.items[i];
        expect(item->by != NULL && (item->until_wall_ms == 0) == (item->until_ms == 0));
        expect(overrides_find(&state->overrides, item) == item);
    }
    const struct override *next;
    while ((next = overrides_next_end(&state->overrides)) != NULL) {
        expect(overrides_expire(&state->overrides, next->until_ms) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct state state = {0};
    struct state again = {0};
    if (!decode((const char *)data, size, &state)) {
        return 0;
    }
    STR_AUTO text = {0};
    STR_AUTO second = {0};
    state_encode(&state, &text);
    expect(decode(str_text(&text), text.len, &again));
    state_encode(&again, &second);
    expect(text.len == second.len && memcmp(text.data, second.data, text.len) == 0);
    use(&again);
    state_free(&state);
    state_free(&again);
    return 0;
}
