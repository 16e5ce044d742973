/* The folders a run writes to: made with all above them, and kept for one run at a time. */
#ifndef PRETRAIN_FOLDER_H
#define PRETRAIN_FOLDER_H

enum { FOLDERS = 3 };

struct folders {          /* zero at first */
    char *locks[FOLDERS]; /* names of the lock files */
    int files[FOLDERS];   /* descriptors that hold them */
    int count;
};

/* Make the folder of an option if it is not there, and lock it until folders_close() or the end of the
 * process. -1, after a sentence, if it cannot be written to or another run has it. Where files cannot be
 * locked a note says so. A folder that is locked already by this run is no matter. */
int folders_open(struct folders *folders, const char *option, const char *folder);
void folders_close(struct folders *folders);

/* Rename those files of a folder that are there into a new folder earlier-N in it; `moved` receives its name.
 * 0 if there was nothing to move, 1 if there was; -1 after a sentence. */
int folder_set_aside(const char *folder, const char *const *files, int count, char *moved, int size);

#endif
