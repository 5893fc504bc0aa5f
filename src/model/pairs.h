/*
 * Who holds which pair's number in the scoreboard: by the address that connections come from and
 * the one that they go to, whatever pool they belong to. A number is handed out again only when its
 * pair is no longer configured and nothing uses it. The lowest free one goes first, so that the
 * used ones stay together. In master.
 */
#ifndef SLUICE_MODEL_PAIRS_H
#define SLUICE_MODEL_PAIRS_H

#include "sluice/scoreboard.h"
#include "sluice/snapshot.h"

struct pairs;

struct pairs *pairs_create(struct scoreboard *sb); /* sb outlives it; NULL without memory */
void pairs_destroy(struct pairs *pairs);           /* NULL is allowed */
/* Writes the numbers into a snapshot that is not published yet; 0 (not counted) where they run out.
 * Harmless if it never is. Returns 0, or -ENOMEM with all of them 0. */
int pairs_number(struct pairs *pairs, struct snapshot_header *snapshot);

#endif
