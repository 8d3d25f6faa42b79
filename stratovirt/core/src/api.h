/* abi.h for C: it has no guard of its own, since cffi reads it as it is. */
#ifndef SV_API_H
#define SV_API_H

#include <stdint.h>

#include "abi.h"

#endif
