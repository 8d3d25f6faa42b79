#include "last_words.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "api.h"

#define MINUTE 60
#define HOUR   3600
#define DAY    86400

static _Thread_local int thread_id;
static _Thread_local bool is_speaking;
static atomic_int log_fd = -1;
static atomic_bool log_json;
static atomic_int utc_offset; /* in seconds */
static atomic_int process_id;

void line_add(struct line *line, const char *text)
{
	size_t length = strnlen(text, LAST_WORDS_SIZE - line->length);

	memcpy(line->text + line->length, text, length);
	line->length += length;
}

void line_add_number(struct line *line, unsigned long number, int digits)
{
	char text[24];
	size_t at = sizeof(text) - 1;

	text[at] = '\0';
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
		digits--;
	} while (at > 0 && (number > 0 || digits > 0));
	line_add(line, text + at);
}

static bool is_leap(unsigned long year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Year, month and day of a number of days since 1970 began; the C library's way takes a lock. */
static void add_date(struct line *line, unsigned long days)
{
	static const unsigned char lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	unsigned long year = 1970;
	unsigned long month = 0;

	for (; days >= (is_leap(year) ? 366 : 365); year++)
		days -= is_leap(year) ? 366 : 365;
	for (; month < 11; month++) {
		unsigned long length = month == 1 && is_leap(year) ? 29 : lengths[month];

		if (days < length)
			break;
		days -= length;
	}
	line_add_number(line, year, 4);
	line_add(line, "-");
	line_add_number(line, month + 1, 2);
	line_add(line, "-");
	line_add_number(line, days + 1, 2);
}

static void add_time(struct line *line)
{
	struct timespec now = {0};
	long local;
	unsigned long seconds;

	clock_gettime(CLOCK_REALTIME, &now);
	local = now.tv_sec + atomic_load(&utc_offset);
	seconds = local > 0 ? (unsigned long)local : 0;
	add_date(line, seconds / DAY);
	line_add(line, "T");
	line_add_number(line, seconds % DAY / HOUR, 2);
	line_add(line, ":");
	line_add_number(line, seconds % HOUR / MINUTE, 2);
	line_add(line, ":");
	line_add_number(line, seconds % MINUTE, 2);
	line_add(line, ".");
	line_add_number(line, (unsigned long)now.tv_nsec, 9);
}

/* A thread that did not begin by last_words_thread() has no filter either. */
static unsigned long thread_number(void)
{
	return (unsigned long)(thread_id != 0 ? thread_id : syscall(__NR_gettid));
}

static void add_record(struct line *line, const char *file, int number, const char *text)
{
	add_time(line);
	line_add(line, ": [");
	line_add_number(line, (unsigned long)atomic_load(&process_id), 0);
	line_add(line, "][");
	line_add_number(line, thread_number(), 0);
	line_add(line, "][");
	line_add(line, file);
	line_add(line, ": ");
	line_add_number(line, (unsigned long)number, 0);
	line_add(line, "]:ERROR: ");
	line_add(line, text);
	line_add(line, "\n");
}

/* No text of ours has a letter that JSON would have to escape. */
static void add_json(struct line *line, const char *text)
{
	line_add(line, "{\"time\": \"");
	add_time(line);
	line_add(line, "\", \"level\": \"error\", \"pid\": ");
	line_add_number(line, (unsigned long)atomic_load(&process_id), 0);
	line_add(line, ", \"tid\": ");
	line_add_number(line, thread_number(), 0);
	line_add(line, ", \"message\": \"");
	line_add(line, text);
	line_add(line, "\"}\n");
}

static void write_line(int fd, const struct line *line)
{
	if (write(fd, line->text, line->length) < 0)
		return; /* the process ends all the same */
}

static void say_to_user(const char *text)
{
	struct line line = {.length = 0};

	line_add(&line, "stratovirt: ");
	line_add(&line, text);
	line_add(&line, "\n");
	write_line(STDERR_FILENO, &line);
}

void last_words_say(const char *file, int number, const char *text)
{
	struct line line = {.length = 0};
	int fd = atomic_load(&log_fd);

	if (is_speaking)
		return;
	is_speaking = true;
	if (fd != STDERR_FILENO)
		say_to_user(text);
	if (fd < 0)
		return;
	if (atomic_load(&log_json))
		add_json(&line, text);
	else
		add_record(&line, file, number, text);
	write_line(fd, &line);
}

void last_words_thread(void)
{
	thread_id = (int)syscall(__NR_gettid);
	is_speaking = false; /* the first access to what a thread has of its own may ask for memory */
}

void sv_last_words(int fd, int json, int offset)
{
	last_words_thread();
	atomic_store(&process_id, (int)getpid());
	atomic_store(&utc_offset, offset);
	atomic_store(&log_json, json != 0);
	atomic_store(&log_fd, fd);
}
