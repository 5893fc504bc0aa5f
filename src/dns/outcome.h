/* What a look-up can come to, in one table. Everywhere. */
#ifndef SLUICE_DNS_OUTCOME_H
#define SLUICE_DNS_OUTCOME_H

/* The name in the code, and what people read behind "NAME: ". */
#define DNS_OUTCOME_LIST(X)                                                                        \
    X(OK, "it resolves")                                                                           \
    X(NXDOMAIN, "there is no such name (NXDOMAIN)")                                                \
    X(EMPTY, "the answer is empty")                                                                \
    X(SERVFAIL, "the name server has failed (SERVFAIL)")                                           \
    X(REFUSED, "the name server refuses to answer (REFUSED)")                                      \
    X(ERROR, "the name server answers with an error")                                              \
    X(GARBAGE, "the answer makes no sense")                                                        \
    X(MISMATCH, "the answers do not match the question")                                           \
    X(LOOP, "its aliases lead in a circle, or too far")                                            \
    X(TRUNCATED, "the answer is cut short, over TCP too")                                          \
    X(TIMEOUT, "no answer in time")                                                                \
    X(UNREACHABLE, "the name server cannot be reached")                                            \
    X(BAD_NAME, "it cannot be a host's name")                                                      \
    X(RESOURCES, "memory or sockets have run out")

enum dns_outcome {
#define X(name, text) DNS_##name,
    DNS_OUTCOME_LIST(X)
#undef X
        DNS_OUTCOME_COUNT
};

extern const char *const dns_outcome_texts[DNS_OUTCOME_COUNT];

#endif
