/* The files that --data and --val-data mean. */
#ifndef PRETRAIN_SHARDS_H
#define PRETRAIN_SHARDS_H

struct names { /* zero at first */
    char **name;
    int count;
};

/* A copy of a name at the end of the list. -1 after a sentence. */
int names_add(struct names *names, const char *name);
void names_free(struct names *names);

/* Turn what was given, files, patterns and folders, into files, in order. Of a folder it is its .bin files, or
 * else its .txt files. What a pattern or a folder finds goes to `held_out` if it has val, valid or validation
 * as a word of its name, and to `files` otherwise. A name with commas that is no file is a list of names. -1
 * after a sentence. */
int shards_find(const struct names *given, struct names *files, struct names *held_out);

#endif
