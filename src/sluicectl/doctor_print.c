/*
 * Forms in which doctor's report is told. Pure. In sluicectl.
 */
#include "sluicectl/doctor_print.h"

#include <inttypes.h>
#include <string.h>

#include "base/json.h"

#define COLUMNS 4 /* of the table, before the last one, which may be as long as it likes */
#define GAP     2

bool doctor_is_ready(const struct doctor_report *report)
{
    return report->counts[DOCTOR_SHORT] == 0;
}

/* The command line, or what else is to be done; nothing where all is well. */
static void append_command(const struct doctor_row *row, struct str *out)
{
    if (row->is_key && row->value.len > 0)
        str_printf(out, "sysctl -w %s=\"%s\"", row->setting, str_text(&row->value));
    if (row->remedy.len > 0)
        str_printf(out, "%s%s", out->len > 0 ? "; " : "", str_text(&row->remedy));
}

/* --- text --- */

static const char *const titles[COLUMNS] = {"SETTING", "NOW", "NEEDED", "STATE"};

static const char *cell(const struct doctor_row *row, size_t column)
{
    switch (column) {
    case 0:
        return row->setting;
    case 1:
        return str_text(&row->now);
    case 2:
        return str_text(&row->needed);
    default:
        return doctor_state_names[row->state];
    }
}

static void append_padded(struct str *out, const char *text, size_t width)
{
    str_printf(out, "%-*s", (int)(width + GAP), text);
}

static void print_table(const struct doctor_report *report, struct str *out)
{
    size_t width[COLUMNS];

    for (size_t c = 0; c < COLUMNS; c++) {
        width[c] = strlen(titles[c]);
        for (size_t i = 0; i < report->n_rows; i++) {
            size_t len = strlen(cell(&report->rows[i], c));

            width[c] = len > width[c] ? len : width[c];
        }
        append_padded(out, titles[c], width[c]);
    }
    str_append(out, "WHY\n");
    for (size_t i = 0; i < report->n_rows; i++) {
        for (size_t c = 0; c < COLUMNS; c++)
            append_padded(out, cell(&report->rows[i], c), width[c]);
        str_printf(out, "%s\n", str_text(&report->rows[i].why));
    }
}

static void print_commands(const struct doctor_report *report, enum doctor_state state,
                           const char *headline, struct str *out)
{
    if (report->counts[state] == 0)
        return;
    str_printf(out, "\n%s\n", headline);
    for (size_t i = 0; i < report->n_rows; i++) {
        STR_AUTO command = {0};

        if (report->rows[i].state != state)
            continue;
        append_command(&report->rows[i], &command);
        str_printf(out, "  %s: %s\n", report->rows[i].setting,
                   command.len > 0 ? str_text(&command) : "see above");
    }
}

static bool has_note(const struct doctor_plan *plan)
{
    return plan->note && *plan->note;
}

static void print_verdict(const char *file, const struct doctor_plan *plan,
                          const struct doctor_report *report, struct str *out)
{
    uint64_t least = capacity_least(&plan->capacity);

    if (has_note(plan))
        str_printf(out, "\n%s\n", plan->note);
    str_printf(out, "\n%s%s, %s: %" PRIu64 " connections", file,
               plan->is_of_daemon ? " (which the running daemon was started with)" : "",
               plan->is_possible ? "which leaves it to the machine" : "as asked",
               plan->connections);
    if (least != CAPACITY_UNBOUNDED)
        str_printf(out, "; this machine carries %" PRIu64 " now, limited by %s", least,
                   capacity_limited_by(&plan->capacity, 0));
    str_printf(out, "\nverdict: %s", doctor_is_ready(report) ? "ready" : "not ready");
    if (!doctor_is_ready(report))
        str_printf(out, ", %zu too low", report->counts[DOCTOR_SHORT]);
    if (report->counts[DOCTOR_ADVICE] > 0)
        str_printf(out, ", %zu advised", report->counts[DOCTOR_ADVICE]);
    if (report->counts[DOCTOR_UNKNOWN] > 0)
        str_printf(out, ", %zu unknown", report->counts[DOCTOR_UNKNOWN]);
    str_append_char(out, '\n');
}

void doctor_print_text(const char *file, const struct doctor_plan *plan,
                       const struct doctor_report *report, struct str *out)
{
    print_table(report, out);
    print_commands(report, DOCTOR_SHORT, "needed:", out);
    print_commands(report, DOCTOR_ADVICE, "advised:", out);
    print_verdict(file, plan, report, out);
}

/* --- JSON --- */

static void put_bound(struct json *json, const char *key, uint64_t number)
{
    if (number == CAPACITY_UNBOUNDED)
        json_put_null(json, key);
    else
        json_put_uint(json, key, number);
}

static void put_row(struct json *json, const struct doctor_row *row)
{
    STR_AUTO command = {0};

    append_command(row, &command);
    json_begin_object(json, NULL);
    json_put_string(json, "setting", row->setting);
    json_put_string(json, "state", doctor_state_names[row->state]);
    json_put_string(json, "now", str_text(&row->now));
    json_put_string(json, "needed", str_text(&row->needed));
    json_put_string(json, "why", str_text(&row->why));
    json_put_string(json, "command", command.len > 0 ? str_text(&command) : NULL);
    json_end_object(json);
}

void doctor_print_json(const char *file, const struct doctor_plan *plan,
                       const struct doctor_report *report, struct str *out)
{
    struct json json;

    json_init(&json, out);
    json_begin_object(&json, NULL);
    json_put_string(&json, "file", file);
    json_put_bool(&json, "file_is_of_daemon", plan->is_of_daemon);
    json_put_uint(&json, "connections", plan->connections);
    json_put_bool(&json, "ready", doctor_is_ready(report));
    put_bound(&json, "connections_possible", capacity_least(&plan->capacity));
    json_put_string(&json, "limited_by", capacity_limited_by(&plan->capacity, 0));
    json_begin_object(&json, "connections_by");
    for (size_t i = 0; i < CAPACITY_BOUND_COUNT; i++)
        put_bound(&json, capacity_bound_names[i], plan->capacity.by[i]);
    json_end_object(&json);
    json_put_string(&json, "note", has_note(plan) ? plan->note : NULL);
    json_begin_array(&json, "rows");
    for (size_t i = 0; i < report->n_rows; i++)
        put_row(&json, &report->rows[i]);
    json_end_array(&json);
    json_end_object(&json);
    str_append_char(out, '\n');
}

/* --- files --- */

void doctor_print_sysctl(const char *file, const struct doctor_plan *plan,
                         const struct doctor_report *report, struct str *out)
{
    size_t n = 0;

    str_printf(out,
               "# What %s needs for %" PRIu64 " connections on this machine.\n"
               "# For /etc/sysctl.d/90-sluice.conf; sysctl --system puts it in force.\n",
               file, plan->connections);
    if (has_note(plan))
        str_printf(out, "# Mind: %s.\n", plan->note);
    for (size_t i = 0; i < report->n_rows; i++) {
        const struct doctor_row *row = &report->rows[i];

        if (!row->is_key || row->value.len == 0)
            continue;
        str_printf(out, "\n# %s: %s\n%s = %s\n", row->state == DOCTOR_SHORT ? "needed" : "advised",
                   str_text(&row->why), row->setting, str_text(&row->value));
        n++;
    }
    if (n == 0)
        str_append(out, "\n# Nothing needs to be changed.\n");
}

void doctor_print_systemd(const char *file, const struct doctor_plan *plan,
                          const struct doctor_report *report, struct str *out)
{
    str_printf(out,
               "# What %s needs for %" PRIu64 " connections on this machine.\n"
               "# For systemctl edit sluice; in force after systemctl restart sluice.\n"
               "[Service]\n",
               file, plan->connections);
    for (size_t i = 0; i < report->n_rows; i++) {
        const struct doctor_row *row = &report->rows[i];

        if (!row->directives[0] || row->value.len == 0)
            continue;
        str_printf(out, "# %s\n", str_text(&row->why));
        if (row->before.len > 0)
            str_printf(out, "# %s\n", str_text(&row->before));
        for (size_t d = 0; d < DOCTOR_DIRECTIVES_MAX && row->directives[d]; d++)
            str_printf(out, "%s=%s\n", row->directives[d], str_text(&row->value));
    }
}
