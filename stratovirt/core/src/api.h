/* The ABI for C: its files have no guards of their own, since cffi reads them as they are. */
#ifndef SV_API_H
#define SV_API_H

#include <stdint.h>

#include "abi.h"
#include "arch_abi.h"

#endif
