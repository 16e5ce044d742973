/* The partial reset of two moments, whoever owns them. */
#ifndef RELORA_SRC_MOMENTS_H
#define RELORA_SRC_MOMENTS_H

#include "relora/reset.h"
#include "tensor.h"

/* Counts on the device, in the workspace of the stream, to which resets add until moments_counted() puts them
 * into a report and waits for the stream. */
relora_status moments_count(const struct call *c, int64_t **counts);
relora_status moments_counted(const struct call *c, const int64_t *counts, relora_reset_report *report);

/* Reset the moments of parameter `index`, `count` elements without gaps; `counts` may be NULL. */
relora_status moments_reset(const struct call *c, float *first, float *second, int64_t count, uint64_t index,
                            const relora_reset_options *options, int64_t *counts);

struct transport {             /* of Adam's moments of B [out, rank] from one A [rank, in] to another */
    struct view first, second; /* without gaps */
    struct view old, now;
    double beta1, beta2;
    const int64_t *steps; /* on the device, or NULL: `count` */
    int64_t count;
};

struct transport_memory {
    struct view first, second; /* copies */
    double *map;
};

struct transport_memory transport_lay_out(int64_t out, int64_t rank, struct scratch *scratch);
relora_status moments_transport(const struct call *c, const struct transport *t,
                                const struct transport_memory *memory);

#endif
