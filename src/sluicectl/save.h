/*
 * save FILE: the running configuration into a file of this user's. In sluicectl.
 */
#ifndef SLUICE_SLUICECTL_SAVE_H
#define SLUICE_SLUICECTL_SAVE_H

#include <stdbool.h>

#include "base/str.h"

/*
 * Writes what the daemon's reply (one line of JSON) holds to path, whole or not at all:
 * never to a file that the daemon has loaded, whatever name it goes by. A file that is there keeps
 * its mode, a new one is its user's alone. Says what it did or why not, as JSON when asked. Returns
 * 0 or -1.
 */
int save_file(const struct str *reply, const char *path, bool as_json);

#endif
