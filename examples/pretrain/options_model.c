/* Which model a run has: one of the table, or that of a Llama folder. */
#include "options.h"

#include <inttypes.h>
#include <math.h>
#include "llama.h"
#include "report.h"

struct model_config options_shape(const struct size *s)
{
    return (struct model_config){.hidden = s->hidden,
                                 .ffn = s->ffn,
                                 .heads = s->heads,
                                 .layers = s->layers,
                                 .kv_heads = s->heads,
                                 .head_dim = s->hidden / s->heads,
                                 .norm_eps = 1e-6,
                                 .rope = {.theta = 10000.0}};
}

/* Parameters of all projections. */
static double projections(const struct model_config *m)
{
    double attention = 2.0 * (double)(m->heads + m->kv_heads) * (double)m->head_dim;
    return (double)m->layers * (double)m->hidden * (attention + 3.0 * (double)m->ffn);
}

/* The size of the table whose settings suit the model best: the first of those nearest in the number of
 * parameters. */
static int64_t nearest_size(const struct model_config *model)
{
    int64_t nearest = 0;
    double least = 1e300;
    for (int i = 0; i < size_count; i++) {
        struct model_config shape = options_shape(&sizes[i]);
        double distance = fabs(log(projections(&shape) / projections(model)));
        if (distance < least) {
            least = distance;
            nearest = i;
        }
    }
    return nearest;
}

/* --size with --init must say what the folder says. */
static int check_size(const struct options *o)
{
    const struct model_config *m = &o->model, s = options_shape(&sizes[o->size]);
    const struct {
        const char *key;
        int64_t size, init;
    } pairs[] = {{"hidden_size", s.hidden, m->hidden},
                 {"intermediate_size", s.ffn, m->ffn},
                 {"num_hidden_layers", s.layers, m->layers},
                 {"num_attention_heads", s.heads, m->heads},
                 {"num_key_value_heads", s.kv_heads, m->kv_heads},
                 {"head_dim", s.head_dim, m->head_dim}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i].size != pairs[i].init)
            return fail("--size %s has \"%s\" %" PRId64 ", but --init %s has %" PRId64 "; without --size the "
                        "shape is that of --init",
                        sizes[o->size].name, pairs[i].key, pairs[i].size, o->init, pairs[i].init);
    return 0;
}

/* What --hidden and its like say of the shape; the rest of it stays as it is. */
static int shape_by_options(struct options *o)
{
    struct model_config *m = &o->model;
    const struct {
        const char *name;
        int64_t *given, *shape;
    } parts[] = {{"hidden", &o->hidden, &m->hidden},
                 {"ffn", &o->ffn, &m->ffn},
                 {"heads", &o->heads, &m->heads},
                 {"layers", &o->layers, &m->layers}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (o->config && options_given(o, parts[i].name))
            return fail("--%s and --init %s: the shape is that of the folder", parts[i].name, o->init);
        if (o->config) continue;
        if (*parts[i].given > 0) *parts[i].shape = *parts[i].given;
        *parts[i].given = *parts[i].shape;
    }
    if (o->config) return 0;
    m->kv_heads = m->heads;
    m->head_dim = m->hidden / m->heads;
    return m->hidden % (2 * m->heads) == 0
               ? 0
               : fail("--hidden %" PRId64 " does not make an even number of columns for each of %" PRId64
                      " heads",
                      m->hidden, m->heads);
}

int options_model(struct options *o)
{
    int given = options_given(o, "size");
    if (o->init && llama_read_config(&o->model, &o->config, o->init)) return -1;
    if (!o->config) {
        o->size = o->size >= 0 ? o->size : 0;
        o->model = options_shape(&sizes[o->size]);
        return shape_by_options(o);
    }
    if (!given) o->size = nearest_size(&o->model);
    else if (check_size(o)) return -1;
    if (o->vocab && o->vocab != o->model.vocab)
        return fail("--vocab is %" PRId64 ", but \"vocab_size\" of --init %s is %" PRId64, o->vocab, o->init,
                    o->model.vocab);
    o->foreign_vocab = !o->vocab && o->model.vocab != 256;
    o->vocab = o->model.vocab;
    return shape_by_options(o);
}
