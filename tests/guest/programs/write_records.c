/* write_records FOLDER BEGIN: appends numbers from BEGIN on to the file `log`, makes a file of its own for
 * each tenth, and says each number once what stands for it is on the disk. For ever.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static void make_file(int folder, long number)
{
	char name[32];
	int file;
	int length = snprintf(name, sizeof(name), "f%ld", number);

	file = openat(folder, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	must(file >= 0, name);
	must(write(file, name + 1, (size_t)length - 1) == length - 1, name);
	must(fsync(file) == 0 && fsync(folder) == 0, name);
	close(file);
}

int main(int argc, char **argv)
{
	int folder;
	int log;

	if (argc != 3)
		return 2;
	folder = open(argv[1], O_RDONLY | O_DIRECTORY);
	must(folder >= 0, argv[1]);
	log = openat(folder, "log", O_WRONLY | O_APPEND | O_CREAT, 0600);
	must(log >= 0, "log");
	for (long number = atol(argv[2]);; number++) {
		if (number % 10 == 0)
			make_file(folder, number);
		must(dprintf(log, "%ld\n", number) > 0 && fsync(log) == 0, "log");
		printf("ACK %ld\n", number);
		fflush(stdout);
	}
}
