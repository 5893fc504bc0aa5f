/*
 * Time. All timing is on CLOCK_MONOTONIC in 64 bits: it neither jumps nor wraps. Wall-clock time is
 * only for what people read. Code that decides by time takes it as an argument, so that tests can
 * hand it any time they like.
 */
#ifndef SLUICE_BASE_CLOCK_H
#define SLUICE_BASE_CLOCK_H

#include <stdint.h>

uint64_t clock_now_ns(void);  /* monotonic */
uint64_t clock_now_us(void);  /* monotonic */
uint64_t clock_now_ms(void);  /* monotonic */
uint64_t clock_wall_ms(void); /* since 1970, UTC */

#define CLOCK_TEXT_MAX 32
/* "2026-01-31T23:59:59.123Z". Returns buf. */
char *clock_format_wall(uint64_t wall_ms, char buf[static CLOCK_TEXT_MAX]);

#endif
