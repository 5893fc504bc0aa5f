/*
 * One request and its reply over the control socket. In sluicectl.
 */
#ifndef SLUICE_SLUICECTL_TALK_H
#define SLUICE_SLUICECTL_TALK_H

#include <stdint.h>

#include "base/str.h"

#define TALK_SILENCE_MS 60000 /* a daemon that says nothing for so long is given up */

/* The daemon's, unless it is told otherwise. */
#define TALK_SOCKET "/run/sluice/control.sock"

/* Which socket is meant: the one that was asked for, else $SLUICE_SOCKET, else the usual one. */
const char *talk_choose_socket(const char *asked, const char *usual);
/* Connects to the socket at path, in silence_ms at most. Returns a descriptor or -errno. */
int talk_connect(const char *path, uint32_t silence_ms);
/* From now on sending and each wait for more of a reply may take so long, at least 1. Returns 0 or
 * -errno. */
int talk_limit_silence(int fd, uint32_t silence_ms);
/* Sends line (without its newline). Returns 0 or -errno. */
int talk_send_line(int fd, const char *line, size_t len);
/*
 * Receives the whole reply before any of it is printed: the daemon does not wait for a pager.
 * Returns 0 and appends its text to *out; -ECONNRESET when the connection ended within it,
 * -ETIMEDOUT after too much silence, or another -errno.
 */
int talk_receive(int fd, struct str *out);

#endif
