/*
 * The names of refusals, endings and discards, and what the manual says of them. In every process.
 */
#include "sluice/reasons.h"

#include "sluice/session_info.h"

#define AS_NAME(id, name, help) name,
#define AS_HELP(id, name, help) help,

const char *const refusal_names[REFUSAL_COUNT] = {REFUSAL_LIST(AS_NAME)};
const char *const ending_names[ENDING_COUNT] = {ENDING_LIST(AS_NAME)};
const char *const discard_names[DISCARD_COUNT] = {DISCARD_LIST(AS_NAME)};

const char *const refusal_help[REFUSAL_COUNT] = {REFUSAL_LIST(AS_HELP)};
const char *const ending_help[ENDING_COUNT] = {ENDING_LIST(AS_HELP)};
const char *const discard_help[DISCARD_COUNT] = {DISCARD_LIST(AS_HELP)};

const char *const session_state_names[SESSION_STATE_COUNT] = {
    [SESSION_WAITING] = "waiting",
    [SESSION_CONNECTING] = "connecting",
    [SESSION_OPEN] = "open",
    [SESSION_CLIENT_ENDED] = "client_ended",
    [SESSION_BACKEND_ENDED] = "backend_ended",
    [SESSION_BETWEEN] = "between_requests",
};
