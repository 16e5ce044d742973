/* The factors of a new cycle: A by one of the inits, and B = 0; and what the new A has in common with the old one. */
#ifndef RELORA_SRC_RENEW_H
#define RELORA_SRC_RENEW_H

#include "relora/linear.h"
#include "tensor.h"

struct renewal {
    struct view a, b;
    struct view gradient; /* of A, or another sketch of that of W; without data: there is none */
    relora_init init;     /* 0 is UNIFORM */
    uint64_t seed, layer, cycle;
    int32_t draws_b;  /* the other way round: A = 0, with UNIFORM alone */
    int32_t measures; /* what A has in common: see below; never for UNIFORM */
    int32_t keeps;    /* the A before, for moments that go with it */
    int32_t forgets;  /* the A before: the new one must not depend on it */
};

enum {
    RENEW_OVERLAP = 2, /* squares: of the new A inside of the row space of the old one, and all of them */
    RENEW_BEFORE = 4,  /* of the gradient inside of that of the old A, and all of them */
    RENEW_AFTER = 6    /* of the gradient inside of that of the new A, and all of them */
};

struct renew_memory {
    double *sums; /* those of a merge, which come first */
    struct view drawn, old;
    double *basis, *old_basis, *terms, *partials;
};

/* Everything that renew() needs; nothing but the sums for UNIFORM. */
struct renew_memory renew_lay_out(const struct renewal *r, struct scratch *scratch);

/* Work is queued. If it measures, the sums have to be there. */
relora_status renew(const struct call *c, const struct renewal *r, const struct renew_memory *memory);

/* UNIFORM alone; dead means that both factors become 0, and then nothing can train. */
relora_status renew_uniform(const struct call *c, const struct renewal *r, int dead);

/* The share that a pair of sums gives; 0 without any, and of what is not finite. */
double renew_share(const double sums[2]);

/* Is A drawn by the init alone? */
static inline int renew_is_uniform(relora_init init)
{
    return init <= RELORA_INIT_UNIFORM;
}

extern const char *const init_names[];

/* The rows of y become orthonormal, or 0 where they have nothing more to span. */
relora_status renew_orthonormal(const struct call *c, struct view y, double *basis, double *terms);

#endif
