/*
 * Where a reply of Redis' protocol ends, RESP2 and RESP3. In workers; pure.
 *
 * Types tell their own lengths and counts, so that a reply of any depth needs but one number: of
 * the values that are still to come. Nothing needs to be held.
 */
#ifndef SLUICE_FRAME_RESP_REPLY_H
#define SLUICE_FRAME_RESP_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum resp_reply_step {
    RESP_REPLY_MORE, /* all bytes are taken */
    RESP_REPLY_END,  /* the reply is complete */
    RESP_REPLY_LOST, /* with the last byte taken it is no reply, or none whose end can be told */
    RESP_REPLY_STEP_COUNT
};

struct resp_reply {
    uint64_t values_left; /* with the one under way */
    uint64_t number;      /* of its header; then the bytes that its body still has */
    uint8_t phase;
    char type;
    bool is_negative;
    bool has_digits;
    bool has_value;  /* the reply's own value has begun, behind what attributes it may have */
    bool is_heading; /* that value is a line, and is under way */
    char head[32];   /* how it starts: its type, and its line without the end */
    uint8_t head_n;
    const char *problem; /* at RESP_REPLY_LOST, for people; static storage */
};

/* Before the first byte of a reply. */
void resp_reply_begin(struct resp_reply *reply);
/* Returns how many bytes are taken: all, unless the reply ends or is lost before. */
size_t resp_reply_parse(struct resp_reply *reply, const unsigned char *bytes, size_t n,
                        enum resp_reply_step *out_step);

/* Of a complete reply. Text with the type's byte, at most as long as head. */
char resp_reply_type(const struct resp_reply *reply);
bool resp_reply_is_error(const struct resp_reply *reply);
bool resp_reply_is(const struct resp_reply *reply, const char *line);
/* In any case of letters. */
bool resp_reply_starts(const struct resp_reply *reply, const char *text);

#endif
