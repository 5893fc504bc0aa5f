/*
 * More backends of a pool from a file of its own (backends_file): lines that become sections of the
 * tree, appended to the pool's own, so that everything behind it knows no difference. In the
 * reading child; what asks about sections also in master.
 *
 * A line is NAME ADDRESS [option=value …]: words with blanks between them, double quotes around
 * what holds blanks, and in these \" and \\ for " and \. Lines that are empty or begin with # mean
 * nothing. Options are those of a backend section that are no lists; nothing is expanded.
 */
#ifndef SLUICE_MODEL_BACKENDS_FILE_H
#define SLUICE_MODEL_BACKENDS_FILE_H

#include "conf/conf.h"

#define BACKENDS_FILE_BYTES_MAX ((size_t)1024 * 1024)

/* Reads the file of each pool that names one, anew: what came from it before goes. For the schema's
 * complete. */
void backends_file_complete(struct conf_tree *tree, struct errlist *errors);
/* Appends what text, the contents of file, says to pool; file is of the tree. All that is wrong
 * goes to errors, with its line. */
void backends_file_parse(struct conf_section *pool, const char *file, const char *text, size_t len,
                         struct errlist *errors);
/* The pool's file, or NULL; how many of its backends came from there. */
const char *backends_file_of(const struct conf_section *pool);
/* Whether a section is a backend that came from its pool's file. */
bool backends_file_has(const struct conf_section *section);
size_t backends_file_count(const struct conf_section *pool);

#endif
