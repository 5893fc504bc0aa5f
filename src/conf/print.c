/*
 * The tree as a text that reads back to the same tree: the files' statements in one, includes
 * merged and comments gone, values unexpanded. In whoever keeps a configuration (master).
 */
#include "tree.h"

static void indent(struct str *out, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++)
        str_append(out, "    ");
}

static void print_option(const struct conf_section *section, const struct conf_option *option,
                         unsigned depth, struct str *out)
{
    const struct conf_option_schema *schema = conf_schema_option(section->schema, option->name);
    bool is_list = schema && schema->list;
    indent(out, depth);
    str_printf(out, "%s = %s", option->name, is_list ? "{ " : "");
    for (size_t i = 0; i < option->n_values; i++) {
        str_append(out, i > 0 ? ", " : "");
        conf_quote(out, option->values[i].raw);
    }
    str_append(out, is_list ? " }\n" : "\n");
}

static void print_contents(const struct conf_section *section, unsigned depth,
                           conf_leave_out_fn *leave_out, struct str *out)
{
    for (size_t i = 0; i < section->n_options; i++)
        print_option(section, &section->options[i], depth, out);
    for (size_t i = 0; i < section->n_sections; i++) {
        const struct conf_section *inner = section->sections[i];
        if (leave_out != NULL && leave_out(inner))
            continue;
        indent(out, depth);
        str_printf(out, "%s ", inner->schema->name);
        if (inner->title) {
            conf_quote(out, inner->title);
            str_append_char(out, ' ');
        }
        str_append(out, "{\n");
        print_contents(inner, depth + 1, leave_out, out);
        indent(out, depth);
        str_append(out, "}\n");
    }
}

void conf_tree_print(const struct conf_tree *tree, conf_leave_out_fn *leave_out, struct str *out)
{
    print_contents(&tree->root, 0, leave_out, out);
}
