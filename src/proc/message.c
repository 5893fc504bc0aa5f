/* The messages between processes, on the wire. Owns nothing. In all processes. */
#include "message.h"

#include <errno.h>

#include "base/fd.h"
#include "base/log.h"

size_t message_bytes(const struct message *message)
{
    switch (message->type) {
    case MESSAGE_SNAPSHOT:
    case MESSAGE_LISTENER:
    case MESSAGE_READY:
    case MESSAGE_RESYNC:
    case MESSAGE_NOTIFIED:
    case MESSAGE_LOST:
    case MESSAGE_PAGE_WANTED:
    case MESSAGE_PAGE_MADE:
    case MESSAGE_NAMES:
    case MESSAGE_STATUS:
        return MESSAGE_HEAD_BYTES;
    case MESSAGE_DRAIN:
        return MESSAGE_HEAD_BYTES + sizeof(message->deadline_ms);
    case MESSAGE_LIST:
        return MESSAGE_HEAD_BYTES + sizeof(message->list);
    case MESSAGE_CLOSE:
        return MESSAGE_HEAD_BYTES + sizeof(message->close);
    case MESSAGE_CLOSING:
        return MESSAGE_HEAD_BYTES + sizeof(message->closing);
    case MESSAGE_LOG:
        return MESSAGE_HEAD_BYTES + sizeof(message->log);
    case MESSAGE_HEALTH:
        return MESSAGE_HEAD_BYTES + sizeof(message->health);
    case MESSAGE_NOTIFY:
        return MESSAGE_HEAD_BYTES + sizeof(message->notify);
    case MESSAGE_NAME:
        if (message->name.result.n > DNS_ANSWERS_MAX ||
            message->name.result.outcome >= DNS_OUTCOME_COUNT) {
            return 0;
        }
        return MESSAGE_HEAD_BYTES + offsetof(struct message_name, result) +
               DNS_RESULT_BYTES(message->name.result.n);
    case MESSAGE_EXPLAIN:
        return MESSAGE_HEAD_BYTES + sizeof(message->question);
    case MESSAGE_EXPLANATION:
        if (message->explanation.n_others > EXPLANATION_OTHERS_MAX) {
            return 0;
        }
        return MESSAGE_HEAD_BYTES + offsetof(struct explanation, others) +
               message->explanation.n_others * sizeof(struct explanation_other);
    case MESSAGE_SESSIONS:
        if (message->sessions.count > MESSAGE_PAGE) {
            return 0;
        }
        return MESSAGE_HEAD_BYTES + offsetof(struct message_sessions, items) +
               message->sessions.count * sizeof(struct session_info);
    default:
        return 0;
    }
}

int message_send(int socket, const struct message *message, int fd)
{
    return fd_send(socket, message, message_bytes(message), &fd, fd >= 0 ? 1 : 0);
}

int message_receive(int socket, struct message *out, int *out_fd)
{
    int fds[FD_PASS_MAX];
    size_t n_fds = 0;
    *out_fd = -1;
    ssize_t n = fd_receive(socket, out, sizeof(*out), fds, &n_fds);
    if (n <= 0) {
        return (int)n;
    }
    if ((size_t)n < MESSAGE_HEAD_BYTES || n_fds > 1 || (size_t)n != message_bytes(out)) {
        for (size_t i = 0; i < n_fds; i++) {
            fd_close(&fds[i]);
        }
        return -EPROTO;
    }
    if (n_fds == 1) {
        *out_fd = fds[0];
    }
    return 1;
}

void message_take_log(const struct message *message, int fd)
{
    log_set_format((enum log_format)message->log.format);
    log_set_level((enum log_level)message->log.level);
    if (fd >= 0) {
        log_adopt_fd(fd, (enum log_target)message->log.target);
    }
}
