/*
 * What an agent or a program says: no bytes may crash the reading or the quoting; figures stay in
 * their ranges, each word is counted once, and what is shown is short, printable and one line.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check/agent_answer.h"
#include "check/check.h"
#include "check/quote.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_answer(const char *line, size_t n)
{
    struct agent_answer answer, again;

    agent_answer_read(line, n, &answer);
    expect(answer.weight_permille == CHECK_NOT_SAID ||
           (answer.weight_permille <= 1000 && answer.weight_permille % 10 == 0));
    expect(answer.admin == CHECK_NOT_SAID || answer.admin < ADMIN_COUNT);
    expect(answer.words_end <= n && answer.why <= n && answer.words_end <= answer.why);
    expect(answer.words_end == n || line[answer.words_end] == '#');
    expect(answer.n_known + answer.n_unknown <= (n + 1) / 2);
    expect(answer.n_known > 0 ||
           (answer.health == AGENT_SAYS_NOTHING && answer.weight_permille == CHECK_NOT_SAID &&
            answer.admin == CHECK_NOT_SAID && answer.max_connections == CHECK_NOT_SAID));
    /* What stands after the mark changes nothing. */
    agent_answer_read(line, answer.words_end, &again);
    expect(again.health == answer.health && again.weight_permille == answer.weight_permille &&
           again.admin == answer.admin && again.max_connections == answer.max_connections &&
           again.n_known == answer.n_known && again.n_unknown == answer.n_unknown);
}

static void check_quote(const char *bytes, size_t n, size_t size)
{
    char *out = malloc(size); /* of just this size, for the sanitizer to see an overrun */
    char *again = malloc(size);
    size_t length;

    expect(out != NULL && again != NULL);
    quote_line(out, size, bytes, n);
    length = strlen(out);
    expect(length < size);
    for (size_t i = 0; i < length; i++) {
        expect((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
    }
    quote_line(again, size, out, length);
    expect(length == 0 || out[length - 1] == ' ' || strcmp(out, again) == 0);
    free(out);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *bytes = malloc(size > 0 ? size : 1);
    size_t length;

    expect(bytes != NULL);
    if (size > 0) {
        memcpy(bytes, data, size);
    }
    length = agent_line_length(bytes, size);
    expect(length <= size && memchr(bytes, '\n', length) == NULL &&
           memchr(bytes, '\r', length) == NULL);
    check_answer(bytes, length);
    check_quote(bytes, size, 1);
    check_quote(bytes, size, 7);
    check_quote(bytes, size, 120);
    free(bytes);
    return 0;
}
