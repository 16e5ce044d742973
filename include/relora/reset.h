/** @file relora/reset.h
 *  How relora_adam_reset(), relora_moments_reset() and cycles partially reset moments, and their report. */
#ifndef RELORA_RESET_H
#define RELORA_RESET_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

typedef int32_t relora_reset_mode;
enum {
    RELORA_RESET_ZERO = 1,      /**< all elements; ratio is ignored */
    RELORA_RESET_RANDOM = 2,    /**< each element with probability `ratio` */
    RELORA_RESET_MAGNITUDE = 3, /**< the `ratio` smallest by magnitude, per tensor */
    RELORA_RESET_KEEP = 4,      /**< nothing; `ratio` is ignored, STEP_COUNT refused. Since 0.6 */
    RELORA_RESET_PROJECT = 5    /**< the moments of B are carried to the new A, as by
                                     relora_moments_project(); those of A are zeroed, because its gradient
                                     begins at 0. `ratio` is ignored, and STEP_COUNT restarts the count of A
                                     only. Only for a relora_cycle whose reset_every is its merge_every or 0,
                                     because it needs the old A (RELORA_E_UNSUPPORTED elsewhere). Since 0.6 */
};

/** Without a flag both moments share one mask, made from the first moment (a joint reset), and the step
 *  count continues. MAGNITUDE then zeroes exactly floor(ratio * n) of n elements, with the product in double
 *  (0.29 of 100 is 28), so all of them only if ratio is 1. Among equal magnitudes it keeps the lowest index.
 *  A NaN counts as the largest magnitude. */
/* relora_reset_options.flags; the authors' magnitude reset has INDEPENDENT | QUANTILE, their
 * default is RANDOM with 0.999 and INDEPENDENT */
enum {
    RELORA_RESET_STEP_COUNT = 1,  /**< also restart the bias correction of these parameters */
    RELORA_RESET_INDEPENDENT = 2, /**< a separate mask for each moment */
    RELORA_RESET_QUANTILE = 4     /**< MAGNITUDE keeps what exceeds torch.quantile, as PyTorch up to 2.13
                                       computes it, with the rank in F32. It clears all ties. It multiplies
                                       by 0 instead of storing 0, so a NaN stays a NaN, whose bits depend on
                                       the device. One NaN clears all other elements. Refused with another
                                       mode */
};

typedef struct relora_reset_options {
    uint32_t struct_size;
    uint32_t flags;         /**< default 0 */
    relora_reset_mode mode; /**< default RELORA_RESET_MAGNITUDE */
    int32_t reserved;       /**< 0 */
    double ratio;           /**< in [0, 1]; default 0.99 */
    uint64_t seed;          /**< default 0 */
    uint64_t cycle;         /**< RANDOM is a function of (seed, parameter index, cycle) */
} relora_reset_options;

typedef struct relora_reset_report {
    uint32_t struct_size;  /**< set by the caller; no more than this is written */
    int32_t params;        /**< parameters whose moments were reset */
    int64_t elements;      /**< in one moment of these parameters */
    int64_t zeroed_first;  /**< elements of the first moment that are now zero */
    int64_t zeroed_second; /**< elements of the second moment that are now zero */
    int64_t unpaired;      /**< elements whose first moment is not zero but whose second is. Such an
                                element may move by thousands of learning rates (docs/method.md).
                                0 after a joint reset, unless there were such elements before */
} relora_reset_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_reset_report_init(relora_reset_report *report, size_t size);

/** Fill `options` with the defaults, writing exactly `size` bytes.
 *  @since 0.1 @threads any @stream none */
RELORA_API relora_status relora_reset_options_init(relora_reset_options *options, size_t size);

RELORA_END
#endif
