/*
 * The control protocol's codec: no line may crash the splitting, what it accepts must survive being
 * quoted and split again; whatever a reply holds, its frame has no empty line before its last, no
 * control characters, and is found again in any pieces.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds)
        abort();
}

static void check_words(const char *line, size_t len)
{
    struct codec_words words = {0}, back = {0};
    const char *problem = NULL;
    STR_AUTO joined = {0};

    (void)codec_wants_json(line, len);
    if (codec_split(line, len, &words, &problem) != 0) {
        expect(problem != NULL && words.text == NULL && words.count == 0);
        return;
    }
    expect(words.count <= CODEC_WORDS_MAX);
    codec_join(&joined, (const char *const *)words.words, words.count);
    /* Quoting what needed none can make it longer than a line may be. */
    if (joined.len <= CODEC_LINE_MAX) {
        expect(codec_split(str_text(&joined), joined.len, &back, &problem) == 0);
        expect(back.count == words.count);
        for (size_t i = 0; i < words.count; i++)
            expect(strcmp(words.words[i], back.words[i]) == 0);
    }
    codec_words_free(&words);
    codec_words_free(&back);
}

static void check_frame(const char *text, size_t len)
{
    STR_AUTO frame = {0};
    struct codec_scan scan = {0};
    size_t taken = 0, piece = 1;

    codec_frame(&frame, text, len);
    expect(!frame.failed && frame.len > 0 && strlen(frame.data) == frame.len);
    expect(frame.len == 1 || (frame.len > 2 && strcmp(frame.data + frame.len - 2, "\n\n") == 0));
    expect(frame.data[0] != '\n' || frame.len == 1);
    for (size_t i = 0; i < frame.len; i++)
        expect((unsigned char)frame.data[i] >= 0x20 || frame.data[i] == '\n' ||
               frame.data[i] == '\t');
    while (!scan.done) {
        size_t left = frame.len - taken;
        size_t n = piece < left ? piece : left;

        expect(left > 0);
        taken += codec_scan_reply(&scan, frame.data + taken, n);
        piece = piece % 7 + 1;
    }
    expect(taken == frame.len - 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *line = malloc(size > 0 ? size : 1); /* of just this size, to see an overrun */

    expect(line != NULL);
    if (size > 0)
        memcpy(line, data, size);
    check_words(line, size);
    check_frame(line, size);
    free(line);
    return 0;
}
