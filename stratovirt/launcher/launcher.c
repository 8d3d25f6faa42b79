/* The `stratovirt` command: Python in this process, without the parts of its start that a machine does not
 * need (docs/decisions/0010-a-launcher.md).
 *
 * It holds no opinion about anything: where it does not find exactly the Python that it was built for, and
 * the package in its place, it executes that Python's interpreter on the same command line.
 *
 * The header `built.h` comes from build.py: SV_LIBPYTHON (the shared library), SV_PYTHON (its interpreter),
 * SV_VERSION ("python3.11"), SV_LIB ("lib" or "lib64"), SV_PACKAGE (the package's folder; empty: among the
 * installed packages), and `frozen`: modules that every start needs.
 */
#include <Python.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "built.h"

/* What is used of the library, by its own declarations. */
#define API(name) static __typeof__(&name) p_##name;
#include "api.h"
#undef API

static char interpreter[PATH_MAX]; /* the one that we stand for: of our environment, else SV_PYTHON */
static char libraries[PATH_MAX];   /* where packages are installed */
static char package[PATH_MAX];     /* ours */

static bool place(char *out, const char *from, const char *rest)
{
	int length = snprintf(out, PATH_MAX, "%s%s", from, rest);

	return length > 0 && length < PATH_MAX && access(out, F_OK) == 0;
}

/* Takes the last name off a path; false when there is none. */
static bool leave(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = '\0';
	return slash;
}

static bool find_package(const char *prefix, const char *folder)
{
	return place(libraries, prefix, folder) &&
	       (SV_PACKAGE[0] ? place(package, SV_PACKAGE, "") : place(package, libraries, "/stratovirt"));
}

static bool find_places(void)
{
	char folder[PATH_MAX] = "";
	ssize_t length = readlink("/proc/self/exe", folder, sizeof(folder) - 1);

	if (length <= 0 && !realpath((const char *)getauxval(AT_EXECFN), folder))
		folder[0] = '\0';
	if (!leave(folder) || !place(interpreter, folder, "/" SV_VERSION))
		place(interpreter, SV_PYTHON, "");
	return leave(folder) && (find_package(folder, "/" SV_LIB "/" SV_VERSION "/site-packages") ||
				 find_package(folder, "/lib/" SV_VERSION "/site-packages") ||
				 find_package(folder, "/lib/" SV_VERSION "/dist-packages"));
}

/* The library and the modules that belong to it are of one build; another interpreter of the version need not
 * be.
 */
static bool is_ours(void)
{
	char real[PATH_MAX], built[PATH_MAX];

	return realpath(interpreter, real) && realpath(SV_PYTHON, built) && strcmp(real, built) == 0;
}

/* Patches of a version have the same byte code, and the same PyConfig. */
static bool is_version(const char *version)
{
	size_t length = strlen(SV_VERSION) - strlen("python");

	return strncmp(version, SV_VERSION + strlen("python"), length) == 0 && version[length] == '.';
}

static bool find_python(void)
{
	void *library = is_ours() ? dlopen(SV_LIBPYTHON, RTLD_LAZY | RTLD_GLOBAL) : NULL;

	if (!library)
		return false;
#define API(name)                                                                                            \
	if (!(p_##name = (__typeof__(&name))dlsym(library, #name)))                                          \
		return false;
#include "api.h"
#undef API
	return is_version(p_Py_GetVersion());
}

static bool start_python(int argc, char **argv)
{
	PyPreConfig before;
	PyConfig config;
	PyStatus status;

	*p_PyImport_FrozenModules = frozen;
	p_PyPreConfig_InitIsolatedConfig(&before);
	before.utf8_mode = 1;
	status = p_Py_PreInitialize(&before);
	if (p_PyStatus_Exception(status))
		return false;
	p_PyConfig_InitIsolatedConfig(&config);
	config.site_import = 0; /* LateSite of image.py has it run when something is missing */
	config.user_site_directory = 1;
	config.parse_argv = 0;
	config.install_signal_handlers =
	    0; /* cli.py chooses for SIGINT; the other two are Python's choice: */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	status = p_PyConfig_SetBytesArgv(&config, argc, argv);
	if (!p_PyStatus_Exception(status))
		status = p_PyConfig_SetBytesString(&config, &config.program_name, interpreter);
	if (!p_PyStatus_Exception(status))
		status = p_Py_InitializeFromConfig(&config);
	return !p_PyStatus_Exception(status);
}

static void *image; /* image.py's, where it lies in the page cache: nothing of it is copied */
static size_t image_size;

static PyObject *map_image(void)
{
	char path[PATH_MAX];
	struct stat status;
	int fd = place(path, package, "/start.image") ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd >= 0 && fstat(fd, &status) == 0) {
		image = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
		image_size = image == MAP_FAILED ? 0 : (size_t)status.st_size;
	}
	if (fd >= 0)
		close(fd);
	return p_PyMemoryView_FromMemory(image_size ? image : path, (Py_ssize_t)image_size, PyBUF_READ);
}

/* Called when no view of the image is left. */
static PyObject *unmap_image(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	if (image_size)
		munmap(image, image_size);
	image_size = 0;
	return p_PyBool_FromLong(1);
}

static PyMethodDef unmap = {"unmap", unmap_image, METH_NOARGS, NULL};

/* begin.py; it does not return. */
static void begin(void)
{
	PyObject *module = p_PyImport_ImportModule("_stratovirt_begin");

	if (module)
		p_PyObject_CallMethod(module, "begin", "yyNN", package, libraries, map_image(),
				      p_PyCMethod_New(&unmap, NULL, NULL, NULL));
	fputs("stratovirt: load the program: Python cannot run its first module\n  hint: is there memory "
	      "left?\n",
	      stderr);
}

/* Whatever is wrong, the interpreter knows how to say it. */
static int as_interpreter(int argc, char **argv)
{
	char *words[argc + 5];

	words[0] = interpreter;
	words[1] = "-E"; /* as from the library: the environment does not steer it, */
	words[2] = "-P"; /* nor does what lies in the current folder */
	words[3] = "-m";
	words[4] = "stratovirt";
	memcpy(words + 5, argv + 1, (size_t)argc * sizeof(*words)); /* with the NULL at its end */
	execv(interpreter, words);
	execvp(SV_VERSION, words);
	fprintf(stderr, "stratovirt: execute %s: %s\n  hint: install the package again\n",
		interpreter[0] ? interpreter : SV_VERSION, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	if (!find_places() || !find_python() || !start_python(argc, argv))
		return as_interpreter(argc, argv);
	p_PyGC_Disable(); /* cli.py says why, and start.py when it begins */
	begin();
	return 1;
}
