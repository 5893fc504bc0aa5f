/* The words of the state's text that its writer and its reader share. In master. */
#ifndef SLUICE_MODEL_STATE_NAMES_H
#define SLUICE_MODEL_STATE_NAMES_H

extern const char *const state_kinds[]; /* by enum override_kind; ends with NULL */

#endif
