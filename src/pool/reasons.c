/*
 * The names of refusals and endings. In every process.
 */
#include "sluice/reasons.h"

#include "sluice/session_info.h"

#define AS_NAME(id, name) name,

const char *const refusal_names[REFUSAL_COUNT] = {REFUSAL_LIST(AS_NAME)};
const char *const ending_names[ENDING_COUNT] = {ENDING_LIST(AS_NAME)};
const char *const discard_names[DISCARD_COUNT] = {DISCARD_LIST(AS_NAME)};

const char *const session_state_names[SESSION_STATE_COUNT] = {
    [SESSION_WAITING] = "waiting",
    [SESSION_CONNECTING] = "connecting",
    [SESSION_OPEN] = "open",
    [SESSION_CLIENT_ENDED] = "client_ended",
    [SESSION_BACKEND_ENDED] = "backend_ended",
    [SESSION_BETWEEN] = "between_requests",
};
