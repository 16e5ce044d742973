/* What Adam does to one element. Compiles as C and as CUDA, without contraction into fused
 * multiply-adds and with nothing from a library that rounds in its own way, so that both give the
 * same bits. */
#ifndef RELORA_SRC_ADAM_MATH_H
#define RELORA_SRC_ADAM_MATH_H

#include <math.h>

#include "backend.h"
#include "rng.h"

/* What a step decides when the squares of all gradients add up to `sum`. */
RNG_INLINE struct adam_control adam_control_make(const struct adam *a, double sum)
{
    const double most = 1e19; /* about the root of the largest F32: v holds squares */
    struct adam_control c;
    c.grad_norm = sqrt(sum) * fabs(a->grad_scale);
    double factor = a->max_norm / (c.grad_norm + 1e-6);
    c.clip_factor = a->max_norm > 0 && !(factor >= 1) ? factor : 1; /* a NaN stays one */
    /* One factor is for all gradients: from a norm that is not finite nothing good would come to any parameter. */
    c.skip = a->flags & RELORA_ADAM_SKIP_NOT_FINITE ? !(c.grad_norm * c.clip_factor < most)
                                                    : a->max_norm > 0 && !isfinite(c.grad_norm);
    return c;
}

/* Everything that is the same for all elements of one parameter, rounded to F32 once. */
struct adam_constants {
    float grad_factor; /* grad_scale * clip_factor */
    float beta1, one_less_beta1, beta2, one_less_beta2;
    float keep;            /* 1 - lr * decay, decoupled; else 1 */
    float decay;           /* L2; else 0 */
    float step;            /* lr / (1 - beta1^t) */
    float root_correction; /* sqrt(1 - beta2^t) */
    float eps;
    int hold; /* the parameter stays where it is, whatever the gradient */
};

/* x^t for t >= 0 by squares: each system has a pow() of its own. */
RNG_INLINE double adam_power(double x, int64_t t)
{
    double power = 1;
    for (; t > 0; t /= 2, x *= x)
        if (t % 2) power *= x;
    return power;
}

RNG_INLINE struct adam_constants adam_constants_make(const struct adam *a, const struct adam_param *p,
                                                     double clip_factor, int64_t t)
{
    double lr = (a->lr_device ? (double)*a->lr_device : a->lr) * p->lr_factor;
    int decoupled = (a->flags & RELORA_ADAM_DECOUPLED) != 0;
    struct adam_constants c;
    c.grad_factor = (float)(a->grad_scale * clip_factor);
    c.beta1 = (float)a->beta1;
    c.one_less_beta1 = (float)(1 - a->beta1);
    c.beta2 = (float)a->beta2;
    c.one_less_beta2 = (float)(1 - a->beta2);
    c.keep = decoupled ? (float)(1 - lr * p->weight_decay) : 1.0f;
    c.decay = decoupled ? 0.0f : (float)p->weight_decay;
    c.step = (float)(lr / (1 - adam_power(a->beta1, t)));
    c.root_correction = (float)sqrt(1 - adam_power(a->beta2, t));
    c.eps = (float)a->eps;
    /* a rate on the device may be anything, and times a factor or a decay it may be more than F32 holds */
    c.hold = !(lr > 0 && isfinite(c.step) && isfinite(c.keep));
    return c;
}

/* The new value of an element; its moments are updated in place. */
RNG_INLINE float adam_element(const struct adam_constants *c, float param, float grad, float *m, float *v)
{
    float g = grad * c->grad_factor + c->decay * param;
    *m = c->beta1 * *m + c->one_less_beta1 * g;
    *v = c->beta2 * *v + c->one_less_beta2 * g * g;
    float moved = c->keep * param - c->step * (*m / (sqrtf(*v) / c->root_correction + c->eps));
    return c->hold ? param : moved;
}

#endif
