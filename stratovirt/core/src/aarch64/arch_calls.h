/* CALL(name) for every system call that only aarch64 has of all our architectures: no filter needs one. */
