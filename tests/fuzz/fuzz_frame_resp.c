/*
 * The framer resp, as fuzz_frame.h says. And nothing that is passed on is changed; a key is made of
 * commands that, replayed, give the same key.
 */
#include <string.h>

#include "fuzz_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned char ok[] = "+OK\r\n";

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* Requests that are all answered well. Returns the key that comes of them, which lasts as long as
 * state; out_used are the bytes taken. */
static struct framing_bytes run_well(void *state, const uint8_t *bytes, size_t n, size_t *out_used)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    struct framing_bytes key = {NULL, 0};
    size_t at = 0;

    while (at < n) {
        struct framing f = framer_resp.request(state, bytes + at, n - at, room);
        if (f.verb != FRAMING_FORWARD && f.verb != FRAMING_OWN) {
            break;
        }
        expect(f.send.n == 0 || (f.send.at == bytes + at && f.send.n == f.used));
        at += f.used;
        if (f.verb == FRAMING_OWN) {
            break;
        }
        if (f.ends) {
            f = framer_resp.reply(state, ok, sizeof(ok) - 1, room);
            expect(f.ends && f.used == sizeof(ok) - 1 && f.send.n == f.used);
            key = f.key;
        }
    }
    *out_used = at;
    return key;
}

static void *make_state(const struct framer_options *options)
{
    void *state = calloc(1, framer_resp.state_bytes);

    expect(state != NULL);
    framer_resp.init(state, options);
    return state;
}

static void check_key(const uint8_t *bytes, size_t n)
{
    static const struct framer_options options = {.handshake_key = true};
    void *first = make_state(&options), *second = make_state(&options);
    size_t used;
    struct framing_bytes key = run_well(first, bytes, n, &used);

    if (key.n > 0) {
        struct framing_bytes again = run_well(second, key.at, key.n, &used);
        expect(used == key.n && again.n == key.n && memcmp(again.at, key.at, key.n) == 0);
        struct framing_bytes send = framer_resp.prepare(first);
        expect(send.n == key.n && memcmp(send.at, key.at, key.n) == 0);
    }
    framer_resp.fini(first);
    framer_resp.fini(second);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > FUZZ_FRAME_HEAD) {
        check_key(data + FUZZ_FRAME_HEAD, size - FUZZ_FRAME_HEAD);
    }
    return fuzz_frame(&framer_resp, data, size);
}
