/*
 * Heads of HTTP/1 messages for the framer http1: where a head ends, what it says of the message's
 * end and of the connection, and the same head with another Connection field. Strict by RFC 9112
 * and RFC 9110 (numbers below are their sections): where two readers could understand a head
 * differently, it is refused. In workers; pure, the bytes are a stranger's.
 */
#ifndef SLUICE_FRAME_HTTP1_HEAD_H
#define SLUICE_FRAME_HTTP1_HEAD_H

#include "framer.h"

/* What is wrong. */
enum http1_fault {
    HTTP1_FINE,
    HTTP1_START_LINE,
    HTTP1_VERSION,
    HTTP1_CONTROL_BYTE,
    HTTP1_LINE_END,
    HTTP1_BLANK_LINES,
    HTTP1_FIELD,
    HTTP1_FOLDED,
    HTTP1_BLANK_BEFORE_COLON,
    HTTP1_HOST,
    HTTP1_LENGTH,
    HTTP1_CODING,
    HTTP1_LENGTH_AND_CODING,
    HTTP1_CONNECTION,
    HTTP1_TOO_LARGE,
    HTTP1_CHUNK,
    HTTP1_TRAILER,
    HTTP1_FAULT_COUNT
};

/* Options of Connection (RFC 9110 7.6.1) that mean something here. */
enum http1_option {
    HTTP1_CLOSE = 1,
    HTTP1_KEEP_ALIVE = 2,
    HTTP1_UPGRADE = 4,
    HTTP1_TE = 8,        /* TE is only heeded with it (RFC 9110 10.1.4) */
    HTTP1_SETTINGS = 16, /* HTTP2-Settings, too (RFC 7540 3.2.1) */
    HTTP1_OTHER = 32,    /* any other */
};

/* How far the search for the end of a head has come. Offsets from the first byte; zero: begin. */
struct http1_scan {
    uint32_t at;    /* all before is searched */
    uint32_t line;  /* where the line begins that at is in */
    uint32_t start; /* where the start line begins, behind empty lines */
};

struct http1_head {
    const unsigned char *at; /* the start line; as long as the bytes that were read */
    size_t n;                /* with the empty line at the end */
    size_t fields;           /* where, from at, the first field begins */
    bool is_1_0;             /* else 1.1 */
    /* Of requests: */
    bool is_head, is_connect;
    bool is_safe; /* a GET, HEAD or OPTIONS */
    /* Of replies: */
    uint16_t status;
    /* Fields: */
    bool has_length;
    bool is_chunked; /* never with has_length */
    bool has_upgrade;
    bool has_expect; /* whatever it says */
    bool has_proxy_connection;
    bool is_bound;   /* speaks of an authentication that is the connection's, not the request's */
    uint8_t options; /* enum http1_option */
    uint8_t n_hosts;
    uint64_t length;
};

/*
 * Searches on for the empty line. Returns HTTP1_FINE with *out_n, how many bytes up to and with
 * it, 0: more are needed; then the same bytes with more behind them are to come. Any byte that is
 * no part of any head is a fault as soon as it is seen. blank_lines: how many empty lines may come
 * first and are no part of the head (scan->start is behind them).
 */
enum http1_fault http1_scan_head(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                 unsigned blank_lines, size_t *out_n);
/* The same for the fields behind the last chunk, which may be none. */
enum http1_fault http1_scan_trailer(struct http1_scan *scan, const unsigned char *bytes, size_t n,
                                    size_t *out_n);

/* Of n bytes that the scan went over and found whole, without empty lines at the front. out_head is
 * only defined with HTTP1_FINE. */
enum http1_fault http1_read_request(struct http1_head *out_head, const unsigned char *bytes,
                                    size_t n);
/* What is wrong with a status line as far as it is there: as soon as no more bytes could mend it.
 */
enum http1_fault http1_judge_status(const unsigned char *bytes, size_t n);
enum http1_fault http1_read_reply(struct http1_head *out_head, const unsigned char *bytes,
                                  size_t n);
enum http1_fault http1_read_trailer(const unsigned char *bytes, size_t n);

/*
 * Writes the head with "Connection: <connection>" for all it had of Connection, Keep-Alive and
 * Proxy-Connection; Upgrade stays if keeps_upgrade. Fields that Connection names stay as well,
 * unlike in 7.6.1: a client could else take away what somebody trusted in front of us has added.
 * room is FRAMER_ROOM_BYTES; returns how many are used.
 */
size_t http1_rewrite(const struct http1_head *head, const char *connection, bool keeps_upgrade,
                     unsigned char *room);

/* As a short phrase, static. */
const char *http1_fault_text(enum http1_fault fault);

#endif
