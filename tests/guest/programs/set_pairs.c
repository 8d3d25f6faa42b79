/* set_pairs INTERFACE COUNT: have a card use so many pairs of queues (ethtool(8): -L INTERFACE combined
 * COUNT). */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_SCHANNELS};
	struct ifreq request = {.ifr_data = (void *)&channels};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc != 3 || fd < 0 || strlen(argv[1]) >= sizeof(request.ifr_name))
		return 2;
	strcpy(request.ifr_name, argv[1]);
	channels.combined_count = (unsigned)atoi(argv[2]);
	if (ioctl(fd, SIOCETHTOOL, &request) == 0)
		return 0;
	perror("set_pairs");
	return 1;
}
