/* Reading the small text files of /proc and /sys. In master and in sluicectl doctor. */
#include "machine_file.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

#define FILE_BYTES_MAX (1024 * 1024) /* the list of reserved ports may be long */

bool machine_file_read(const char *root, const char *path, struct str *out)
{
    char full[PATH_MAX], chunk[4096];
    size_t n;

    if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full)) {
        return false;
    }
    FILE *file = fopen(full, "re");
    if (file == NULL) {
        return false;
    }
    out->limit = FILE_BYTES_MAX;
    while (!out->failed && (n = fread(chunk, 1, sizeof(chunk), file)) > 0) {
        str_append_n(out, chunk, n);
    }
    bool is_good = !ferror(file) && !out->failed;
    fclose(file);
    return is_good;
}

void machine_text_numbers(const char *text, uint64_t *out, size_t n)
{
    bool is_good = true;
    for (size_t i = 0; i < n; i++) {
        char *end;
        text += strspn(text, " \t\n");
        errno = 0;
        out[i] = strtoull(text, &end, 10);
        is_good &= end > text && *text != '-' && errno == 0;
        text = end;
    }
    for (size_t i = 0; !is_good && i < n; i++) {
        out[i] = MACHINE_UNKNOWN;
    }
}

void machine_file_numbers(const char *root, const char *path, uint64_t *out, size_t n)
{
    STR_AUTO text = {0};
    (void)machine_file_read(root, path, &text);
    machine_text_numbers(str_text(&text), out, n);
}

uint64_t machine_text_find(const char *text, const char *key)
{
    size_t len = strlen(key);
    uint64_t number = MACHINE_UNKNOWN;
    while (text != NULL && strncmp(text, key, len) != 0) {
        text = strchr(text, '\n');
        text = text != NULL ? text + 1 : NULL;
    }
    if (text != NULL) {
        machine_text_numbers(text + len, &number, 1);
    }
    return number;
}
