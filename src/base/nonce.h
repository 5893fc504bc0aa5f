/*
 * Nonces: in a text that stands for bytes each NONCE_MARK is a place for digits that nobody can
 * guess, new ones whenever the text is used. What holds them cannot have been prepared by anybody.
 */
#ifndef SLUICE_BASE_NONCE_H
#define SLUICE_BASE_NONCE_H

#include <stdbool.h>
#include <stddef.h>

#define NONCE_MARK  "{nonce}"
#define NONCE_BYTES 16

/* Writes 64 random bits of the kernel's, in hex, without a NUL behind. 0 or -errno. */
int nonce_make(char out[static NONCE_BYTES]);
/* Whether the n bytes of text hold a mark. */
bool nonce_is_in(const char *text, size_t n);
/* Writes text with nonce in the place of each mark to out, which has the room. Returns how many
 * bytes that is; with out NULL nothing else is done, and nonce may be NULL. */
size_t nonce_put(const char *text, size_t n, const char *nonce, char *out);

#endif
