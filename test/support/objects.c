#include "support/objects.h"
#include <string.h>
#include "support/close.h"

static void release_tensor(void *p) { relora_tensor_release(p); }
static void release_stream(void *p) { relora_stream_release(p); }
static void release_linear(void *p) { relora_linear_release(p); }
static void release_group(void *p) { relora_group_release(p); }
static void release_adam(void *p) { relora_adam_release(p); }
static void release_cycle(void *p) { relora_cycle_release(p); }
static void release_schedule(void *p) { relora_schedule_release(p); }

relora_stream *second_stream(void)
{
    relora_stream *st;
    OK(relora_stream_create(&st, env.dev));
    defer(release_stream, st);
    return st;
}

relora_tensor *new_tensor(relora_dtype dtype, int32_t ndim, const int64_t *shape)
{
    relora_tensor *t;
    OK(relora_tensor_create(&t, env.dev, dtype, ndim, shape));
    defer(release_tensor, t);
    return t;
}

relora_tensor *new_matrix(relora_dtype dtype, int64_t rows, int64_t cols)
{
    return new_tensor(dtype, 2, (int64_t[]){rows, cols});
}

relora_tensor *new_vector(relora_dtype dtype, int64_t n) { return new_tensor(dtype, 1, &n); }

float *new_floats(int64_t n)
{
    relora_tensor *t = new_vector(RELORA_F32, n);
    put_all(t, 0);
    return relora_tensor_data(t);
}

relora_tensor *new_borrowed(int64_t n, float *data)
{
    relora_tensor *t;
    OK(relora_tensor_borrow(&t, env.dev, RELORA_F32, 1, &n, NULL, data, NULL, NULL));
    defer(release_tensor, t);
    return t;
}

size_t bytes_of(const relora_tensor *t)
{
    return (size_t)relora_tensor_count(t) * (relora_tensor_dtype(t) == RELORA_BF16 ? 2 : 4);
}

void put(relora_tensor *t, const double *values)
{
    int64_t n = relora_tensor_count(t);
    void *bytes = scratch(bytes_of(t));
    for (int64_t i = 0; i < n; i++) {
        if (relora_tensor_dtype(t) == RELORA_BF16) ((uint16_t *)bytes)[i] = bf16_of((float)values[i]);
        else ((float *)bytes)[i] = (float)values[i];
    }
    OK(relora_tensor_write(t, env.st, bytes, bytes_of(t)));
}

void put_all(relora_tensor *t, double value) { OK(relora_tensor_fill(t, env.st, value)); }

void put_normal(relora_tensor *t, struct rnd *r, double scale)
{
    double *values = doubles(relora_tensor_count(t));
    rnd_fill_normal(r, values, relora_tensor_count(t), scale);
    put(t, values);
}

void *snapshot(const relora_tensor *t)
{
    void *bytes = scratch(bytes_of(t));
    OK(relora_tensor_read(t, env.st, bytes, bytes_of(t)));
    return bytes;
}

double *get(const relora_tensor *t)
{
    int64_t n = relora_tensor_count(t);
    void *bytes = snapshot(t);
    double *values = doubles(n);
    for (int64_t i = 0; i < n; i++)
        values[i] = relora_tensor_dtype(t) == RELORA_BF16 ? (double)bf16_value(((uint16_t *)bytes)[i])
                                                          : (double)((float *)bytes)[i];
    return values;
}

void unchanged(const relora_tensor *t, const void *was, const char *what, const char *file, int line)
{
    same_bytes(snapshot(t), was, bytes_of(t), what, file, line);
}

relora_linear_options layer_options(relora_linear_mode mode, int64_t in, int64_t out, int64_t rank)
{
    relora_linear_options o;
    OK(relora_linear_options_init(&o, sizeof o));
    o.mode = mode;
    o.in_features = in;
    o.out_features = out;
    o.rank = rank;
    o.dropout = 0;
    return o;
}

relora_linear *new_linear(const relora_linear_options *options)
{
    relora_linear *l;
    OK(relora_linear_create(&l, env.dev, options));
    defer(release_linear, l);
    return l;
}

relora_linear *new_filled_linear(const relora_linear_options *options, struct rnd *r)
{
    relora_linear *l = new_linear(options);
    if (options->mode != RELORA_MODE_LOWRANK) {
        int turned = (options->flags & RELORA_LINEAR_IN_OUT) != 0;
        relora_tensor *w = new_matrix(options->dtype, turned ? options->in_features : options->out_features,
                                      turned ? options->out_features : options->in_features);
        put_normal(w, r, 0.5);
        OK(relora_linear_set_weight(l, w, NULL));
    }
    for (relora_param p = RELORA_PARAM_BIAS; p <= RELORA_PARAM_B; p++)
        if (relora_linear_param(l, p)) put_normal(relora_linear_param(l, p), r, 0.3);
    return l;
}

relora_group *new_group(void)
{
    relora_group *group;
    OK(relora_group_create(&group, env.dev));
    defer(release_group, group);
    return group;
}

relora_adam_options adam_options(void)
{
    relora_adam_options o;
    OK(relora_adam_options_init(&o, sizeof o));
    return o;
}

relora_adam *new_adam(const relora_adam_options *options)
{
    relora_adam *a;
    OK(relora_adam_create(&a, env.dev, options));
    defer(release_adam, a);
    return a;
}

int32_t add_vector(relora_adam *adam, const char *name, int64_t n, struct rnd *r, relora_tensor **param,
                   relora_tensor **grad)
{
    relora_tensor *p = new_vector(RELORA_F32, n), *g = new_vector(RELORA_F32, n);
    int32_t index = -1;
    put_normal(p, r, 1);
    put_normal(g, r, 1);
    OK(relora_adam_add(adam, name, p, g, &index));
    if (param) *param = p;
    if (grad) *grad = g;
    return index;
}

relora_reset_options reset_options(relora_reset_mode mode, double ratio, uint32_t flags)
{
    relora_reset_options o;
    OK(relora_reset_options_init(&o, sizeof o));
    o.mode = mode;
    o.ratio = ratio;
    o.flags = flags;
    return o;
}

relora_cycle_options cycle_options(int64_t merge_every, int64_t reset_every)
{
    relora_cycle_options o;
    OK(relora_cycle_options_init(&o, sizeof o));
    o.merge_every = merge_every;
    o.reset_every = reset_every;
    return o;
}

relora_cycle *new_cycle(const relora_cycle_options *options, relora_adam *adam,
                        const relora_reset_options *reset)
{
    relora_cycle *c;
    OK(relora_cycle_create(&c, env.ctx, options, adam, reset));
    defer(release_cycle, c);
    return c;
}

relora_schedule *new_schedule(const relora_schedule_options *options)
{
    relora_schedule *s;
    OK(relora_schedule_create(&s, env.ctx, options));
    defer(release_schedule, s);
    return s;
}
