/* What a process says that a signal ends at once: one line on stderr, and one in the log in the log's shape
 * (stratovirt/log.py). Everything here may be called by a signal handler, inside any thread's filter. */
#ifndef SV_LAST_WORDS_H
#define SV_LAST_WORDS_H

#include <stddef.h>

#define LAST_WORDS_SIZE 512

/* A line that is put together without stdio and without memory; what does not fit is left out. */
struct line {
	char text[LAST_WORDS_SIZE + 1]; /* zeroes at first, so that it always has an end */
	size_t length;
};

void line_add(struct line *line, const char *text);
void line_add_number(struct line *line, unsigned long number, int digits); /* with zeroes before, if fewer */

/* The calling thread begins: its number is not to be asked for any more once it has a filter. */
void last_words_thread(void);
/* Says why the process is about to end; file and line are those of the log's errors. Nothing when the thread
 * is saying something already: then that has failed. */
void last_words_say(const char *file, int number, const char *text);

#endif
