/* Capabilities (capabilities(7)), of which a thread of the core needs none. */
#ifndef SV_CONFINE_H
#define SV_CONFINE_H

/* The calling thread gives up all of them; 0 or -errno. */
int confine_thread(void);

#endif
