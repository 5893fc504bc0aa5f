/*
 * The file in which the daemon keeps what is to outlive it: read once, then replaced whole by each
 * write, so that there is always one that is whole. A lock beside it (NAME.lock) keeps a second
 * daemon away from it. In master, which keeps its user: the file is that user's, and workers cannot
 * read it.
 */
#ifndef SLUICE_PROC_STATE_FILE_H
#define SLUICE_PROC_STATE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/str.h"

struct state_file {
    char *folder, *name; /* NULL: none is kept */
    int lock;            /* -1: not held yet */
    bool in_the_way;     /* what is there is not ours and could not be put aside yet */
};

/* path is absolute. Touches nothing yet. Returns 0 or -ENOMEM. */
int state_file_init(struct state_file *file, const char *path);
/* Takes the lock unless it is held already. Returns 0; 1 when another process holds it, with its
 * pid (0: not known); or -errno. */
int state_file_lock(struct state_file *file, pid_t *out_holder);
/* Leaves it to another process, until state_file_lock(). */
void state_file_unlock(struct state_file *file);
/* Returns 0 with the content; -ENOENT; 1 when it cannot be ours, with why; or -errno. At most max
 * bytes are read. */
int state_file_read(const struct state_file *file, size_t max, struct str *out,
                    struct str *out_problem);
/* Renames it to NAME.bad-TIME, told in out_name. Returns 0 or -errno. */
int state_file_put_aside(const struct state_file *file, uint64_t wall_ms, struct str *out_name);
/* The new content is on the disk, or the old one still is. Returns 0 or -errno. */
int state_file_write(const struct state_file *file, const char *text, size_t len);
/* Appends what an error of the above means, for people. */
void state_file_explain(const struct state_file *file, int error, struct str *out);
/* Gives up the lock. For a zeroed one too. */
void state_file_free(struct state_file *file);

#endif
