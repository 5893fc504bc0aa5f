/*
 * The state machine of the chunked transfer coding; the chart stands beside the enum.
 */
#include "chunked.h"

#include <errno.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int take_size(struct chunked *chunked, char c)
{
    int value = hex_value(c);

    if (value >= 0) {
        if (++chunked->digits > 15)
            return -EBADMSG;
        chunked->left = chunked->left * 16 + (uint64_t)value;
        return 0;
    }
    if (chunked->digits == 0 || (c != ';' && c != '\r'))
        return -EBADMSG;
    chunked->overhead = 0;
    chunked->state = c == ';' ? CHUNKED_EXTENSION : CHUNKED_SIZE_LF;
    return 0;
}

static int expect(struct chunked *chunked, char c, char wanted, enum chunked_state next)
{
    if (c != wanted)
        return -EBADMSG;
    chunked->state = next;
    return 0;
}

/* Extension and trailer lines: skipped up to their end, bounded. */
static int take_skipped(struct chunked *chunked, char c, unsigned limit, char end,
                        enum chunked_state next)
{
    if (++chunked->overhead > limit || (end == '\r' && c == '\n'))
        return -EBADMSG;
    if (c == end)
        chunked->state = next;
    return 0;
}

static int take_framing(struct chunked *chunked, char c)
{
    switch (chunked->state) {
    case CHUNKED_SIZE:
        return take_size(chunked, c);
    case CHUNKED_EXTENSION:
        return take_skipped(chunked, c, CHUNKED_EXTENSION_MAX, '\r', CHUNKED_SIZE_LF);
    case CHUNKED_SIZE_LF:
        chunked->overhead = 0;
        return expect(chunked, c, '\n', chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER);
    case CHUNKED_DATA_CR:
        return expect(chunked, c, '\r', CHUNKED_DATA_LF);
    case CHUNKED_DATA_LF:
        chunked->digits = 0;
        return expect(chunked, c, '\n', CHUNKED_SIZE);
    case CHUNKED_TRAILER:
        if (c == '\r')
            return expect(chunked, c, '\r', CHUNKED_END_LF);
        chunked->state = CHUNKED_TRAILER_LINE;
        return take_skipped(chunked, c, CHUNKED_TRAILER_MAX, '\n', CHUNKED_TRAILER);
    case CHUNKED_TRAILER_LINE:
        return take_skipped(chunked, c, CHUNKED_TRAILER_MAX, '\n', CHUNKED_TRAILER);
    case CHUNKED_END_LF:
        return expect(chunked, c, '\n', CHUNKED_OVER);
    case CHUNKED_DATA:
    case CHUNKED_OVER:
    case CHUNKED_STATE_COUNT:
        break;
    }
    return -EBADMSG;
}

int chunked_decode(struct chunked *chunked, const char *data, size_t length, size_t *out_used,
                   struct chunked_span *out_span)
{
    size_t used = 0;

    *out_span = (struct chunked_span){0};
    while (used < length && chunked->state != CHUNKED_OVER) {
        if (chunked->state == CHUNKED_DATA) {
            size_t piece = length - used;
            if (piece > chunked->left)
                piece = (size_t)chunked->left;
            *out_span = (struct chunked_span){data + used, piece};
            used += piece;
            chunked->left -= piece;
            if (chunked->left == 0)
                chunked->state = CHUNKED_DATA_CR;
            break;
        }
        int rc = take_framing(chunked, data[used++]);
        if (rc != 0)
            return rc;
    }
    *out_used = used;
    return chunked->state == CHUNKED_OVER ? 1 : 0;
}
