/*
 * The heads of HTTP requests to the status address, bounded and strict (RFC 9112). Pure; in the
 * monitor.
 */
#ifndef SLUICE_CTL_STATUS_REQUEST_H
#define SLUICE_CTL_STATUS_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATUS_HEAD_MAX   8192 /* request line and fields together */
#define STATUS_TARGET_MAX 1024

struct status_request {
    uint16_t error; /* 0, or the status that it is to be refused with; then the connection ends */
    const char *problem; /* of that: what is wrong; what would be right */
    bool is_head;
    bool keep_alive;
    char path[STATUS_TARGET_MAX + 1]; /* decoded, without what follows a "?"; from "/" on */
};

/*
 * Reads the head that bytes begin with. Returns how many bytes it has, with *out filled; 0: more
 * are needed, *out untouched. What is wrong, or too long, has an error, and size is returned.
 */
size_t status_request_parse(const char *bytes, size_t size, struct status_request *out);

#endif
