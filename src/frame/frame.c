/* The table of framers. */
#include "framer.h"

const struct framer_ops *const framer_table[FRAMING_KIND_COUNT] = {
    [FRAMING_HTTP1] = &framer_http1,         [FRAMING_RESP] = &framer_resp,
    [FRAMING_MEMCACHED] = &framer_memcached, [FRAMING_LINE] = &framer_line,
    [FRAMING_LENGTH] = &framer_length,
};
