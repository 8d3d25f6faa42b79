/* What the ABI has on aarch64 beside abi.h: nothing yet, since no machine is built. */
