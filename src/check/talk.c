/* The life of a run that talks over a connection. In the monitor. */
#include "check/talk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* Lets go of everything, then tells. */
static void conclude(struct talk *talk, bool clean)
{
    stream_close(talk->stream, clean);
    talk->stream = NULL;
    check_done(talk->probe, talk->passed, talk->reason);
}

static void on_stream(void *arg, enum stream_event event, const char *reason)
{
    struct talk *talk = arg;

    talk->is_open |= event == STREAM_OPEN;
    talk->peer_ended |= event == STREAM_END;
    if (!talk->is_ending) {
        talk->fn(talk->probe, event, reason);
    } else if (event == STREAM_END || event == STREAM_ERROR) {
        conclude(talk, talk->peer_ended || talk->is_farewell);
    }
}

int talk_start(struct talk *talk, struct check_probe *probe, const struct stream_options *options,
               talk_fn *fn)
{
    struct stream_options all = *options;

    all.address = probe->address;
    all.source = check_arg(probe, "source", NULL);
    all.send_proxy = probe->send_proxy;
    all.input_max = TALK_INPUT_MAX;
    *talk = (struct talk){.probe = probe, .fn = fn};
    return stream_open(probe->base, &all, on_stream, talk, &talk->stream);
}

void talk_cancel(struct talk *talk)
{
    stream_close(talk->stream, false);
    talk->stream = NULL;
}

bool talk_explain_late(const struct talk *talk, char *out_reason, size_t size)
{
    if (talk->stream == NULL || talk->is_open) {
        return false;
    }
    (void)snprintf(out_reason, size, "no %s within %u ms",
                   stream_is_connected(talk->stream) ? "TLS handshake" : "connection",
                   talk->probe->params->timeout_ms);
    return true;
}

/* Never so long that the check's own time could end first: the verdict would be lost. */
static uint32_t linger_ms(const struct talk *talk)
{
    uint64_t spent_ms = (clock_now_us() - talk->probe->started_us) / 1000;
    uint64_t timeout_ms = talk->probe->params->timeout_ms;
    uint64_t half_ms = spent_ms < timeout_ms ? (timeout_ms - spent_ms) / 2 : 0;

    return half_ms < TALK_LINGER_MS ? (uint32_t)half_ms : TALK_LINGER_MS;
}

void talk_end(struct talk *talk, bool passed, enum talk_ending ending, const char *format, ...)
{
    uint32_t max_ms = linger_ms(talk);
    va_list args;

    va_start(args, format);
    (void)vsnprintf(talk->reason, sizeof(talk->reason), format, args);
    va_end(args);
    talk->is_ending = true;
    talk->passed = passed;
    talk->is_farewell = ending == TALK_FAREWELL;
    if (talk->peer_ended || ending == TALK_RESET || max_ms == 0 ||
        stream_linger(talk->stream, talk->is_farewell, max_ms) != 0) {
        conclude(talk, talk->peer_ended || talk->is_farewell);
    }
}

bool talk_send(struct talk *talk, const void *bytes, size_t n)
{
    if (stream_send(talk->stream, bytes, n) == 0) {
        return true;
    }
    talk_fail(talk, "%s", stream_error_text(ENOMEM));
    return false;
}

const char *talk_input(const struct talk *talk, size_t *out_n)
{
    struct evbuffer *input = talk->is_open ? stream_input(talk->stream) : NULL;
    const char *bytes = input != NULL ? (const char *)evbuffer_pullup(input, -1) : NULL;

    *out_n = bytes != NULL ? evbuffer_get_length(input) : 0;
    return bytes;
}

void talk_take(struct talk *talk, size_t n)
{
    (void)evbuffer_drain(stream_input(talk->stream), n);
}

const char *talk_elapsed(const struct talk *talk, char buf[static TALK_ELAPSED_MAX])
{
    uint64_t us = clock_now_us() - talk->probe->started_us;

    if (us < 1000) {
        (void)snprintf(buf, TALK_ELAPSED_MAX, "%u us", (unsigned)us);
    } else {
        (void)snprintf(buf, TALK_ELAPSED_MAX, "%llu.%llu ms", (unsigned long long)us / 1000,
                       (unsigned long long)us / 100 % 10);
    }
    return buf;
}
