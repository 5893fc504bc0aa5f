/*
 * Bounds that several components or processes share. All are checked where input enters, with a
 * message that names the bound.
 */
#ifndef SLUICE_LIMITS_H
#define SLUICE_LIMITS_H

#define NAME_BYTES_MAX 64 /* a service's, pool's, backend's name, with its NUL */
#define WORKERS_MAX    256
#define SERVICES_MAX   512
#define LISTENERS_MAX  1024 /* addresses of all services together */
#define POOLS_MAX      1024
#define BACKENDS_MAX   8192 /* of all pools together, and of one pool */
#define CHECKS_MAX     8    /* sections in one pool */
#define SOURCES_MAX    1024 /* addresses of a pool to connect from */

/* Pipes of a worker to splice with, of two descriptors each: one for each so many descriptors that
 * it may have, and no more than that. */
#define PIPES_MAX         64
#define PIPES_DESCRIPTORS 256

#define REUSE_IDLE_MAX        4096 /* idle upstreams of a backend in one worker */
#define REUSE_RESET_BYTES_MAX 4096 /* what a reset exchange sends, and what it waits for */

#define STATUS_ALLOW_MAX 64 /* networks that may use the status address */

#define NOTIFY_PROGRAM_MAX 256 /* the path of a pool's notify program, with its NUL */

#endif
