/*
 * Requests to the status address, as they come in pieces: no input may crash; a head is complete at
 * the same place however it comes, and what it says does not depend on what follows.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/status_request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status_request whole, part;
    size_t most = size < STATUS_HEAD_MAX ? size : STATUS_HEAD_MAX;
    char *bytes = malloc(most + 1); /* exactly so many, for what guards them */

    expect(bytes != NULL);
    memcpy(bytes, data, most);
    size_t taken = status_request_parse(bytes, most, &whole);
    expect(taken <= most);
    if (taken > 0 && whole.error == 0) {
        expect(whole.path[0] == '/' && memchr(whole.path, '\0', sizeof(whole.path)) != NULL);
        expect(status_request_parse(bytes, taken - 1, &part) == 0);
        expect(status_request_parse(bytes, taken, &part) == taken);
        expect(strcmp(part.path, whole.path) == 0 && part.keep_alive == whole.keep_alive);
    } else if (taken > 0) {
        expect(taken == most && whole.problem != NULL && !whole.keep_alive);
    }
    free(bytes);
    return 0;
}
