/*
 * Reading a whole file from disk without ever waiting for anything but the disk.
 */
#ifndef SLUICE_CONF_FILE_H
#define SLUICE_CONF_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/str.h"

struct conf_file { /* zeroed is empty */
    char *bytes;   /* with a NUL after them */
    size_t len;
    dev_t device;
    ino_t inode;
};

/*
 * Reads a regular file of at most max_bytes. Returns 0, or -1 with what is wrong appended to
 * problem ("is a directory"), *out untouched.
 */
int conf_file_read(const char *path, size_t max_bytes, struct conf_file *out, struct str *problem);
void conf_file_free(struct conf_file *file);

#endif
