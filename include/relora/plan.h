/** @file relora/plan.h
 *  The order in which a layer multiplies, its cost, and how to choose it. Most hosts can leave the
 *  default. */
#ifndef RELORA_PLAN_H
#define RELORA_PLAN_H

#include "relora/export.h"
#include "relora/status.h"
#include "relora/types.h"

RELORA_BEGIN

typedef int32_t relora_order;
/* orders of multiplication; all give the same result, up to rounding */
enum {
    RELORA_ORDER_AUTO = 1,   /**< the cheapest for the shape; the default */
    RELORA_ORDER_SPLIT = 2,  /**< y = x W^T + (x A^T)(s B)^T and dx = g W + (s g B) A: the authors' */
    RELORA_ORDER_FOLD = 3,   /**< y = x V^T and dx = g V, with V = W + s B A made for the call */
    RELORA_ORDER_THROUGH = 4 /**< backward only: dx as in FOLD, and dA = s B^T G, dB = s G A^T, with
                                  G = g^T x, as if W were trained */
};

typedef int32_t relora_provider;
/* what multiplies matrices. Since 0.6 */
enum {
    RELORA_PROVIDER_OWN = 1,    /**< the library's own product */
    RELORA_PROVIDER_ONEDNN = 2, /**< oneDNN */
    RELORA_PROVIDER_BLAS = 3    /**< the BLAS of this build, see relora_build_info() */
};

typedef int32_t relora_isa;
/* the instruction set of a product. Since 0.6 */
enum {
    RELORA_ISA_BASE = 1,   /**< what every processor of the architecture has, such as SSE2 */
    RELORA_ISA_NEON = 2,   /**< of aarch64 */
    RELORA_ISA_AVX2 = 3,   /**< with FMA */
    RELORA_ISA_AVX512 = 4, /**< a BF16 product that does not convert uses AVX512_BF16 */
    RELORA_ISA_AMX = 5     /**< tiles of BF16 */
};

typedef struct relora_plan_report {
    uint32_t struct_size;              /**< set by the caller; no more than this is written */
    relora_order forward;              /**< SPLIT or FOLD */
    relora_order backward;             /**< SPLIT, FOLD or THROUGH */
    int32_t reserved;                  /**< 0 */
    double forward_flops;              /**< operations of the products; a multiply-add counts as two */
    double backward_flops;             /**< with dx */
    int64_t forward_bytes;             /**< temporary memory, in the workspace of the stream */
    int64_t backward_bytes;            /**< with dx */
    relora_provider forward_provider;  /**< of the product of x with W, or with A in LOWRANK; 0 if not known,
                                            as on a GPU. This and the fields below: since 0.6 */
    relora_provider backward_provider; /**< of the product that makes dx */
    relora_isa forward_isa;            /**< 0 if not known, as with a BLAS */
    relora_isa backward_isa;
    int32_t forward_converts; /**< 1: BF16 operands are converted to F32 for the product; 0: none are */
    int32_t backward_converts;
    int64_t product_bytes; /**< the most that products take beside the workspace; the stream keeps it */
} relora_plan_report;

/** Prepare a report: 0 everywhere, and struct_size for the `size` bytes that the caller has. Setting
 *  struct_size by hand does the same. @since 0.5 @threads any @stream none */
RELORA_API relora_status relora_plan_report_init(relora_plan_report *report, size_t size);

/** Report the order of products that forward and backward use for `rows` rows, and its cost. AUTO folds
 *  where that takes less time by a closed form of rows, in, out and rank (docs/performance.md), with costs
 *  that depend on what multiplies here (forward_provider, forward_isa). So another processor or build may use
 *  another order; relora_linear_set_order() fixes it. AUTO never folds under dropout, nor in a BF16 layer
 *  that rounds to nearest, because small updates would be lost. FULL and LOWRANK have only one order,
 *  reported as SPLIT. The rounding of a folded BF16 pass depends on `call`, even without RELORA_TRAIN. To
 *  repeat an evaluation bit for bit, use the same `call`.
 *  @param flags  RELORA_TRAIN, RELORA_SKETCH, both or 0
 *  @since 0.3 @threads any @stream none */
RELORA_API relora_status relora_linear_plan(const relora_linear *linear, int64_t rows, uint32_t flags,
                                            relora_plan_report *report);

/** Use these orders from now on instead of the cheapest. A call falls back to SPLIT where the chosen
 *  order is not exact (a fold under dropout, THROUGH with a trainable scale) or would lose small
 *  updates (a fold of a BF16 layer that rounds to nearest). A BF16 fold is rounded stochastically, as
 *  a function of (seed, layer, call), so a forward and its backward use the same V.
 *  @param forward  AUTO, SPLIT or FOLD
 *  @param backward AUTO, SPLIT, FOLD or THROUGH
 *  @since 0.3 @threads one @stream none */
RELORA_API relora_status relora_linear_set_order(relora_linear *linear, relora_order forward,
                                                 relora_order backward);

RELORA_END
#endif
