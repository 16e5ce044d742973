/* The allocator of every context: it counts, poisons, refuses on demand, gives blocks of the exact size, so that
 * AddressSanitizer sees the first byte too many, and wants each back through the context that asked for it. */
#include <stdlib.h>
#include <string.h>
#include "fuzz/api_world.h"

enum { ALIGNED = 64, MARK = 0x5c, ACCOUNTS = CALLS_MAX };
static const size_t BLOCK_MAX = 128 << 10, TOTAL_MAX = 4 << 20;
static const size_t FILE_BUFFER = 1 << 20; /* what saving asks for */

struct head { /* lies before each block */
    void *account;
    size_t size, alignment;
    unsigned char mark[ALIGNED - 3 * sizeof(size_t)];
};

static struct memory {
    int poison, wait, count; /* refuse `count` requests after `wait` more */
    int64_t blocks, refused;
    size_t bytes;
    int64_t accounts[ACCOUNTS]; /* blocks of each context */
    int account_count;
    struct loan loans[CALLS_MAX];
    int loan_count;
} memory;

static int refuses(size_t size)
{
    if (memory.count && memory.wait-- <= 0) {
        memory.wait = 0;
        memory.count--;
        return 1;
    }
    return (size > BLOCK_MAX && size != FILE_BUFFER) || memory.bytes + size > TOTAL_MAX;
}

static void *give(void *user, size_t size, size_t alignment)
{
    void *base;
    REQUIRE(size && alignment && alignment <= ALIGNED && !(alignment & (alignment - 1)));
    if (refuses(size)) {
        memory.refused++;
        return NULL;
    }
    REQUIRE(!posix_memalign(&base, ALIGNED, sizeof(struct head) + size));
    struct head *head = base;
    *head = (struct head){.account = user, .size = size, .alignment = alignment};
    memset(head->mark, MARK, sizeof head->mark);
#ifndef RELORA_NO_POISON /* for valgrind, to which poison is as good as any value */
    memset(head + 1, memory.poison, size);
#endif
    memory.blocks++;
    memory.bytes += size;
    ++*(int64_t *)user;
    return head + 1;
}

static void take_back(void *user, void *ptr, size_t size, size_t alignment)
{
    REQUIRE(ptr);
    struct head *head = (struct head *)ptr - 1;
    REQUIRE(head->account == user && head->size == size && head->alignment == alignment);
    for (size_t i = 0; i < sizeof head->mark; i++) REQUIRE(head->mark[i] == MARK);
    memory.blocks--;
    memory.bytes -= size;
    --*(int64_t *)user;
    free(head);
}

void memory_open(int poison)
{
    memset(&memory, 0, sizeof memory);
    memset(lent, 0x11, sizeof lent);
    memory.poison = poison;
}

void memory_close(void)
{
    REQUIRE(!memory.blocks && !memory.bytes);
    for (int i = 0; i < memory.account_count; i++) REQUIRE(!memory.accounts[i]);
    for (int i = 0; i < memory.loan_count; i++) REQUIRE(!memory.loans[i].owed);
}

void memory_install(relora_context_options *options)
{
    REQUIRE(memory.account_count < ACCOUNTS);
    options->host_alloc = give;
    options->host_free = take_back;
    options->host_user = &memory.accounts[memory.account_count++];
}

void memory_fail(int wait, int count)
{
    memory.wait = wait;
    memory.count = count;
}

int64_t memory_refused(void) { return memory.refused; }

/* ---- memory that tensors borrow ---- */

unsigned char lent[BLOCKS][BLOCK];

struct loan *loan_new(void)
{
    REQUIRE(memory.loan_count < CALLS_MAX);
    return &memory.loans[memory.loan_count++];
}

struct loan *loan_of(const relora_tensor *tensor)
{
    for (int i = memory.loan_count - 1; i >= 0; i--)
        if (memory.loans[i].tensor == tensor && memory.loans[i].owed) return &memory.loans[i];
    return NULL;
}

void loan_return(void *user, void *data)
{
    struct loan *loan = user;
    REQUIRE(loan >= memory.loans && loan < &memory.loans[memory.loan_count] && loan->owed > 0);
    REQUIRE(!data || (uintptr_t)data - (uintptr_t)lent < sizeof lent);
    loan->owed--;
}
