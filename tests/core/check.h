/* A C test: functions named as sentences, run one after the other. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(what)                                                                                          \
	do {                                                                                                 \
		if (!(what)) {                                                                               \
			fprintf(stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #what);     \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

#define EQUAL(actual, expected)                                                                              \
	do {                                                                                                 \
		unsigned long long actual_ = (unsigned long long)(actual);                                   \
		unsigned long long expected_ = (unsigned long long)(expected);                               \
		if (actual_ != expected_) {                                                                  \
			fprintf(stderr, "%s:%d: %s: %s is %lld (%#llx), not %lld (%#llx)\n", __FILE__,       \
				__LINE__, __func__, #actual, (long long)actual_, actual_,                    \
				(long long)expected_, expected_);                                            \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

/* Runs the test unless the program was given the name of another one. */
#define RUN(test)                                                                                            \
	do {                                                                                                 \
		if (argc < 2 || strcmp(argv[1], #test) == 0) {                                               \
			test();                                                                              \
			printf("ok %s\n", #test);                                                            \
		}                                                                                            \
	} while (0)

#endif
