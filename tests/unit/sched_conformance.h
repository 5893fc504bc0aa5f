/*
 * What every scheduler must do, whatever its rule. Runs over all of sched_table, so that a new one
 * is covered by being in it.
 */
#ifndef SLUICE_TESTS_SCHED_CONFORMANCE_H
#define SLUICE_TESTS_SCHED_CONFORMANCE_H

#include <check.h>

#include "sched_bench.h"

void sched_conformance_add(Suite *suite);

#endif
