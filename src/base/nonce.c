/* Nonces in texts that stand for bytes. Pure, but for the kernel's randomness; in master, which
 * measures, and in workers, which use them. */
#include "nonce.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

int nonce_make(char out[static NONCE_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t bits;

    if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits)) {
        return -errno; /* so few bytes come whole or not at all */
    }
    for (size_t i = 0; i < NONCE_BYTES; i++, bits >>= 4) {
        out[i] = digits[bits & 0xF];
    }
    return 0;
}

static const char *find(const char *text, size_t n)
{
    return memmem(text, n, NONCE_MARK, strlen(NONCE_MARK));
}

bool nonce_is_in(const char *text, size_t n)
{
    return find(text, n) != NULL;
}

static void put(char *out, size_t at, const char *bytes, size_t n)
{
    if (out != NULL && n > 0) {
        memcpy(out + at, bytes, n);
    }
}

size_t nonce_put(const char *text, size_t n, const char *nonce, char *out)
{
    size_t length = 0;

    for (const char *mark; (mark = find(text, n)) != NULL; length += NONCE_BYTES) {
        size_t before = (size_t)(mark - text);

        put(out, length, text, before);
        length += before;
        put(out, length, nonce, NONCE_BYTES);
        text += before + strlen(NONCE_MARK);
        n -= before + strlen(NONCE_MARK);
    }
    put(out, length, text, n);
    return length + n;
}
