/*
 * Events as lines of JSON, for keeping them over restarts. What is read may be damaged or cut off:
 * such a line holds no event. In master.
 */
#include <jansson.h>
#include <stdbool.h>

#include "base/json.h"
#include "ctl/events.h"

void events_format(const struct event_record *record, struct str *out)
{
    struct json json;

    json_init(&json, out);
    json_begin_object(&json, NULL);
    json_put_uint(&json, "id", record->id);
    json_put_uint(&json, "wall_ms", record->wall_ms);
    json_put_string(&json, "kind", record->kind);
    json_put_string(&json, "pool", record->pool);
    json_put_string(&json, "backend", record->backend);
    json_put_string(&json, "text", record->text);
    json_put_string(&json, "by", record->by);
    json_put_string(&json, "why", record->why);
    json_end_object(&json);
}

bool events_restore_line(struct events *events, const char *line, size_t len)
{
    struct event_record record = {0};
    json_int_t id, wall_ms;
    json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    bool is_event = json &&
                    json_unpack(json, "{s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:s}", "id", &id,
                                "wall_ms", &wall_ms, "kind", &record.kind, "pool", &record.pool,
                                "backend", &record.backend, "text", &record.text, "by", &record.by,
                                "why", &record.why) == 0 &&
                    id > 0 && id < INT64_MAX && wall_ms >= 0;

    if (is_event) {
        record.id = (uint64_t)id;
        record.wall_ms = (uint64_t)wall_ms;
        events_restore(events, &record);
    }
    json_decref(json);
    return is_event;
}
