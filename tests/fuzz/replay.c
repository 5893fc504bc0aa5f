/* Runs a fuzz target over the files of its corpus: what a fuzzer once found stays mended. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1024 * 1024)

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 1;
    }
    uint8_t *bytes = malloc(INPUT_MAX);
    size_t n = bytes != NULL ? fread(bytes, 1, INPUT_MAX, file) : 0;
    fclose(file);
    /* Exactly as large as the input, so that a sanitizer sees every step beyond it. */
    uint8_t *exact = malloc(n > 0 ? n : 1);
    if (bytes == NULL || exact == NULL) {
        return 1;
    }
    for (size_t i = 0; i < n; i++) {
        exact[i] = bytes[i];
    }
    free(bytes);
    LLVMFuzzerTestOneInput(exact, n);
    free(exact);
    return 0;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : CORPUS;
    DIR *dir = opendir(folder);
    if (dir == NULL) {
        perror(folder);
        return 1;
    }
    int failed = 0;
    unsigned count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.') {
            continue;
        }
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        failed |= replay(path);
        count++;
    }
    closedir(dir);
    printf("%u inputs\n", count);
    return failed != 0 || count == 0;
}
