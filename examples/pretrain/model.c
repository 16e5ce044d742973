#include "model_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "philox.h"
#include "simd.h"

relora_status matrix_create(struct matrix *out, relora_device *device, relora_dtype dtype, int64_t rows,
                            int64_t cols)
{
    const int64_t shape[2] = {rows, cols};
    TRY(relora_tensor_create(&out->tensor, device, dtype, rows ? 2 : 1, rows ? shape : shape + 1));
    out->data = relora_tensor_data(out->tensor);
    return RELORA_OK;
}

/* Normal numbers by Box and Muller, four for each draw; `which` tells matrices apart. */
static void draw_normal(const struct model_config *config, void *data, relora_dtype dtype, int64_t count,
                        uint64_t which, double std)
{
#pragma omp parallel for num_threads(config->threads) schedule(static)
    for (int64_t i = 0; i < count; i += 4) {
        struct philox bits = draw(config->seed, STREAM_INIT, which, (uint64_t)i);
        float normal[4];
        for (int j = 0; j < 4; j += 2) {
            double radius = std * sqrt(-2.0 * log(unit(bits.word[j])));
            double angle = 6.283185307179586 * unit(bits.word[j + 1]);
            normal[j] = (float)(radius * cos(angle));
            normal[j + 1] = (float)(radius * sin(angle));
        }
        store(data, dtype, i, normal, count - i < 4 ? count - i : 4);
    }
}

/* Drawn on the host, so that every device begins with the same weights. */
static relora_status fill_normal(const struct model_config *config, relora_stream *stream,
                                 relora_tensor *tensor, uint64_t which, double std)
{
    int64_t count = relora_tensor_count(tensor);
    relora_dtype dtype = relora_tensor_dtype(tensor);
    size_t bytes = (size_t)count * (dtype == RELORA_F32 ? 4 : 2);
    void *data = malloc(bytes);
    if (!data) return RELORA_E_NO_MEMORY;
    draw_normal(config, data, dtype, count, which, std);
    relora_status status = relora_tensor_write(tensor, stream, data, bytes);
    free(data);
    return status;
}

static relora_status array_create(struct model *model, struct array *array, int64_t rows)
{
    array->rows = rows;
    array->cols = model->config.hidden;
    TRY(matrix_create(&array->value, model->engine.device, RELORA_F32, rows, array->cols));
    return matrix_create(&array->grad, model->engine.device, RELORA_F32, rows, array->cols);
}

/* The embedding of a tied model: the head's weight, or a master in F32 that the head is rounded from; and the
 * head's gradient, which both of them add to. */
static relora_status tie_embedding(struct model *model, struct array *array)
{
    relora_linear *head = model->linears[model->linear_count - 1];
    relora_tensor *weight = relora_linear_param(head, RELORA_PARAM_WEIGHT);
    array->rows = model->config.vocab;
    array->cols = model->config.hidden;
    array->grad.tensor = relora_linear_grad(head, RELORA_PARAM_WEIGHT);
    array->grad.data = relora_tensor_data(array->grad.tensor);
    relora_tensor_retain(array->grad.tensor);
    if (model->config.dtype != RELORA_F32) {
        model->head = weight;
        return matrix_create(&array->value, model->engine.device, RELORA_F32, array->rows, array->cols);
    }
    array->value = (struct matrix){weight, relora_tensor_data(weight)};
    relora_tensor_retain(weight);
    return RELORA_OK;
}

static relora_status create_arrays(struct model *model, relora_stream *stream)
{
    const struct model_config *c = &model->config;
    for (int i = 0; i < model->array_count; i++) {
        struct array *array = &model->arrays[i];
        TRY(i == 0 && c->tied ? tie_embedding(model, array) : array_create(model, array, i ? 0 : c->vocab));
        TRY(relora_tensor_fill(array->value.tensor, stream, 1.0));
        TRY(relora_tensor_fill(array->grad.tensor, stream, 0.0));
    }
    return fill_normal(c, stream, model->arrays[0].value.tensor, 0, c->init_std);
}

/* Memory for the gradient of one W at a time. */
static relora_status create_gradient(struct model *model)
{
    int64_t out[PROJECTIONS], in[PROJECTIONS], most = 0;
    if (!model->config.full_rank || model->linear_count < PROJECTIONS) return RELORA_OK;
    for (int i = 0; i < PROJECTIONS; i++) {
        linear_shape(&model->config, i, &out[i], &in[i]);
        most = out[i] * in[i] > most ? out[i] * in[i] : most;
    }
    TRY(matrix_create(&model->gradient, model->engine.device, RELORA_F32, 0, most));
    for (int i = 0; i < PROJECTIONS; i++)
        TRY(relora_tensor_borrow_matrix(&model->shaped[i], model->engine.device, RELORA_F32, out[i], in[i],
                                        model->gradient.data));
    return RELORA_OK;
}

/* Without a W, layers whose B is zero give each other no gradient. B is drawn so that s B A has elements of the size that
 * those of W have elsewhere; A is uniform in +-1/sqrt(in), of variance 1 / (3 in). */
static relora_status draw_b(struct model *model, relora_stream *stream, int index,
                            const relora_linear_options *o)
{
    double s = o->alpha / (double)o->rank;
    double std = model->config.init_std * sqrt(3.0 * (double)o->in_features / (double)o->rank) / s;
    relora_tensor *b = relora_linear_param(model->linears[index], RELORA_PARAM_B);
    return fill_normal(&model->config, stream, b, (uint64_t)index + 1, std);
}

static relora_status linear_create(struct model *model, relora_stream *stream, int index)
{
    const struct model_config *c = &model->config;
    int head = index == model->linear_count - 1;
    relora_linear_options options;
    TRY(relora_linear_options_init(&options, sizeof options));
    options.mode = head ? RELORA_MODE_FULL : c->mode;
    options.dtype = c->dtype;
    linear_shape(c, index, &options.out_features, &options.in_features);
    options.rank = head ? 0 : c->rank;
    options.alpha = c->alpha;
    options.init = head ? 0 : c->init_a;
    options.flags |= head ? 0 : c->frozen;
    options.dropout = c->dropout;
    options.seed = c->seed;
    options.layer = (uint64_t)index;
    TRY(relora_linear_create(&model->linears[index], model->engine.device, &options));
    if (c->order && !head) TRY(relora_linear_set_order(model->linears[index], c->order, c->order));
    if (options.mode == RELORA_MODE_LOWRANK) return draw_b(model, stream, index, &options);

    struct matrix weight;
    TRY(matrix_create(&weight, model->engine.device, c->dtype, options.out_features, options.in_features));
    relora_status status = fill_normal(c, stream, weight.tensor, (uint64_t)index + 1, c->init_std);
    if (status == RELORA_OK) status = relora_linear_set_weight(model->linears[index], weight.tensor, NULL);
    relora_tensor_release(weight.tensor); /* the layer keeps it alive now */
    return status;
}

/* Everything that has a name: a head that is the embedding is not a member of its own. */
static relora_status fill_group(struct model *model)
{
    char name[MODEL_NAME];
    TRY(relora_group_create(&model->group, model->engine.device));
    for (int i = 0; i < model->array_count; i++) {
        struct array *array = &model->arrays[i];
        array_name(i, name);
        TRY(relora_group_add_param(model->group, name, array->value.tensor, array->grad.tensor));
    }
    for (int i = 0; i < model->linear_count - (model->config.tied ? 1 : 0); i++) {
        linear_name(&model->config, i, name);
        TRY(relora_group_add_linear(model->group, name, model->linears[i]));
    }
    return RELORA_OK;
}

static struct model_config without_zeros(const struct model_config *config)
{
    struct model_config c = *config;
    c.kv_heads = c.kv_heads ? c.kv_heads : c.heads;
    c.head_dim = c.head_dim ? c.head_dim : c.hidden / c.heads;
    c.norm_eps = c.norm_eps > 0.0 ? c.norm_eps : 1e-6;
    c.rope.theta = c.rope.theta > 0.0 ? c.rope.theta : 10000.0;
    return c;
}

/* The engine, and memory for a loss. */
static relora_status open_engine(struct model *model, relora_context *ctx, relora_stream *stream)
{
    int cuda = model->config.device == RELORA_DEVICE_CUDA;
    struct engine *engine = &model->engine;
    engine->threads = model->config.threads;
    engine->device = relora_device_get(ctx, cuda ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU, 0);
    engine->ops = model_ops(cuda ? RELORA_DEVICE_CUDA : RELORA_DEVICE_CPU);
    if (!engine->ops || !engine->device) return RELORA_E_UNSUPPORTED;
    TRY(engine->ops->open(engine, stream));
    TRY(matrix_create(&model->loss, engine->device, RELORA_F32, 0, 2));
    return relora_tensor_fill(model->loss.tensor, stream, 0.0);
}

relora_status model_create(struct model **out, relora_context *ctx, relora_stream *stream,
                           const struct model_config *config)
{
    *out = NULL;
    struct model *model = calloc(1, sizeof *model);
    if (!model) return RELORA_E_NO_MEMORY;
    model->config = without_zeros(config);
    model->array_count = array_count(config);
    model->linear_count = linear_count(config);
    model->arrays = calloc((size_t)model->array_count, sizeof *model->arrays);
    model->linears = calloc((size_t)model->linear_count, sizeof(relora_linear *));
    relora_status status = RELORA_E_NO_MEMORY;
    if (model->arrays && model->linears) status = open_engine(model, ctx, stream);
    for (int i = 0; status == RELORA_OK && i < model->linear_count; i++)
        status = linear_create(model, stream, i);
    if (status == RELORA_OK) status = create_gradient(model);
    if (status == RELORA_OK) status = create_arrays(model, stream);
    if (status == RELORA_OK) status = fill_group(model);
    if (status != RELORA_OK) {
        model_destroy(model);
        return status;
    }
    *out = model;
    return RELORA_OK;
}

void model_destroy(struct model *model)
{
    if (!model) return;
    relora_group_release(model->group);
    for (int i = 0; model->linears && i < model->linear_count; i++) relora_linear_release(model->linears[i]);
    for (int i = 0; model->arrays && i < model->array_count; i++) {
        relora_tensor_release(model->arrays[i].value.tensor);
        relora_tensor_release(model->arrays[i].grad.tensor);
    }
    for (int i = 0; i < PROJECTIONS; i++) relora_tensor_release(model->shaped[i]);
    relora_tensor_release(model->gradient.tensor);
    relora_tensor_release(model->loss.tensor);
    if (model->engine.ops) model->engine.ops->close(&model->engine);
    free(model->linears);
    free(model->arrays);
    free(model);
}

const struct ops *model_ops(relora_device_kind kind)
{
    return kind == RELORA_DEVICE_CPU ? &ops_cpu : kind == RELORA_DEVICE_CUDA ? &ops_cuda : NULL;
}

const struct model_config *model_get_config(const struct model *model)
{
    return &model->config;
}

relora_group *model_group(const struct model *model)
{
    return model->group;
}

/* What a member trains now: itself, its W, or its A and B or one of them. Returns how many. */
static int trained(const struct model *model, int member, relora_param which[2])
{
    relora_linear *linear = relora_group_linear(model->group, member);
    int whole = !linear || relora_linear_get_mode(linear) == RELORA_MODE_FULL, count = 0;
    if (whole) which[count++] = RELORA_PARAM_WEIGHT;
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B && !whole; p++)
        if (relora_linear_grad(linear, p)) which[count++] = p;
    return count;
}

int model_param_count(const struct model *model)
{
    int count = 0;
    relora_param which[2];
    for (int i = 0; i < relora_group_count(model->group); i++) count += trained(model, i, which);
    return count;
}

static void describe(const struct model *model, int member, relora_param which, struct model_param *out)
{
    relora_linear *linear = relora_group_linear(model->group, member);
    out->value = linear ? relora_linear_param(linear, which) : relora_group_value(model->group, member);
    out->grad = linear ? relora_linear_grad(linear, which) : relora_group_grad(model->group, member);
    snprintf(out->name, sizeof out->name, "%s%s", relora_group_name(model->group, member),
             !linear                   ? ""
             : which == RELORA_PARAM_A ? ".lora_A.weight"
             : which == RELORA_PARAM_B ? ".lora_B.weight"
                                       : ".weight");
    int vector = relora_tensor_ndim(out->value) == 1;
    out->rows = vector ? 1 : relora_tensor_dim(out->value, 0);
    out->cols = relora_tensor_dim(out->value, vector ? 0 : 1);
    out->dtype = relora_tensor_dtype(out->value);
}

int model_param_get(const struct model *model, int index, struct model_param *out)
{
    for (int i = 0; index >= 0 && i < relora_group_count(model->group); i++) {
        relora_param which[2];
        int count = trained(model, i, which);
        if (index < count) {
            describe(model, i, which[index], out);
            return 1;
        }
        index -= count;
    }
    return 0;
}

int model_weight_get(const struct model *model, int index, struct model_param *out)
{
    if (index < 0 || index >= relora_group_count(model->group)) return 0;
    describe(model, index, RELORA_PARAM_WEIGHT, out);
    out->grad = NULL;
    return 1;
}

int64_t model_count_trainable(const struct model *model)
{
    struct model_param param;
    int64_t count = 0;
    for (int i = 0; model_param_get(model, i, &param); i++) count += param.rows * param.cols;
    return count;
}

int64_t model_count_all(const struct model *model)
{
    int64_t count = model_count_trainable(model);
    for (int i = 0; i < model->linear_count; i++)
        if (relora_linear_get_mode(model->linears[i]) == RELORA_MODE_LORA) {
            int64_t out, in;
            linear_shape(&model->config, i, &out, &in);
            count += out * in;
        }
    return count;
}

/* A factor that does not train, and what is kept in the place of its gradient. */
static void add_frozen(relora_linear *linear, struct model_memory *out)
{
    for (relora_param p = RELORA_PARAM_A; p <= RELORA_PARAM_B; p++)
        if (relora_linear_param(linear, p) && !relora_linear_grad(linear, p))
            out->weights += 4 * relora_tensor_count(relora_linear_param(linear, p));
    if (relora_linear_param(linear, RELORA_PARAM_SKETCH))
        out->gradients += 4 * relora_tensor_count(relora_linear_param(linear, RELORA_PARAM_SKETCH));
}

void model_memory(const struct model *model, struct model_memory *out)
{
    struct model_param param;
    int64_t trainable = model_count_trainable(model), element = model->config.dtype == RELORA_F32 ? 4 : 2;
    *out = (struct model_memory){.gradients = 4 * trainable, .moments = 8 * trainable};
    out->weights = (model_count_all(model) - trainable) * element; /* frozen */
    for (int i = 0; model_param_get(model, i, &param); i++)
        out->weights += param.rows * param.cols * (param.dtype == RELORA_F32 ? 4 : 2);
    for (int i = 0; i < model->array_count; i++)
        out->parameters += (model->arrays[i].rows ? model->arrays[i].rows : 1) * model->arrays[i].cols;
    for (int i = 0; i < model->linear_count - (model->config.tied ? 1 : 0); i++) {
        int64_t rows, cols;
        linear_shape(&model->config, i, &rows, &cols);
        out->parameters += rows * cols;
        add_frozen(model->linears[i], out);
    }
    if (model->head) out->weights += relora_tensor_count(model->head) * element;
    if (model->gradient.tensor) out->full_rank = 4 * relora_tensor_count(model->gradient.tensor);
}

relora_linear *model_projection(const struct model *model, int index)
{
    return index >= 0 && index < model->linear_count - 1 ? model->linears[index] : NULL;
}

relora_status model_set_lora(struct model *model, relora_stream *stream)
{
    if (relora_linear_get_mode(model->linears[0]) == RELORA_MODE_LORA) return RELORA_OK;
    return relora_group_set_mode(model->group, stream, RELORA_MODE_LORA);
}
