/* Being asked to end: by a signal, or because nobody reads the output any more. */
#ifndef PRETRAIN_STOP_H
#define PRETRAIN_STOP_H

/* exit status of the program */
enum {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,  /* an option was wrong */
    STATUS_STOPPED = 3 /* asked to end before the run was complete */
};

/* From now on INT, TERM, HUP, USR1, USR2, XCPU, PWR and PIPE ask for an end. Those but for INT, TERM and PIPE
 * that the parent ignores, as nohup does with HUP, stay ignored. A second INT or TERM ends the process at
 * once. */
void stop_install(void);
/* Non-zero once an end was asked for. Any thread may call it, at any time. */
int stop_asked(void);
/* The same, after a look whether the pipes that the output goes to still have a reader. */
int stop_look(void);
/* What asked: "SIGTERM"; "" if nothing did. */
const char *stop_name(void);

#endif
