/* Calls that make other libraries ask the system for memory. They use the public functions alone. */
#ifndef TEST_SYSTEM_MEMORY_JOBS_H
#define TEST_SYSTEM_MEMORY_JOBS_H

#include "relora/relora.h"

struct job {
    const char *name;
    int32_t threads;
    relora_dtype dtype;
    int samples;                /* requests to refuse, unless all are */
    void (*prepare)(void);      /* with memory, after job_open() */
    relora_status (*act)(void); /* may be made again after a failure; steps after an open */
    uint64_t (*result)(void);   /* of what it made */
};
extern const struct job jobs[];
extern const int job_count;

/** Make the objects of a job: they are what it works on. Ends the process with a sentence if it cannot. */
void job_open(const struct job *job, const char *folder);
/** Release them; blocks of the context that are outstanding afterwards. */
int64_t job_close(void);

#endif
