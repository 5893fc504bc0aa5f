/*
 * HTTP answers: no bytes may crash the parser, its limits must hold, and how the bytes come in
 * pieces must make no difference. The first byte says how: whether HEAD was asked, and how long
 * pieces are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check/http_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_limits(const struct http_answer *answer)
{
    expect(answer->state < HTTP_STATE_COUNT);
    expect(answer->head_bytes <= HTTP_HEAD_MAX && answer->line_len < HTTP_LINE_KEPT);
    expect(answer->head_lines <= HTTP_LINES_MAX + 1 && answer->n_interim <= HTTP_INTERIM_MAX + 1);
    expect(answer->body == NULL || answer->body->len <= HTTP_BODY_MAX);
    if (http_answer_has_head(answer)) {
        expect(answer->status == 101 || (answer->status >= 200 && answer->status <= 999));
    }
}

static void feed_all(struct http_answer *answer, const char *bytes, size_t n, size_t piece)
{
    for (size_t at = 0; at < n; at += piece) {
        size_t len = n - at < piece ? n - at : piece;
        char *exact = malloc(len); /* of just this size, for the sanitizer to see an overrun */

        expect(exact != NULL);
        memcpy(exact, bytes + at, len);
        http_answer_feed(answer, exact, len);
        free(exact);
        check_limits(answer);
    }
    http_answer_end(answer);
    check_limits(answer);
    expect(answer->state == HTTP_COMPLETE || answer->state == HTTP_FAULT);
}

static bool is_same_fault(const struct http_answer *a, const struct http_answer *b)
{
    return a->fault == b->fault || (a->fault && b->fault && strcmp(a->fault, b->fault) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_head = size > 0 && (data[0] & 1) != 0;
    size_t piece = size > 0 ? (size_t)(data[0] >> 1) + 1 : 1;
    const char *bytes = (const char *)data + (size > 0);
    size_t n = size > 0 ? size - 1 : 0;
    struct http_answer whole, pieces, unkept;
    STR_AUTO body = {0}, body_of_pieces = {0};

    http_answer_init(&whole, is_head, &body);
    feed_all(&whole, bytes, n, n > 0 ? n : 1);
    http_answer_init(&pieces, is_head, &body_of_pieces);
    feed_all(&pieces, bytes, n, piece);
    http_answer_init(&unkept, is_head, NULL);
    feed_all(&unkept, bytes, n, piece);

    expect(whole.state == pieces.state && whole.state == unkept.state);
    expect(whole.status == pieces.status && whole.status == unkept.status);
    expect(whole.state != HTTP_FAULT || is_same_fault(&whole, &pieces));
    expect(body.len == body_of_pieces.len);
    expect(body.len == 0 || memcmp(body.data, body_of_pieces.data, body.len) == 0);
    return 0;
}
