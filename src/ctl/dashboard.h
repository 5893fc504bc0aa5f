/* The dashboard: dashboard.html, as embed.py puts it into the program. */
#ifndef SLUICE_CTL_DASHBOARD_H
#define SLUICE_CTL_DASHBOARD_H

#include <stddef.h>

extern const char dashboard_page[];
extern const size_t dashboard_bytes;
/* Header fields that go with it: it may run its own script, and no other. */
extern const char dashboard_fields[];

#endif
