/* A vhost module that is played: the ioctls of the code under test end in to_module(), since no real module
 * can be had to refuse, on any host.
 */
#ifndef VHOST_MODULE_H
#define VHOST_MODULE_H

#include "driver.h"

#include <linux/vhost.h>
#include <stdarg.h>
#include <sys/ioctl.h>

static unsigned long refused; /* the request that the module refuses; 0 for none */

/* What every device asks of its module when its driver is ready, in order; all of it can be refused. */
#define VHOST_SETTINGS                                                                                       \
	VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,                  \
	    VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK, VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL

/* What a request does that is not refused; of the test. */
static void to_module(int fd, unsigned long number, void *argument);

int ioctl(int fd, unsigned long number, ...)
{
	va_list arguments;
	void *argument;

	va_start(arguments, number);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (number == refused) {
		errno = EPERM;
		return -1;
	}
	if (_IOC_TYPE(number) == VHOST_VIRTIO)
		to_module(fd, number, argument);
	return 0;
}

#endif
