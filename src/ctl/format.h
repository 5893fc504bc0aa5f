/*
 * Figures as people read them. JSON replies never use these: there every number is raw. Pure.
 */
#ifndef SLUICE_CTL_FORMAT_H
#define SLUICE_CTL_FORMAT_H

#include <stdint.h>

#define FORMAT_TEXT_MAX 32

/* The two largest units that are not zero: "3h12m", "2d", "45s", "850ms" below a second.
 * Returns buf. */
char *format_duration(uint64_t ms, char buf[static FORMAT_TEXT_MAX]);
/* "850us", "1.25ms", "3.50s". Returns buf. */
char *format_latency(uint64_t us, char buf[static FORMAT_TEXT_MAX]);
/* Powers of 1024 with one decimal: "17B", "1.5KiB", "2.0GiB". Returns buf. */
char *format_bytes(uint64_t bytes, char buf[static FORMAT_TEXT_MAX]);

#endif
