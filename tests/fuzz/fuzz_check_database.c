/*
 * What databases say at the door: no bytes may crash a reader, what it says is printable, and it
 * takes no more than there is. The first byte chooses the reader.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check/database_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_answer(const struct database_answer *answer, size_t n)
{
    expect(answer->verdict < DATABASE_VERDICT_COUNT && answer->used <= n);
    expect((answer->used == 0) == (answer->verdict == DATABASE_MORE) || n == 0);
    expect(strnlen(answer->text, sizeof(answer->text)) < sizeof(answer->text));
    expect(strnlen(answer->plugin, sizeof(answer->plugin)) < sizeof(answer->plugin));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = size > 0 ? size - 1 : 0;
    char *bytes = malloc(n > 0 ? n : 1);
    struct database_answer answer;
    STR_AUTO ask = {0};

    expect(bytes != NULL);
    if (n > 0) {
        memcpy(bytes, data + 1, n);
    }
    switch (size > 0 ? data[0] % 3 : 0) {
    case 0:
        answer = postgresql_read(bytes, n);
        break;
    case 1:
        answer = mysql_read_reply(bytes, n);
        mysql_answer(&answer, &ask);
        expect(!ask.failed && ask.len <= 4 + 64);
        break;
    default:
        answer = mysql_read_greeting(bytes, n);
        mysql_ask("sluice", &answer, &ask);
        expect(!ask.failed && ask.len < 256);
        break;
    }
    check_answer(&answer, n);
    free(bytes);
    return 0;
}
